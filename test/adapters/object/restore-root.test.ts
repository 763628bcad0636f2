import { describe, expect, test } from "vitest";
import { objectLedger } from "../../../src/adapters/object/ledger.ts";
import { runKey, slotKey } from "../../../src/adapters/object/layout.ts";
import { fileWork } from "../../../src/core/file-work.ts";
import { CoreKV } from "../../../src/core/kv.ts";
import type { OpenOptions } from "../../../src/core/options.ts";
import { Bucket } from "../../support/bucket.ts";
import { openDatabase, setKeys } from "../../support/bucket-database.ts";

const HOUR = 3_600_000;
const upTo = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

function opening(bucket: Bucket, options: OpenOptions = {}): Promise<CoreKV> {
  const ledgerAt = (): never => {
    throw new Error("there are no files here");
  };
  const db = new CoreKV({ autoSync: false }, { environment: bucket.environment, ledgerAt, fileWork });
  return bucket.environment.until(db.open(objectLedger(bucket.counting), options).then(() => db));
}

async function keysOf(bucket: Bucket, db: CoreKV): Promise<unknown[]> {
  return (await bucket.environment.until(db.listKeys(["k"]))).map(([, key]) => key);
}

async function spoilRoot({ store }: Bucket): Promise<void> {
  const found = await store.get("root");
  if (found.status !== "found") throw new Error(found.status);
  const bytes = found.bytes.slice();
  bytes[60] ^= 1;
  await store.replace("root", bytes, found.etag);
}

const loseRoot = ({ store }: Bucket): Promise<unknown> => store.delete(["root"]);

/** What must hold once the root is restored: everything is there, for whoever opens it, and can be written. */
async function isWhole(bucket: Bucket, db: CoreKV, count: number): Promise<void> {
  expect(db.stats().damage).toEqual([]);
  expect(await keysOf(bucket, db)).toEqual(upTo(count));
  await setKeys(bucket, db, count, count + 20);
  const other = await opening(bucket);
  expect(await keysOf(bucket, other)).toEqual(upTo(count + 20));
  for (const i of [0, count + 19]) expect(await bucket.environment.until(other.get(["k", i]))).toBe(i);
}

