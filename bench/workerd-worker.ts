import { waitUntil } from "cloudflare:workers";
import { r2Ledger, type R2BucketBinding } from "../src/adapters/r2/index.ts";
import { KV } from "../src/index.ts";
import { entryOf } from "./entries.ts";

/** What `bench/workerd.ts` measures inside of workerd: a request is one operation, on one instance that all of them share. */

interface Env {
  readonly BUCKET: R2BucketBinding;
}

const BATCH = 1000;
const db = new KV({ waitUntil });
/** As large as the slot of one small commit. */
const RAW_PUT = {
  onlyIf: new Headers({ "if-none-match": "*" }),
  httpMetadata: { cacheControl: "no-store" },
};
const slot = new Uint8Array(261);

type Operation = (number: number, bucket: R2BucketBinding) => Promise<unknown>;

/** Those that do without the library: what they cost is workerd's, and that of its R2. */
const raw: Readonly<Record<string, Operation>> = {
  nothing: async () => undefined,
  "raw put": (number, bucket) => bucket.put(`raw/${number}`, slot, RAW_PUT),
  "raw get": async (_, bucket) => (await bucket.get("raw/0"))?.arrayBuffer(),
};

const operations: Readonly<Record<string, Operation>> = {
  get: (number) => db.get(["user", number]),
  "strong get": (number) => db.get(["user", number], { consistency: "strong" }),
  range: (number) => db.listAll(["user", { from: number, to: number + 99 }]),
  set: (number) => db.set(["user", number], entryOf(number)),
  increment: () =>
    db.transaction(async (transaction) => {
      transaction.set(["n"], ((await transaction.get<number>(["n"])) ?? 0) + 1);
    }),
  fill: async (count) => {
    for (let from = 0; from < count; from += BATCH) {
      const atomic = db.atomic();
      for (let i = from; i < Math.min(from + BATCH, count); i++) atomic.set(["user", i], entryOf(i));
      await atomic.commit();
    }
    await db.vacuum();
  },
};

export default {
  async fetch(request: Request, { BUCKET: bucket }: Env): Promise<Response> {
    const { pathname, searchParams } = new URL(request.url);
    const name = decodeURIComponent(pathname.slice(1));
    const number = Number(searchParams.get("number"));
    if (Object.hasOwn(raw, name)) {
      await raw[name](number, bucket);
    } else {
      await db.open(r2Ledger({ bucket, prefix: "db" }));
      await operations[name](number, bucket);
    }
    return new Response(null);
  },
};
