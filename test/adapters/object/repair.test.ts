import { describe, expect, test } from "vitest";
import { runKey, slotKey } from "../../../src/adapters/object/layout.ts";
import type { ObjectStore } from "../../../src/adapters/object/object-store.ts";
import { decodeSlot, encodeSlot, payloadOf } from "../../../src/adapters/object/slot.ts";
import { objectLedger } from "../../../src/adapters/object/ledger.ts";
import { fileWork } from "../../../src/core/file-work.ts";
import { CoreKV } from "../../../src/core/kv.ts";
import { Bucket } from "../../support/bucket.ts";
import { openDatabase, setKeys } from "../../support/bucket-database.ts";

const MINUTE = 60_000;

/** Puts other bytes in the place of an object's, as a disk that rots does. */
async function damage(store: ObjectStore, key: string, at: number): Promise<void> {
  const found = await store.get(key);
  if (found.status !== "found") throw new Error(`${key}: ${found.status}`);
  const bytes = found.bytes.slice();
  expect(at).toBeLessThan(bytes.length);
  bytes[at] ^= 0xff;
  await store.delete([key]);
  await store.create(key, bytes);
}

async function cut({ store }: Bucket, key: string): Promise<void> {
  const found = await store.get(key);
  if (found.status !== "found") throw new Error(`${key}: ${found.status}`);
  await store.delete([key]);
  await store.create(key, found.bytes.subarray(0, 100));
}

/** Lets a slot continue another one than that before it. */
async function misplace({ store, environment }: Bucket, key: string): Promise<void> {
  const found = await store.get(key);
  if (found.status !== "found") throw new Error(`${key}: ${found.status}`);
  const { crc32 } = environment;
  const nonce = key.slice(0, 32);
  const slot = decodeSlot(found.bytes, { nonce, slot: Number(key.slice(-12)) }, { crc32, name: key });
  const commits = slot.commits.map((commit) => ({ ...commit, payload: payloadOf(found.bytes, commit) }));
  await store.delete([key]);
  await store.create(key, encodeSlot({ ...slot, commits, predecessor: new Uint8Array(32) }, crc32).bytes);
}

async function slotName(bucket: Bucket, slot: number): Promise<string> {
  return slotKey((await bucket.root()).nonce, slot);
}

/** The keys `k` that a database has. */
async function keysOf(bucket: Bucket, db: CoreKV): Promise<unknown[]> {
  return (await bucket.environment.until(db.listKeys(["k"]))).map(([, key]) => key);
}

const upTo = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

