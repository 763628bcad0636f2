import { renameSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { memoryLedger } from "../../src/adapters/memory/index.ts";
import type { WatchEntry } from "../../src/core/watch.ts";
import { KV } from "../../src/index.node.ts";
import { macrotask, observed, onEachLedger, onEachOrdering, openPair, signal } from "../support/database.ts";
import { temporaryFolder } from "../support/folder.ts";

// Where nobody tells, they come with the interval.
onEachLedger((make) => {
  test("news of another instance arrive without being asked for", async () => {
    using made = make();
    await using pair = await openPair({ syncIntervalMs: 1e6 }, made.ledger);
    const arrived = signal();
    pair.db.watch(["a"], () => arrived.give());
    await pair.other.set(["a"], 1);
    await arrived.given;
  });
});

onEachOrdering((make) => {
  test("a watch is told of each commit to its key and all below, own and others', once and in order", async () => {
    using made = make();
    await using pair = await openPair({}, made.ledger);
    const { db, other } = pair;
    await db.set(["data", "before"], 1);
    const seen: WatchEntry[] = [];
    db.watch(["data"], (entry) => seen.push(entry));
    expect(seen).toEqual([]);
    const versions: (number | undefined)[] = [];
    for (let i = 0; i < 30; i++) {
      const from = i % 3 ? db : other;
      versions.push((await from.set(["data", i % 5], { i })).version);
      await from.set(["datum"], i);
    }
    versions.push((await other.delete(["data"])).version);
    await db.sync();
    expect(seen.map(({ version }) => version)).toEqual(versions);
    expect(seen.slice(0, 2)).toMatchObject([
      { key: ["data", 0], value: { i: 0 }, operation: "set", timestamp: expect.any(Number) },
      { key: ["data", 1], value: { i: 1 }, operation: "set" },
    ]);
    const last = seen.at(-1);
    expect(last).toMatchObject({ key: ["data"], operation: "delete" });
    expect(Object.keys(last as object).sort()).toEqual(["key", "operation", "timestamp", "version"]);
  });

  test("reads inside the callback see what this instance has written, also of the same batch", async () => {
    using made = make();
    await using pair = await openPair({ autoSync: false }, made.ledger);
    const { db } = pair;
    const reads: Promise<unknown>[] = [];
    db.watch(["first"], () => reads.push(db.get(["second"]), db.count(["second"])));
    await Promise.all([db.set(["first"], 1), db.set(["second"], 2)]);
    expect(await Promise.all(reads)).toEqual([2, 1]);
  });

  test("get inside the callback sees the commit, and everything before it", async () => {
    using made = make();
    await using pair = await openPair({}, made.ledger);
    const { db, other } = pair;
    const reads: Promise<void>[] = [];
    db.watch(["n"], ({ version }) => {
      const read = async (): Promise<void> => {
        const [n, m] = [await db.getEntry(["n"]), await db.getEntry(["m"])];
        expect([n?.version, m?.version].every((seen) => (seen as number) >= version)).toBe(true);
      };
      reads.push(read());
    });
    const commits = Array.from({ length: 20 }, (_, i) =>
      (i % 2 ? db : other).atomic().set(["m"], i).set(["n"], i).commit(),
    );
    await Promise.all(commits);
    await db.sync();
    expect(reads.length).toBe(20);
    await Promise.all(reads);
  });
});

test("one entry a key and commit: sums as the set of their result, a key set twice as its last", async () => {
  await using db = await KV.open(memoryLedger());
  const seen: unknown[] = [];
  db.watch([], ({ key, operation, value }) => seen.push([key?.[0], operation, value]));
  await db.atomic().set(["a"], 1).sum(["n"], 5).set(["a"], 2).set(["b"], 1).delete(["b"]).commit();
  await db.atomic().sum(["n"], 2).commit();
  await db
    .atomic()
    .check({ key: ["a"], version: null })
    .set(["a"], "void")
    .commit();
  await db.set(["e"], "x", { expireIn: 1000 });
  expect(seen).toEqual([
    ["n", "set", 5],
    ["a", "set", 2],
    ["b", "delete", undefined],
    ["n", "set", 7],
    ["e", "set", "x"],
  ]);
});

test("a query takes ranges, and every watch gets what matches it, as its own value", async () => {
  await using db = await KV.open(memoryLedger());
  const low: WatchEntry[] = [];
  const all: WatchEntry[] = [];
  db.watch(["k", { to: 5 }], (entry) => low.push(entry));
  db.watch(["k", {}], (entry) => {
    all.push(entry);
    (entry.value as { list: number[] }).list.push(9);
  });
  await db.set(["k", 1], { list: [1] });
  await db.set(["k", 6], { list: [6] });
  await db.set(["k", "a"], { list: [0] });
  expect(low.map(({ value }) => value)).toEqual([{ list: [1] }]);
  expect(all.length).toBe(3);
  expect(await db.get(["k", 1])).toEqual({ list: [1] });
});

describe("ending a watch", () => {
  test("by the function returned, by unwatch, and by a signal", async () => {
    await using db = await KV.open(memoryLedger());
    const seen: string[] = [];
    const callbacks = ["a", "b", "c"].map((name) => () => void seen.push(name));
    const controller = new AbortController();
    const unwatch = db.watch(["k"], callbacks[0]);
    db.watch(["k", { from: 1 }], callbacks[1]);
    db.watch(["k"], callbacks[2], { signal: controller.signal });
    db.watch(["k"], () => seen.push("never"), { signal: AbortSignal.abort() });
    expect(db.stats().watches).toBe(3);
    await db.set(["k", 1], 1);
    unwatch();
    unwatch();
    await db.set(["k", 1], 1);
    expect(db.unwatch(["k"], callbacks[1])).toBe(false);
    expect(() => db.unwatch(["k"], 5 as never)).toThrow(expect.objectContaining({ code: "InvalidArgument" }));
    for (const query of ["k", [null], [new Date()]] as never[])
      expect(() => db.unwatch(query, callbacks[1])).toThrow(expect.objectContaining({ code: "InvalidQuery" }));
    expect(db.unwatch(["k", { from: 1 }], callbacks[1])).toBe(true);
    expect(db.unwatch(["k", { from: 1 }], callbacks[1])).toBe(false);
    await db.set(["k", 1], 1);
    controller.abort();
    await db.set(["k", 1], 1);
    expect(seen).toEqual(["a", "b", "c", "b", "c", "c"]);
    expect(db.stats().watches).toBe(0);
  });

  test("from within a callback takes effect at once, also for others and for the rest of the commit", async () => {
    await using db = await KV.open(memoryLedger());
    const seen: unknown[] = [];
    const unwatch = db.watch([], ({ key }) => {
      seen.push(["first", key?.[0]]);
      unwatch();
      unwatchOther();
    });
    const unwatchOther = db.watch([], () => seen.push("other"));
    await db.atomic().set(["a"], 1).set(["b"], 1).commit();
    expect(seen).toEqual([["first", "a"]]);
  });

  test("one that begins within a callback is told of later commits alone", async () => {
    await using db = await KV.open(memoryLedger());
    const seen: unknown[] = [];
    let begun = false;
    db.watch([], () => {
      if (begun) return;
      begun = true;
      db.watch([], ({ key }) => seen.push(key?.[0]));
    });
    await db.atomic().set(["a"], 1).set(["b"], 1).commit();
    await db.set(["c"], 1);
    expect(seen).toEqual(["c"]);
  });

  test("close ends all of them", async () => {
    const ledger = memoryLedger();
    await using pair = await openPair({}, ledger);
    const seen: unknown[] = [];
    pair.db.watch([], ({ key }) => seen.push(key));
    const iterator = pair.db.watch([])[Symbol.asyncIterator]();
    const waiting = iterator.next();
    await pair.db.close();
    expect(await waiting).toEqual({ done: true, value: undefined });
    await pair.other.set(["a"], 1);
    await macrotask();
    expect(seen).toEqual([]);
    expect(() => pair.db.watch([], () => undefined)).toThrow(expect.objectContaining({ code: "Closed" }));
  });
});

test("a callback that throws or rejects breaks nothing: an error event tells", async () => {
  await using db = await KV.open(memoryLedger());
  const errors: unknown[] = [];
  db.on("error", (error) => errors.push(error));
  const seen: unknown[] = [];
  db.watch([], () => {
    throw "thrown";
  });
  db.watch([], () => Promise.reject("rejected"));
  db.watch([], ({ key }) => seen.push(key));
  expect(await db.set(["a"], 1)).toMatchObject({ version: expect.any(Number) });
  await db.set(["b"], 1);
  await macrotask();
  expect(errors.filter((error) => error === "thrown").length).toBe(2);
  expect(errors.filter((error) => error === "rejected").length).toBe(2);
  expect(seen).toEqual([["a"], ["b"]]);
  expect(await db.get(["b"])).toBe(1);
});

test("a callback is not awaited, and may write, sync and close", async () => {
  const db = await KV.open(memoryLedger());
  const closed = signal();
  let written: Promise<unknown> | undefined;
  db.watch(["a"], async () => {
    written = db.set(["b"], 1);
    await db.sync();
    await db.close();
    closed.give();
  });
  await db.set(["a"], 1);
  await closed.given;
  expect(await written).toMatchObject({ version: expect.any(Number) });
});

describe("the async-iterable form", () => {
  test("gives each entry in order, also those that came before it was asked", async () => {
    await using pair = await openPair();
    const { db, other } = pair;
    const iterator = db.watch<number>(["k"]);
    for (let i = 0; i < 5; i++) await (i % 2 ? db : other).set(["k", i], i);
    await db.sync();
    const seen: unknown[] = [];
    for await (const { key, value } of iterator) {
      seen.push([key?.[1], value]);
      if (seen.length === 5) void other.set(["k", 5], 5);
      if (seen.length === 6) break;
    }
    expect(seen).toEqual([0, 1, 2, 3, 4, 5].map((i) => [i, i]));
    expect(db.stats().watches).toBe(0);
    expect(await iterator.next()).toEqual({ done: true, value: undefined });
  });

  test("ends with WatchOverflow when its consumer is too slow", async () => {
    await using db = await KV.open(memoryLedger());
    const iterator = db.watch([], { bufferMax: 3 });
    for (let i = 0; i < 3; i++) await db.set(["k", i], i);
    expect(db.stats().watches).toBe(1);
    await db.set(["k", 3], 3);
    expect(db.stats().watches).toBe(0);
    await expect(iterator.next()).rejects.toMatchObject({ code: "WatchOverflow" });
    expect(await iterator.next()).toEqual({ done: true, value: undefined });
  });

  test("a waiting consumer is no part of the bound", async () => {
    await using db = await KV.open(memoryLedger());
    const iterator = db.watch([], { bufferMax: 1 });
    const waiting = [iterator.next(), iterator.next()];
    for (let i = 0; i < 3; i++) await db.set(["k"], i);
    expect((await Promise.all(waiting)).map(({ value }) => (value as WatchEntry).value)).toEqual([0, 1]);
    expect(await iterator.next()).toMatchObject({ value: { value: 2 } });
  });

  test("ends by a signal, with what was buffered", async () => {
    await using db = await KV.open(memoryLedger());
    const controller = new AbortController();
    const iterator = db.watch([], { signal: controller.signal });
    await db.set(["a"], 1);
    controller.abort();
    await db.set(["b"], 1);
    const seen: unknown[] = [];
    for await (const { key } of iterator) seen.push(key);
    expect(seen).toEqual([["a"]]);
    for await (const _ of db.watch([], { signal: AbortSignal.abort() })) seen.push("never");
    expect(seen.length).toBe(1);
    expect(db.stats().watches).toBe(0);
  });

  test("return ends it, waiting consumers included", async () => {
    await using db = await KV.open(memoryLedger());
    const iterator = db.watch([]);
    const waiting = iterator.next();
    await iterator.return?.();
    expect(await waiting).toEqual({ done: true, value: undefined });
    expect(db.stats().watches).toBe(0);
  });
});

test("state plus changes: watch, then get, and ignore what is not newer", async () => {
  const { ledger, hold, release } = observed(memoryLedger());
  await using db = await KV.open(ledger);
  await db.set(["n"], 0);
  hold();
  const changes: WatchEntry[] = [];
  db.watch(["n"], (entry) => changes.push(entry));
  const pending = [1, 2, 3].map((n) => db.set(["n"], n));
  const read = db.getEntry<number>(["n"]);
  release();
  const state = await read;
  await Promise.all(pending);
  await db.set(["n"], 4);
  expect(state?.value).toBe(3);
  const newer = changes.filter(({ version }) => version > (state?.version as number));
  expect(newer.map(({ value }) => value)).toEqual([4]);
});

test("arguments that cannot be used are refused", async () => {
  await using db = await KV.open(memoryLedger());
  const callback = (): void => undefined;
  expect(() => db.watch([null as never], callback)).toThrow(expect.objectContaining({ code: "InvalidQuery" }));
  expect(() => db.watch([], callback, { bufferSize: 5 } as never)).toThrow(TypeError);
  expect(() => db.watch([], { bufferMax: 0 })).toThrow(expect.objectContaining({ code: "InvalidOption" }));
  expect(() => db.watch([], callback, { signal: {} as never })).toThrow(TypeError);
  expect(() => db.watch([], 5 as never)).toThrow(TypeError);
  expect(() => db.unwatch("a" as never, callback)).toThrow(expect.objectContaining({ code: "InvalidQuery" }));
  expect(() => new KV().watch([], callback)).toThrow(expect.objectContaining({ code: "NotOpen" }));
});

describe("after a reload", () => {
  test("a watch gets what differs, in key order and marked, deletes included, and then what follows", async () => {
    using folder = temporaryFolder();
    const path = folder.file("a.db");
    await using old = await KV.open(path);
    for (const name of ["z", "same", "gone"]) await old.set(["k", name], "old");
    await using db = await KV.open(path, { autoSync: false });
    {
      await using other = await KV.open(folder.file("b.db"));
      await other.set(["other"], 1);
      await other.set(["k", "z"], "new");
      await other.set(["k", "a"], "new", { expireIn: 1e6 });
    }
    const seen: WatchEntry[] = [];
    db.watch(["k"], (entry) => seen.push(entry));
    const results: string[] = [];
    db.on("sync", ({ result }) => results.push(result));
    renameSync(folder.file("b.db"), path);
    await db.sync();
    expect(results).toEqual(["ledgerInvalidated"]);
    expect(seen).toMatchObject([
      { key: ["k", "a"], operation: "set", value: "new", reloaded: true, expiresAt: expect.any(Number) },
      { key: ["k", "gone"], operation: "delete", reloaded: true, version: db.stats().version },
      { key: ["k", "same"], operation: "delete", reloaded: true },
      { key: ["k", "z"], operation: "set", value: "new", reloaded: true },
    ]);
    const { version } = await db.set(["k", "b"], 1);
    expect(seen.at(-1)).toMatchObject({ key: ["k", "b"], version });
    expect(seen.at(-1)).not.toHaveProperty("reloaded");
  });
});
