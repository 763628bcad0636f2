import { describe, expect, test } from "vitest";
import { runKey } from "../../../src/adapters/object/layout.ts";
import { objectLedger } from "../../../src/adapters/object/ledger.ts";
import { memoryStore } from "../../../src/adapters/object/memory-store.ts";
import type { ObjectStore, StoreRequest } from "../../../src/adapters/object/object-store.ts";
import { RootObject } from "../../../src/adapters/object/root-object.ts";
import type { CoreKV } from "../../../src/core/kv.ts";
import { FaultyStore } from "../../../src/testing/faulty-store.ts";
import { Bucket } from "../../support/bucket.ts";
import { openDatabase, setKeys } from "../../support/bucket-database.ts";
import { openWith } from "../../support/database.ts";
import { SimulatedTime } from "../../support/simulated-time.ts";

const SLOTS = 20;
/** More than a repair begins with anew. */
const ROUNDS = 12;

/** Puts other bytes in the place of one of an object's. */
async function damage(store: ObjectStore, key: string, at: number): Promise<void> {
  const found = await store.get(key);
  if (found.status !== "found") throw new Error(`${key}: ${found.status}`);
  const bytes = found.bytes.slice();
  bytes[at] ^= 0xff;
  await store.delete([key]);
  await store.create(key, bytes);
}

/** What a repair finds that is always a moment late: whenever it is about to replace the root, `others` have their turn. */
async function repairBeside(others: (bucket: Bucket, writer: CoreKV, round: number) => Promise<unknown>) {
  const bucket = new Bucket();
  const { environment } = bucket;
  const writer = await openDatabase(bucket);
  await setKeys(bucket, writer, 0, SLOTS);
  const { nonce, runs } = await bucket.root();
  await damage(bucket.store, runKey(nonce, runs[0]), 20);
  const faulty = new FaultyStore(bucket.store, { environment });
  const db = await openDatabase(bucket, { store: faulty });
  const repair = db.repair();
  for (let round = 0; round < ROUNDS; round++) {
    const gate = faulty.gate(({ kind }) => kind === "replace", "before");
    await environment.until(Promise.race([gate.arrived, repair]));
    await others(bucket, writer, round);
    gate.open();
  }
  return { bucket, db, writer, nonce, report: await environment.until(repair) };
}

