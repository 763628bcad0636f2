import { describe, expect, test } from "vitest";
import { memoryLedger } from "../../src/adapters/memory/index.ts";
import { KV } from "../../src/index.node.ts";
import { observed, onEachOrdering, openPair, settles, TestClock, withLimit } from "../support/database.ts";

/** beginTransaction, endTransaction, abortTransaction. */

onEachOrdering((make) => {
  test("a thousand awaited sets in a transaction are one commit, and nobody sees any of them before its end", async () => {
    using made = make();
    await using pair = await openPair({}, made.ledger);
    const { db, other } = pair;
    const before = (await db.set(["x"], 1)).version as number;
    await db.beginTransaction();
    for (let i = 0; i < 1000; i++) expect(await db.set(["k", i], i)).toEqual({ version: undefined });
    expect(await db.delete(["x"])).toEqual({ version: undefined });
    expect(await other.count([], { consistency: "strong" })).toBe(1);
    const { version } = await db.endTransaction();
    expect(version).toBeGreaterThan(before);
    const entries = await other.listAll(["k"], { consistency: "strong" });
    expect(entries.map(({ value }) => value)).toEqual(Array.from({ length: 1000 }, (_, i) => i));
    expect(new Set(entries.map((entry) => entry.version))).toEqual(new Set([version]));
    expect(await other.has(["x"])).toBe(false);
  });

  test("every kind of read inside sees the own writes, and the state of the begin beneath", async () => {
    using made = make();
    await using pair = await openPair({}, made.ledger);
    const { db, other } = pair;
    await db.set(["a"], "a");
    await db.set(["b"], "b");
    await db.beginTransaction();
    await db.set(["b"], { new: "b" }, { expireIn: 1e6 });
    await db.set(["c"], "c");
    await db.delete(["a"]);
    await other.set(["d"], "foreign");
    await other.set(["c"], "foreign");
    expect(await db.get(["b"])).toEqual({ new: "b" });
    expect(await db.get(["a"])).toBe(null);
    expect(await db.get(["d"])).toBe(null);
    expect(await db.has(["c"])).toBe(true);
    expect(await db.count([])).toBe(2);
    expect(await db.listKeys([], { reverse: true })).toEqual([["c"], ["b"]]);
    expect((await db.listAll([])).map(({ value }) => value)).toEqual([{ new: "b" }, "c"]);
    const found = [];
    for await (const { key } of db.iterate([{ from: "b" }])) found.push(key);
    expect(found).toEqual([["b"], ["c"]]);
    const [a, b, absent] = await db.getMany([["a"], ["b"], ["x"]]);
    expect([a, absent]).toEqual([null, null]);
    expect(b).toMatchObject({ value: { new: "b" }, version: undefined });
    expect(b?.expiresAt).toBe((b?.timestamp as number) + 1e6);
    expect(await db.getEntry(["c"])).toMatchObject({ value: "c", version: undefined });
    expect(await db.get(["d"], { consistency: "strong" })).toBe(null);
    await db.abortTransaction();
    await db.sync();
    expect(await db.get(["d"])).toBe("foreign");
    expect(await db.get(["a"])).toBe("a");
    expect(await db.get(["b"])).toBe("b");
  });
});

test("values read inside are the reader's own, and those staged are as they were at the call", async () => {
  await using db = await KV.open(memoryLedger());
  await db.beginTransaction();
  const value = { list: [1], bytes: Uint8Array.of(1) };
  await db.set(["a"], value);
  value.list.push(2);
  const read = (await db.get(["a"])) as typeof value;
  expect(read).toEqual({ list: [1], bytes: Uint8Array.of(1) });
  read.list.push(3);
  read.bytes[0] = 9;
  await db.endTransaction();
  expect(await db.get(["a"])).toEqual({ list: [1], bytes: Uint8Array.of(1) });
});

test("it never conflicts: it overwrites what others wrote since it began", async () => {
  await using pair = await openPair();
  const { db, other } = pair;
  await db.set(["a"], 1);
  await db.beginTransaction();
  const read = (await db.get(["a"])) as number;
  await other.set(["a"], 10);
  await db.set(["a"], read + 1);
  await db.endTransaction();
  expect(await other.get(["a"], { consistency: "strong" })).toBe(2);
});

