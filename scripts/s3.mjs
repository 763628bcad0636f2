/**
 * `npm run test:s3`: the tests of everything that speaks S3, against real servers.
 *
 * With S3_ENDPOINT, S3_ACCESS_KEY_ID, S3_SECRET_ACCESS_KEY and S3_BUCKET (S3_REGION, if it matters) against that one. Without, against each of the
 * servers below that is on the path, started on a free port over a temporary folder. None found is a failure.
 */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { accessSync, constants, mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { CreateBucketCommand, S3Client } from "@aws-sdk/client-s3";
import { root } from "./node24.mjs";

const ACCESS_KEY = "foliokv";
const SECRET_KEY = "foliokv-secret";
const BUCKET = "foliokv-test";

/** Servers of object storage that need nothing but themselves, at the versions that were tried. */
const servers = [
  {
    name: "versitygw",
    install: "go install github.com/versity/versitygw/cmd/versitygw@v1.8.0",
    args: (port, folder) => ["--port", `127.0.0.1:${port}`, "--keep-alive", "--quiet", "posix", folder],
    env: { ROOT_ACCESS_KEY: ACCESS_KEY, ROOT_SECRET_KEY: SECRET_KEY },
  },
  {
    name: "minio",
    install: "go install github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c",
    args: (port, folder) => ["server", folder, "--address", `127.0.0.1:${port}`, "--quiet"],
    env: { MINIO_ROOT_USER: ACCESS_KEY, MINIO_ROOT_PASSWORD: SECRET_KEY, MINIO_BROWSER: "off" },
  },
  {
    name: "gofakes3",
    install: "go install github.com/johannesboyne/gofakes3/cmd/gofakes3@v1.2.0",
    args: (port) => ["-backend", "memory", "-host", `127.0.0.1:${port}`, "-quiet"],
    env: {},
  },
];

/** Stores and ledgers through both clients, several writers, and requests of clients that died half-way. */
const TESTS = [
  ...["conformance", "probe", "ledger", "writers", "half-sent"].map((name) => `test/adapters/s3/${name}.test.ts`),
  ...["conformance", "ledger"].map((name) => `test/adapters/s3-fetch/${name}.test.ts`),
];

const failed = [];
if (process.env.S3_ENDPOINT !== undefined) {
  if (!runTests({})) failed.push(process.env.S3_ENDPOINT);
} else {
  const found = servers.filter(({ name }) => pathOf(name) !== undefined);
  for (const server of found) if (!(await runAgainst(server))) failed.push(server.name);
  for (const { name, install } of servers.filter((each) => !found.includes(each))) {
    console.log(`\n${name} is not on the path. To try it too: ${install}`);
  }
  if (found.length === 0) failed.push("no server was found");
}
if (failed.length > 0) console.log(`\nfailed: ${failed.join(", ")}`);
process.exit(failed.length === 0 ? 0 : 1);

async function runAgainst(server) {
  console.log(`\n> ${server.name}`);
  const folder = mkdtempSync(join(tmpdir(), "foliokv-s3-"));
  const port = await freePort();
  const child = spawn(pathOf(server.name), server.args(port, folder), {
    env: { ...process.env, ...server.env },
    stdio: ["ignore", "ignore", "inherit"],
  });
  const endpoint = `http://127.0.0.1:${port}`;
  try {
    await createBucket(endpoint, child);
    return runTests({
      S3_SERVER: server.name,
      S3_ENDPOINT: endpoint,
      S3_ACCESS_KEY_ID: ACCESS_KEY,
      S3_SECRET_ACCESS_KEY: SECRET_KEY,
      S3_BUCKET: BUCKET,
    });
  } catch (error) {
    console.log(String(error));
    return false;
  } finally {
    if (child.exitCode === null && child.kill("SIGKILL")) await once(child, "exit");
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Tries until the server has started. */
async function createBucket(endpoint, child) {
  const credentials = { accessKeyId: ACCESS_KEY, secretAccessKey: SECRET_KEY };
  const client = new S3Client({ endpoint, region: "us-east-1", credentials, forcePathStyle: true, maxAttempts: 1 });
  for (let tries = 0; ; tries++) {
    try {
      return void (await client.send(new CreateBucketCommand({ Bucket: BUCKET })));
    } catch (error) {
      if (child.exitCode !== null || tries === 300) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

function runTests(env) {
  const { status } = spawnSync("vitest", ["run", ...TESTS], {
    cwd: root,
    stdio: "inherit",
    env: { ...process.env, ...env },
  });
  return status === 0;
}

function pathOf(name) {
  for (const folder of (process.env.PATH ?? "").split(delimiter)) {
    const path = join(folder, name);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // Not there: the next folder.
    }
  }
  return undefined;
}

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}
