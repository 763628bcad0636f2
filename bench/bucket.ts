import { countingStore, type CountingStore } from "../src/adapters/object/counting-store.ts";
import { objectLedger } from "../src/adapters/object/ledger.ts";
import { memoryStore } from "../src/adapters/object/memory-store.ts";
import type { ObjectStore } from "../src/adapters/object/object-store.ts";
import { CoreKV } from "../src/core/kv.ts";
import { FaultyStore } from "../src/testing/faulty-store.ts";
import { SimulatedTime } from "../test/support/simulated-time.ts";
import { entryOf } from "./entries.ts";
import { markdownTable } from "./report.ts";

/** What a database in a bucket costs in requests: counted over a store in memory, in simulated time. */

const BATCH = 1000;
const LATENCY_MS = 50;
const SECONDS = 60;

function openOn(time: SimulatedTime, store: ObjectStore): Promise<CoreKV> {
  const ledgerAt = (): never => {
    throw new Error("a bucket has no paths");
  };
  return new CoreKV({ autoSync: false }, { environment: time, ledgerAt }).open(objectLedger(store));
}

/** Requests by kind, and bytes, that `work` costs. */
async function costOf(time: SimulatedTime, store: CountingStore, work: () => Promise<unknown>): Promise<string> {
  const before = store.counts();
  await time.until(work());
  const after = store.counts();
  const parts = (["get", "create", "replace", "list", "delete"] as const)
    .map((kind) => [after.requests[kind] - before.requests[kind], kind] as const)
    .filter(([count]) => count > 0)
    .map(([count, kind]) => `${count} ${kind}`);
  const sent = (after.bytesSent - before.bytesSent).toLocaleString("en");
  const received = (after.bytesReceived - before.bytesReceived).toLocaleString("en");
  return `${parts.length === 0 ? "none" : parts.join(" + ")}; ${sent} B up, ${received} B down`;
}

/** The cost of each operation on a database with so many keys. */
async function costsAt(keys: number): Promise<ReadonlyMap<string, string>> {
  const time = new SimulatedTime(1);
  const store = countingStore(memoryStore({ now: time.now }));
  const db = await time.until(openOn(time, store));
  for (let from = 0; from < keys; from += BATCH) {
    const atomic = db.atomic();
    for (let i = from; i < Math.min(from + BATCH, keys); i++) atomic.set(["user", i], entryOf(i));
    await time.until(atomic.commit());
  }
  const costs = new Map<string, string>();
  const cost = async (name: string, work: () => Promise<unknown>): Promise<void> =>
    void costs.set(name, await costOf(time, store, work));
  await cost("vacuum", () => db.vacuum());
  let other: CoreKV | undefined;
  await cost("open", async () => (other = await openOn(time, store)));
  const reader = other as CoreKV;
  const middle = Math.floor(keys / 2);
  await cost("get, cold", () => reader.get(["user", middle]));
  await cost("get, warm", () => reader.get(["user", middle]));
  await cost("range of up to 100", () => reader.listAll(["user", { from: 0, to: 99 }]));
  await cost("poll", () => reader.sync());
  await cost("set", () => db.set(["user", middle], entryOf(0)));
  await cost("16 sets, with the checkpoint that they bring", async () => {
    for (let i = 0; i < 16; i++) await db.set(["user", i % keys], entryOf(i));
  });
  await time.until(Promise.all([db.close(), reader.close()]));
  return costs;
}

/** Writers that always have `atOnce` commits under way, against a store that is some way off. */
async function writing(writers: number, atOnce: number): Promise<{ perSecond: number; requests: number }> {
  const time = new SimulatedTime(1);
  const below = memoryStore({ now: time.now });
  const half = { there: LATENCY_MS / 2, back: LATENCY_MS / 2 };
  const store = countingStore(new FaultyStore(below, { environment: time, fate: () => ({ delayMs: half }) }));
  await time.until(openOn(time, store).then((db) => db.close()));
  const all = await time.until(Promise.all(Array.from({ length: writers }, () => openOn(time, store))));
  const count = (): number => Object.values(store.counts().requests).reduce((sum, each) => sum + each, 0);
  const before = count();
  const end = time.now() + SECONDS * 1000;
  let commits = 0;
  await time.until(
    Promise.all(
      all.flatMap((db, writer) =>
        Array.from({ length: atOnce }, async (_, flow) => {
          while (time.now() < end) {
            await db.set(["w", writer, flow], commits);
            commits++;
          }
        }),
      ),
    ),
  );
  return { perSecond: commits / SECONDS, requests: (count() - before) / commits };
}

/** Measures everything, up to so many keys, and returns the tables. */
export async function measureBucket(keysMax: number): Promise<string> {
  const sizes = [10, 1000, 100_000, 1_000_000].filter((size) => size <= keysMax);
  const costs: ReadonlyMap<string, string>[] = [];
  for (const size of sizes) costs.push(await costsAt(size));
  const lines = [...costs[0].keys()].map((name) => [name, ...costs.map((each) => each.get(name) as string)]);
  const head = ["keys", ...sizes.map((size) => size.toLocaleString("en"))];
  const rates: string[][] = [];
  for (const [writers, atOnce] of [
    [1, 100],
    [8, 100],
    [1, 1],
    [2, 1],
    [8, 1],
    [50, 1],
  ]) {
    const { perSecond, requests } = await writing(writers, atOnce);
    rates.push([`${writers}`, `${atOnce}`, perSecond.toFixed(1), requests.toFixed(2)]);
  }
  const rateHead = ["writers", "commits of each at once", "commits a second", "requests a commit"];
  return `${markdownTable(head, lines)}\n${markdownTable(rateHead, rates)}`;
}
