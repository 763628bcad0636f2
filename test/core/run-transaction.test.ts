import { describe, expect, test } from "vitest";
import { memoryLedger } from "../../src/adapters/memory/index.ts";
import { KVError } from "../../src/core/errors.ts";
import type { Ledger } from "../../src/core/ledger.ts";
import type { Transaction } from "../../src/core/transaction.ts";
import { KV } from "../../src/index.node.ts";
import { nodeEnvironment } from "../../src/platform/environment-node.ts";
import { macrotask, observed, openPair, settles, signal, TestClock, withMembers } from "../support/database.ts";

/** transaction(fn): how it is tried, and how it ends. */

describe("its end", () => {
  test("a function that throws commits nothing, and what it threw is passed on", async () => {
    await using db = await KV.open(memoryLedger());
    const thrown = new Error("no");
    for (const fn of [
      () => {
        throw thrown;
      },
      () => Promise.reject(thrown),
    ]) {
      await expect(
        db.transaction((tx) => {
          tx.set(["a"], 1);
          return fn();
        }),
      ).rejects.toBe(thrown);
    }
    expect(await db.count([])).toBe(0);
    expect(db.stats().snapshots.count).toBe(0);
  });

  test.each([
    [
      "at once",
      (error: Error) => {
        throw error;
      },
    ],
    ["later", (error: Error) => Promise.reject(error)],
  ])("a read that fails %s rejects it, not committed", async (_, fail) => {
    const memory = memoryLedger();
    await using other = await KV.open(memory);
    await other.set(["a"], "a".repeat(100_000));
    const failure = new KVError("InputOutput", "It cannot be read");
    const ledger: Ledger = {
      ...memory,
      open: async (options) => withMembers(await memory.open(options), { readValue: () => fail(failure) }),
    };
    await using db = await KV.open(ledger, { cacheBytesMax: 0 });
    const rejected = { code: "InputOutput", outcome: "not committed", cause: failure };
    for (const read of [
      (tx: Transaction) => tx.get(["a"]),
      (tx: Transaction) => tx.getEntry(["a"]),
      (tx: Transaction) => tx.listAll([]),
    ]) {
      const run = async (tx: Transaction): Promise<void> => {
        tx.set(["b"], 1);
        await read(tx);
      };
      await expect(db.transaction(run)).rejects.toMatchObject(rejected);
    }
    expect(await db.has(["b"])).toBe(false);
  });

  test("afterwards the transaction is dead", async () => {
    await using db = await KV.open(memoryLedger());
    let kept: Transaction | undefined;
    await db.transaction((tx) => void (kept = tx));
    const dead = kept as Transaction;
    const refused = { code: "InvalidArgument" };
    expect(() => dead.set(["a"], 1)).toThrow(expect.objectContaining(refused));
    expect(() => dead.sum(["a"], 1)).toThrow(expect.objectContaining(refused));
    await expect(dead.get(["a"])).rejects.toMatchObject(refused);
    await expect(dead.listAll([])).rejects.toMatchObject(refused);
    expect(await db.count([])).toBe(0);
  });

  test("an iterator that goes on after it is refused: what it had begun to read from is let go of", async () => {
    await using db = await KV.open(memoryLedger());
    for (const key of ["a", "b", "c"]) await db.set([key], key);
    const kept = await db.transaction(async (tx) => {
      const iterator = tx.iterate([]);
      await iterator.next();
      return { iterator };
    });
    await db.set(["b"], "later");
    await expect(kept.iterator.next()).rejects.toMatchObject({ code: "InvalidArgument" });
  });

  test("what does not fit is a mismatch, at the call or at the commit, and is not tried again", async () => {
    await using pair = await openPair();
    const { db, other } = pair;
    await db.set(["text"], "a");
    await expect(db.transaction((tx) => tx.sum(["text"], 1))).rejects.toMatchObject({ code: "TypeMismatch" });
    let count = 0;
    const late = db.transaction(async (tx) => {
      count++;
      tx.sum(["n"], 1);
      await other.set(["n"], "text");
    });
    await expect(late).rejects.toMatchObject({ code: "TypeMismatch", outcome: "not committed" });
    expect(count).toBe(1);
  });

  test("a mismatch that the function catches leaves the rest of it as it was", async () => {
    await using db = await KV.open(memoryLedger());
    await db.set(["text"], "a");
    await db.transaction((tx) => {
      tx.set(["a"], 1);
      expect(() => tx.sum(["text"], 1)).toThrow(expect.objectContaining({ code: "TypeMismatch" }));
      tx.set(["b"], 1);
    });
    expect(await db.listKeys([])).toEqual([["a"], ["b"], ["text"]]);
  });

  test("conflicts that last longer than timeoutMs end it, not committed", async () => {
    const clock = new TestClock();
    const ledger = memoryLedger();
    await using db = await clock.open(ledger);
    await using other = await clock.open(ledger);
    let count = 0;
    const always = db.transaction(
      async (tx) => {
        await tx.get(["a"]);
        await other.set(["a"], count++);
        tx.set(["a"], "mine");
        if (count === 3) clock.elapsed += 3_600_000;
      },
      { timeoutMs: 3_600_000 },
    );
    await expect(always).rejects.toMatchObject({ code: "TransactionConflict", outcome: "not committed" });
    expect(count).toBe(3);
    expect(await db.get(["a"])).toBe(count - 1);
    expect(db.stats().snapshots.count).toBe(0);
  });

  test("arguments that cannot be used are refused", async () => {
    await using db = await KV.open(memoryLedger());
    await expect(db.transaction(5 as never)).rejects.toMatchObject({ code: "InvalidArgument" });
    await expect(db.transaction(() => 1, { timeoutMs: 0 })).rejects.toMatchObject({ code: "InvalidOption" });
    await expect(db.transaction(() => 1, 5 as never)).rejects.toThrow("timeoutMs");
    await db.transaction(async (tx) => {
      expect(() => tx.set([], 1)).toThrow(expect.objectContaining({ code: "InvalidKey" }));
      expect(() => tx.set(["a"], () => 1)).toThrow(expect.objectContaining({ code: "InvalidValue" }));
      expect(() => tx.sum(["a"], NaN)).toThrow(TypeError);
      await expect(tx.listAll([null as never])).rejects.toMatchObject({ code: "InvalidQuery" });
      await expect(tx.listKeys([], { limit: -1 })).rejects.toMatchObject({ code: "InvalidOption" });
    });
    await expect(new KV().transaction(() => 1)).rejects.toMatchObject({ code: "NotOpen" });
  });
});