describe.each([
  ["is gone", loseRoot],
  ["is damaged", spoilRoot],
] as const)("a bucket's root that %s", (how, lose) => {
  test.each([0, 3, 20, 170])("is made anew where that is asked for, with %i slots written", async (count) => {
    const bucket = new Bucket();
    const writer = await openDatabase(bucket);
    await setKeys(bucket, writer, 0, count);
    const before = await bucket.root();
    await lose(bucket);
    // Of an empty ledger nothing is left.
    if (count > 0 || lose === spoilRoot) await expect(opening(bucket)).rejects.toMatchObject({ code: "LedgerDamaged" });
    if (count === 0) return;
    const db = await opening(bucket, { repair: true });
    const { nonce, ledgerId, runs } = await bucket.root();
    expect({ nonce, runs }).toEqual({ nonce: before.nonce, runs: before.runs });
    expect(ledgerId).not.toBe(before.ledgerId);
    const copies = await bucket.store.list("root.damaged-");
    expect(copies).toMatchObject({ objects: lose === spoilRoot ? [{}] : [] });
    expect(db.stats().session).toMatchObject({ header: "new" });
    expect(db.stats().session.damagedCopy !== undefined).toBe(lose === spoilRoot);
    await isWhole(bucket, db, count);
    // Who was there before goes on.
    await setKeys(bucket, writer, count + 20, count + 22);
    await bucket.environment.until(db.sync());
    expect(await keysOf(bucket, db)).toEqual(upTo(count + 22));
  });

  test("is made anew without slots and runs that are not there any more", async () => {
    const bucket = new Bucket();
    const writer = await openDatabase(bucket, { graceMs: HOUR });
    for (let i = 0; i < 10; i++) {
      await setKeys(bucket, writer, i * 30, (i + 1) * 30);
      await bucket.environment.pass(HOUR);
    }
    const { floor, swept } = await bucket.root();
    expect(Math.min(floor, swept)).toBeGreaterThan(100);
    await lose(bucket);
    await isWhole(bucket, await opening(bucket, { repair: true }), 300);
  });

  test("lets the slots go that its checkpoint covers, when the grace is over", async () => {
    const bucket = new Bucket();
    await setKeys(bucket, await openDatabase(bucket), 0, 60);
    const { nonce, checkpointSlot } = await bucket.root();
    expect(checkpointSlot).toBeGreaterThan(40);
    await lose(bucket);
    await opening(bucket, { repair: true });
    const db = await openDatabase(bucket, { graceMs: HOUR });
    await setKeys(bucket, db, 60, 80);
    for (let minutes = 0; minutes < 80; minutes += 5) {
      await bucket.environment.pass(5 * 60_000);
      await bucket.environment.until(db.sync());
      await bucket.environment.pass(1000);
    }
    const listed = await bucket.store.list(`${nonce}/log/`, { limit: 1 });
    expect(listed).toMatchObject({ objects: [{ key: slotKey(nonce, checkpointSlot) }] });
    await isWhole(bucket, db, 80);
  });

  test("is that of the incarnation that a repair has begun, whether it was written to or not", async () => {
    for (const count of [0, 5]) {
      const bucket = new Bucket();
      const db = await openDatabase(bucket);
      await setKeys(bucket, db, 0, 20);
      const { nonce: old } = await bucket.root();
      await bucket.store.delete([slotKey(old, 18)]);
      await bucket.environment.until(db.repair());
      await setKeys(bucket, db, 17, 17 + count);
      const { nonce } = await bucket.root();
      await lose(bucket);
      const restored = await opening(bucket, { repair: true });
      const root = await bucket.root();
      expect(root).toMatchObject({ nonce, formers: [{ nonce: old }] });
      await isWhole(bucket, restored, 17 + count);
    }
  });

  test("is that of the one of two repairs that has come to be, and none is begun in the place of what it has left", async () => {
    const bucket = new Bucket();
    const dbs = [await openDatabase(bucket), await openDatabase(bucket)];
    await setKeys(bucket, dbs[0], 0, 20);
    await bucket.store.delete([slotKey((await bucket.root()).nonce, 18)]);
    await bucket.environment.until(Promise.all(dbs.map((each) => each.repair())));
    const { nonce, runs } = await bucket.root();
    const listed = await bucket.store.list("");
    if (listed.status !== "listed") throw new Error(listed.status);
    expect(listed.objects.filter(({ key }) => key.includes("/run/"))).toHaveLength(3);
    await lose(bucket);
    await expect(opening(bucket)).rejects.toMatchObject({ code: "LedgerDamaged" });
    const restored = await opening(bucket, { repair: true });
    expect(await bucket.root()).toMatchObject({ nonce, runs });
    await isWhole(bucket, restored, 17);
  });

  test("is that of the one before, of which nothing is lost, where a repair could not note that it has come to be", async () => {
    const bucket = new Bucket();
    const db = await openDatabase(bucket);
    await setKeys(bucket, db, 0, 20);
    const { nonce } = await bucket.root();
    await bucket.store.delete([slotKey(nonce, 18)]);
    bucket.faulty.fate = ({ keys }) => (keys[0].endsWith("/begun") ? { fault: { kind: "overloaded" } } : undefined);
    await bucket.environment.until(db.repair());
    expect((await bucket.root()).nonce).not.toBe(nonce);
    await lose(bucket);
    const restored = await opening(bucket, { repair: true });
    expect((await bucket.root()).formers[0]).toMatchObject({ nonce });
    await isWhole(bucket, restored, 17);
  });

  test("is not that of a repair that has come to nothing", async () => {
    const bucket = new Bucket();
    const db = await openDatabase(bucket);
    await setKeys(bucket, db, 0, 20);
    const { nonce } = await bucket.root();
    const run = { epoch: 1, from: 1, to: 2_000_000, random: "0".repeat(16) };
    await bucket.store.create(runKey("f".repeat(32), run), new Uint8Array(1000));
    await lose(bucket);
    const restored = await opening(bucket, { repair: true });
    expect(await bucket.root()).toMatchObject({ nonce });
    await isWhole(bucket, restored, 20);
  });

  test("and a run beside it: what is lost comes out of slots", async () => {
    const bucket = new Bucket();
    const db = await openDatabase(bucket);
    await setKeys(bucket, db, 0, 40);
    const { runs, nonce } = await bucket.root();
    expect(runs).toHaveLength(2);
    await bucket.store.delete([runKey(nonce, runs[0])]);
    await lose(bucket);
    await isWhole(bucket, await opening(bucket, { repair: true }), 40);
  });

  test.each([
    ["the oldest", -1, 128],
    ["one in the middle", -2, 63],
  ] as const)(
    "and with it %s of the runs, whose slots are gone: that is told, and all else kept",
    async (_, at, lost) => {
      const bucket = new Bucket();
      const writer = await openDatabase(bucket, { graceMs: HOUR });
      for (let i = 0; i < 10; i++) {
        await setKeys(bucket, writer, i * 30, (i + 1) * 30);
        await bucket.environment.pass(HOUR);
      }
      const { runs, nonce } = await bucket.root();
      const named = runs.map((run) => runKey(nonce, run));
      const listed = await bucket.store.list(`${nonce}/run/`);
      if (listed.status !== "listed") throw new Error(listed.status);
      // Those that others have taken the place of are deleted after a while, and were not yet.
      const superseded = listed.objects.map(({ key }) => key).filter((key) => !named.includes(key));
      await bucket.store.delete([...superseded, named.at(at) as string]);
      await lose(bucket);
      const db = await opening(bucket, { repair: true });
      const told: unknown[] = [];
      db.on("error", (error) => told.push(error));
      const keys = await keysOf(bucket, db);
      expect(told).toMatchObject([{ code: "LedgerDamaged", ranges: [{}] }]);
      expect(keys).toHaveLength(300 - lost);
      await setKeys(bucket, db, 300, 310);
      const other = await opening(bucket);
      expect(await keysOf(bucket, other)).toEqual([...keys, ...upTo(310).slice(300)]);
    },
  );

  test("and with it everything but a run that is damaged: that is told", async () => {
    const bucket = new Bucket();
    await setKeys(bucket, await openDatabase(bucket), 0, 20);
    const { runs, nonce } = await bucket.root();
    await lose(bucket);
    await bucket.store.delete(upTo(21).map((slot) => slotKey(nonce, slot)));
    const key = runKey(nonce, runs[0]);
    await bucket.store.delete([key]);
    await bucket.store.create(key, new Uint8Array(1000));
    const db = await opening(bucket, { repair: true });
    const told: unknown[] = [];
    db.on("error", (error) => told.push(error));
    expect(await keysOf(bucket, db)).toEqual([]);
    expect(told).toMatchObject([{ code: "LedgerDamaged" }]);
  });

  test("and with it a slot: both are repaired, and what became of the root is told afterwards too", async () => {
    const bucket = new Bucket();
    await setKeys(bucket, await openDatabase(bucket), 0, 10);
    const { nonce } = await bucket.root();
    await bucket.store.delete([slotKey(nonce, 8)]);
    await bucket.store.create(slotKey(nonce, 8), new Uint8Array(100));
    await lose(bucket);
    const db = await opening(bucket, { repair: true });
    expect(db.stats()).toMatchObject({ generation: 2, damage: [], session: { header: "new" } });
    expect(await keysOf(bucket, db)).toEqual(upTo(7));
  });

  test("is made anew by repair() as well, which says so", async () => {
    const bucket = new Bucket();
    const db = await openDatabase(bucket);
    await setKeys(bucket, db, 0, 20);
    await lose(bucket);
    const { header, copy, dropped, text } = await bucket.environment.until(db.repair());
    expect({ header, dropped }).toEqual({ header: "new", dropped: [] });
    expect(copy === undefined).toBe(how === "is gone");
    expect(text).toContain("anew");
    await isWhole(bucket, db, 20);
  });

  test("by two at once is made anew once", async () => {
    const bucket = new Bucket();
    const writer = await openDatabase(bucket);
    await setKeys(bucket, writer, 0, 20);
    await lose(bucket);
    const [first, second] = await Promise.all([0, 1].map(() => opening(bucket, { repair: true })));
    expect(first.stats().ledgerId).toBe(second.stats().ledgerId);
    await isWhole(bucket, first, 20);
  });

  test("stays that of who has made it anew, and has gone on with it, while another one looked for what is left", async () => {
    const bucket = new Bucket();
    await setKeys(bucket, await openDatabase(bucket), 0, 20);
    await bucket.store.delete([slotKey((await bucket.root()).nonce, 18)]);
    await lose(bucket);
    let isProbed = false;
    const gate = bucket.faulty.gate(({ kind, keys: [key] }) => {
      isProbed ||= kind === "delete" && key.startsWith("probe-");
      return isProbed && kind === "list" && key === "";
    }, "before");
    const late = opening(bucket, { repair: true });
    await bucket.environment.until(gate.arrived);
    const first = await opening(bucket, { repair: true });
    await setKeys(bucket, first, 17, 25);
    const { nonce, ledgerId } = await bucket.root();
    gate.open();
    const second = await late;
    expect(await bucket.root()).toMatchObject({ nonce, ledgerId });
    await isWhole(bucket, second, 25);
  });

  test("stays as it is for who may only read", async () => {
    const bucket = new Bucket();
    await setKeys(bucket, await openDatabase(bucket), 0, 20);
    await lose(bucket);
    const reading = opening(bucket, { repair: true, readOnly: true });
    await expect(reading).rejects.toMatchObject({ code: how === "is gone" ? "LedgerMissing" : "LedgerDamaged" });
  });
});

test("a bucket of which something with gaps is left, of authors that had not heard of its end, begins anew", async () => {
  const bucket = new Bucket();
  await setKeys(bucket, await openDatabase(bucket), 0, 20);
  const { nonce, runs } = await bucket.root();
  const listed = await bucket.store.list("");
  if (listed.status !== "listed") throw new Error(listed.status);
  const left = [slotKey(nonce, 19), slotKey(nonce, 20), runKey(nonce, runs[0])];
  await bucket.store.delete(listed.objects.map(({ key }) => key).filter((key) => !left.includes(key)));
  const db = await opening(bucket);
  expect(await keysOf(bucket, db)).toEqual([]);
  expect(await bucket.root()).not.toMatchObject({ nonce });
});

test("a ledger that somebody creates while another one looks for one is not taken for one that has lost its root", async () => {
  const bucket = new Bucket();
  const gate = bucket.faulty.gate(({ kind }) => kind === "list", "before");
  const late = opening(bucket);
  await bucket.environment.until(gate.arrived);
  await setKeys(bucket, await openDatabase(bucket, { store: bucket.store }), 0, 20);
  gate.open();
  expect(await keysOf(bucket, await late)).toEqual(upTo(20));
});
