/** A Worker whose requests share one instance at module scope. What they count and park is at module scope too. */
import { objectLedger } from "../../src/adapters/object/ledger.ts";
import type { CreateAnswer, ObjectStore } from "../../src/adapters/object/object-store.ts";
import { r2Store, type R2BucketBinding } from "../../src/adapters/r2/index.ts";
import { KV } from "../../src/index.ts";

interface Env {
  readonly BUCKET: R2BucketBinding;
}

interface Context {
  waitUntil(promise: Promise<unknown>): void;
}

const db = new KV({ syncIntervalMs: 100 });
/** Each time that somebody has asked to create a slot. */
let creates = 0;
/** Requests that are being handled: more than one at once, or the tests test nothing. */
let running = 0;
let runningMost = 0;
/** What becomes of the next create of a slot: parked for good, before or after it has reached the bucket. */
let park: { readonly lands: boolean; readonly parked: () => void } | undefined;

function watched(store: ObjectStore): ObjectStore {
  return {
    name: store.name,
    capabilities: store.capabilities,
    get: (key, range) => store.get(key, range),
    create: (key, bytes) => create(store, key, bytes),
    replace: (key, bytes, etag) => store.replace(key, bytes, etag),
    list: (prefix, options) => store.list(prefix, options),
    delete: (keys) => store.delete(keys),
  };
}

async function create(store: ObjectStore, key: string, bytes: Uint8Array): Promise<CreateAnswer> {
  if (key.includes("/log/")) creates++;
  const parking = key.includes("/log/") ? park : undefined;
  if (parking === undefined) return store.create(key, bytes);
  park = undefined;
  if (parking.lands) await store.create(key, bytes);
  parking.parked();
  return new Promise(() => undefined);
}

const ledgerOf = ({ BUCKET: bucket }: Env, prefix: string) => objectLedger(watched(r2Store({ bucket, prefix })));

const increment = (database: KV, key: string): Promise<number> =>
  database.transaction(async (transaction) => {
    const value = ((await transaction.get<number>([key])) ?? 0) + 1;
    transaction.set([key], value);
    return value;
  });

type Handler = (parameters: Readonly<Record<string, string>>, env: Env, context: Context) => Promise<unknown>;

const handlers: Readonly<Record<string, Handler>> = {
  set: ({ key, value }) => db.set([key], value),
  sum: ({ key }) => db.atomic().sum([key], 1).commit(),
  get: ({ key }) => db.get([key], { consistency: "strong" }),
  read: ({ key }) => db.get([key]),
  count: () => db.count([]),
  increment: ({ key }) => increment(db, key),
  transactions: async ({ key }) => {
    await db.beginTransaction();
    await db.set([key], (await db.get([key])) ?? "begun");
    return await db.endTransaction();
  },
  counts: async () => {
    const counted = { creates, runningMost };
    creates = 0;
    runningMost = 0;
    return counted;
  },
  // Answers while its commit is on its way, which is the end of it.
  die: async ({ key, lands }) => {
    const parked = new Promise<void>((resolve) => (park = { lands: lands === "true", parked: resolve }));
    void db.atomic().set([key], "from a dead request").sum(["sum"], 1).commit();
    await parked;
    return "dead";
  },
  // The same in the midst of a read.
  "die-reading": async ({ key }) => {
    void db.get([key], { consistency: "strong" });
    return "dead";
  },
  leave: async ({ key }, _, context) => {
    const commit = db.set([key], "left behind");
    context.waitUntil(commit);
    return "left";
  },
  watch: async ({ key }) => {
    const watch = db.watch([key]);
    const { value } = await watch.next();
    await watch.return?.();
    return value as unknown;
  },
  watches: async () => db.stats().watches,
  // Another instance, which is to the shared one what another isolate is.
  elsewhere: async ({ key, times, prefix }, env) => {
    const other = await new KV().open(ledgerOf(env, prefix));
    for (let i = 0; i < Number(times); i++) await increment(other, key);
    await other.close();
    return times;
  },
};

export default {
  async fetch(request: Request, env: Env, context: Context): Promise<Response> {
    const { pathname, searchParams } = new URL(request.url);
    running++;
    runningMost = Math.max(runningMost, running);
    try {
      const parameters = Object.fromEntries(searchParams);
      await db.open(ledgerOf(env, parameters.prefix));
      return Response.json({ result: (await handlers[pathname.slice(1)](parameters, env, context)) ?? null });
    } catch (error) {
      return Response.json({ error: String((error as Error).stack ?? error) });
    } finally {
      running--;
    }
  },
};