test("only what is staged is committed, in order, and with nothing staged nothing is appended", async () => {
  const { ledger, appends } = observed(memoryLedger());
  await using db = await KV.open(ledger);
  const { version } = await db.set(["x"], 1);
  await db.beginTransaction();
  await db.get(["x"]);
  expect(await db.endTransaction()).toEqual({ version });
  await db.beginTransaction();
  await db.set(["x"], 2);
  await db.abortTransaction();
  expect(appends.length).toBe(1);
  const seen: unknown[] = [];
  db.watch([], ({ key, operation }) => seen.push([key, operation]));
  await db.beginTransaction();
  await db.set(["a"], 1);
  await db.set(["b"], 1);
  await db.delete(["a"]);
  await db.endTransaction();
  // One outcome a key, where its last operation stands.
  expect(seen).toEqual([
    [["b"], "set"],
    [["a"], "delete"],
  ]);
});

test("atomic commits and transaction(fn) never join it", async () => {
  await using pair = await openPair();
  const { db, other } = pair;
  await db.beginTransaction();
  await db.set(["staged"], 1);
  expect(await db.atomic().set(["a"], 1).commit()).toMatchObject({ ok: true });
  await db.transaction(async (tx) => {
    expect(await tx.get(["staged"])).toBe(null);
    expect(await tx.get(["a"])).toBe(1);
    tx.set(["b"], 1);
  });
  expect(await other.listKeys([], { consistency: "strong" })).toEqual([["a"], ["b"]]);
  expect(await db.listKeys([])).toEqual([["staged"]]);
  await db.abortTransaction();
  expect(await db.listKeys([])).toEqual([["a"], ["b"]]);
});

test("a cursor of a staged write goes on in its transaction, and is refused after it: the write has another place then", async () => {
  await using db = await KV.open(memoryLedger());
  await db.set(["a"], 1);
  await db.beginTransaction();
  await db.set(["b"], 1);
  await db.set(["c"], 1);
  const order = "version";
  const [, { cursor }] = await db.listAll([], { order });
  expect(await db.listKeys([], { order, cursor })).toEqual([["c"]]);
  const byKey = (await db.listAll([]))[1].cursor;
  await db.endTransaction();
  await db.set(["d"], 1);
  const refused = { code: "InvalidOption", outcome: "not committed" };
  await expect(db.listKeys([], { order, cursor })).rejects.toMatchObject(refused);
  await expect(db.listAll([], { order, cursor })).rejects.toMatchObject(refused);
  expect(() => db.iterate([], { order, cursor })).toThrow(expect.objectContaining(refused));
  expect(await db.listKeys([], { cursor: byKey })).toEqual([["c"], ["d"]]);
  await db.transaction(async (tx) => {
    tx.set(["e"], 1);
    const { cursor: own } = (await tx.listAll(["e"], { order }))[0];
    tx.set(["f"], 1);
    expect(await tx.listKeys([], { order, cursor: own })).toEqual([["f"]]);
  });
});

describe("calls out of order", () => {
  test("a second begin, an end or abort without a begin, are typed errors", async () => {
    await using db = await KV.open(memoryLedger());
    const none = { code: "NoTransaction", outcome: "not committed" };
    await expect(db.endTransaction()).rejects.toMatchObject(none);
    await expect(db.abortTransaction()).rejects.toMatchObject(none);
    await db.beginTransaction();
    await expect(db.beginTransaction()).rejects.toMatchObject({ code: "TransactionOpen", outcome: "not committed" });
    await db.endTransaction();
    await db.beginTransaction();
    await db.abortTransaction();
    await expect(db.abortTransaction()).rejects.toMatchObject({ code: "NoTransaction" });
  });
});

