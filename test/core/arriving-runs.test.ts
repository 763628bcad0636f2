import { describe, expect, test } from "vitest";
import { fsLedger } from "../../src/adapters/fs/index.ts";
import { KV } from "../../src/index.node.ts";
import { arrivingLedger } from "../support/arriving-ledger.ts";
import { temporaryFolder } from "../support/folder.ts";
import { randomSource } from "../support/random.ts";

const KEYS = 3000;
/** So little that a block is gone before the next one is there. */
const tiny = { cacheBytesMax: 0, autoSync: false } as const;

function value(i: number): unknown {
  return i % 5 === 0 ? i : i % 7 === 0 ? "long ".repeat(1200) : { i, text: `text ${i}` };
}

/** A database whose state lies in runs that arrive late, and the same one as anybody else sees it. */
async function openLate(options: { readonly runs?: "snapshot" | "saved"; readonly cacheBytesMax?: number } = {}) {
  const folder = temporaryFolder();
  const path = folder.file("ledger.db");
  {
    await using db = await KV.open(path);
    await db.beginTransaction();
    for (let i = 0; i < KEYS; i++) void db.set(["k", i], value(i));
    void db.set(["n"], 1);
    await db.endTransaction();
    await db.vacuum();
    if (options.runs === "saved") {
      // As many operations as make a save due.
      for (let at = 0; at < 40_000; at += 10_000) {
        await db.beginTransaction();
        for (let i = at; i < at + 10_000; i++) void db.set(["s", i], i);
        await db.endTransaction();
      }
      await db
        .atomic()
        .check({ key: ["n"], version: null })
        .set(["void"], 1)
        .commit();
    }
  }
  const { ledger, counts } = arrivingLedger(fsLedger(path));
  const db = await KV.open(ledger, { ...tiny, cacheBytesMax: options.cacheBytesMax ?? 0 });
  const plain = await KV.open(path, { autoSync: false });
  return {
    db,
    plain,
    counts,
    path,
    [Symbol.asyncDispose]: async () => {
      await Promise.all([db.close(), plain.close()]);
      folder[Symbol.dispose]();
    },
  };
}

async function collect<T>(from: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const each of from) all.push(each);
  return all;
}

