import { describe, expect, test } from "vitest";
import { memoryLedger } from "../../src/adapters/memory/index.ts";
import { CommitBuilder } from "../../src/core/commit-builder.ts";
import { encodeKey } from "../../src/core/key.ts";
import type { CoreKV } from "../../src/core/kv.ts";
import type { Ledger } from "../../src/core/ledger.ts";
import { nodeEnvironment } from "../../src/platform/environment-node.ts";
import { onEachOrdering, TestClock } from "../support/database.ts";

/** How every kind of read sees a key. */
async function seen(db: CoreKV, key: string): Promise<boolean[]> {
  const entries = await db.listAll([key]);
  return [
    (await db.get([key])) !== null,
    (await db.getEntry([key])) !== null,
    await db.has([key]),
    (await db.getMany([[key]]))[0] !== null,
    (await db.count([key])) === 1,
    (await db.listKeys([key])).length === 1,
    entries.length === 1,
    (await db.listAll([key], { order: "version" })).length === 1,
    (await db.listAll([{ from: key, to: key }], { reverse: true })).length === 1,
  ];
}

const all = (value: boolean): boolean[] => Array.from({ length: 9 }, () => value);

onEachOrdering((make) => {
  test("an entry is gone for every read from the time on that is its commit's plus expireIn", async () => {
    using made = make();
    const clock = new TestClock();
    const db = await clock.open(made.ledger);
    const start = clock.time;
    await db.set(["a"], "a", { expireIn: 1000 });
    await db.set(["n"], 1, { expireIn: 1000 });
    expect(await db.getEntry(["a"])).toMatchObject({ timestamp: start, expiresAt: start + 1000 });
    clock.time = start + 999;
    expect(await seen(db, "a")).toEqual(all(true));
    clock.time = start + 1000;
    expect(await seen(db, "a")).toEqual(all(false));
    expect(await seen(db, "n")).toEqual(all(false));
    await db.close();
    const again = await clock.open(made.ledger);
    expect(await seen(again, "a")).toEqual(all(false));
    clock.time = start;
    expect(await seen(again, "a")).toEqual(all(true));
    await again.close();
  });
});

test("a plain set clears it, another expireIn replaces it", async () => {
  const clock = new TestClock();
  const db = await clock.open(memoryLedger());
  await db.set(["a"], 1, { expireIn: 10 });
  await db.set(["a"], 1);
  expect(Object.hasOwn((await db.getEntry(["a"])) as object, "expiresAt")).toBe(false);
  await db.set(["b"], 1, { expireIn: 10 });
  await db.set(["b"], 1, { expireIn: 20 });
  clock.time += 15;
  expect(await db.count([])).toBe(2);
  clock.time += 5;
  expect(await db.listKeys([])).toEqual([["a"]]);
  await db.close();
});

test("each reader goes by its own clock", async () => {
  const ledger = memoryLedger();
  const [slow, fast] = [new TestClock(), new TestClock()];
  fast.time += 5000;
  const db = await slow.open(ledger);
  const other = await fast.open(ledger);
  await db.set(["a"], 1, { expireIn: 1000 });
  expect([await db.has(["a"]), await other.has(["a"], { consistency: "strong" })]).toEqual([true, false]);
  await Promise.all([db.close(), other.close()]);
});

describe("a commit goes by its author's timestamp, whatever the clocks of those who follow", () => {
  test("for checks and for sums, in every replica alike", async () => {
    const ledger = memoryLedger();
    const [slow, fast] = [new TestClock(), new TestClock()];
    fast.time += 5000;
    const db = await slow.open(ledger);
    const other = await fast.open(ledger);
    const entry = (): Promise<{ version: number | undefined }> => db.set(["n"], 1, { expireIn: 1000 });
    const version = (await entry()).version as number;
    // For the fast one it has expired, for the slow one it is there.
    expect(
      await other
        .atomic()
        .check({ key: ["n"], version })
        .commit(),
    ).toEqual({ ok: false });
    expect(
      await db
        .atomic()
        .check({ key: ["n"], version })
        .sum(["n"], 1)
        .commit(),
    ).toMatchObject({ ok: true });
    expect(
      await other
        .atomic()
        .check({ key: ["n"], version: null })
        .sum(["n"], 5)
        .commit(),
    ).toMatchObject({ ok: true });
    expect(await db.get(["n"], { consistency: "strong" })).toBe(5);
    expect(await other.get(["n"])).toBe(5);
    expect(Object.hasOwn((await db.getEntry(["n"])) as object, "expiresAt")).toBe(false);
    await Promise.all([db.close(), other.close()]);
  });

  test("within one commit an expireIn of nearly nothing is there for what follows", async () => {
    const db = await new TestClock().open(memoryLedger());
    await db.atomic().set(["a"], 1, { expireIn: 1 }).sum(["a"], 1, { expireIn: 99 }).commit();
    const entry = await db.getEntry(["a"]);
    expect(entry).toMatchObject({ value: 2, expiresAt: (entry?.timestamp as number) + 1 });
    await db.close();
  });
});

