import { spawn } from "node:child_process";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { type S3Server, s3Server } from "../support/s3-server.ts";
import { startS3rver } from "../support/s3rver.ts";

const program = fileURLToPath(new URL("../../examples/probe/probe.ts", import.meta.url));

/** What the example prints of a server, and the code that it ends with. */
async function run({ endpoint, bucket, region, credentials }: S3Server) {
  const env = {
    ...process.env,
    S3_ENDPOINT: endpoint,
    S3_BUCKET: bucket,
    S3_REGION: region,
    S3_ACCESS_KEY_ID: credentials.accessKeyId,
    S3_SECRET_ACCESS_KEY: credentials.secretAccessKey,
    PROBE_KEYS: "1",
    PROBE_RACERS: "10",
  };
  const child = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", program], { env });
  const [output, code] = await Promise.all([text(child.stdout), new Promise((resolve) => child.on("close", resolve))]);
  return { output, code };
}

test("the probe of the examples accepts a store that keeps conditions, and refuses one that does not", async () => {
  await using good = await s3Server();
  await using bad = await startS3rver();
  const [suitable, unsuitable] = await Promise.all([run(good), run(bad)]);

  expect([suitable.code, unsuitable.code]).toEqual([0, 1]);
  expect(suitable.output).toMatch(/^ {2}create +holds$/m);
  expect(unsuitable.output).toMatch(/^ {2}create +fails$/m);
});