describe("a begin that waits for earlier writes", () => {
  async function waiting(): Promise<{ db: KV; release: () => void; begun: Promise<void>; earlier: Promise<unknown> }> {
    const { ledger, hold, release } = observed(memoryLedger());
    const db = await KV.open(ledger);
    await db.set(["old"], 1);
    hold();
    const earlier = db.set(["earlier"], 1);
    const begun = db.beginTransaction();
    expect(await settles(begun)).toBe(false);
    return { db, release, begun, earlier };
  }

  test("sees them, and takes what is written meanwhile", async () => {
    const { db, release, begun, earlier } = await waiting();
    expect(await db.set(["inside"], 1)).toEqual({ version: undefined });
    const reads = [db.get(["earlier"]), db.count(["earlier"]), db.listAll(["earlier"]), db.getMany([["earlier"]])];
    expect(await db.deleteAll([{ from: "i" }])).toBe(2);
    await db.set(["last"], 1);
    await expect(db.beginTransaction()).rejects.toMatchObject({ code: "TransactionOpen" });
    release();
    await Promise.all([begun, earlier]);
    expect(await Promise.all(reads)).toMatchObject([1, 1, [{ value: 1 }], [{ value: 1 }]]);
    expect(await db.listKeys([])).toEqual([["earlier"], ["last"]]);
    await db.endTransaction();
    expect(await db.listKeys([])).toEqual([["earlier"], ["last"]]);
    expect(db.stats().snapshots.count).toBe(0);
    await db.close();
  });

  test("can be aborted before it has begun", async () => {
    const { db, release, begun, earlier } = await waiting();
    await db.set(["inside"], 1);
    await db.abortTransaction();
    release();
    await Promise.all([begun, earlier]);
    expect(await db.listKeys([])).toEqual([["earlier"], ["old"]]);
    expect(db.stats().snapshots.count).toBe(0);
    await db.close();
  });

  test("can be ended before it has begun", async () => {
    const { db, release, begun, earlier } = await waiting();
    await db.delete(["earlier"]);
    const reads = [db.count([]), db.getMany([["old"]]), db.listKeys([])];
    const ended = db.endTransaction();
    release();
    await Promise.all([begun, earlier, ended]);
    expect(await Promise.all(reads)).toMatchObject([1, [{ value: 1 }], [["old"]]]);
    expect(await db.listKeys([])).toEqual([["old"]]);
    expect(db.stats().snapshots.count).toBe(0);
    await db.close();
  });
});

test("a begin follows the ledger first, as a read does", async () => {
  const ledger = memoryLedger();
  await using other = await KV.open(ledger);
  const clock = new TestClock();
  const db = await clock.open(ledger);
  await other.set(["a"], 1);
  // A look at the ledger that is younger than a moment serves.
  clock.elapsed += 5;
  await db.beginTransaction();
  expect(await db.get(["a"])).toBe(1);
  await db.abortTransaction();
  await db.close();
});

describe("what does not fit", () => {
  test("is refused at the call, and the transaction stays open with what it had", async () => {
    await using db = await KV.open(withLimit(memoryLedger(), 500));
    await db.beginTransaction();
    await db.set(["a"], "x".repeat(200));
    const refused = { code: "CommitTooLarge", outcome: "not committed" };
    await expect(db.set(["b"], "x".repeat(400))).rejects.toMatchObject(refused);
    expect(await db.has(["b"])).toBe(false);
    await db.set(["c"], 1);
    expect(await db.endTransaction()).toMatchObject({ version: expect.any(Number) });
    expect(await db.listKeys([])).toEqual([["a"], ["c"]]);
  });

  test("deletes all of what a query matches or nothing of it", async () => {
    await using db = await KV.open(withLimit(memoryLedger(), 500));
    for (let i = 0; i < 50; i++) await db.set(["key", i], i);
    await db.beginTransaction();
    await expect(db.deleteAll(["key"])).rejects.toMatchObject({ code: "CommitTooLarge" });
    expect(await db.count([])).toBe(50);
    expect(await db.deleteAll(["key", { to: 9 }])).toBe(10);
    await db.endTransaction();
    expect(await db.count([])).toBe(40);
  });

  test("after the end was refused nothing is staged", async () => {
    const { ledger, hold, release } = observed(memoryLedger());
    await using db = await KV.open(ledger, { pendingBytesMax: 100 });
    await db.beginTransaction();
    await db.set(["a"], "x".repeat(80));
    hold();
    const pending = db.atomic().set(["b"], "x".repeat(50)).commit();
    await expect(db.endTransaction()).rejects.toMatchObject({ code: "QueueFull", outcome: "not committed" });
    release();
    await pending;
    await expect(db.endTransaction()).rejects.toMatchObject({ code: "NoTransaction" });
    expect(await db.listKeys([])).toEqual([["b"]]);
  });

  test("what cannot be a key or a value is refused as ever", async () => {
    await using db = await KV.open(memoryLedger());
    await db.beginTransaction();
    await expect(db.set([], 1)).rejects.toMatchObject({ code: "InvalidKey" });
    await expect(db.set(["a"], () => 1)).rejects.toMatchObject({ code: "InvalidValue" });
    await expect(db.set(["a"], 1, { expireIn: -1 })).rejects.toMatchObject({ code: "InvalidOption" });
    await expect(db.get(["a"], { consistency: "weak" as never })).rejects.toMatchObject({ code: "InvalidOption" });
    expect(await db.count([])).toBe(0);
    await db.abortTransaction();
  });
});

