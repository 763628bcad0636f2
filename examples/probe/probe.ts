/**
 * Asks a bucket whether several writers may share it: `node examples/probe/probe.ts`, with S3_ENDPOINT, S3_ACCESS_KEY_ID, S3_SECRET_ACCESS_KEY and
 * S3_BUCKET (S3_REGION, if it matters; PROBE_KEYS and PROBE_RACERS, to ask more or less). Writes below `foliokv-probe/` and cleans up. Ends with 0 if
 * the store is suitable, with 1 if it is not.
 */
import { environment } from "foliokv";
import { probeStore } from "foliokv/object";
import { s3Store } from "foliokv/s3";
import { s3FetchStore } from "foliokv/s3-fetch";

function setting(name: string): string {
  const value = process.env[name];
  if (value !== undefined && value !== "") return value;
  console.error(`Set ${name}.`);
  process.exit(2);
}

const options = {
  bucket: setting("S3_BUCKET"),
  prefix: "foliokv-probe",
  endpoint: setting("S3_ENDPOINT"),
  region: process.env.S3_REGION ?? "us-east-1",
  credentials: { accessKeyId: setting("S3_ACCESS_KEY_ID"), secretAccessKey: setting("S3_SECRET_ACCESS_KEY") },
};
// Each of them has connections of its own.
const connections = [s3Store(options), s3FetchStore(options)];
const report = await probeStore(s3Store(options), {
  environment,
  connections,
  keys: Number(process.env.PROBE_KEYS ?? 20),
  racers: Number(process.env.PROBE_RACERS ?? 50),
});

console.log(report.store);
for (const { property, verdict, details } of report.verdicts) {
  console.log(`  ${property.padEnd(18)} ${verdict}`);
  for (const detail of details) console.log(`    ${detail}`);
}
console.log(report.suitable ? "suitable for several writers" : "not for several writers");
process.exitCode = report.suitable ? 0 : 1;