describe("a ledger in a bucket of which a slot is damaged", () => {
  const version = (slot: number): number => slot * 65_536;
  const damaged = { code: "LedgerDamaged", ranges: [{ from: version(21), to: version(22) }] };

  /** What is opened behind 30 slots, slot 21 of which `ruin` has ruined, and what opening it has told of. */
  async function opened(
    ruin: (bucket: Bucket, key: string) => Promise<unknown>,
    options: { readonly readOnly?: boolean } = {},
  ): Promise<{
    readonly bucket: Bucket;
    readonly writer: CoreKV;
    readonly db: CoreKV;
    readonly told: readonly unknown[];
  }> {
    const bucket = new Bucket();
    const writer = await openDatabase(bucket);
    await setKeys(bucket, writer, 0, 30);
    await ruin(bucket, await slotName(bucket, 21));
    const { opening, told } = openRepairable(bucket, options);
    return { bucket, writer, db: await opening, told };
  }

  test.each([
    ["has other bytes", "found", (bucket: Bucket, key: string) => damage(bucket.store, key, 100)],
    ["is gone", "absent", (bucket: Bucket, key: string) => bucket.store.delete([key])],
    ["does not continue the one before it", "found", misplace],
  ] as const)("that %s: what lies before it can be read, and nothing can be written", async (_, status, ruin) => {
    const { bucket, db, told } = await opened(ruin);
    const { environment } = bucket;
    expect(told).toMatchObject([damaged]);
    expect(db.stats().damage).toEqual(damaged.ranges);
    expect(await keysOf(bucket, db)).toEqual(upTo(20));
    expect(await environment.until(db.get(["k", 19]))).toBe(19);
    for (let i = 0; i < 2; i++) {
      await expect(environment.until(db.sync())).rejects.toMatchObject(damaged);
      await expect(environment.until(db.set(["k", 20], "other"))).rejects.toMatchObject({
        code: "LedgerDamaged",
        outcome: "not committed",
      });
    }
    await expect(environment.until(db.vacuum())).rejects.toMatchObject(damaged);
    // Nobody has filled its place.
    expect(await bucket.store.get(await slotName(bucket, 21))).toMatchObject({ status });
  });

  test("goes on as soon as somebody has brought it back", async () => {
    let kept: Uint8Array | undefined;
    const { bucket, db } = await opened(async ({ store }, key) => {
      const found = await store.get(key);
      if (found.status === "found") kept = found.bytes;
      await store.delete([key]);
    });
    const { environment } = bucket;
    await bucket.store.create(await slotName(bucket, 21), kept as Uint8Array);
    await environment.until(db.set(["k", 30], 30));
    expect(await keysOf(bucket, db)).toEqual(upTo(31));
    expect(db.stats().damage).toEqual([]);
  });

  test("goes on with what somebody else has repaired", async () => {
    const { bucket, db, writer } = await opened((each, key) => damage(each.store, key, 100));
    const { environment } = bucket;
    await environment.until(writer.repair());
    await environment.until(db.set(["k", 20], 20));
    expect(await keysOf(bucket, db)).toEqual(upTo(21));
    expect(db.stats().damage).toEqual([]);
  });

  test("is gone on with from the checkpoint by who has not come to a slot that it covers", async () => {
    const bucket = new Bucket();
    const writer = await openDatabase(bucket);
    await setKeys(bucket, writer, 0, 10);
    const db = await openDatabase(bucket);
    await setKeys(bucket, writer, 10, 60);
    await damage(bucket.store, await slotName(bucket, 21), 100);
    await bucket.environment.until(db.sync());
    expect(await keysOf(bucket, db)).toEqual(upTo(60));
    expect(db.stats().damage).toEqual([]);
    await expect(bucket.environment.until(toArray(db.scan([])))).rejects.toMatchObject(damaged);
  });

  test("and who begins anew with the checkpoint before it goes as far as that, and says both", async () => {
    const bucket = new Bucket();
    const { environment } = bucket;
    const writer = await openDatabase(bucket);
    await setKeys(bucket, writer, 0, 10);
    const db = await openDatabase(bucket);
    const live = await openDatabase(bucket, { autoSync: true, syncIntervalMs: 10 * MINUTE });
    const events: unknown[][] = [db, live].map((each) => {
      const told: unknown[] = [];
      each.on("sync", ({ result }) => told.push(result));
      return told;
    });
    const watched: unknown[] = [];
    db.watch(["k"], ({ key }) => void watched.push(key?.[1]), { ref: false });
    await setKeys(bucket, writer, 10, 310);
    const { checkpointSlot } = await bucket.root();
    expect(checkpointSlot).toBe(304);
    await bucket.changeRoot(() => ({ floor: 100 }));
    const { nonce } = await bucket.root();
    await bucket.store.delete(upTo(99).map((i) => slotKey(nonce, i + 1)));
    await environment.pass(6 * MINUTE);
    await damage(bucket.store, await slotName(bucket, 307), 100);
    const range = { from: version(307), to: version(308) };
    await expect(environment.until(db.sync())).rejects.toMatchObject({ code: "LedgerDamaged", ranges: [range] });
    expect(await keysOf(bucket, db)).toEqual(upTo(306));
    expect(watched).toEqual(upTo(306).slice(10));
    expect(db.stats().damage).toEqual([range]);
    await expect(environment.until(db.set(["k", 0], 1))).rejects.toMatchObject({ outcome: "not committed" });
    await environment.pass(10 * MINUTE);
    expect(await keysOf(bucket, live)).toEqual(upTo(306));
    expect(events[1]).toEqual(expect.arrayContaining(["ledgerInvalidated", "error"]));
    await environment.until(writer.repair());
    await environment.until(db.sync());
    expect(events[0]).toEqual(["error", "ledgerInvalidated"]);
    expect(await keysOf(bucket, db)).toEqual(upTo(306));
    await environment.until(db.set(["k", 306], 306));
    await environment.until(live.close());
  });

  test("can be read where it may not be written", async () => {
    const { bucket, db, told } = await opened((each, key) => damage(each.store, key, 100), { readOnly: true });
    expect(told).toMatchObject([damaged]);
    expect(await keysOf(bucket, db)).toEqual(upTo(20));
  });
});

