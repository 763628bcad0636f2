/** The function, for Node and whatever speaks `Request` and `Response`: one instance serves all requests of a process. */
import { readFileSync } from "node:fs";
import { KV } from "foliokv";
import { s3FetchLedger, type S3Credentials } from "foliokv/s3-fetch";
import { makeApp } from "./app.ts";

/** Where the bucket is, and who asks. */
export interface Bucket {
  readonly endpoint: string;
  readonly bucket: string;
  readonly credentials: S3Credentials;
}

/** What answers requests, until it is closed. */
export interface ServerlessFunction extends AsyncDisposable {
  fetch(request: Request): Promise<Response>;
}

export async function openFunction(bucket: Bucket): Promise<ServerlessFunction> {
  const page = readFileSync(new URL("page.html", import.meta.url), "utf8");
  const db = new KV();
  const app = makeApp(db, page);
  await db.open(s3FetchLedger({ ...bucket, prefix: "serverless-example" }));
  return { fetch: app, [Symbol.asyncDispose]: () => db.close() };
}
