import { expect, test } from "vitest";
import { KVError } from "../../src/core/errors.ts";
import type { Ledger, LedgerSession } from "../../src/core/ledger.ts";
import { KV } from "../../src/index.node.ts";
import { macrotask, onEachLedger, signal, TestClock, withMembers } from "../support/database.ts";

/** What reads see with `autoSync`, where a look at the ledger costs next to nothing: no poll helps them here. */
const rarely = { syncIntervalMs: 1_000_000 } as const;

/** A ledger whose sessions do some things otherwise. */
function changed(ledger: Ledger, change: (session: LedgerSession) => Partial<LedgerSession>): Ledger {
  const open: Ledger["open"] = async (options) => {
    const session = await ledger.open(options);
    return withMembers(session, change(session));
  };
  return { name: ledger.name, ordering: ledger.ordering, open };
}

onEachLedger((make) => {
  test("what one read finds to be there is seen by those that come before it was followed", async () => {
    using made = make();
    const slow = changed(made.ledger, (session) => ({
      read: async (position, budget) => {
        await macrotask();
        return session.read(position, budget);
      },
    }));
    const clock = new TestClock();
    await using db = await clock.open(slow, rarely, { monotonic: () => clock.elapsed });
    await using other = await KV.open(made.ledger);
    await other.set(["a"], 1);
    clock.elapsed += 2;
    expect(await Promise.all([db.get(["a"]), db.get(["a"])])).toEqual([1, 1]);
  });

  test("a read that a watch's callback makes sees what lies behind the commit that is told", async () => {
    using made = make();
    const clock = new TestClock();
    await using db = await clock.open(made.ledger, rarely, { monotonic: () => clock.elapsed });
    await using other = await KV.open(made.ledger);
    const reads: Promise<unknown>[] = [];
    db.watch(["a"], () => {
      clock.elapsed += 2;
      reads.push(db.get(["b"]));
    });
    await Promise.all([other.set(["a"], 1), other.set(["b"], 2)]);
    await db.sync();
    expect(await Promise.all(reads)).toEqual([2]);
  });

  test("deleteAll deletes what others have committed before, and stays in the order of calls", async () => {
    using made = make();
    const clock = new TestClock();
    await using db = await clock.open(made.ledger, rarely, { monotonic: () => clock.elapsed });
    await using other = await KV.open(made.ledger);
    await other.set(["a", 1], 1);
    clock.elapsed += 2;
    const calls = [
      db.set(["a", 2], 2),
      db.deleteAll(["a"]),
      db.set(["a", 3], 3),
      db.get(["a", 3]),
      db.deleteAll(["b"]),
    ];
    expect(await Promise.all(calls)).toMatchObject([{}, 2, {}, 3, 0]);
    expect(await other.listKeys([], { consistency: "strong" })).toEqual([["a", 3]]);
    await other.set(["b"], 1);
    clock.elapsed += 2;
    const again = [db.deleteAll(["b"]), db.set(["b"], 2), db.deleteAll(["b"]), db.set(["b", 1], 1)];
    expect(await Promise.all(again)).toMatchObject([1, {}, 1, {}]);
    expect(await db.listKeys([])).toEqual([
      ["a", 3],
      ["b", 1],
    ]);
    await other.delete(["a", 3]);
    clock.elapsed += 2;
    const last = db.deleteAll([]);
    await db.close();
    expect(await last).toBe(1);
    expect(await other.count([], { consistency: "strong" })).toBe(0);
  });

  test("deleteAll that waits for what is new goes at once with what could not be written before it", async () => {
    using made = make();
    const [appended, answer] = [signal(), signal()];
    let isFull = false;
    const slow = changed(made.ledger, (session) => ({
      append: async (commits, position) => {
        if (isFull) await appended.given;
        if (isFull) throw new KVError("NoSpace", "There is no room", { outcome: "not committed" });
        return session.append(commits, position);
      },
      read: async (position, budget) => {
        if (isFull) await answer.given;
        return session.read(position, budget);
      },
    }));
    const clock = new TestClock();
    await using db = await clock.open(slow, rarely, { monotonic: () => clock.elapsed });
    await using other = await KV.open(made.ledger);
    await other.set(["b"], 1);
    clock.elapsed += 2;
    isFull = true;
    const failed = { code: "NoSpace", outcome: "not committed" };
    const set = expect(db.set(["a"], 1)).rejects.toMatchObject(failed);
    await macrotask();
    const deleted = expect(db.deleteAll(["b"])).rejects.toMatchObject(failed);
    appended.give();
    await Promise.all([set, deleted]);
    isFull = false;
    answer.give();
    expect(await db.deleteAll(["b"])).toBe(1);
  });

  test("a read that waits for an own commit sees what others have committed behind it", async () => {
    using made = make();
    const answer = signal();
    const slow = changed(made.ledger, (session) => ({
      append: async (commits, position) => {
        const appended = await session.append(commits, position);
        await answer.given;
        return appended;
      },
    }));
    const clock = new TestClock();
    await using db = await clock.open(slow, rarely, { monotonic: () => clock.elapsed });
    await using other = await KV.open(made.ledger);
    const own = db.set(["a"], 1);
    await macrotask();
    await other.set(["b"], 2);
    clock.elapsed += 2;
    const read = db.getMany([["a"], ["b"]]);
    answer.give();
    await own;
    expect((await read).map((entry) => entry?.value)).toEqual([1, 2]);
  });
});