for (const cacheBytesMax of [0, 20_000, 32 * 1024 * 1024]) {
  describe(`runs that arrive late, with ${cacheBytesMax} bytes of cache`, () => {
    test("give the same answers to all reads", async () => {
      await using late = await openLate({ runs: "saved", cacheBytesMax });
      const { db, plain } = late;
      const random = randomSource(3);
      expect(late.counts.reads).toBeGreaterThan(0);
      for (let i = 0; i < 60; i++) {
        const key = random() < 0.8 ? ["k", Math.floor(random() * (KEYS + 20))] : ["s", Math.floor(random() * 41_000)];
        expect(await db.get(key)).toStrictEqual(await plain.get(key));
        expect(await db.getEntry(key)).toEqual(await plain.getEntry(key));
        expect(await db.has(key)).toBe(await plain.has(key));
      }
      const keys = Array.from({ length: 30 }, (_, i) => ["k", i * 97]);
      expect(await db.getMany(keys)).toEqual(await plain.getMany(keys));
      const queries = [["k"], ["k", { from: 100, to: 180 }], [{}, { from: 2900 }], ["absent"], []];
      for (const query of queries) {
        for (const reverse of [false, true]) {
          const options = { reverse, limit: 400 };
          expect(await db.listAll(query, options)).toEqual(await plain.listAll(query, options));
          expect(await db.listKeys(query, options)).toEqual(await plain.listKeys(query, options));
        }
        const entries = await collect(db.iterate(query, { limit: 50 }));
        expect(entries).toEqual(await plain.listAll(query, { limit: 50 }));
      }
      expect(await db.count(["k"])).toBe(KEYS);
      const byVersion = { order: "version", limit: 20, reverse: true } as const;
      expect(await db.listAll(["s"], byVersion)).toEqual(await plain.listAll(["s"], byVersion));
    });

    test("are read to their end in a transaction that does not wait for it, and by nobody afterwards", async () => {
      await using late = await openLate({ cacheBytesMax });
      const { db, plain } = late;
      let reads: Promise<unknown>[] = [];
      const kept = await db.transaction((tx) => {
        reads = [
          tx.get(["k", 3]),
          tx.getEntry(["k", 700]),
          tx.getMany([["k", 9], ["absent"], ["k", 2000]]),
          tx.has(["k", 11]),
          tx.listKeys(["k", { from: 20, to: 400 }]),
          tx.listAll(["k", { from: 2000 }]),
          tx.count(["k"]),
        ];
        return { tx };
      });
      expect(await Promise.all(reads)).toEqual([
        await plain.get(["k", 3]),
        await plain.getEntry(["k", 700]),
        await plain.getMany([["k", 9], ["absent"], ["k", 2000]]),
        true,
        await plain.listKeys(["k", { from: 20, to: 400 }]),
        await plain.listAll(["k", { from: 2000 }]),
        KEYS,
      ]);
      await expect(kept.tx.get(["k", 3])).rejects.toMatchObject({ code: "InvalidArgument" });
      expect(db.stats().snapshots.count).toBe(0);
    });

    test("carry writes that depend on them, in order, own and others'", async () => {
      await using late = await openLate({ cacheBytesMax });
      const { db, plain } = late;
      const results = await Promise.all([
        db.atomic().sum(["n"], 1).commit(),
        db.set(["k", 1], "new"),
        db
          .atomic()
          .check({ key: ["k", 2], version: null })
          .set(["never"], 1)
          .commit(),
        ...Array.from({ length: 20 }, (_, i) =>
          db
            .atomic()
            .sum(["n"], 1)
            .max(["k", i * 5], 10_000)
            .commit(),
        ),
        db
          .atomic()
          .sum(["k", 1], 1)
          .commit()
          .catch((error: unknown) => (error as { code: string }).code),
      ]);
      expect(results[2]).toEqual({ ok: false });
      expect(results.at(-1)).toBe("TypeMismatch");
      expect(await db.get(["n"])).toBe(22);
      await plain.atomic().sum(["n"], 100).min(["k", 500], 3).commit();
      await plain.set(["k", 2], "theirs");
      await plain.atomic().sum(["n"], 1000).commit();
      await db.sync();
      await plain.sync();
      for (const key of [["n"], ["k", 1], ["k", 2], ["never"], ["k", 5], ["k", 500]])
        expect(await db.getEntry(key)).toEqual(await plain.getEntry(key));
      expect(await db.get(["n"])).toBe(1122);
      expect(db.stats().counts).toMatchObject({ voidCommits: 2 });
    });

    test("serve transactions of both kinds", async () => {
      await using late = await openLate({ cacheBytesMax });
      const { db, plain } = late;
      const sums = await Promise.all(
        Array.from({ length: 5 }, (_, i) =>
          db.transaction(async (tx) => {
            const n = (await tx.get<number>(["n"])) as number;
            tx.set(["n"], n + 1);
            tx.sum(["k", 10], 1);
            const entries = await tx.listAll(["k", { from: 20, to: 24 }]);
            const keys = await tx.listKeys(["k", { from: 30, to: 31 }]);
            const read = (await tx.get<number>(["k", 10])) as number;
            tx.set(["sum", i], read);
            return entries.length + keys.length;
          }),
        ),
      );
      expect(sums).toEqual([7, 7, 7, 7, 7]);
      expect(await db.get(["n"])).toBe(6);
      expect(await db.get(["k", 10])).toBe(15);
      expect((await db.listAll<number>(["sum"])).map((entry) => entry.value).sort((a, b) => a - b)).toEqual([
        11, 12, 13, 14, 15,
      ]);
      await db.beginTransaction();
      const reading = db.get(["k", 11]);
      void db.set(["k", 12], "staged");
      const listing = db.listAll(["k", { from: 11, to: 13 }]);
      await db.endTransaction();
      expect(await reading).toEqual(value(11));
      expect((await listing).map((entry) => entry.value)).toEqual([value(11), "staged", value(13)]);
      await plain.sync();
      expect(await plain.get(["k", 12])).toBe("staged");
    });

    test("can be deleted, watched through a vacuum, scanned and vacuumed", async () => {
      await using late = await openLate({ cacheBytesMax });
      const { db, plain } = late;
      const seen: unknown[] = [];
      db.watch(["k", { from: 100, to: 130 }], ({ key, operation }) => seen.push([key?.[1], operation]));
      expect(await db.deleteAll(["k", { from: 120, to: 125 }])).toBe(6);
      expect(await db.count(["k", { from: 119, to: 126 }])).toBe(2);
      await plain.set(["k", 101], "theirs");
      await plain.vacuum();
      await db.sync();
      expect(seen).toEqual([...[120, 121, 122, 123, 124, 125].map((i) => [i, "delete"]), [101, "set"]]);
      const told = await collect(db.scan(["k", { from: 100, to: 130 }]));
      expect(told).toEqual(await collect(plain.scan(["k", { from: 100, to: 130 }])));
      await db.set(["k", 1], { expires: true }, { expireIn: 1 });
      await db.vacuum({ keepHistory: { commits: 1 } });
      await plain.sync();
      expect(await db.count([])).toBe(await plain.count([]));
      expect(await db.get(["k", 7])).toEqual(value(7));
    });
  });
}

