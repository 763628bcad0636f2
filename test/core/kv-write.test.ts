import { describe, expect, test } from "vitest";
import { memoryLedger } from "../../src/adapters/memory/index.ts";
import { KV } from "../../src/index.node.ts";
import { macrotask, observed, onEachOrdering, openPair, settles, withLimit } from "../support/database.ts";

onEachOrdering((make) => {
  test("set and delete resolve with the versions of their commits, which grow", async () => {
    using made = make();
    await using db = await KV.open(made.ledger);
    const versions = [await db.set(["a"], 1), await db.delete(["a"]), await db.delete(["absent"])].map(
      ({ version }) => version as number,
    );
    expect(versions).toEqual(versions.toSorted((a, b) => a - b));
    expect(new Set(versions).size).toBe(3);
    expect(versions[0]).toBeGreaterThan(0);
    expect(versions[1]).toBeGreaterThan(versions[0] + 1);
    expect((await db.set(["b"], 1)).version).toBeGreaterThan(versions[2]);
  });

  test("what is written is there when the ledger is opened again, each commit at its version", async () => {
    using made = make();
    let version: number | undefined;
    {
      await using db = await KV.open(made.ledger);
      await db.set(["a"], { deep: [1] });
      ({ version } = await db.set(["b"], "b"));
      await db.delete(["a"]);
    }
    await using again = await KV.open(made.ledger);
    expect(await again.get(["a"])).toBe(null);
    expect(await again.getEntry(["b"])).toMatchObject({ value: "b", version });
  });

  test("writes that nobody awaits take effect in order, and close waits for them", async () => {
    using made = make();
    const db = await KV.open(made.ledger);
    for (let i = 0; i < 1000; i++) void db.set(["k", i % 10], i);
    void db.delete(["k", 0]);
    await db.close();
    await using again = await KV.open(made.ledger);
    expect((await again.listAll(["k"])).map(({ value }) => value)).toEqual(
      Array.from({ length: 9 }, (_, i) => 991 + i),
    );
  });

  test("ten thousand writes at once are all acknowledged, with versions in the order of the calls", async () => {
    using made = make();
    await using db = await KV.open(made.ledger);
    const results = await Promise.all(Array.from({ length: 10_000 }, (_, i) => db.set(["k", i], i)));
    const versions = results.map(({ version }) => version as number);
    expect(versions).toEqual([...new Set(versions)].sort((a, b) => a - b));
    expect(await db.count([])).toBe(10_000);
  });

  test("a value that is changed after the call is stored as it was", async () => {
    using made = make();
    await using db = await KV.open(made.ledger);
    const value = { list: [1], bytes: Uint8Array.of(1) };
    const written = db.set(["a"], value);
    const key = ["b"];
    const other = db.set(key, 1);
    key[0] = "c";
    value.list.push(2);
    value.bytes[0] = 9;
    await Promise.all([written, other]);
    expect(await db.get(["a"])).toEqual({ list: [1], bytes: Uint8Array.of(1) });
    expect(await db.listKeys([])).toEqual([["a"], ["b"]]);
  });

  test("what is refused at the call is not written, and keeps nothing else from being written", async () => {
    using made = make();
    await using db = await KV.open(made.ledger);
    const refused = [
      db.set([], 1),
      db.set(["a"], undefined),
      db.set(["a"], () => 1),
      db.set(["a"], 1, { expireIn: 0 }),
      db.delete([NaN]),
      db.deleteAll([null as never]),
      db.deleteAll(new Proxy(["a"], { get: throwing })),
    ];
    const fine = db.set(["b"], 1);
    const codes = await Promise.all(refused.map((each) => each.catch((error: { code: string }) => error.code)));
    expect(codes).toEqual([
      "InvalidKey",
      "InvalidValue",
      "InvalidValue",
      "InvalidOption",
      "InvalidKey",
      "InvalidQuery",
      "InvalidQuery",
    ]);
    await fine;
    expect(await db.listKeys([])).toEqual([["b"]]);
  });
});

