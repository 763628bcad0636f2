/** The Worker: one instance at module scope serves all requests of an isolate. */
import { waitUntil } from "cloudflare:workers";
import { KV } from "foliokv";
import { r2Ledger, type R2BucketBinding } from "foliokv/r2";
import { makeApp } from "./app.ts";
import page from "./page.html";

interface Env {
  readonly BUCKET: R2BucketBinding;
}

const db = new KV({ waitUntil });
const app = makeApp(db, page);

export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    // Costs nothing once a request has done it.
    await db.open(r2Ledger({ bucket: env.BUCKET, prefix: "serverless-example" }));
    return app(request);
  },
};