test("a listing reads its clock once, at its beginning", async () => {
  const clock = new TestClock();
  const db = await clock.open(memoryLedger());
  for (let i = 0; i < 5; i++) await db.set(["k", i], i, { expireIn: 1000 });
  const iterator = db.iterate(["k"]);
  await iterator.next();
  clock.time += 5000;
  const rest: unknown[] = [];
  for await (const { value } of iterator) rest.push(value);
  expect(rest).toEqual([1, 2, 3, 4]);
  expect(await db.count([])).toBe(0);
  await db.close();
});

test("what expires fires no watch, and a delete of it is a delete", async () => {
  const clock = new TestClock();
  const db = await clock.open(memoryLedger());
  const seen: unknown[] = [];
  db.watch([], (entry) => seen.push([entry.operation, entry.operation === "set" ? entry.expiresAt : undefined]));
  await db.set(["a"], 1, { expireIn: 10 });
  clock.time += 100;
  await db.sync();
  expect(await db.has(["a"])).toBe(false);
  expect(seen).toEqual([["set", clock.time - 90]]);
  await db.delete(["a"]);
  expect(seen.length).toBe(2);
  await db.close();
});

test("a purge commit removes long expired entries for everybody; watchers and history see deletes", async () => {
  const ledger = memoryLedger();
  const clock = new TestClock();
  const db = await clock.open(ledger);
  const { version } = await db.set(["old"], "x", { expireIn: 10 });
  const kept = await db.set(["young"], "x", { expireIn: 5000 });
  const changed = await db.set(["changed"], "x", { expireIn: 10 });
  await db.set(["changed"], "y", { expireIn: 10 });
  const seen: unknown[] = [];
  db.watch([], ({ key, operation }) => seen.push([key, operation]));
  const entries = Object.entries({ old: version, young: kept.version, changed: changed.version });
  await appendPurge(ledger, clock.time + 2000, 1000, entries as [string, number][]);
  await db.sync();
  expect(seen).toEqual([[["old"], "delete"]]);
  // For a clock that stands before the expiry the others are still there.
  expect(await db.listKeys([])).toEqual([["changed"], ["young"]]);
  const history: unknown[] = [];
  for await (const { key, operation } of db.scan(["old"])) history.push([key, operation]);
  expect(history).toEqual([
    [["old"], "set"],
    [["old"], "delete"],
  ]);
  await db.close();
});

/** Appends a purge commit as another process would. */
async function appendPurge(ledger: Ledger, time: number, afterMs: number, entries: [string, number][]): Promise<void> {
  const options = { createIfMissing: false, readOnly: false, allowNetworkFileSystem: false };
  const session = await ledger.open({ ...options, environment: nodeEnvironment });
  const builder = new CommitBuilder(nodeEnvironment, 1e6);
  builder.purge(
    afterMs,
    entries.map(([key, version]) => ({ key: encodeKey([key]), version })),
  );
  const { payload } = builder.finish();
  await session.append([{ writer: new Uint8Array(12), counter: 1, timestamp: time, payload }], session.start);
  await session.close();
}

test("expireIn is a positive, finite number", async () => {
  const db = await new TestClock().open(memoryLedger());
  for (const expireIn of [0, -1, NaN, Infinity, "5", null, 5n]) {
    const options = { expireIn: expireIn as number };
    await expect(db.set(["a"], 1, options)).rejects.toMatchObject({ code: "InvalidOption" });
    expect(() => db.atomic().set(["a"], 1, options)).toThrow(expect.objectContaining({ code: "InvalidOption" }));
    expect(() => db.atomic().sum(["a"], 1, options)).toThrow(expect.objectContaining({ code: "InvalidOption" }));
  }
  await db.set(["a"], 1, { expireIn: 0.5 });
  await db.close();
});
