import { describe, expect, test } from "vitest";
import { memoryLedger } from "../../src/adapters/memory/index.ts";
import type { HistoryEntry } from "../../src/core/history.ts";
import type { MaybePromise } from "../../src/core/environment.ts";
import type { Ledger, LedgerSession } from "../../src/core/ledger.ts";
import { KV } from "../../src/index.node.ts";
import { observed, onEachOrdering, openPair, settles, TestClock, withMembers } from "../support/database.ts";

async function all<T>(entries: AsyncIterable<HistoryEntry<T>>): Promise<HistoryEntry<T>[]> {
  const found: HistoryEntry<T>[] = [];
  for await (const entry of entries) found.push(entry);
  return found;
}

const brief = (entries: readonly HistoryEntry[]): unknown[] =>
  entries.map(({ key, operation, value }) => [key.join("/"), operation, value]);

onEachOrdering((make) => {
  test("scan tells what happened to matching keys, own and others', in commit order", async () => {
    using made = make();
    await using db = await KV.open(made.ledger);
    const clock = new TestClock();
    await using other = await clock.open(made.ledger);
    await db.set(["a"], { n: 1 });
    await other.set(["b", 1], "b");
    await other.atomic().sum(["n"], 2).delete(["a"]).set(["b", 2], "x", { expireIn: 1000 }).set(["b", 2], "y").commit();
    await db
      .atomic()
      .check({ key: ["n"], version: null })
      .set(["b", 3], "void")
      .commit();
    await expect(db.atomic().sum(["b", 1], 1).set(["c"], "void").commit()).rejects.toMatchObject({
      code: "TypeMismatch",
    });
    const { version } = await db
      .atomic()
      .sum(["n"], 5)
      .commit()
      .then((result) => result as { version: number });
    await db.sync();
    const found = await all(db.scan([]));
    expect(brief(found)).toEqual([
      ["a", "set", { n: 1 }],
      ["b/1", "set", "b"],
      ["n", "set", 2],
      ["a", "delete", undefined],
      ["b/2", "set", "y"],
      ["n", "set", 7],
    ]);
    expect(found.at(-1)).toEqual({ key: ["n"], operation: "set", value: 7, version, timestamp: expect.any(Number) });
    const versions = found.map((entry) => entry.version);
    expect(versions).toEqual(versions.toSorted((a, b) => a - b));
    expect([versions[2], versions[3]]).toEqual([versions[4], versions[4]]);
    expect(brief(await all(db.scan(["b", { from: 2 }])))).toEqual([["b/2", "set", "y"]]);
    expect(brief(await all(db.scan(["n"])))).toEqual([
      ["n", "set", 2],
      ["n", "set", 7],
    ]);
    // It follows first, where looking costs little, as every read does whose last look at the ledger is older than a moment.
    clock.elapsed += 5;
    if (made.ledger.name === "bucket") await other.sync();
    expect(await all(other.scan([]))).toEqual(found);
    expect(await all(db.scan(["x"]))).toEqual([]);
  });

  test("history tells of one key, not of what lies below", async () => {
    using made = make();
    await using db = await KV.open(made.ledger);
    await db.set(["a"], 1, { expireIn: 5000 });
    await db.set(["a", "b"], 2);
    await db.delete(["a"]);
    await db.delete(["a"]);
    const found = await all(db.history(["a"]));
    expect(brief(found)).toEqual([
      ["a", "set", 1],
      ["a", "delete", undefined],
      ["a", "delete", undefined],
    ]);
    expect((found[0] as { expiresAt?: number }).expiresAt).toBe(found[0].timestamp + 5000);
    expect(Object.hasOwn(found[1], "expiresAt")).toBe(false);
  });

  test("a history of thousands of commits comes whole, and can be left early", async () => {
    using made = make();
    await using db = await KV.open(made.ledger);
    await Promise.all(Array.from({ length: 3000 }, (_, i) => db.set(["k", i % 3], "x".repeat(300) + i)));
    expect((await all(db.scan(["k", 1]))).length).toBe(1000);
    let seen = 0;
    for await (const _ of db.scan([])) if (++seen === 10) break;
    expect(seen).toBe(10);
  });
});

test("it goes up to the version visible at its beginning, with own pending writes that match", async () => {
  const { ledger, hold, release } = observed(memoryLedger());
  await using db = await KV.open(ledger);
  await db.set(["a"], 1);
  hold();
  const pending = db.set(["a"], 2);
  const first = db.scan(["a"]).next();
  expect(await settles(first)).toBe(false);
  // What does not touch it is not waited for.
  expect(await all(db.scan(["b"]))).toEqual([]);
  release();
  await pending;
  expect(await first).toMatchObject({ value: { value: 1 } });
  const scan = db.scan([]);
  await scan.next();
  await db.set(["a"], 3);
  expect(brief(await all(scan))).toEqual([["a", "set", 2]]);
});

onEachOrdering((make) => {
  test("close ends those that were not told to their end, and lets go of what they read from", async () => {
    using made = make();
    const sessions = new Set<LedgerSession>();
    const open: Ledger["open"] = async (options) => {
      const session = await made.ledger.open(options);
      sessions.add(session);
      const close = (): MaybePromise<void> => {
        sessions.delete(session);
        return session.close();
      };
      return withMembers(session, { close });
    };
    const db = await KV.open({ ...made.ledger, open });
    for (let i = 0; i < 3; i++) await db.set(["a"], i);
    const scan = db.scan([]);
    const history = db.history(["a"]);
    await Promise.all([scan.next(), history.next()]);
    const beginning = Promise.allSettled([db.scan([]).next()]);
    const fresh = db.scan([]);
    await db.close();
    // It may have been quicker.
    const [begun] = await beginning;
    if (begun.status === "rejected") expect(begun.reason).toMatchObject({ code: "Closed" });
    for (const each of [scan, history, fresh]) await expect(each.next()).rejects.toMatchObject({ code: "Closed" });
    expect(sessions.size).toBe(0);
  });
});

test("within an open transaction it goes up to the begin, and knows nothing that is only staged", async () => {
  await using pair = await openPair();
  const { db, other } = pair;
  await db.set(["a"], 1);
  await db.beginTransaction();
  await db.set(["a"], 2);
  await other.set(["a"], 3);
  await db.sync();
  expect(brief(await all(db.history(["a"])))).toEqual([["a", "set", 1]]);
  await db.endTransaction();
  expect((await all(db.history(["a"]))).map(({ value }) => value)).toEqual([1, 3, 2]);
});

describe("values", () => {
  test("are the reader's own, and all types come back", async () => {
    await using db = await KV.open(memoryLedger());
    const value = { date: new Date(5), map: new Map([["a", 1n]]), bytes: Uint8Array.of(1) };
    await db.set(["a"], value);
    const [first] = await all<typeof value>(db.history(["a"]));
    expect(first.value).toEqual(value);
    first.value?.bytes.fill(9);
    expect((await all(db.history(["a"])))[0].value).toEqual(value);
  });
});

test("arguments that cannot be used are refused", async () => {
  await using db = await KV.open(memoryLedger());
  await expect(db.scan([null as never]).next()).rejects.toMatchObject({ code: "InvalidQuery" });
  await expect(db.history([]).next()).rejects.toMatchObject({ code: "InvalidKey" });
  await expect(db.history([{} as never]).next()).rejects.toMatchObject({ code: "InvalidKey" });
  await expect(db.scan([], { limit: 1 } as never).next()).rejects.toMatchObject({ code: "InvalidOption" });
  await expect(db.scan([], { snapshot: 1 } as never).next()).rejects.toMatchObject({ code: "InvalidOption" });
});
