/** `npm run example:serverless`: starts both sides, on the ports WORKER_PORT and FUNCTION_PORT if these are set, and says where they are. */
import { startLocally } from "./local.ts";

const { WORKER_PORT = "8787", FUNCTION_PORT = "8788" } = process.env;
// Miniflare ends the process when it is told to end, and takes the bucket along.
const local = await startLocally({ workerPort: Number(WORKER_PORT), functionPort: Number(FUNCTION_PORT) }).catch(
  (error: unknown): never => {
    console.error(error instanceof SuppressedError ? error.suppressed : error);
    console.error(`Are the ports ${WORKER_PORT} and ${FUNCTION_PORT} free? WORKER_PORT and FUNCTION_PORT name others.`);
    process.exit(1);
  },
);
console.log(`The Worker, on its R2 binding:       ${local.worker.href}`);
console.log(`The function, on S3's interface:     ${local.function.href}`);
console.log("One bucket, one database: open both, and write in either. Ctrl+C ends it; the bucket is gone then.");
