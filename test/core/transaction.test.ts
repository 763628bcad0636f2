import { describe, expect, test } from "vitest";
import { memoryLedger } from "../../src/adapters/memory/index.ts";
import type { Transaction } from "../../src/core/transaction.ts";
import { KV } from "../../src/index.node.ts";
import { observed, onEachOrdering, openPair, settles, TestClock } from "../support/database.ts";

/** transaction(fn). */

onEachOrdering((make) => {
  test("resolves with what the function returned, and its writes are one commit", async () => {
    using made = make();
    await using pair = await openPair({}, made.ledger);
    const { db, other } = pair;
    await db.set(["a"], 5);
    const result = await db.transaction(async (tx) => {
      const a = (await tx.get<number>(["a"])) as number;
      tx.set(["a"], a + 1);
      tx.set(["b"], { b: true });
      tx.delete(["c"]);
      expect([await tx.get(["a"]), await tx.get(["b"])]).toEqual([6, { b: true }]);
      return { a };
    });
    expect(result).toEqual({ a: 5 });
    const [a, b] = await other.getMany([["a"], ["b"]], { consistency: "strong" });
    expect([a?.value, b?.value, a?.version]).toEqual([6, { b: true }, b?.version]);
  });

  test("a hundred at once on one instance all succeed, beside others on another one", async () => {
    using made = make();
    await using pair = await openPair({}, made.ledger);
    const { db, other } = pair;
    const increment = (kv: KV): Promise<void> =>
      kv.transaction(async (tx) => tx.set(["n"], ((await tx.get<number>(["n"])) ?? 0) + 1));
    await Promise.all([
      ...Array.from({ length: 100 }, () => increment(db)),
      ...Array.from({ length: 10 }, () => increment(other)),
    ]);
    expect(await db.get(["n"], { consistency: "strong" })).toBe(110);
  });
});

describe("reads", () => {
  test("see one frozen version, with own writes on top, while others write", async () => {
    await using pair = await openPair();
    const { db, other } = pair;
    await db.set(["a"], 1);
    await db.set(["b"], 1);
    await db.transaction(async (tx) => {
      expect(await tx.get(["a"])).toBe(1);
      await other.set(["b"], 2);
      await other.set(["c"], 2);
      await db.get(["b"], { consistency: "strong" });
      expect(await tx.get(["b"])).toBe(1);
      expect(await tx.has(["c"])).toBe(false);
      expect(await tx.count([])).toBe(2);
      expect(await tx.listKeys([], { reverse: true, limit: 1 })).toEqual([["b"]]);
      expect((await tx.getMany([["a"], ["x"]])).map((entry) => entry?.value)).toEqual([1, undefined]);
      expect(await tx.getEntry(["a"])).toMatchObject({ value: 1, version: expect.any(Number) });
      expect((await tx.listAll([{ from: "b" }])).map(({ value }) => value)).toEqual([1]);
    });
  });

  test("begin with own earlier writes, also those that nobody awaited", async () => {
    const { ledger, hold, release } = observed(memoryLedger());
    await using db = await KV.open(ledger);
    for (let i = 0; i < 3; i++) {
      await db.set(["b"], i);
      hold();
      void db.set(["a"], i);
      const read = db.transaction((tx) => tx.get(["a"]));
      expect(await settles(read)).toBe(false);
      release();
      expect(await read).toBe(i);
    }
  });

  test("begin with what others have committed", async () => {
    await using pair = await openPair({ autoSync: false });
    await pair.other.set(["a"], 1);
    expect(await pair.db.transaction((tx) => tx.get(["a"]))).toBe(1);
  });

  test("see what sums will give, and staged entries have no version", async () => {
    await using db = await KV.open(memoryLedger());
    await db.set(["n"], 5);
    await db.transaction(async (tx) => {
      tx.sum(["n"], 2);
      tx.max(["m"], 7n);
      tx.min(["m"], 3n);
      expect([await tx.get(["n"]), await tx.get(["m"])]).toEqual([7, 3n]);
      expect((await tx.getEntry(["n"]))?.version).toBe(undefined);
    });
    expect([await db.get(["n"]), await db.get(["m"])]).toEqual([7, 3n]);
  });
});

/** Runs a transaction during whose first try another instance does something; tells how many tries it took. */
async function tries(
  prepare: (db: KV) => Promise<unknown>,
  read: (tx: Transaction) => Promise<unknown>,
  meanwhile: (other: KV) => Promise<unknown>,
): Promise<number> {
  await using pair = await openPair();
  await prepare(pair.db);
  let count = 0;
  await pair.db.transaction(async (tx) => {
    await read(tx);
    if (count++ === 0) await meanwhile(pair.other);
    tx.set(["result"], count);
  });
  expect(await pair.db.get(["result"])).toBe(count);
  return count;
}

const three = async (db: KV): Promise<void> => {
  for (const name of ["a", "b", "c"]) await db.set(["k", name], 1);
};

