/** A server of s3/servers.mjs that runs over a temporary folder on a free port, with a bucket. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CreateBucketCommand, S3Client } from "@aws-sdk/client-s3";
import { credentials } from "./servers.mjs";

const BUCKET = "foliokv-test";

/** Starts it and calls back with what tests find it by, as variables of their environment. It is ended when that is done. */
export async function whileRunning({ name, program, args, env }, work) {
  const folder = mkdtempSync(join(tmpdir(), "foliokv-s3-"));
  const port = await freePort();
  const child = spawn(program, args(port, folder), {
    env: { ...process.env, ...env },
    stdio: ["ignore", "ignore", "inherit"],
  });
  const endpoint = `http://127.0.0.1:${port}`;
  try {
    await createBucket(endpoint, child);
    return await work({
      S3_SERVER: name,
      S3_ENDPOINT: endpoint,
      S3_ACCESS_KEY_ID: credentials.accessKeyId,
      S3_SECRET_ACCESS_KEY: credentials.secretAccessKey,
      S3_BUCKET: BUCKET,
    });
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

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}