describe("reading one's own writes", () => {
  test("a read waits for own pending commits that touch its key, and for no others", async () => {
    const { ledger, hold, release } = observed(memoryLedger());
    await using db = await KV.open(ledger);
    await db.set(["b"], "old");
    hold();
    const pending = [db.set(["a"], 1), db.atomic().set(["c"], 1).sum(["d"], 2).commit()];
    const touching = [db.get(["a"]), db.getEntry(["c"]), db.has(["d"]), db.getMany([["b"], ["d"]])];
    const ranges = [db.count(["a"]), db.listKeys([]), db.listAll([{ from: "c" }]), db.iterate(["d"]).next()];
    const [key, range, several] = [db.get(["b"]), db.listKeys(["b"]), db.getMany([["b"], ["x"]])];
    expect(await key).toBe("old");
    expect(await range).toEqual([["b"]]);
    expect(await db.count(["x"])).toBe(0);
    expect((await several).map((entry) => entry?.value)).toEqual(["old", undefined]);
    expect(await Promise.all([...touching, ...ranges].map(settles))).toEqual(Array(8).fill(false));
    release();
    expect(await db.get(["a"])).toBe(1);
    const [a, c, d, many] = await Promise.all(touching);
    expect([a, (c as { value: number }).value, d]).toEqual([1, 1, true]);
    expect((many as { value: unknown }[]).map(({ value }) => value)).toEqual(["old", 2]);
    expect(await Promise.all(ranges)).toMatchObject([1, [["a"], ["b"], ["c"], ["d"]], [{}, {}], { done: false }]);
    await Promise.all(pending);
  });

  test("a read does not wait for what is called after it", async () => {
    const { ledger, hold, release } = observed(memoryLedger());
    await using db = await KV.open(ledger);
    await db.set(["a"], 1);
    const before = [db.get(["a"]), db.listAll(["a"]).then(([entry]) => entry.value)];
    hold();
    const written = db.set(["a"], 2);
    expect(await Promise.all(before)).toEqual([1, 1]);
    release();
    await written;
  });

  test("a read waits for the last of several pending commits", async () => {
    await using db = await KV.open(memoryLedger());
    for (let i = 0; i < 100; i++) {
      void db.set(["a"], i);
      if (i % 7 === 0) expect(await db.get(["a"])).toBe(i);
    }
    expect(await db.get(["a"])).toBe(99);
    void db.delete(["a"]);
    expect(await db.get(["a"])).toBe(null);
  });

  test("a read after a write that fails sees what was there", async () => {
    await using db = await KV.open(memoryLedger());
    await db.set(["a"], "text");
    const failed = db.atomic().sum(["a"], 1).commit();
    expect(await db.get(["a"])).toBe("text");
    await expect(failed).rejects.toMatchObject({ code: "TypeMismatch", outcome: "not committed" });
  });
});

describe("waitUntil", () => {
  onEachOrdering((make) => {
    test("that throws rejects no commit, and is told of by the error event", async () => {
      using made = make();
      const thrown = new Error("The request has ended");
      await using db = await KV.open(made.ledger, {
        waitUntil: () => {
          throw thrown;
        },
      });
      const errors: unknown[] = [];
      db.on("error", (error) => errors.push(error));
      await Promise.all([db.set(["a"], 1), db.delete(["b"])]);
      expect(await db.atomic().set(["c"], 1).commit()).toMatchObject({ ok: true });
      await db.transaction((tx) => tx.set(["d"], 1));
      expect(await db.deleteAll([])).toBe(3);
      expect(new Set(errors)).toEqual(new Set([thrown]));
    });
  });
});

describe("deleteAll", () => {
  test("says that nothing is left only when that is in the ledger", async () => {
    const { ledger, hold, release } = observed(memoryLedger());
    await using db = await KV.open(ledger);
    await db.set(["k"], 1);
    hold();
    const deleted = db.delete(["k"]);
    expect(await db.deleteAll(["x"])).toBe(0);
    const calls = [deleted, db.deleteAll(["k"]), db.set(["k"], 2)];
    expect(await settles(calls[1])).toBe(false);
    release();
    expect(await Promise.all(calls)).toMatchObject([{}, 0, {}]);
    expect(await db.get(["k"])).toBe(2);
  });

  onEachOrdering((make) => {
    test("deletes what its query matches, in one commit, and tells how many keys", async () => {
      using made = make();
      await using db = await KV.open(made.ledger);
      for (const key of [["a"], ["a", 1], ["a", 1, "x"], ["ab"], ["b"]]) await db.set(key, 1);
      const versions = new Set<number>();
      db.watch([], ({ version, operation }) => operation === "delete" && versions.add(version));
      expect(await db.deleteAll(["a"])).toBe(3);
      expect(versions.size).toBe(1);
      expect(await db.listKeys([])).toEqual([["ab"], ["b"]]);
      expect(await db.deleteAll(["a"])).toBe(0);
      expect(await db.deleteAll([{ from: "ab", to: "b" }])).toBe(2);
    });
  });

  test("sees own pending writes, and takes its place among them", async () => {
    const { ledger, hold, release } = observed(memoryLedger());
    await using db = await KV.open(ledger);
    await db.set(["k", 1], "old");
    hold();
    void db.set(["k", 2], "in flight");
    await macrotask();
    void db.set(["k", 3], "waiting");
    void db.delete(["k", 1]);
    const deleted = db.deleteAll(["k"]);
    void db.set(["k", 4], "later");
    release();
    expect(await deleted).toBe(2);
    expect(await db.listKeys(["k"])).toEqual([["k", 4]]);
  });

  test("counts on nothing that a pending commit with a condition may or may not do", async () => {
    await using db = await KV.open(memoryLedger());
    await db.set(["k", 1], 1);
    const lost = db
      .atomic()
      .check({ key: ["k", 1], version: null })
      .delete(["k", 1])
      .set(["k", 2], 1)
      .commit();
    const won = db
      .atomic()
      .check({ key: ["k", 9], version: null })
      .set(["k", 3], 1)
      .commit();
    void db.deleteAll(["k"]);
    expect([await lost, (await won).ok]).toEqual([{ ok: false }, true]);
    expect(await db.listKeys(["k"])).toEqual([]);
  });

  test("called from within a watch, sees the rest of the batch that is being told of", async () => {
    await using db = await KV.open(memoryLedger());
    let deleted: Promise<number> | undefined;
    db.watch(["k", 1], () => (deleted ??= db.deleteAll(["k"])));
    await Promise.all([db.set(["k", 1], 1), db.set(["k", 2], 2), db.set(["k", 3], 3)]);
    expect(await deleted).toBe(3);
    expect(await db.listKeys([])).toEqual([]);
  });

  test("of expired entries deletes nothing", async () => {
    await using db = await KV.open(memoryLedger());
    await db.set(["a"], 1, { expireIn: Number.MIN_VALUE });
    expect(await db.deleteAll([])).toBe(0);
  });

  test("of more than fits into one commit is refused, and deletes in pieces when asked to", async () => {
    await using db = await KV.open(withLimit(memoryLedger(), 500));
    for (let i = 0; i < 50; i++) await db.set(["key", i], i);
    await expect(db.deleteAll(["key"])).rejects.toMatchObject({ code: "CommitTooLarge", outcome: "not committed" });
    expect(await db.count([])).toBe(50);
    expect(await db.deleteAll(["key"], { atomic: false })).toBe(50);
    expect(await db.count([])).toBe(0);
  });
});