describe("a signal", () => {
  test("given before, keeps the function from running", async () => {
    await using db = await KV.open(memoryLedger());
    let ran = false;
    const reason = new Error("enough");
    const aborted = db.transaction(() => void (ran = true), { signal: AbortSignal.abort(reason) });
    await expect(aborted).rejects.toBe(reason);
    expect(ran).toBe(false);
  });

  test("given while the function runs, keeps its writes from being committed", async () => {
    await using db = await KV.open(memoryLedger());
    const controller = new AbortController();
    const aborted = db.transaction(
      (tx) => {
        tx.set(["a"], 1);
        controller.abort();
      },
      { signal: controller.signal },
    );
    await expect(aborted).rejects.toMatchObject({ name: "AbortError" });
    expect(await db.count([])).toBe(0);
    expect(db.stats().snapshots.count).toBe(0);
  });

  test("ends the wait for the next try", async () => {
    await using pair = await openPair();
    const { db, other } = pair;
    const controller = new AbortController();
    const waiting = signal();
    let timers = 0;
    // The wait is drawn from the time that the function took: a timer is set for it, and none is left behind.
    const clock = new TestClock();
    const slow = await clock.open(
      pair.ledger,
      {},
      {
        random: () => 1,
        setTimer: (callback, ms, options) => {
          const timer = nodeEnvironment.setTimer(callback, ms, options);
          if (!options.ref) return timer;
          timers++;
          waiting.give();
          return {
            cancel: () => {
              timers--;
              timer.cancel();
            },
          };
        },
      },
    );
    const aborted = slow.transaction(
      async (tx) => {
        await tx.get(["a"]);
        await other.set(["a"], 1);
        clock.elapsed += 10_000;
        tx.set(["a"], 2);
      },
      { signal: controller.signal, timeoutMs: 1e9 },
    );
    await waiting.given;
    controller.abort();
    await expect(aborted).rejects.toMatchObject({ name: "AbortError" });
    expect(timers).toBe(0);
    expect(await db.get(["a"], { consistency: "strong" })).toBe(1);
    await slow.close();
  });

  test("given while the commit is on its way, ends the wait that follows when it was void", async () => {
    const ledger = memoryLedger();
    await using other = await KV.open(ledger);
    const controller = new AbortController();
    let timers = 0;
    const clock = new TestClock();
    const slow = await clock.open(
      ledger,
      { autoSync: false },
      {
        random: () => 1,
        // None of them is over before the test is.
        setTimer: () => {
          timers++;
          return { cancel: () => timers-- };
        },
      },
    );
    // It is told of others' commits on the way to its own.
    slow.watch(["a"], () => controller.abort(), { ref: false });
    const aborted = slow.transaction(
      async (tx) => {
        await tx.get(["a"]);
        await other.set(["a"], 1);
        clock.elapsed += 10_000;
        tx.set(["b"], 2);
      },
      { signal: controller.signal, timeoutMs: 1e9 },
    );
    await expect(aborted).rejects.toMatchObject({ name: "AbortError" });
    expect(timers).toBe(0);
    await slow.close();
  });

  test("ends the wait for own earlier writes", async () => {
    const { ledger, hold, release } = observed(memoryLedger());
    await using db = await KV.open(ledger);
    hold();
    const written = db.set(["a"], 1);
    const controller = new AbortController();
    const aborted = db.transaction((tx) => tx.get(["a"]), { signal: controller.signal });
    expect(await settles(aborted)).toBe(false);
    controller.abort();
    await expect(aborted).rejects.toMatchObject({ name: "AbortError" });
    release();
    await written;
  });
});