describe("a repair of a bucket", () => {
  test("beside one who writes checkpoints all the time comes to an end, with all that was written meanwhile", async () => {
    const at = (round: number): number => SLOTS * (round + 1);
    const { bucket, db, nonce, report } = await repairBeside((its, writer, round) =>
      setKeys(its, writer, at(round), at(round + 1)),
    );
    expect(report).toMatchObject({ generation: 2, dropped: [], copy: `${nonce}/ of memory` });
    expect(report.commits).toBe(at(ROUNDS) - 16);
    const keys = Array.from({ length: at(ROUNDS) }, (_, i) => ["k", i]);
    for (const each of [db, await openDatabase(bucket)]) {
      expect(await bucket.environment.until(each.listKeys(["k"]))).toEqual(keys);
      for (const i of [0, SLOTS, at(ROUNDS) - 1]) expect(await bucket.environment.until(each.get(["k", i]))).toBe(i);
    }
    await setKeys(bucket, db, at(ROUNDS), at(ROUNDS) + 40);
    expect(await bucket.environment.until((await openDatabase(bucket)).count(["k"]))).toBe(at(ROUNDS) + 40);
  });

  test("does not bring back what a large value has replaced meanwhile that is damaged, and says whose it was", async () => {
    let version = 0;
    const { bucket, db, report } = await repairBeside(async (its, writer, round) => {
      if (round > 0) return;
      const set = await its.environment.until(writer.set(["k", 3], "x".repeat(300_000)));
      version = set.version as number;
      const { nonce } = await its.root();
      const staged = await its.store.list(`${nonce}/staged/`);
      if (staged.status !== "listed") throw new Error(staged.status);
      await damage(its.store, staged.objects[0].key, 5000);
      await its.changeRoot(({ tailHint }) => ({ tailHint: tailHint + 1 }));
    });
    expect(report.dropped).toEqual([{ part: "ledger", from: version, to: version + 1 }]);
    expect(await bucket.environment.until(db.get(["k", 3]))).toBe(null);
    expect(await bucket.environment.until(db.count(["k"]))).toBe(SLOTS - 1);
  });

  test("leaves out no value that could not be read for the moment: it fails, and comes to be when it is tried again", async () => {
    const bucket = new Bucket();
    const { environment } = bucket;
    const writer = await openDatabase(bucket);
    await setKeys(bucket, writer, 0, SLOTS);
    await environment.until(writer.set(["k", 3], "x".repeat(300_000)));
    const before = await bucket.root();
    await damage(bucket.store, runKey(before.nonce, before.runs[0]), 20);
    const db = await openDatabase(bucket);
    // Once it is looked whether it is whole, and once more for the run.
    let reads = 0;
    const isLarge = ({ kind, keys }: StoreRequest): boolean => kind === "get" && keys[0].includes("/staged/");
    bucket.faulty.fate = (request) => (isLarge(request) && ++reads > 1 ? { fault: { kind: "unsent" } } : undefined);
    await expect(environment.until(db.repair())).rejects.toMatchObject({ code: "InputOutput" });
    expect(await bucket.root()).toEqual(before);
    bucket.faulty.fate = () => undefined;
    expect(await environment.until(db.repair())).toMatchObject({ dropped: [], generation: 2 });
    expect(await environment.until(db.get(["k", 3]))).toHaveLength(300_000);
  });

  test.each([1, 8])("beside %i writers that never rest comes to an end, by seeds", async (writers) => {
    for (let seed = 1; seed <= 4; seed++) expect(await repairBusy(writers, seed)).toBe("repaired");
  });
});

/** What becomes of a repair of some hundred keys at 50 ms, beside writers at 20 to 120 ms. */
function repairBusy(writers: number, seed: number): Promise<string> {
  const time = new SimulatedTime(seed);
  const store = memoryStore({ now: time.now });
  const pause = (ms: number): Promise<void> => new Promise((resolve) => void time.setTimer(resolve, ms));
  const open = (ms: number): Promise<CoreKV> => {
    const way = (): number => (ms / 2) * (0.8 + 0.4 * time.random());
    const fate = () => ({ delayMs: { there: way(), back: way() } });
    return openWith(time, objectLedger(new FaultyStore(store, { environment: time, fate })), { autoSync: false });
  };
  const rootOf = async () => {
    const found = await new RootObject(store, time).read();
    if (found.status !== "found") throw new Error(found.status);
    return found.root;
  };
  let isOver = false;
  const write = async (db: CoreKV, writer: number): Promise<void> => {
    for (let i = 0; !isOver; i++) await db.set(["k", writer, i % 50], i).catch(() => pause(100));
  };
  const run = async (): Promise<string> => {
    const first = await open(0);
    await Promise.all(Array.from({ length: 500 }, (_, i) => first.set(["base", i], "v".repeat(200))));
    await first.vacuum();
    const { nonce, runs } = await rootOf();
    const all = await Promise.all(Array.from({ length: writers }, (_, i) => open(20 + (100 * i) / writers)));
    const writing = Promise.all(all.map(write));
    await pause(2000);
    await damage(store, runKey(nonce, runs[0]), 100);
    const db = await open(50);
    // The minutes in which others may not have heard of it are not waited for.
    const enough = new AbortController();
    let result: unknown;
    const repair = db.repair({ signal: enough.signal }).catch((error: unknown) => void (result = error));
    void repair.then(() => (result ??= "nothing"));
    let isNew = false;
    while (!isNew && result === undefined) {
      await pause(250);
      isNew = (await rootOf()).nonce !== nonce;
    }
    enough.abort();
    isOver = true;
    await repair;
    await writing;
    return isNew ? "repaired" : String(result);
  };
  return time.until(run());
}