test("a mismatch of a sum whose stored value has yet to arrive is told by the next read of the transaction", async () => {
  await using late = await openLate();
  const run = late.db.transaction(async (tx) => {
    tx.sum(["k", 1], 1);
    await tx.get(["k", 1]);
  });
  await expect(run).rejects.toMatchObject({ code: "TypeMismatch" });
  const unread = late.db.transaction((tx) => tx.sum(["k", 1], 1));
  await expect(unread).rejects.toMatchObject({ code: "TypeMismatch" });
  expect(await late.db.get(["k", 1])).toEqual(value(1));
});

test("a read goes on with what it saw when the ledger is vacuumed while its bytes are on their way", async () => {
  await using late = await openLate();
  const { db, plain } = late;
  await plain.set(["k", 1], "theirs");
  await plain.vacuum();
  const reads = [db.get(["k", 3]), db.getEntry(["k", 4]), db.listAll(["k", { from: 5, to: 9 }])];
  await db.sync();
  const [one, two, some] = await Promise.all(reads);
  expect(one).toEqual(value(3));
  expect(two).toMatchObject({ value: value(4) });
  expect(some).toHaveLength(5);
});

describe("deleteAll of rows that have yet to arrive", () => {
  test("keeps its place among the calls around it, and reads behind it wait", async () => {
    await using late = await openLate();
    const { db, plain } = late;
    const before = db.set(["k", 5000], "before");
    const deleting = db.deleteAll(["k"]);
    const after = [db.atomic().sum(["k", 10], 1).commit(), db.set(["k", 11], "after"), db.set(["other"], 1)];
    const reads = [db.get(["k", 12]), db.get(["k", 10]), db.get(["k", 11]), db.count(["k"])];
    expect(await deleting).toBe(KEYS + 1);
    await Promise.all([before, ...after]);
    expect(await Promise.all(reads)).toEqual([null, 1, "after", 2]);
    await plain.sync();
    expect((await plain.listAll(["k"])).map(({ key, value: found }) => [key[1], found])).toEqual([
      [10, 1],
      [11, "after"],
    ]);
    expect(db.stats().pending).toEqual({ commits: 0, bytes: 0 });
    expect(await db.deleteAll(["nothing"])).toBe(0);
    await db.set(["k", 1], "still writable");
  });

  test("in a transaction leaves alone what is staged after it, and says so if the transaction has ended", async () => {
    await using late = await openLate();
    const { db } = late;
    await db.beginTransaction();
    const deleting = db.deleteAll(["k", { from: 1, to: 20 }]);
    void db.set(["k", 3], "staged");
    expect(await deleting).toBe(20);
    expect((await db.listAll(["k", { from: 1, to: 20 }])).map((entry) => entry.value)).toEqual(["staged"]);
    await db.endTransaction();
    expect(await db.count(["k"])).toBe(KEYS - 19);
    await db.beginTransaction();
    const tooLate = db.deleteAll(["k"]);
    tooLate.catch(() => undefined);
    await db.endTransaction();
    await expect(tooLate).rejects.toMatchObject({ code: "NoTransaction", outcome: "not committed" });
    expect(await db.count(["k"])).toBe(KEYS - 19);
  });

  test("is waited for by close", async () => {
    await using late = await openLate();
    const deleting = late.db.deleteAll(["k"]);
    await late.db.close();
    expect(await deleting).toBe(KEYS);
    await late.plain.sync();
    expect(await late.plain.count(["k"])).toBe(0);
  });
});
