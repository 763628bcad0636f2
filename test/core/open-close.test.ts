import { existsSync, writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { describe, expect, test } from "vitest";
import { fsLedger } from "../../src/adapters/fs/index.ts";
import { memoryLedger } from "../../src/adapters/memory/index.ts";
import type { Environment } from "../../src/core/environment.ts";
import { KV as EdgeKV } from "../../src/index.ts";
import { KV } from "../../src/index.node.ts";
import { nodeEnvironment } from "../../src/platform/environment-node.ts";
import { macrotask, observed, onEachOrdering, settles, TestClock } from "../support/database.ts";
import { temporaryFolder } from "../support/folder.ts";

const closed = { code: "Closed" };

/** Every call that needs an open database, as a promise. */
function calls(db: KV): Promise<unknown>[] {
  const call = (run: () => unknown): Promise<unknown> => Promise.resolve().then(run);
  const drain = async (items: AsyncIterable<unknown>): Promise<void> => {
    for await (const _ of items) throw new Error("nothing should come");
  };
  return [
    call(() => db.set(["a"], 1)),
    call(() => db.delete(["a"])),
    call(() => db.deleteAll([])),
    call(() => db.get(["a"])),
    call(() => db.getEntry(["a"])),
    call(() => db.has(["a"])),
    call(() => db.getMany([["a"]])),
    call(() => db.count([])),
    call(() => db.listAll([])),
    call(() => db.listKeys([])),
    call(() => db.iterate([])),
    call(() => drain(db.scan([]))),
    call(() => drain(db.history(["a"]))),
    call(() => db.watch([], () => undefined)),
    call(() => db.watch([])),
    call(() => db.atomic()),
    call(() => db.beginTransaction()),
    call(() => db.endTransaction()),
    call(() => db.abortTransaction()),
    call(() => db.transaction(() => 1)),
    call(() => db.sync()),
    call(() => db.stats()),
  ];
}

async function codes(promises: readonly Promise<unknown>[]): Promise<Set<unknown>> {
  const settled = await Promise.allSettled(promises);
  return new Set(
    settled.map((each) => (each.status === "rejected" ? (each.reason as { code?: string }).code : "no error")),
  );
}

describe("open", () => {
  test("takes a path, and makes its parent folders", async () => {
    using folder = temporaryFolder();
    const path = folder.file("deep/er/mydatabase.db");
    const db = new KV();
    expect(db.isOpen()).toBe(false);
    expect(await db.open(path)).toBe(db);
    expect([db.isOpen(), existsSync(path)]).toEqual([true, true]);
    await db.set(["a"], 1);
    await db.close();
    await using again = await KV.open(pathToFileURL(path));
    const { href } = pathToFileURL(path);
    for (const url of [new URL(`${href}?version=5`), new URL(`${href}#part`), new URL(`${href}#part?no`)]) {
      await using same = await KV.open(url);
      expect(same.stats().ledger).toBe(path);
    }
    expect(await again.get(["a"])).toBe(1);
  });

  test("takes any ledger, and the same one several times", async () => {
    const ledger = memoryLedger({ name: "shared" });
    await using one = await new KV().open(ledger);
    await using two = await KV.open(ledger, { autoSync: false });
    await one.set(["a"], 1);
    await two.sync();
    expect(await two.get(["a"])).toBe(1);
    expect(two.stats().ledger).toBe("shared");
    expect(two.stats().ledgerId).toBe(one.stats().ledgerId);
  });

  test("with createIfMissing false makes nothing", async () => {
    using folder = temporaryFolder();
    const path = folder.file("none.db");
    const db = new KV();
    await expect(db.open(path, { createIfMissing: false })).rejects.toMatchObject({ code: "LedgerMissing" });
    expect(existsSync(path)).toBe(false);
  });

  test("that fails leaves the instance as it was: closed to calls, and able to try again", async () => {
    using folder = temporaryFolder();
    writeFileSync(folder.file("other.txt"), "something else entirely, and long enough to be looked at");
    const db = new KV();
    await expect(db.open(folder.file("other.txt"))).rejects.toMatchObject({ code: "NotALedger" });
    expect(db.isOpen()).toBe(false);
    await expect(db.get(["a"])).rejects.toMatchObject({ code: "NotOpen" });
    await db.open(folder.file("fine.db"));
    expect(db.isOpen()).toBe(true);
    await db.close();
  });

  test("twice is refused, also while the first is under way", async () => {
    const db = new KV();
    const first = db.open(memoryLedger());
    await expect(db.open(memoryLedger())).rejects.toMatchObject({ code: "AlreadyOpen" });
    await first;
    await expect(db.open(memoryLedger())).rejects.toMatchObject({ code: "AlreadyOpen" });
    await db.close();
    await expect(db.open(memoryLedger())).rejects.toMatchObject(closed);
  });

  test("of something that is no target is refused", async () => {
    for (const target of ["", 5, null, undefined, {}, { open: 1 }]) {
      await expect(new KV().open(target as string)).rejects.toBeInstanceOf(TypeError);
    }
    await expect(new KV().open(memoryLedger(), { durability: "strict" })).rejects.toMatchObject({
      code: "InvalidOption",
    });
  });

  test("of a path in a build without the file adapter is a typed error", async () => {
    await expect(EdgeKV.open("data/mydatabase.db")).rejects.toMatchObject({ code: "UnsupportedTarget" });
    await using db = await EdgeKV.open(memoryLedger());
    await db.set(["a"], new Date(5));
    expect(await db.get(["a"])).toEqual(new Date(5));
  });

  test("without the work that files ask for: memory says that it cannot be vacuumed, a file what is missing", async () => {
    await using inMemory = await EdgeKV.open(memoryLedger(), { autoVacuum: true });
    await expect(inMemory.vacuum()).rejects.toMatchObject({ code: "VacuumRefused" });
    using folder = temporaryFolder();
    const ledger = fsLedger(folder.file("a.db"));
    await using db = await EdgeKV.open(ledger);
    await db.set(["a"], 1);
    for (const work of [db.vacuum(), db.backup(folder.file("b.db")), db.repair()])
      await expect(work).rejects.toMatchObject({ code: "UnsupportedTarget" });
    // A vacuum that somebody else has completed is followed.
    await using other = await KV.open(ledger);
    await other.vacuum();
    await other.set(["b"], 2);
    await db.sync();
    expect([await db.get(["a"]), await db.get(["b"])]).toEqual([1, 2]);
  });

  test("with readOnly reads, and refuses every write", async () => {
    using folder = temporaryFolder();
    const ledger = fsLedger(folder.file("a.db"));
    await using writer = await KV.open(ledger);
    await writer.set(["a"], 1);
    await using db = await KV.open(ledger, { readOnly: true });
    expect(await db.get(["a"])).toBe(1);
    const writes = [
      db.set(["a"], 2),
      db.delete(["a"]),
      db.deleteAll([]),
      db.atomic().set(["a"], 2).commit(),
      db.transaction((tx) => tx.set(["a"], 2)),
    ];
    expect(await codes(writes)).toEqual(new Set(["ReadOnly"]));
    expect(await db.transaction((tx) => tx.get(["a"]))).toBe(1);
    await writer.set(["a"], 3);
    expect(await db.get(["a"], { consistency: "strong" })).toBe(3);
  });
});

test("before open every call is a typed error, after close another one", async () => {
  const db = new KV();
  expect(await codes(calls(db))).toEqual(new Set(["NotOpen"]));
  await db.open(memoryLedger());
  await db.close();
  expect(await codes(calls(db))).toEqual(new Set(["Closed"]));
  expect(db.isOpen()).toBe(false);
  expect(() => db.defer(Promise.resolve())).toThrow(expect.objectContaining(closed));
});

describe("close", () => {
  onEachOrdering((make) => {
    test("drains every accepted write, and refuses what comes later", async () => {
      using made = make();
      const db = await KV.open(made.ledger);
      const written = Array.from({ length: 300 }, (_, i) => db.set(["k", i], i));
      const closing = db.close();
      const late = codes(calls(db));
      expect(db.isOpen()).toBe(false);
      await closing;
      expect(await late).toEqual(new Set(["Closed"]));
      await Promise.all(written);
      await using again = await KV.open(made.ledger);
      expect(await again.count([])).toBe(300);
    });

    test("while a sync and reads are under way lets them end or rejects them", async () => {
      using made = make();
      const db = await KV.open(made.ledger);
      await db.set(["a"], "x");
      const settled = Promise.allSettled([
        db.sync(),
        db.get(["a"]),
        db.listAll([]),
        db.get(["a"], { consistency: "strong" }),
      ]);
      await db.close();
      for (const each of await settled) {
        if (each.status === "rejected") expect(each.reason).toMatchObject(closed);
      }
    });
  });

  test("is idempotent, and may come before open or while it is under way", async () => {
    const db = await KV.open(memoryLedger());
    await Promise.all([db.close(), db.close()]);
    await db.close({ timeoutMs: 5 });
    const never = new KV();
    await never.close();
    await expect(never.open(memoryLedger())).rejects.toMatchObject(closed);
    using folder = temporaryFolder();
    const opening = new KV();
    let ended = false;
    const opened = opening.open(folder.file("a.db")).finally(() => (ended = true));
    const refused = expect(opened).rejects.toMatchObject(closed);
    await opening.close();
    // Nothing of it is left when close has resolved.
    expect(ended).toBe(true);
    await refused;
    expect(opening.isOpen()).toBe(false);
  });

  test("by await using", async () => {
    const ledger = memoryLedger();
    let kept: KV;
    {
      await using db = await KV.open(ledger);
      kept = db;
      void db.set(["a"], 1);
    }
    expect(kept.isOpen()).toBe(false);
    await using again = await KV.open(ledger);
    expect(await again.get(["a"])).toBe(1);
  });

  test("waits no longer than timeoutMs, and tells that outcomes are unknown", async () => {
    const { ledger, appends, hold, release } = observed(memoryLedger());
    const db = await KV.open(ledger);
    hold();
    const inFlight = db.set(["a"], 1);
    while (appends.length === 0) await macrotask();
    const waiting = db.set(["b"], 1);
    const outcomes = Promise.allSettled([inFlight, waiting]);
    await db.close({ timeoutMs: 5 });
    const [first, second] = await outcomes;
    expect(first).toMatchObject({ reason: { code: "CommitOutcomeUnknown", outcome: "unknown" } });
    expect(second).toMatchObject({ reason: { outcome: "not committed" } });
    release();
  });

  test("with a long timeoutMs waits, and with one that cannot be used rejects", async () => {
    const { ledger, hold, release } = observed(memoryLedger());
    const times: number[] = [];
    const setTimer: Environment["setTimer"] = (callback, ms, options) => {
      times.push(ms);
      return nodeEnvironment.setTimer(callback, ms, options);
    };
    const db = await new TestClock().open(ledger, {}, { setTimer });
    await expect(db.close({ timeoutMs: -1 })).rejects.toMatchObject({ code: "InvalidOption" });
    await expect(db.close(5 as never)).rejects.toThrow("timeoutMs");
    expect(db.isOpen()).toBe(true);
    hold();
    const written = db.set(["a"], 1);
    const closing = db.close({ timeoutMs: 1e12 });
    expect(await settles(closing)).toBe(false);
    // A timer that is set for longer than it can be fires at once.
    expect(times.every((ms) => ms < 2 ** 31)).toBe(true);
    release();
    await Promise.all([written, closing]);
  });
});

describe("targets that would make strange folders", () => {
  test("are refused: addresses, and the names that others have for memory", async () => {
    for (const target of ["file:///tmp/a.db", "s3://bucket/a", "https://a.example/b.db", ":memory:"])
      await expect(KV.open(target)).rejects.toMatchObject({ code: "InvalidArgument" });
    for (const part of ["a%2Fb.db", "a%2fb.db"])
      await expect(KV.open(new URL(`file:///tmp/${part}`))).rejects.toMatchObject({ code: "InvalidArgument" });
    await expect(KV.open({ href: "file:///tmp/%zz" })).rejects.toMatchObject({ code: "InvalidArgument" });
    expect(existsSync(":memory:") || existsSync("file:") || existsSync("s3:")).toBe(false);
    using folder = temporaryFolder();
    await using db = await KV.open(folder.file("a:b.db"));
    for (const target of [undefined, null, 5, {}, "", "s3://bucket/a"] as never[])
      await expect(db.backup(target)).rejects.toMatchObject({ code: "InvalidArgument" });
  });
});

describe("defer", () => {
  test("takes a promise, and nothing else", async () => {
    await using db = await KV.open(memoryLedger());
    for (const promise of [undefined, 5, () => 1] as never[])
      expect(() => db.defer(promise)).toThrow(expect.objectContaining({ code: "InvalidArgument" }));
  });

  test("takes what has nothing of a promise but then", async () => {
    const db = await KV.open(memoryLedger());
    let fulfil = (): void => undefined;
    const others = { then: (given: () => void) => void (fulfil = given) };
    void db.defer(others as unknown as Promise<void>);
    const closed = db.close();
    let isClosed = false;
    void closed.then(() => (isClosed = true));
    await new Promise((resolve) => setImmediate(resolve));
    expect(isClosed).toBe(false);
    fulfil();
    await closed;
  });

  test("returns the promise, and close waits for it, and for what it defers in turn", async () => {
    const db = await KV.open(memoryLedger());
    const order: string[] = [];
    const after = async (name: string, turns: number): Promise<string> => {
      for (let i = 0; i < turns; i++) await macrotask();
      order.push(name);
      return name;
    };
    const nested = after("first", 3).then(() => void db.defer(after("second", 3)));
    const deferred = after("other", 1);
    expect(db.defer(deferred)).toBe(deferred);
    void db.defer(nested);
    await db.close().then(() => order.push("closed"));
    expect(order).toEqual(["other", "first", "second", "closed"]);
    expect(await deferred).toBe("other");
  });

  test("a rejection goes to onError, or becomes an error event", async () => {
    const db = await KV.open(memoryLedger());
    const events: unknown[] = [];
    db.on("error", (error) => events.push(error));
    const handled: unknown[] = [];
    const promises = [
      db.defer(Promise.reject("a"), (error) => handled.push(error)),
      db.defer(Promise.reject("b")),
      db.defer(Promise.reject("c"), () => {
        throw "thrown";
      }),
    ];
    await Promise.allSettled(promises);
    await db.close();
    expect([handled, events.map(String).sort((a, b) => a.localeCompare(b))]).toEqual([["a"], ["b", "thrown"]]);
  });
});

describe("stats", () => {
  test("are plain data", async () => {
    await using db = await KV.open(memoryLedger());
    await db.set(["a"], 1);
    await db
      .atomic()
      .check({ key: ["a"], version: null })
      .commit();
    const stats = db.stats();
    expect(JSON.parse(JSON.stringify(stats))).toEqual(stats);
    expect(stats).toMatchObject({
      ledger: "memory",
      generation: 1,
      keys: 1,
      pending: { commits: 0, bytes: 0 },
      snapshots: { count: 0 },
      watches: 0,
      damage: [],
      counts: { commits: 2, voidCommits: 1 },
    });
    expect(stats.version).toBeGreaterThan((await db.getEntry(["a"]))?.version as number);
  });
});

describe("disableIndex", () => {
  test("set, delete and scan work; all else is IndexDisabled", async () => {
    const ledger = memoryLedger();
    await using indexed = await KV.open(ledger);
    await indexed.atomic().sum(["n"], 2).commit();
    await indexed.atomic().sum(["n"], 3).commit();
    await indexed
      .atomic()
      .check({ key: ["n"], version: null })
      .set(["n"], "void")
      .commit();
    await using db = await KV.open(ledger, { disableIndex: true });
    expect(await db.set(["a"], { a: 1 })).toMatchObject({ version: expect.any(Number) });
    await db.delete(["a"]);
    const seen: unknown[] = [];
    for await (const { key, operation, value } of db.scan([])) seen.push([key[0], operation, value]);
    expect(seen).toEqual([
      ["n", "set", 2],
      ["n", "set", 5],
      ["a", "set", { a: 1 }],
      ["a", "delete", undefined],
    ]);
    const refused = [
      db.get(["a"]),
      db.has(["a"]),
      db.getEntry(["a"]),
      db.getMany([]),
      db.listAll([]),
      db.listKeys([]),
      db.count([]),
      db.deleteAll([]),
      db.beginTransaction(),
      db.transaction(() => 1),
      db.history(["a"]).next(),
    ];
    expect(await codes(refused)).toEqual(new Set(["IndexDisabled"]));
    for (const each of refused) await expect(each).rejects.toMatchObject({ outcome: "not committed" });
    for (const call of [() => db.iterate([]), () => db.watch([]), () => db.atomic()]) {
      expect(call).toThrow(expect.objectContaining({ code: "IndexDisabled" }));
    }
    expect(db.stats().keys).toBe(0);
    await db.sync();
    expect(await indexed.get(["n"], { consistency: "strong" })).toBe(5);
  });
});