/** What is told of the run of slots 1 to 16. */
const lost = { code: "LedgerDamaged", ranges: [{ from: 65_536, to: 17 * 65_536 }] };

describe("a ledger in a bucket of which a run cannot be opened", () => {
  test.each([
    ["is gone", ({ store }: Bucket, key: string) => store.delete([key])],
    ["is cut", cut],
  ] as const)("as it %s: what newer ones hold can be read, and nothing can be written", async (_, ruin) => {
    const bucket = new Bucket();
    const { environment } = bucket;
    const writer = await openDatabase(bucket);
    await setKeys(bucket, writer, 0, 16);
    await setKeys(bucket, writer, 10, 30);
    const { runs, nonce } = await bucket.root();
    expect(runs).toHaveLength(2);
    await ruin(bucket, runKey(nonce, runs[1]));
    const { opening, told } = openRepairable(bucket);
    const db = await opening;
    expect(told).toMatchObject([lost]);
    expect(db.stats().damage).toEqual(lost.ranges);
    for (const i of [10, 29]) expect(await environment.until(db.get(["k", i]))).toBe(i);
    await expect(environment.until(db.get(["k", 9]))).rejects.toMatchObject(lost);
    await expect(keysOf(bucket, db)).rejects.toMatchObject(lost);
    await expect(environment.until(db.set(["k", 30], 30))).rejects.toMatchObject({ ...lost, outcome: "not committed" });
    // It is followed all the same.
    await setKeys(bucket, writer, 30, 31);
    await environment.until(db.sync());
    expect(await environment.until(db.get(["k", 30]))).toBe(30);
    await environment.until(db.repair());
    expect(await keysOf(bucket, db)).toEqual(upTo(31));
    expect(db.stats().damage).toEqual([]);
    await environment.until(db.set(["k", 31], 31));
  });

  test("as its bytes went wrong on their way: it is read once more", async () => {
    const bucket = new Bucket();
    const writer = await openDatabase(bucket);
    await setKeys(bucket, writer, 0, 20);
    let isWrong = true;
    const store: ObjectStore = {
      ...bucket.store,
      get: async (key, range) => {
        const answer = await bucket.store.get(key, range);
        if (answer.status !== "found" || !key.includes("/run/") || !isWrong) return answer;
        isWrong = false;
        return { ...answer, bytes: answer.bytes.map((byte) => byte ^ 1) };
      },
    };
    const db = await openDatabase(bucket, { store });
    expect(isWrong).toBe(false);
    expect(db.stats().damage).toEqual([]);
    expect(await keysOf(bucket, db)).toEqual(upTo(20));
  });
});

