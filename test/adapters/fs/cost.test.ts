import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { createFsLedger } from "../../../src/adapters/fs/ledger.ts";
import type { Environment } from "../../../src/core/environment.ts";
import type { CoreKV } from "../../../src/core/kv.ts";
import { nodeEnvironment } from "../../../src/platform/environment-node.ts";
import { CountingCalls, type Cost } from "../../support/counting.ts";
import { openWith } from "../../support/database.ts";
import { inFolder } from "../../support/folder.ts";
import { fill } from "../../support/items.ts";

/**
 * What operations cost, in calls to the system and bytes: a slower one shows here on any machine. `autoSync` is off, for it looks at the size of the
 * file as time passes.
 */

const still = { autoSync: false } as const;

/** Of a ledger whose saved index covers all of it: saves come due at a multiple of this. */
const SAVED = 33_000;
const KIB = 1024;
/** What a look into a block, or at a page, may read. */
const BLOCK_BYTES = 4 * KIB;

interface Counted {
  readonly calls: CountingCalls;
  /** Time passes for it when it is told to. */
  readonly clock: { monotonic: number };
  open(): Promise<CoreKV>;
}

/** Runs a test with a ledger whose calls to the system are counted. */
function onCounted(test: (counted: Counted) => Promise<void>): Promise<void> {
  return inFolder((folder) => {
    const calls = new CountingCalls();
    const clock = { monotonic: 0 };
    const ledger = createFsLedger(join(folder, "ledger.db"), {}, calls.calls);
    const environment = { ...nodeEnvironment, monotonic: () => clock.monotonic };
    return test({ calls, clock, open: () => openWith(environment, ledger, still) });
  });
}

/** One that has `entries`, all of them in the saved index, and was closed. */
async function withIndex({ open }: Counted, entries: number): Promise<void> {
  await using db = await open();
  await fill(db, 0, entries);
}

const item = (n: number): [string, number] => ["item", n];

describe("a write costs", () => {
  it("one write and one look at the size, awaited one after the other", () =>
    onCounted(async ({ calls, open }) => {
      await using db = await open();
      const cost = await calls.of(async () => {
        for (let i = 0; i < 50; i++) await db.set(item(i), "value");
      });
      expect(cost).toEqual({ appends: 50, fstats: 50, bytesAppended: expect.any(Number) as number });
    }));

  it("a reading of the last frame's end too, if none was looked at for a millisecond", () =>
    onCounted(async ({ calls, clock, open }) => {
      await using db = await open();
      await db.set(item(0), "value");
      clock.monotonic++;
      const once = { appends: 1, fstats: 1, bytesAppended: expect.any(Number) as number };
      // And of the one that was looked at before it.
      expect(await calls.of(() => db.set(item(1), "value"))).toEqual({ ...once, reads: 2, bytesRead: 10 });
      expect(await calls.of(() => db.set(item(2), "value"))).toEqual(once);
    }));

  it("not more than 80 bytes beside key and value", () =>
    onCounted(async ({ calls, open }) => {
      await using db = await open();
      const value = new Uint8Array(1000);
      const { bytesAppended } = await calls.of(() => db.set(["k"], value));
      expect((bytesAppended as number) - value.length).toBeLessThanOrEqual(80);
    }));

  it("one write for all that are not awaited, and for all of a transaction", () =>
    onCounted(async ({ calls, open }) => {
      await using db = await open();
      const once = { appends: 1, fstats: 1, bytesAppended: expect.any(Number) as number };
      const sets = (): Promise<unknown> =>
        Promise.all(Array.from({ length: 1000 }, (_, i) => db.set(item(i), "value")));
      expect(await calls.of(sets)).toEqual(once);
      expect(await calls.of(() => fill(db, 0, 1000))).toEqual(once);
      // A function begins by following to the end: that the last frame is still there is part of it.
      const following = { ...once, fstats: 2, reads: 1, bytesRead: 5 };
      expect(await calls.of(() => db.transaction((tx) => tx.sum(["sum"], 1)))).toEqual(following);
    }));

  it("nothing of the index, in a program that opens, sets one key and closes", () =>
    onCounted(async (counted) => {
      await withIndex(counted, SAVED);
      const db = await counted.open();
      const cost = await counted.calls.of(async () => {
        await db.set(item(3), "another");
        await db.close();
      });
      expect(cost).toEqual({ appends: 1, fstats: 1, bytesAppended: expect.any(Number) as number });
    }));
});

describe("a poll that finds nothing new costs", () => {
  it("a look at the path, one at the size, and the reading of the last frame's end", () =>
    onCounted(async ({ calls, open }) => {
      await using db = await open();
      await db.set(["a"], 1);
      await db.sync();
      expect(await calls.of(() => db.sync())).toEqual({ stats: 1, fstats: 1, reads: 1, bytesRead: 5 });
    }));

  it("one look at the path, and that reading, where the interval makes it, and is over at once", () =>
    inFolder(async (folder) => {
      const counting = new CountingCalls();
      const ledger = createFsLedger(join(folder, "ledger.db"), {}, counting.calls);
      let due: (() => void) | undefined;
      const setTimer: Environment["setTimer"] = (callback) => {
        due = callback;
        return { cancel: () => undefined };
      };
      await using db = await openWith({ ...nodeEnvironment, setTimer }, ledger);
      await db.set(["a"], 1);
      await db.sync();
      const results: string[] = [];
      db.on("sync", ({ result }) => results.push(result));
      const { rounds } = db.stats().counts;
      const poll = due;
      due = undefined;
      const cost = await counting.of(async () => poll?.());
      expect(cost).toEqual({ stats: 1, reads: 1, bytesRead: 5 });
      // Counted, told of, and the next one is due: without a promise that somebody would have had to wait for.
      expect([db.stats().counts.rounds, results, typeof due]).toEqual([rounds + 1, ["ready"], "function"]);
    }));
});

