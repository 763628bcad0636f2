/**
 * `npm run test:s3`: the tests of everything that speaks S3, against real servers.
 *
 * With S3_ENDPOINT, S3_ACCESS_KEY_ID, S3_SECRET_ACCESS_KEY and S3_BUCKET (S3_REGION, if it matters) against that one. Without, against each known
 * server (s3/servers.mjs) that is on the path or was installed here, started on a free port over a temporary folder. `--install versitygw,gofakes3`
 * installs those before, if need be; one that is not there at its pinned version then is a failure, and so it is if none is found at all. Leaves its
 * numbers in .cache/s3.json; the last line is the count.
 */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { CreateBucketCommand, S3Client } from "@aws-sdk/client-s3";
import { Counts } from "./counts.mjs";
import { root } from "./node24.mjs";
import { credentials, findServer, installCommand, installServer, servers } from "./s3/servers.mjs";

const BUCKET = "foliokv-test";

/** Stores and ledgers through both clients, several writers, and requests of clients that died half-way. */
const TESTS = [
  ...["conformance", "probe", "ledger", "writers", "half-sent"].map((name) => `test/adapters/s3/${name}.test.ts`),
  ...["conformance", "ledger"].map((name) => `test/adapters/s3-fetch/${name}.test.ts`),
];

const { values } = parseArgs({ options: { install: { type: "string", default: "" } } });
const wanted = values.install.split(",").filter((name) => name !== "");
const unknown = wanted.find((name) => !servers.some((server) => server.name === name));
if (unknown !== undefined) {
  console.error(`There is no ${unknown}; there are ${servers.map(({ name }) => name).join(", ")}.`);
  process.exit(1);
}

const counts = new Counts();
mkdirSync(join(root, ".cache"), { recursive: true });
for (const server of servers.filter(({ name }) => wanted.includes(name))) {
  await installServer(server);
  counts.add(`${server.name} ${server.version} is there`, findServer(server)?.version === server.version);
}
if (process.env.S3_ENDPOINT !== undefined) runTests(process.env.S3_ENDPOINT, {});
else await runAgainstAll();
counts.save(join(root, ".cache/s3.json"));
counts.end();

async function runAgainstAll() {
  const found = servers.flatMap((server) => ({ ...server, ...findServer(server), pinned: server.version }));
  const present = found.filter(({ program }) => program !== undefined);
  for (const server of present) await runAgainst(server);
  const missing = servers.filter(({ name }) => !present.some((server) => server.name === name));
  if (missing.length > 0) {
    console.log(
      `\nNot tried, for they are neither on the path nor installed here: ${missing.map(({ name }) => name).join(", ")}.`,
    );
    console.log(`To try them too: npm run test:s3 -- --install ${missing.map(({ name }) => name).join(",")}`);
    for (const server of missing) console.log(`which is, for all of this machine: ${installCommand(server)}`);
  }
  if (present.length === 0) counts.add("a server is there", false);
}

async function runAgainst({ name, program, version, pinned, args, env }) {
  console.log(`\n> ${name} ${version ?? "of an unknown version"}: ${program}`);
  if (version !== pinned) console.log(`This is not the version that is known to do, ${pinned}.`);
  const folder = mkdtempSync(join(tmpdir(), "foliokv-s3-"));
  const port = await freePort();
  const child = spawn(program, args(port, folder), {
    env: { ...process.env, ...env },
    stdio: ["ignore", "ignore", "inherit"],
  });
  const endpoint = `http://127.0.0.1:${port}`;
  try {
    await createBucket(endpoint, child);
    runTests(name, {
      S3_SERVER: name,
      S3_ENDPOINT: endpoint,
      S3_ACCESS_KEY_ID: credentials.accessKeyId,
      S3_SECRET_ACCESS_KEY: credentials.secretAccessKey,
      S3_BUCKET: BUCKET,
    });
  } catch (error) {
    console.log(String(error));
    counts.add(`${name} starts`, false);
  } finally {
    if (child.exitCode === null && child.kill("SIGKILL")) await once(child, "exit");
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Tries until the server has started. */
async function createBucket(endpoint, child) {
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

function runTests(name, env) {
  const report = join(root, ".cache/s3-vitest.json");
  rmSync(report, { force: true });
  const reporters = ["--reporter=default", "--reporter=json", `--outputFile.json=${report}`];
  const { status } = spawnSync("vitest", ["run", ...reporters, ...TESTS], {
    cwd: root,
    stdio: "inherit",
    env: { ...process.env, ...env },
  });
  counts.addReport(`tests against ${name}`, report, status === 0);
}

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}