describe("runs again when an entry that it read has changed", () => {
  const change = (name: string) => (other: KV) => other.set(["k", name], 2);
  test.each<[string, (tx: Transaction) => Promise<unknown>]>([
    ["get", (tx) => tx.get(["k", "b"])],
    ["getEntry", (tx) => tx.getEntry(["k", "b"])],
    ["has", (tx) => tx.has(["k", "b"])],
    ["getMany", (tx) => tx.getMany([["x"], ["k", "b"]])],
    ["listAll", (tx) => tx.listAll(["k"])],
    ["listKeys", (tx) => tx.listKeys([])],
    ["count", (tx) => tx.count([])],
    ["listAll with a limit", (tx) => tx.listAll(["k"], { reverse: true, limit: 2 })],
    [
      "iterate",
      async (tx) => {
        for await (const _ of tx.iterate(["k"])) await Promise.resolve();
      },
    ],
  ])("by %s", async (_, read) => {
    expect(await tries(three, read, change("b"))).toBe(2);
    expect(await tries(three, read, (other) => other.delete(["k", "b"]))).toBe(2);
  });

  test("also one that was absent, and one that is written back as it was", async () => {
    expect(
      await tries(
        three,
        (tx) => tx.get(["new"]),
        (other) => other.set(["new"], 1),
      ),
    ).toBe(2);
    expect(
      await tries(
        three,
        (tx) => tx.get(["k", "a"]),
        (other) => other.set(["k", "a"], 1),
      ),
    ).toBe(2);
    const there = async (other: KV): Promise<void> => {
      await other.set(["new"], 1);
      await other.delete(["new"]);
    };
    expect(await tries(three, (tx) => tx.get(["new"]), there)).toBe(1);
  });

  test("also one that it read to be summed, but none that it only sums", async () => {
    const summed = async (tx: Transaction): Promise<void> => tx.sum(["k", "a"], 1);
    expect(await tries(three, summed, change("a"))).toBe(1);
    expect(
      await tries(
        three,
        async (tx) => {
          tx.sum(["k", "a"], 1);
          await tx.get(["k", "a"]);
        },
        change("a"),
      ),
    ).toBe(2);
  });

  test("but not for entries that it did not read", async () => {
    expect(await tries(three, (tx) => tx.get(["k", "a"]), change("b"))).toBe(1);
    expect(await tries(three, (tx) => tx.listAll(["k"], { limit: 1 }), change("b"))).toBe(1);
    expect(
      await tries(
        three,
        async (tx) => {
          for await (const _ of tx.iterate(["k"])) break;
        },
        change("b"),
      ),
    ).toBe(1);
    // What it overwrote it has not read.
    expect(
      await tries(
        three,
        async (tx) => {
          tx.set(["k", "b"], 5);
          await tx.get(["k", "b"]);
        },
        change("b"),
      ),
    ).toBe(1);
    // A key that newly appears in a range is not noticed.
    expect(await tries(three, (tx) => tx.listAll(["k"]), change("d"))).toBe(1);
  });

  test("also one that has expired between its read and its commit", async () => {
    const clock = new TestClock();
    const db = await clock.open(memoryLedger());
    await db.set(["a"], 1, { expireIn: 100 });
    const seen: unknown[] = [];
    await db.transaction(async (tx) => {
      seen.push(await tx.get(["a"]));
      if (seen.length === 1) clock.time += 100;
      tx.set(["b"], 1);
    });
    expect(seen).toEqual([1, null]);
    await db.close();
  });
});

test("one that only reads is done with the state it saw, whatever changes", async () => {
  const { ledger, appends } = observed(memoryLedger());
  await using pair = await openPair({}, ledger);
  await pair.db.set(["a"], 1);
  let count = 0;
  const result = await pair.db.transaction(async (tx) => {
    count++;
    const first = await tx.get(["a"]);
    await pair.other.set(["a"], 2);
    return [first, await tx.get(["a"])];
  });
  expect([result, count]).toEqual([[1, 1], 1]);
  expect(appends.length).toBe(2);
});

test("transfers between accounts keep the sum, whoever makes them", async () => {
  await using pair = await openPair();
  for (let i = 0; i < 4; i++) await pair.db.set(["account", i], 100);
  const transfer = (kv: KV, from: number, to: number): Promise<void> =>
    kv.transaction(async (tx) => {
      const accounts = new Map((await tx.listAll<number>(["account"])).map(({ key, value }) => [key[1], value]));
      if (from === to) return;
      tx.set(["account", from], (accounts.get(from) as number) - 1);
      tx.set(["account", to], (accounts.get(to) as number) + 1);
    });
  const transfers = Array.from({ length: 30 }, (_, i) => transfer(i % 2 ? pair.db : pair.other, i % 4, (i * 7) % 4));
  await Promise.all(transfers);
  const values = (await pair.db.listAll<number>(["account"], { consistency: "strong" })).map(({ value }) => value);
  expect(values.reduce((sum, value) => sum + value)).toBe(400);
});
