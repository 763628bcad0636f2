/**
 * Asks a bucket whether several writers may share it: `node examples/probe/probe.ts`, with S3_ENDPOINT, S3_ACCESS_KEY_ID, S3_SECRET_ACCESS_KEY and
 * S3_BUCKET (S3_REGION, if it matters; S3_QUOTED_ETAGS=false for Ceph RGW; PROBE_KEYS and PROBE_RACERS, to ask more or less). Writes below
 * `foliokv-probe/` and cleans up. Ends with 0 if the store is suitable, with 1 if it is not, with 2 if it could not be asked.
 */
import { randomUUID } from "node:crypto";
import { InvalidArgumentError } from "foliokv";
import { type ProbeReport, probeStore } from "foliokv/object";
import { s3Store } from "foliokv/s3";
import { s3FetchStore } from "foliokv/s3-fetch";

const NEEDED = ["S3_ENDPOINT", "S3_ACCESS_KEY_ID", "S3_SECRET_ACCESS_KEY", "S3_BUCKET"] as const;

function cannotAsk(why: string): never {
  console.error(why);
  process.exit(2);
}

async function ask(): Promise<ProbeReport> {
  const missing = NEEDED.filter((name) => !process.env[name]);
  if (missing.length > 0) cannotAsk(`Set ${missing.join(", ")}.`);
  const [endpoint, accessKeyId, secretAccessKey, bucket] = NEEDED.map((name) => process.env[name] ?? "");
  const { S3_REGION: region = "us-east-1", PROBE_KEYS: keys = 20, PROBE_RACERS: racers = 50 } = process.env;
  const credentials = { accessKeyId, secretAccessKey };
  const quotedEtags = process.env.S3_QUOTED_ETAGS !== "false";
  const options = { bucket, prefix: "foliokv-probe", endpoint, region, credentials, quotedEtags };
  // Each of them has connections of its own.
  const [store, ...connections] = [s3Store(options), s3Store(options), s3FetchStore(options)];

  // A wrong address or credential is no property of the store.
  const first = `first-${randomUUID()}`;
  const answer = await store.create(first, new Uint8Array(1));
  if ("error" in answer) cannotAsk(answer.error.message);
  await store.delete([first]);
  return await probeStore(store, { connections, keys: Number(keys), racers: Number(racers) });
}

const report = await ask().catch((error: unknown) => {
  if (error instanceof InvalidArgumentError) cannotAsk(error.message);
  throw error;
});
console.log(report.store);
for (const { property, verdict, details } of report.verdicts) {
  console.log(`  ${property.padEnd(18)} ${verdict}`);
  for (const detail of details) console.log(`    ${detail}`);
}
console.log(report.suitable ? "suitable for several writers" : "not for several writers");
process.exitCode = report.suitable ? 0 : 1;