test.each(["endTransaction", "abortTransaction"] as const)(
  "a set whose value calls %s in a getter, before anything is staged, is refused and not lost in silence",
  async (end) => {
    await using db = await KV.open(memoryLedger());
    await db.beginTransaction();
    let ended: Promise<unknown> | undefined;
    const value = {
      get a(): number {
        ended = db[end]();
        return 1;
      },
    };
    await expect(db.set(["a"], value)).rejects.toMatchObject({ code: "InvalidArgument", outcome: "not committed" });
    await ended;
    expect(await db.has(["a"])).toBe(false);
    await db.set(["a"], 2);
    expect(await db.get(["a"])).toBe(2);
  },
);

describe("what was called while it was open", () => {
  test("sees what it saw, also where it is walked through only after its end", async () => {
    await using db = await KV.open(memoryLedger());
    for (const key of ["a", "b", "c"]) await db.set([key], key);
    await db.beginTransaction();
    await db.set(["d"], "staged");
    const iterator = db.iterate([]);
    const unused = db.iterate([]);
    const closed = db.iterate([]);
    await db.endTransaction();
    await db.set(["b"], "later");
    await db.delete(["c"]);
    await db.set(["d"], "later");
    const found: unknown[] = [];
    for await (const { key, value } of iterator) found.push([key[0], value]);
    expect(found).toEqual([
      ["a", "a"],
      ["b", "b"],
      ["c", "c"],
      ["d", "staged"],
    ]);
    expect(db.stats().snapshots.count).toBe(1);
    await unused.return();
    expect(db.stats().snapshots.count).toBe(1);
    await closed.return();
    expect(db.stats().snapshots.count).toBe(0);
  });
});

test("left open at close it is dropped, and close says so after it has closed", async () => {
  const ledger = memoryLedger();
  const db = await KV.open(ledger);
  await db.beginTransaction();
  await db.set(["a"], 1);
  await expect(db.close()).rejects.toMatchObject({ code: "TransactionOpen", outcome: "not committed" });
  expect(db.isOpen()).toBe(false);
  await expect(db.get(["a"])).rejects.toMatchObject({ code: "Closed" });
  await using again = await KV.open(ledger);
  expect(await again.count([])).toBe(0);
});

test("its clock is read once, at the begin", async () => {
  const clock = new TestClock();
  const db = await clock.open(memoryLedger());
  await db.set(["a"], 1, { expireIn: 100 });
  await db.beginTransaction();
  clock.time += 200;
  expect(await db.get(["a"])).toBe(1);
  expect(await db.count([])).toBe(1);
  await db.abortTransaction();
  expect(await db.get(["a"])).toBe(null);
  await db.close();
});

test("in the order of versions staged entries come last, in the order in which they were written", async () => {
  await using db = await KV.open(memoryLedger());
  await db.set(["z"], 1);
  await db.set(["y"], 1);
  await db.beginTransaction();
  for (const key of ["d", "b", "z"]) await db.set([key], 1);
  await db.has(["b"]);
  for (const key of ["c", "a", "b"]) await db.set([key], 1);
  const inside = await db.listKeys([], { order: "version" });
  expect(inside).toEqual([["y"], ["d"], ["z"], ["c"], ["a"], ["b"]]);
  expect((await db.listAll([], { order: "version", reverse: true, limit: 2 })).map(({ key }) => key)).toEqual([
    ["b"],
    ["a"],
  ]);
  await db.endTransaction();
  expect(await db.listKeys([], { order: "version" })).toEqual(inside);
});
