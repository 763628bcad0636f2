import { describe, expect, test } from "vitest";
import { fsLedger } from "../../src/adapters/fs/index.ts";
import { memoryLedger } from "../../src/adapters/memory/index.ts";
import { KV } from "../../src/index.node.ts";
import type { Ledger, LedgerSession } from "../../src/core/ledger.ts";
import { faultyLedger } from "../../src/testing/index.ts";
import { withMembers } from "../support/database.ts";
import { temporaryFolder } from "../support/folder.ts";

/** A ledger whose answers wait until they may pass. */
function gated(ledger: Ledger): { readonly ledger: Ledger; close(): void; open(): void } {
  let gate = Promise.resolve();
  let open = (): void => undefined;
  return {
    ledger: faultyLedger(ledger, { delay: () => gate }),
    close: () => void (gate = new Promise((resolve) => (open = resolve))),
    open: () => {
      gate = Promise.resolve();
      open();
    },
  };
}

/** A ledger that takes its time to make things durable, and notes what it is asked for meanwhile. */
function durableLedger(ledger: Ledger, meanwhile: string[]): { readonly ledger: Ledger; readonly finish: () => void } {
  let finish = (): void => undefined;
  const open: Ledger["open"] = async (options) => {
    const session = await ledger.open(options);
    let underWay = false;
    const noting =
      <A extends unknown[], R>(name: string, call: (...given: A) => R) =>
      (...given: A): R => {
        if (underWay) meanwhile.push(name);
        return call(...given);
      };
    const replaced: Partial<LedgerSession> = {
      read: noting("read", session.read.bind(session)),
      append: noting("append", session.append.bind(session)),
      makeDurable: () => {
        underWay = true;
        return new Promise((resolve) => {
          finish = () => {
            underWay = false;
            resolve();
          };
        });
      },
      close: noting("close", session.close.bind(session)),
    };
    return withMembers(session, replaced);
  };
  return { ledger: { name: ledger.name, ordering: ledger.ordering, open }, finish: () => finish() };
}

const macrotask = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe("what uses the session takes turns", () => {
  test("nothing is read, appended or closed while a sync makes things durable", async () => {
    const meanwhile: string[] = [];
    const { ledger, finish } = durableLedger(memoryLedger(), meanwhile);
    const db = await new KV({ autoSync: false }).open(ledger);
    const synced = db.sync();
    await macrotask();
    const written = db.set(["a"], 1);
    const again = db.get(["a"], { consistency: "strong" });
    const closed = db.close();
    await macrotask();
    expect(meanwhile).toEqual([]);
    finish();
    await Promise.allSettled([synced, written, again, closed]);
    expect(meanwhile).toEqual([]);
  });

  test("a value that is on its way arrives though the database is closed meanwhile", async () => {
    using folder = temporaryFolder();
    const { ledger, close, open } = gated(fsLedger(folder.file("ledger.db")));
    const db = await new KV({ autoSync: false }).open(ledger);
    await db.set(["a"], "a string, read from the file when it is asked for");
    close();
    const value = db.get(["a"]);
    await macrotask();
    await db.close();
    open();
    expect(await value).toBe("a string, read from the file when it is asked for");
  });
});

describe("sync events", () => {
  test("count each commit once, however many wait for the round that finds it", async () => {
    const memory = memoryLedger();
    const other = await new KV().open(memory);
    let delays = 0;
    let commitAt = Infinity;
    const ledger = faultyLedger(memory, {
      delay: async () => {
        if (++delays === commitAt) for (let i = 0; i < 3; i++) await other.set(["a"], i);
      },
    });
    const db = await new KV({ autoSync: false }).open(ledger);
    const counts: number[] = [];
    db.on("sync", ({ applied }) => counts.push(applied));
    // The first has a round of its own; the others share the next one, before which the commits are made.
    commitAt = delays + 2;
    await Promise.all([db.sync(), db.sync(), db.get(["a"], { consistency: "strong" }), db.sync()]);
    expect(counts.reduce((sum, count) => sum + count)).toBe(3);
    await Promise.all([db.close(), other.close()]);
  });

  test("count own commits too without autoSync", async () => {
    const db = await new KV({ autoSync: false }).open(memoryLedger());
    const counts: number[] = [];
    db.on("sync", ({ applied }) => counts.push(applied));
    await db.set(["a"], 1);
    await db.set(["b"], 2);
    expect(counts).toEqual([]);
    await db.sync();
    expect(counts).toEqual([2]);
    await db.close();
  });
});

describe("transactions", () => {
  test("a read that was called before one began sees nothing of it", async () => {
    const { ledger, close, open } = gated(memoryLedger());
    const db = await new KV({ autoSync: false }).open(ledger);
    await db.set(["a"], 1);
    close();
    const reads = [
      db.get(["a"], { consistency: "strong" }),
      db.getMany([["a"]], { consistency: "strong" }).then(([entry]) => entry?.value),
      db.has(["b"], { consistency: "strong" }),
      db.count([], { consistency: "strong" }),
    ];
    await db.beginTransaction();
    await db.set(["a"], 2);
    await db.set(["b"], 2);
    open();
    expect(await Promise.all(reads)).toEqual([1, 1, false, 1]);
    expect(await db.get(["a"])).toBe(2);
    await db.abortTransaction();
    await db.close();
  });

  test("one that cannot begin, because the ledger cannot be followed, says that nothing was committed", async () => {
    let failing = false;
    const ledger = faultyLedger(memoryLedger(), { read: () => failing });
    const db = await new KV({ autoSync: false }).open(ledger);
    failing = true;
    await expect(db.transaction((transaction) => transaction.set(["a"], 1))).rejects.toMatchObject({
      code: "InputOutput",
      outcome: "not committed",
    });
    await db.close();
  });
});
