/** `npm run example:serverless`: starts both sides, and says where they are. */
import { startLocally } from "./local.ts";

const local = await startLocally({ workerPort: 8787, functionPort: 8788 });
console.log(`The Worker, on its R2 binding:       ${local.worker.href}`);
console.log(`The function, on S3's interface:     ${local.function.href}`);
console.log("One bucket, one database: open both, and write in either. Ctrl+C ends it; the bucket is gone then.");

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => void local[Symbol.asyncDispose]().then(() => process.exit(0)));
}