test("more than 100,000 entries read are refused at the read", async () => {
  await using db = await KV.open(memoryLedger());
  await db.beginTransaction();
  for (let i = 0; i <= 100_000; i++) void db.set([i], 1);
  await db.endTransaction();
  await db.transaction(async (tx) => {
    expect(await tx.count([{ to: 99_998 }])).toBe(99_999);
    // Those read already are not counted again.
    expect(await tx.count([{ to: 99_999 }])).toBe(100_000);
    expect(await tx.get([5])).toBe(1);
    await expect(tx.get([100_000])).rejects.toMatchObject({ code: "TransactionTooLarge", outcome: "not committed" });
    await expect(tx.has(["absent"])).rejects.toMatchObject({ code: "TransactionTooLarge" });
    tx.set(["absent"], 1);
    expect(await tx.has(["absent"])).toBe(true);
  });
});

test("a try that is lost to the own instance is neither counted nor waited for", async () => {
  const { ledger, appends } = observed(memoryLedger());
  const timers: number[] = [];
  const db = await new TestClock().open(
    ledger,
    { autoSync: false },
    {
      setTimer: (callback, ms, options) => {
        timers.push(ms);
        return nodeEnvironment.setTimer(callback, ms, options);
      },
    },
  );
  let runs = 0;
  const increments = Array.from({ length: 20 }, () =>
    db.transaction(async (tx) => {
      runs++;
      tx.set(["n"], ((await tx.get<number>(["n"])) ?? 0) + 1);
    }),
  );
  await Promise.all(increments);
  expect(await db.get(["n"])).toBe(20);
  expect(runs).toBeGreaterThan(20);
  expect(timers).toEqual([]);
  // None of those that were lost got into the ledger.
  expect(appends.flat().length).toBe(20);
  expect(db.stats().counts.voidCommits).toBe(0);
  await db.close();
});

test("one that is lost in the ledger itself is void for everybody and runs again", async () => {
  const memory = memoryLedger();
  await using other = await KV.open(memory);
  const { ledger, appends, hold, release } = observed(memory);
  await using db = await KV.open(ledger);
  let runs = 0;
  hold();
  const done = db.transaction(async (tx) => {
    runs++;
    tx.set(["n"], ((await tx.get<number>(["n"])) ?? 0) + 1);
  });
  while (appends.length === 0) await macrotask();
  // It comes in between too late to be seen.
  await other.set(["n"], 10);
  release();
  await done;
  expect([runs, await db.get(["n"]), db.stats().counts.voidCommits]).toEqual([2, 11, 1]);
  expect(await other.get(["n"], { consistency: "strong" })).toBe(11);
  expect(other.stats().counts.voidCommits).toBe(1);
});