describe("opening costs", () => {
  it("the same for any number of entries, with a saved index", () =>
    onCounted(async (small) => {
      await withIndex(small, SAVED);
      const few = await openingCost(small);
      await onCounted(async (large) => {
        await withIndex(large, 3 * SAVED);
        const many = await openingCost(large);
        for (const each of [few, many]) {
          // The last commit that the index covers, which is large here, takes two.
          expect(each.reads).toBeLessThanOrEqual(4);
          expect(each.bytesRead).toBeLessThanOrEqual(68 * KIB);
          expect(each.indexBytesRead).toBeLessThanOrEqual(220 * KIB);
        }
      });
    }));

  it("the same for any number of entries, after a vacuum", () =>
    onCounted(async (counted) => {
      await withIndex(counted, SAVED);
      const vacuuming = await counted.open();
      await vacuuming.vacuum();
      await vacuuming.close();
      const cost = await openingCost(counted);
      expect(cost.reads).toBeLessThanOrEqual(4);
      expect(cost.bytesRead).toBeLessThanOrEqual(132 * KIB);
      expect(cost.indexReads ?? 0).toBeLessThanOrEqual(1);
    }));

  async function openingCost({ calls, open }: Counted): Promise<Partial<Cost>> {
    let db: CoreKV | undefined;
    const cost = await calls.of(async () => {
      db = await open();
    });
    expect(await db?.has(item(SAVED - 1))).toBe(true);
    await db?.close();
    expect(cost.appends ?? 0).toBe(0);
    return cost;
  }
});

describe("a read costs", () => {
  it("nothing for what has just been written and is missing", () =>
    onCounted(async ({ calls, open }) => {
      await using db = await open();
      await db.set(item(1), "value");
      expect(await calls.of(() => db.get(item(2)))).toEqual({});
      expect(await calls.of(() => db.count([]))).toEqual({});
      expect(await calls.of(() => db.listKeys([]))).toEqual({});
    }));

  it("at first three looks into the index and one into the ledger, then none for the same and the next entry", () =>
    onCounted(async (counted) => {
      await withIndex(counted, SAVED);
      await using db = await counted.open();
      const first = await counted.calls.of(() => db.get(item(1000)));
      expect(first).toMatchObject({ indexReads: 3, reads: 1 });
      expect(first.indexBytesRead).toBeLessThanOrEqual(3 * BLOCK_BYTES);
      expect(first.bytesRead).toBeLessThanOrEqual(BLOCK_BYTES);
      expect(await counted.calls.of(() => db.get(item(1000)))).toEqual({});
      // Written beside it: its value is there, the way to it may lie elsewhere.
      expect((await counted.calls.of(() => db.get(item(1001)))).reads ?? 0).toBe(0);
    }));

  it("one look into the index for a missing key, and none the second time", () =>
    onCounted(async (counted) => {
      await withIndex(counted, SAVED);
      await using db = await counted.open();
      await db.get(item(1000));
      const miss = await counted.calls.of(() => db.get(item(1000.5)));
      expect(miss.reads ?? 0).toBe(0);
      expect(miss.indexReads ?? 0).toBeLessThanOrEqual(1);
      expect(await counted.calls.of(() => db.get(item(1000.5)))).toEqual({});
    }));

  it("for a range what its entries take, once", () =>
    onCounted(async (counted) => {
      await withIndex(counted, SAVED);
      const range = ["item", { from: 2000, to: 2099 }] as const;
      const ranges = async (bytesMax: number): Promise<void> => {
        await using db = await counted.open();
        await db.get(item(1000));
        const first = await counted.calls.of(() => db.listAll([...range]));
        expect((first.bytesRead ?? 0) + (first.indexBytesRead ?? 0)).toBeLessThanOrEqual(bytesMax);
        expect(await counted.calls.of(() => db.listAll([...range]))).toEqual({});
      };
      await ranges(6 * BLOCK_BYTES);
      const vacuuming = await counted.open();
      await vacuuming.vacuum();
      await vacuuming.close();
      await ranges(6 * BLOCK_BYTES);
    }));

  it("for a count what the index takes, and nothing of the values", () =>
    onCounted(async (counted) => {
      await withIndex(counted, SAVED);
      await using db = await counted.open();
      let count = 0;
      const cost = await counted.calls.of(async () => {
        count = await db.count([]);
      });
      expect(count).toBe(SAVED);
      expect(cost.reads ?? 0).toBe(0);
      expect(cost.indexBytesRead).toBeLessThanOrEqual(24 * SAVED);
      // In blocks, not entry by entry, and some for each run, of which there may be several.
      expect(cost.indexReads).toBeLessThanOrEqual(SAVED / 500);
    }));
});
