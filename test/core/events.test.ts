import { readFileSync, writeFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { memoryLedger } from "../../src/adapters/memory/index.ts";
import { Emitter, type SyncEvent } from "../../src/core/events.ts";
import { KV } from "../../src/index.node.ts";
import { faultyLedger } from "../../src/testing/index.ts";
import { observed, onEachOrdering, openPair, TestClock, withMembers } from "../support/database.ts";
import { temporaryFolder } from "../support/folder.ts";

function syncEvents(db: Pick<KV, "on">): SyncEvent[] {
  const events: SyncEvent[] = [];
  db.on("sync", (event) => events.push(event));
  return events;
}

describe("listeners", () => {
  test("on is called each time, once the first time, and off ends either", () => {
    const emitter = new Emitter();
    const seen: string[] = [];
    const always = (): number => seen.push("always");
    const first = (): number => seen.push("first");
    emitter.on("closing", always);
    emitter.on("closing", always);
    emitter.once("closing", first);
    emitter.emit("closing");
    emitter.emit("closing");
    expect(seen).toEqual(["always", "first", "always"]);
    emitter.off("closing", always);
    emitter.once("closing", first);
    emitter.off("closing", first);
    emitter.emit("closing");
    expect([seen.length, emitter.count("closing")]).toEqual([3, 0]);
  });

  test("one function may wait once for several events, and twice for one", () => {
    const emitter = new Emitter();
    let calls = 0;
    const listener = (): void => void calls++;
    emitter.once("closing", listener);
    emitter.once("error", listener);
    emitter.once("error", listener);
    emitter.emit("closing");
    emitter.emit("error", 1);
    expect(calls).toBe(3);
    emitter.emit("closing");
    emitter.emit("error", 1);
    expect([calls, emitter.count("closing"), emitter.count("error")]).toEqual([3, 0, 0]);
  });

  test("one that is added or removed during an event changes the next one", () => {
    const emitter = new Emitter();
    const seen: string[] = [];
    const late = (): number => seen.push("late");
    emitter.on("closing", () => {
      seen.push("first");
      emitter.on("closing", late);
    });
    emitter.emit("closing");
    emitter.emit("closing");
    expect(seen).toEqual(["first", "first", "late"]);
  });

  test("one that throws disturbs nobody, and an error event tells", async () => {
    await using db = await KV.open(memoryLedger());
    const thrown = new Error("listener");
    const errors: unknown[] = [];
    db.on("error", (error) => errors.push(error));
    db.on("sync", () => {
      throw thrown;
    });
    const events = syncEvents(db);
    await db.set(["a"], 1);
    await db.sync();
    expect(errors).toEqual([thrown, thrown]);
    expect(events.length).toBe(2);
  });

  test("errors that nobody listens to are kept for the first listener, up to a bound", async () => {
    const emitter = new Emitter();
    for (let i = 0; i < 20; i++) emitter.emit("error", i);
    const first: unknown[] = [];
    const second: unknown[] = [];
    emitter.on("error", (error) => first.push(error));
    emitter.on("error", (error) => second.push(error));
    // Not within the call that adds it.
    expect(first).toEqual([]);
    await Promise.resolve();
    expect(first).toEqual(Array.from({ length: 16 }, (_, i) => i));
    expect(second).toEqual(first);
    emitter.emit("error", "now");
    expect(first.at(-1)).toBe("now");
  });

  test("a listener that hears once hears the first of them, and leaves the others", async () => {
    const emitter = new Emitter();
    emitter.emit("error", 1);
    emitter.emit("error", 2);
    const seen: unknown[] = [];
    emitter.once("error", (error) => seen.push(error));
    await Promise.resolve();
    expect(seen).toEqual([1]);
    emitter.on("error", (error) => seen.push(error));
    await Promise.resolve();
    expect(seen).toEqual([1, 2]);
  });

  test("damage that is found while a database is opened is told to who listens afterwards", async () => {
    using folder = temporaryFolder();
    const path = folder.file("a.db");
    {
      await using db = await KV.open(path, { sideIndex: false });
      for (let i = 0; i < 10; i++) await db.set([i], "x".repeat(100));
    }
    const bytes = readFileSync(path);
    bytes[bytes.length >> 1] ^= 1;
    writeFileSync(path, bytes);
    await using db = await KV.open(path, { sideIndex: false });
    const told = new Promise((resolve) => db.on("error", resolve));
    expect(await told).toMatchObject({ code: "LedgerDamaged" });
  });

  test("arguments that cannot be used are refused", async () => {
    const db = new KV();
    for (const call of ["on", "once", "off"] as const) {
      expect(() => db[call]("change" as never, (() => 1) as never)).toThrow(TypeError);
      expect(() => db[call]("sync", 5 as never)).toThrow(expect.objectContaining({ code: "InvalidArgument" }));
      expect(db[call]("sync", () => undefined)).toBe(db);
    }
  });
});

onEachOrdering((make) => {
  test("with autoSync a sync event tells of every batch of writes and of every sync", async () => {
    using made = make();
    await using db = await KV.open(made.ledger, { syncIntervalMs: 1e6 });
    const events = syncEvents(db);
    await Promise.all([db.set(["a"], 1), db.set(["b"], 1), db.delete(["c"])]);
    const { version } = await db.set(["d"], 1);
    await db.sync();
    expect(events.map(({ result, applied }) => [result, applied])).toEqual([
      ["success", 3],
      ["success", 1],
      ["ready", 0],
    ]);
    expect(events.at(-1)?.version).toBe(version);
    expect(Object.hasOwn(events[0], "error")).toBe(false);
  });

  test("without it, one comes from sync alone, and tells of all that took effect since the last", async () => {
    using made = make();
    await using pair = await openPair({ autoSync: false }, made.ledger);
    const { db, other } = pair;
    const events = syncEvents(db);
    const seen: unknown[] = [];
    db.watch([], ({ value }) => seen.push(value));
    await other.set(["a"], 1);
    await other.set(["a"], 2);
    expect(await db.get(["a"])).toBe(null);
    // A write follows up to its own commit, so that what lies before it is applied and told to watches.
    await db.set(["b"], 3);
    expect(await db.get(["a"])).toBe(2);
    expect(seen).toEqual([1, 2, 3]);
    expect(events).toEqual([]);
    await other.set(["a"], 4);
    await db.sync();
    await db.sync();
    expect(events.map(({ result, applied }) => [result, applied])).toEqual([
      ["success", 4],
      ["ready", 0],
    ]);
  });
});

test("syncs that share a round share its event", async () => {
  await using db = await KV.open(memoryLedger(), { autoSync: false });
  const events = syncEvents(db);
  const before = db.stats().counts.rounds;
  await Promise.all([db.sync(), db.sync(), db.sync(), db.sync()]);
  const rounds = db.stats().counts.rounds - before;
  expect(rounds).toBeLessThan(4);
  expect(events.length).toBe(rounds);
});

test("commits that are void are not counted as applied", async () => {
  await using pair = await openPair({ autoSync: false });
  const events = syncEvents(pair.db);
  await pair.other
    .atomic()
    .check({ key: ["a"], version: 5 })
    .set(["a"], 1)
    .commit();
  await pair.other.set(["b"], 1);
  await pair.db.sync();
  expect(events).toMatchObject([{ result: "success", applied: 1 }]);
});

test("what was there at open is not told of", async () => {
  const ledger = memoryLedger();
  await using other = await KV.open(ledger);
  await other.set(["a"], 1);
  const db = new KV({ autoSync: false });
  const events = syncEvents(db);
  await db.open(ledger);
  await db.sync();
  expect(events).toMatchObject([{ result: "ready", applied: 0 }]);
  await db.close();
});

test("a round that fails is told of by sync, which rejects each time, and the next one goes on", async () => {
  let failing = false;
  const memory = memoryLedger();
  await using other = await KV.open(memory);
  const db = await KV.open(faultyLedger(memory, { read: () => failing }), { autoSync: false });
  const events = syncEvents(db);
  const errors: unknown[] = [];
  db.on("error", (error) => errors.push(error));
  await other.set(["a"], 1);
  failing = true;
  await expect(db.sync()).rejects.toMatchObject({ code: "InputOutput" });
  await expect(db.sync()).rejects.toMatchObject({ code: "InputOutput" });
  await expect(db.get(["a"], { consistency: "strong" })).rejects.toMatchObject({ code: "InputOutput" });
  expect(events).toMatchObject([
    { result: "error", error: { code: "InputOutput" }, applied: 0 },
    { result: "error", error: { code: "InputOutput" }, applied: 0 },
  ]);
  expect(errors).toEqual([]);
  failing = false;
  await db.sync();
  expect(events.at(-1)).toMatchObject({ result: "success", applied: 1 });
  await db.close();
});

describe("the timer", () => {
  /** A database whose timers run when the test says so. */
  async function timed(failing: () => boolean = () => false) {
    const memory = memoryLedger();
    const timers: { callback: () => void; ms: number; ref: boolean; cancelled: boolean }[] = [];
    const db = await new TestClock().open(
      faultyLedger(memory, { read: failing }),
      { syncIntervalMs: 700 },
      {
        setTimer: (callback, ms, { ref }) => {
          const timer = { callback, ms, ref, cancelled: false };
          timers.push(timer);
          return { cancel: () => void (timer.cancelled = true) };
        },
      },
    );
    const waiting = (): typeof timers => timers.filter(({ cancelled }) => !cancelled);
    const poll = async (): Promise<void> => {
      const at = timers.findLastIndex(({ ms, cancelled }) => ms === 700 && !cancelled);
      const [timer] = timers.splice(at, 1);
      timer.callback();
      while (!waiting().some(({ ms }) => ms === 700)) await new Promise((resolve) => setImmediate(resolve));
    };
    return { db, memory, waiting, poll };
  }

  test("follows every syncIntervalMs, tells each time, and keeps nothing alive", async () => {
    const { db, memory, waiting, poll } = await timed();
    await using other = await KV.open(memory);
    const events = syncEvents(db);
    expect(waiting().map(({ ms, ref }) => [ms, ref])).toEqual([[700, false]]);
    await other.set(["a"], 1);
    await poll();
    await poll();
    expect(events.filter(({ result }) => result === "success").map(({ applied }) => applied)).toEqual([1]);
    expect(events.at(-1)).toMatchObject({ result: "ready", applied: 0 });
    await db.close();
    expect(waiting()).toEqual([]);
  });

  test("tells of a lasting failure once, and again after it was over", async () => {
    let failing = false;
    const { db, poll } = await timed(() => failing);
    const events = syncEvents(db);
    failing = true;
    await poll();
    await poll();
    expect(events.map(({ result }) => result)).toEqual(["error"]);
    failing = false;
    await poll();
    failing = true;
    await poll();
    expect(events.map(({ result }) => result)).toEqual(["error", "ready", "error"]);
    await db.close();
  });

  test("an open watch keeps the process alive, one with ref: false does not", async () => {
    const { db, waiting } = await timed();
    const kept = (): number => waiting().filter(({ ref }) => ref).length;
    const unwatch = db.watch([], () => undefined, { ref: false });
    expect(kept()).toBe(0);
    const other = db.watch(["a"], () => undefined);
    const iterator = db.watch(["b"]);
    expect(kept()).toBe(1);
    other();
    expect(kept()).toBe(1);
    await iterator.return?.();
    expect(kept()).toBe(0);
    db.watch([], () => undefined);
    unwatch();
    expect(kept()).toBe(1);
    await db.close();
    expect(waiting()).toEqual([]);
  });

  test("is not there without autoSync", async () => {
    const timers: number[] = [];
    const setTimer = (_: () => void, ms: number): { cancel: () => void } => {
      timers.push(ms);
      return { cancel: () => undefined };
    };
    const { ledger } = observed(memoryLedger());
    const db = await new TestClock().open(ledger, { autoSync: false }, { setTimer });
    await db.set(["a"], 1);
    await db.sync();
    expect(timers).toEqual([]);
    await db.close();
  });
});

test("a signal ends the wait of sync", async () => {
  await using db = await KV.open(memoryLedger());
  const reason = new Error("enough");
  await expect(db.sync({ signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  const controller = new AbortController();
  const synced = db.sync({ signal: controller.signal });
  controller.abort(reason);
  await expect(synced).rejects.toBe(reason);
  await db.sync({ signal: new AbortController().signal });
});

test("closing comes once, before what is pending has settled", async () => {
  const { ledger, hold, release } = observed(memoryLedger());
  const db = await KV.open(ledger);
  const order: string[] = [];
  db.on("closing", () => order.push(`closing, open: ${db.isOpen()}`));
  hold();
  void db.set(["a"], 1).then(() => order.push("written"));
  const closed = db.close().then(() => order.push("closed"));
  release();
  await Promise.all([closed, db.close()]);
  expect(order).toEqual(["closing, open: false", "written", "closed"]);
});

test("a listener of closing that closes gets the close that is under way", async () => {
  const ledger = memoryLedger();
  let closes = 0;
  const db = await KV.open({
    ...ledger,
    open: async (options) => {
      const session = await ledger.open(options);
      return withMembers(session, {
        close: async () => {
          closes++;
          await session.close();
        },
      });
    },
  });
  const inner: Promise<void>[] = [];
  db.on("closing", () => inner.push(db.close()));
  await db.beginTransaction();
  const outer = db.close();
  expect(inner).toHaveLength(1);
  expect(inner[0]).toBe(outer);
  await expect(outer).rejects.toMatchObject({ code: "TransactionOpen" });
  expect(db.close()).toBe(outer);
  expect(closes).toBe(1);
});