describe("the queue", () => {
  test("writes that are made together are appended together, and none waits for a timer", async () => {
    const { ledger, appends } = observed(memoryLedger());
    await using db = await KV.open(ledger);
    await Promise.all(Array.from({ length: 200 }, (_, i) => db.set(["k", i], i)));
    expect(appends.map((batch) => batch.length)).toEqual([200]);
  });

  test("what is written while an append is under way goes with the next one", async () => {
    const { ledger, appends, hold, release } = observed(memoryLedger());
    await using db = await KV.open(ledger);
    hold();
    const first = db.set(["a"], 1);
    while (appends.length === 0) await macrotask();
    const rest: Promise<unknown>[] = [];
    for (let i = 0; i < 5; i++) {
      rest.push(db.set(["b", i], 1));
      await macrotask();
    }
    release();
    await Promise.all([first, ...rest]);
    expect(appends.map((batch) => batch.length)).toEqual([1, 5]);
  });

  test("a batch has at most 16 MiB, and a larger commit goes alone", async () => {
    const { ledger, appends } = observed(memoryLedger());
    await using db = await KV.open(ledger);
    const sizes = [6, 6, 6, 20, 1];
    await Promise.all(sizes.map((size, i) => db.set(["k", i], new Uint8Array(size * 1024 * 1024))));
    expect(appends.map((batch) => batch.length)).toEqual([2, 1, 1, 1]);
  });

  test("beyond pendingBytesMax rejects, and one commit always fits", async () => {
    const { ledger, hold, release } = observed(memoryLedger());
    await using db = await KV.open(ledger, { pendingBytesMax: 1000 });
    hold();
    const first = db.set(["a"], "x".repeat(5000));
    await expect(db.set(["b"], 1)).rejects.toMatchObject({ code: "QueueFull", outcome: "not committed" });
    release();
    await first;
    hold();
    const fitting = [db.set(["c"], "x".repeat(400)), db.set(["d"], "x".repeat(400))];
    await expect(db.set(["e"], "x".repeat(400))).rejects.toMatchObject({ code: "QueueFull" });
    await expect(db.atomic().set(["e"], "x".repeat(400)).commit()).rejects.toMatchObject({ code: "QueueFull" });
    expect(db.stats().pending.commits).toBe(2);
    release();
    await Promise.all(fitting);
    await db.set(["e"], "x".repeat(400));
    expect(await db.listKeys([])).toEqual([["a"], ["c"], ["d"], ["e"]]);
  });

  test("a value above 64 MiB, and a commit above what the ledger takes, are refused", async () => {
    await using db = await KV.open(withLimit(memoryLedger(), 500));
    const refused = { code: "CommitTooLarge", outcome: "not committed" };
    await expect(db.set(["a"], new Uint8Array(600))).rejects.toMatchObject(refused);
    const atomic = db.atomic().set(["a"], new Uint8Array(300));
    expect(() => atomic.set(["b"], new Uint8Array(300))).toThrow(expect.objectContaining(refused));
    // What was refused is not a part of it.
    expect(await atomic.commit()).toMatchObject({ ok: true });
    expect(await db.listKeys([])).toEqual([["a"]]);
  });
});

test("other instances see a commit once it is in the ledger", async () => {
  await using pair = await openPair();
  const { db, other } = pair;
  const { version } = await db.set(["a"], 1);
  expect(await other.getEntry(["a"], { consistency: "strong" })).toMatchObject({ value: 1, version });
});

function throwing(): never {
  throw new Error("It throws when it is read");
}