describe("repair of a ledger in a bucket", () => {
  test("keeps everything up to a slot that does not continue the one before it", async () => {
    const bucket = new Bucket();
    const db = await openDatabase(bucket);
    await setKeys(bucket, db, 0, 30);
    await misplace(bucket, await slotName(bucket, 21));
    const report = await bucket.environment.until(db.repair());
    expect(report.dropped.every(({ from }) => from >= 21 * 65_536)).toBe(true);
    expect(await keysOf(bucket, db)).toEqual(upTo(20));
  });

  test("keeps everything up to the damaged slot, under versions that were never used, and reports the rest", async () => {
    const bucket = new Bucket();
    const db = await openDatabase(bucket);
    await setKeys(bucket, db, 0, 30);
    const old = await bucket.root();
    await damage(bucket.store, await slotName(bucket, 21), 100);
    const began = bucket.environment.now();
    const report = await bucket.environment.until(db.repair());
    expect(bucket.environment.now() - began).toBeGreaterThan(5 * MINUTE);
    const version = (slot: number): number => slot * 65_536;
    expect(report).toMatchObject({ commits: 4, copy: `${old.nonce}/ of memory`, generation: 2, header: "whole" });
    expect(report.dropped.at(0)).toEqual({ part: "ledger", from: version(21), to: version(22) });
    expect(report.dropped.slice(1)).toEqual(
      upTo(9).map((i) => ({ part: "ledger", from: version(22 + i), to: version(22 + i) + 1 })),
    );
    expect(report.text).toContain(String(version(25)));
    expect(report.text).toContain(old.nonce);
    expect(await keysOf(bucket, db)).toEqual(upTo(20));
    const root = await bucket.root();
    expect(root).toMatchObject({ ledgerId: old.ledgerId, formers: [{ nonce: old.nonce, lastSlot: 20 }] });
    expect(root.nonce).not.toBe(old.nonce);
    expect(root.firstSlot).toBeGreaterThan(30);
    const { version: next } = await bucket.environment.until(db.set(["k", 20], 20));
    expect(next).toBeGreaterThanOrEqual(version(root.firstSlot));
    const other = await openDatabase(bucket);
    expect(await keysOf(bucket, other)).toEqual(upTo(21));
    expect(other.stats()).toMatchObject({ generation: 2 });
    // Whoever deletes what was left deletes nothing that is needed.
    const left = await bucket.store.list(`${old.nonce}/`);
    if (left.status === "listed") await bucket.store.delete(left.objects.map(({ key }) => key));
    const last = await openDatabase(bucket);
    expect(await keysOf(bucket, last)).toEqual(upTo(21));
    await bucket.environment.until(db.set(["k", 21], 21));
    expect(await keysOf(bucket, db)).toEqual(upTo(22));
  });

  test("names what authors that had not heard of it have acknowledged meanwhile", async () => {
    const bucket = new Bucket();
    const db = await openDatabase(bucket);
    await setKeys(bucket, db, 0, 20);
    const unaware = await openDatabase(bucket);
    await damage(bucket.store, await slotName(bucket, 18), 100);
    const repair = db.repair();
    await bucket.environment.pass(1000);
    expect((await bucket.root()).formers).toHaveLength(1);
    const { version = 0 } = await bucket.environment.until(unaware.set(["k", 20], 20));
    await bucket.environment.pass(6 * MINUTE);
    const { dropped } = await bucket.environment.until(repair);
    expect(dropped).toContainEqual({ part: "ledger", from: version, to: version + 1 });
    await bucket.environment.until(unaware.sync());
    expect(await keysOf(bucket, unaware)).toEqual(upTo(17));
    await bucket.environment.until(unaware.set(["k", 17], 17));
    await bucket.environment.until(db.sync());
    expect(await keysOf(bucket, db)).toEqual(upTo(18));
  });

  test("keeps what is whole of a damaged run", async () => {
    const bucket = new Bucket();
    const db = await openDatabase(bucket);
    const value = "v".repeat(3000);
    for (let i = 0; i < 64; i++) await bucket.environment.until(db.set(["k", i], value));
    await bucket.environment.until(db.vacuum());
    const { runs, nonce } = await bucket.root();
    expect(runs).toHaveLength(1);
    await damage(bucket.store, runKey(nonce, runs[0]), 70_000);
    await bucket.store.delete([slotKey(nonce, 1)]);
    const report = await bucket.environment.until(db.repair());
    expect(report.dropped).toMatchObject([{ part: "snapshot" }]);
    const [{ from, to }] = report.dropped;
    expect(from <= 70_000 && 70_000 < to).toBe(true);
    const left = await keysOf(bucket, db);
    expect(left.length).toBeGreaterThan(30);
    expect(left.length).toBeLessThan(64);
    for (const key of left) expect(await bucket.environment.until(db.get(["k", key as number]))).toBe(value);
  });

  test("keeps what came after a run of which nothing is left", async () => {
    const bucket = new Bucket();
    const db = await openDatabase(bucket);
    await setKeys(bucket, db, 0, 20);
    const { runs, nonce } = await bucket.root();
    await bucket.store.delete([runKey(nonce, runs[0]), slotKey(nonce, 3)]);
    const { opening, told } = openRepairable(bucket, { repair: true });
    expect(await keysOf(bucket, await opening)).toEqual([16, 17, 18, 19]);
    expect(told).toMatchObject([lost]);
  });

  test("brings back what is damaged of a run out of slots that are still there, and says that nothing was lost", async () => {
    const bucket = new Bucket();
    const db = await openDatabase(bucket);
    await setKeys(bucket, db, 0, 20);
    await bucket.environment.until(db.delete(["k", 3]));
    const { runs, nonce } = await bucket.root();
    await damage(bucket.store, runKey(nonce, runs[0]), 20);
    await setKeys(bucket, db, 5, 6);
    const report = await bucket.environment.until(db.repair());
    expect(report).toMatchObject({ dropped: [], copy: `${nonce}/ of memory`, generation: 2 });
    expect(await keysOf(bucket, db)).toEqual(upTo(20).filter((i) => i !== 3));
    for (const i of [0, 5, 19]) expect(await bucket.environment.until(db.get(["k", i]))).toBe(i);
  });

  test("lays no slot over what a later one has written", async () => {
    const bucket = new Bucket();
    const db = await openDatabase(bucket);
    const { environment } = bucket;
    for (const round of ["old", "new"]) {
      for (let i = 0; i < 16; i++) await environment.until(db.set(["k", i], `${round} ${i}`));
    }
    const { runs, nonce } = await bucket.root();
    expect(runs).toHaveLength(2);
    await damage(bucket.store, runKey(nonce, runs[1]), 20);
    const report = await environment.until(db.repair());
    expect(report).toMatchObject({ dropped: [], generation: 2 });
    for (let i = 0; i < 16; i++) expect(await environment.until(db.get(["k", i]))).toBe(`new ${i}`);
  });

  test.each([
    ["a run", false],
    ["an object of its own", true],
  ])("finds a large value in %s that is damaged, drops it, and says whose it was", async (_, isStaged) => {
    const bucket = new Bucket();
    const db = await openDatabase(bucket);
    const { environment } = bucket;
    await setKeys(bucket, db, 0, 3);
    const { version = 0 } = await environment.until(db.set(["k", 3], "x".repeat(isStaged ? 300_000 : 10_000)));
    if (!isStaged) await environment.until(db.vacuum());
    const { runs, nonce } = await bucket.root();
    const staged = await bucket.store.list(`${nonce}/staged/`);
    if (isStaged && staged.status === "listed") await damage(bucket.store, staged.objects[0].key, 5000);
    if (!isStaged) await damage(bucket.store, runKey(nonce, runs[0]), 5000);
    if (!isStaged) await bucket.store.delete([slotKey(nonce, 1)]);
    const other = await openDatabase(bucket);
    await expect(environment.until(other.get(["k", 3]))).rejects.toMatchObject({ code: "LedgerDamaged" });
    const { dropped } = await environment.until(db.repair());
    expect(dropped).toMatchObject([
      isStaged ? { part: "ledger", from: version, to: version + 1 } : { part: "snapshot" },
    ]);
    expect(await keysOf(bucket, db)).toEqual(upTo(3));
    await setKeys(bucket, db, 3, 5);
    expect(await keysOf(bucket, await openDatabase(bucket))).toEqual(upTo(5));
  });

  test("brings a large value back that is damaged in a run, and whole in its slot", async () => {
    const bucket = new Bucket();
    const db = await openDatabase(bucket);
    const { environment } = bucket;
    const value = "x".repeat(10_000);
    await environment.until(db.set(["k", 0], value));
    await environment.until(db.vacuum());
    const { runs, nonce } = await bucket.root();
    await damage(bucket.store, runKey(nonce, runs[0]), 5000);
    const other = await openDatabase(bucket);
    expect(await environment.until(other.repair())).toMatchObject({ dropped: [], generation: 2 });
    expect(await environment.until(other.get(["k", 0]))).toBe(value);
  });

  test("does nothing where nothing is damaged", async () => {
    const bucket = new Bucket();
    const db = await openDatabase(bucket);
    await setKeys(bucket, db, 0, 20);
    const before = await bucket.root();
    const report = await bucket.environment.until(db.repair());
    expect(report).toMatchObject({ dropped: [], commits: 4, generation: 1 });
    expect(await bucket.root()).toEqual(before);
  });

  test("is done by open where that is asked for, and not waited for longer than it takes", async () => {
    const bucket = new Bucket();
    const db = await openDatabase(bucket);
    await setKeys(bucket, db, 0, 20);
    await damage(bucket.store, await slotName(bucket, 17), 100);
    const began = bucket.environment.now();
    const repaired = await openRepairable(bucket, { repair: true }).opening;
    expect(bucket.environment.now() - began).toBeLessThan(MINUTE);
    expect(await keysOf(bucket, repaired)).toEqual(upTo(16));
    // A whole ledger is left as it is.
    const root = await bucket.root();
    await openRepairable(bucket, { repair: true }).opening;
    expect(await bucket.root()).toEqual(root);
  });

  test("leaves the ledger to those who have written a checkpoint behind the damage", async () => {
    const bucket = new Bucket();
    const db = await openDatabase(bucket);
    const other = await openDatabase(bucket);
    await setKeys(bucket, db, 0, 15);
    await bucket.environment.until(other.sync());
    await damage(bucket.store, await slotName(bucket, 10), 100);
    const gate = bucket.faulty.gate(({ kind }) => kind === "replace", "before");
    const repair = db.repair();
    await bucket.environment.until(gate.arrived);
    await setKeys(bucket, other, 15, 17);
    await bucket.environment.pass(0);
    expect((await bucket.root()).checkpointSlot).toBe(16);
    gate.open();
    expect(await bucket.environment.until(repair)).toMatchObject({ dropped: [], generation: 1 });
    expect(await keysOf(bucket, db)).toEqual(upTo(17));
  });

  test("of two at once is done once", async () => {
    const bucket = new Bucket();
    const dbs = [await openDatabase(bucket), await openDatabase(bucket)];
    await setKeys(bucket, dbs[0], 0, 10);
    await damage(bucket.store, await slotName(bucket, 8), 100);
    const [first, second] = await bucket.environment.until(Promise.all(dbs.map((db) => db.repair())));
    const dropped = [first, second].map((report) => report.dropped.length).sort((a, b) => a - b);
    expect(dropped).toEqual([0, 3]);
    expect([first.generation, second.generation]).toEqual([2, 2]);
    expect((await bucket.root()).formers).toHaveLength(1);
    for (const db of dbs) expect(await keysOf(bucket, db)).toEqual(upTo(7));
  });

  test("is refused to who may only read", async () => {
    const bucket = new Bucket();
    const db = await openDatabase(bucket);
    await setKeys(bucket, db, 0, 3);
    const reader = await openRepairable(bucket, { readOnly: true }).opening;
    await expect(bucket.environment.until(reader.repair())).rejects.toMatchObject({ code: "ReadOnly" });
  });
});

async function toArray<T>(entries: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const entry of entries) all.push(entry);
  return all;
}

function openRepairable(
  bucket: Bucket,
  options: { readonly repair?: boolean; readonly readOnly?: boolean } = {},
): { readonly opening: Promise<CoreKV>; readonly told: readonly unknown[] } {
  const ledgerAt = (): never => {
    throw new Error("there are no files here");
  };
  const db = new CoreKV({ autoSync: false }, { environment: bucket.environment, ledgerAt, fileWork });
  const told: unknown[] = [];
  db.on("error", (error) => told.push(error));
  const opening = bucket.environment.until(db.open(objectLedger(bucket.counting), options).then(() => db));
  opening.catch(() => undefined);
  return { opening, told };
}
