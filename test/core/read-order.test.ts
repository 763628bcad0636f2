import { renameSync } from "node:fs";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { describe, expect, test } from "vitest";
import { fsLedger } from "../../src/adapters/fs/index.ts";
import { memoryLedger } from "../../src/adapters/memory/index.ts";
import { objectLedger } from "../../src/adapters/object/ledger.ts";
import { memoryStore } from "../../src/adapters/object/memory-store.ts";
import { CoreKV } from "../../src/core/kv.ts";
import type { Ledger, LedgerSession } from "../../src/core/ledger.ts";
import type { ReadOptions } from "../../src/core/options.ts";
import { KV } from "../../src/index.node.ts";
import { nodeEnvironment } from "../../src/platform/environment-node.ts";
import {
  macrotask,
  onEachLedger,
  onEachOrdering,
  openWith,
  settles,
  signal,
  TestClock,
  withMembers,
} from "../support/database.ts";
import { temporaryFolder } from "../support/folder.ts";
import { Requests } from "../support/requests.ts";
import { swapLedger } from "../support/swap-ledger.ts";

/** No read sees what was called after it on its instance, however long it waits. */

type Db = CoreKV;
type Read = (db: Db, options?: ReadOptions) => Promise<unknown>;

const values = (entries: readonly ({ readonly value: unknown } | null)[]): unknown[] =>
  entries.map((entry) => entry?.value ?? null);

async function iterated(db: Db, options?: ReadOptions): Promise<unknown> {
  const found: unknown[] = [];
  for await (const { value } of db.iterate(["k"], options)) found.push(value);
  return found;
}

async function scanned(db: Db): Promise<unknown> {
  const found: unknown[] = [];
  for await (const { value } of db.scan(["k"])) found.push(value);
  return found;
}

/** Each kind of read, and what it gives while there is nothing but ["k", "a"], which is 1. */
const reads: Readonly<Record<string, readonly [Read, unknown]>> = {
  get: [(db, options) => db.get(["k", "a"], options), 1],
  "get of what comes later": [(db, options) => db.get(["k", "b"], options), null],
  getEntry: [async (db, options) => (await db.getEntry(["k", "a"], options))?.value, 1],
  has: [(db, options) => db.has(["k", "b"], options), false],
  getMany: [
    async (db, options) =>
      values(
        await db.getMany(
          [
            ["k", "a"],
            ["k", "b"],
          ],
          options,
        ),
      ),
    [1, null],
  ],
  count: [(db, options) => db.count(["k"], options), 1],
  listKeys: [(db, options) => db.listKeys(["k"], options), [["k", "a"]]],
  listAll: [async (db, options) => values(await db.listAll(["k"], options)), [1]],
  iterate: [iterated, [1]],
};

const first = (db: Db): Promise<unknown> =>
  db.atomic().set(["k", "a"], 1).set(["k", "b"], 0).delete(["k", "b"]).commit();

/** What must not be seen, in several commits. */
async function later(db: Db): Promise<void> {
  const writes = [
    db.set(["k", "a"], 2),
    db.atomic().set(["k", "a"], 3).set(["k", "b"], 3).commit(),
    db.delete(["k", "a"]),
    db.set(["k", "c"], 4),
  ];
  await Promise.all(writes);
}

/** A ledger whose sessions do some things otherwise, and how much is held of what they have read. */
function watched(ledger: Ledger, change: (session: LedgerSession) => Partial<LedgerSession> = () => ({})) {
  const held = { count: 0 };
  const open: Ledger["open"] = async (options) => {
    const session = await ledger.open(options);
    const pin = (): (() => void) => {
      const unpin = session.pin?.();
      held.count++;
      return () => {
        held.count--;
        unpin?.();
      };
    };
    return withMembers(session, { pin, ...change(session) });
  };
  return { held, ledger: { name: ledger.name, ordering: ledger.ordering, open } satisfies Ledger };
}

/** A clock of which no time passes by itself: nothing is due, and no look is made, before a test says so. */
const still = (clock: TestClock) => ({ monotonic: () => clock.elapsed });
const rarely = { syncIntervalMs: 1_000_000 } as const;
const strong = { consistency: "strong" } as const;

onEachOrdering((make) => {
  for (const [name, [read, expected]] of Object.entries(reads)) {
    test(`${name} that waits for an own commit sees nothing that was called later`, async () => {
      using made = make();
      const { ledger, held } = watched(made.ledger);
      await using db = await KV.open(ledger);
      const calls = [first(db), read(db), later(db)];
      expect((await Promise.all(calls))[1]).toEqual(expected);
      expect([held.count, db.stats().snapshots.count]).toEqual([0, 0]);
      expect(await db.listKeys(["k"])).toHaveLength(2);
    });

    test(`a strong ${name} sees what others have committed before it was called, and nothing own that was called later`, async () => {
      using made = make();
      const { ledger, held } = watched(made.ledger);
      await using db = await KV.open(ledger, { autoSync: false });
      await using other = await KV.open(made.ledger);
      await first(other);
      expect((await Promise.all([read(db, strong), later(db)]))[0]).toEqual(expected);
      expect(held.count).toBe(0);
    });
  }

  test("histories go up to where they were asked for in the order of calls", async () => {
    using made = make();
    await using db = await KV.open(made.ledger);
    const [, history] = await Promise.all([first(db), scanned(db), later(db)]);
    expect(history).toEqual([1, undefined]);
  });

  test("a transaction that begins while others write sees what was called before it", async () => {
    using made = make();
    const { ledger, held } = watched(made.ledger);
    await using db = await KV.open(ledger);
    const before = first(db);
    const begun = db.beginTransaction();
    const after = db.atomic().set(["k", "a"], 2).set(["k", "b"], 2).commit();
    const read = db.get(["k", "a"]);
    await Promise.all([before, begun, after]);
    expect([await read, await db.get(["k", "a"]), await db.count(["k"])]).toEqual([1, 1, 1]);
    await db.abortTransaction();
    expect([await db.get(["k", "a"]), held.count]).toEqual([2, 0]);
  });

  test("a read goes on where a commit that it waits for turns out to be void, or does not fit", async () => {
    using made = make();
    await using db = await KV.open(made.ledger);
    await db.set(["k", "a"], "text");
    const calls = [
      db
        .atomic()
        .check({ key: ["k", "a"], version: null })
        .set(["k", "a"], 1)
        .commit(),
      db.get(["k", "a"]),
      db.set(["k", "a"], "later"),
      db
        .atomic()
        .sum(["k", "a"], 1)
        .commit()
        .catch((error: { code: string }) => error.code),
      db.get(["k", "a"]),
      db.set(["k", "a"], "last"),
    ];
    expect(await Promise.all(calls)).toMatchObject([{ ok: false }, "text", {}, "TypeMismatch", "later", {}]);
  });

  test("of many reads and writes nobody waits for each read sees the last write before it", async () => {
    using made = make();
    const { ledger, held } = watched(made.ledger);
    await using db = await KV.open(ledger);
    const seen: Promise<unknown>[] = [];
    const written: Promise<unknown>[] = [];
    for (let i = 0; i < 3000; i++) {
      written.push(db.set(["k", i % 7], i));
      if (i % 3 === 0) written.push(db.delete(["k", (i + 1) % 7]));
      seen.push(i % 50 === 0 ? db.count(["k"]) : db.get(["k", i % 7]));
    }
    const kept = new Set<number>();
    const expected = Array.from({ length: 3000 }, (_, i) => {
      kept.add(i % 7);
      if (i % 3 === 0) kept.delete((i + 1) % 7);
      return i % 50 === 0 ? kept.size : i;
    });
    expect(await Promise.all(seen)).toEqual(expected);
    await Promise.all(written);
    expect(held.count).toBe(0);
  });

  test("what a read waits for in vain leaves nothing behind", async () => {
    using made = make();
    const go = signal();
    const { ledger, held } = watched(made.ledger, (session) => ({
      append: async (commits, position) => {
        await go.given;
        return session.append(commits, position);
      },
    }));
    const db = await KV.open(ledger);
    const writes = [first(db)];
    const waiting = Object.values(reads).map(([read]) => expect(read(db)).rejects.toMatchObject({ code: "Closed" }));
    writes.push(later(db));
    const closed = db.close();
    go.give();
    await Promise.all([...writes, ...waiting, closed]);
    expect(held.count).toBe(0);
  });
});

onEachLedger((make) => {
  for (const [name, [read, expected]] of Object.entries(reads)) {
    test(`${name} that waits for its turn sees nothing that was called later`, async () => {
      using made = make();
      const { ledger, held } = watched(made.ledger);
      const clock = new TestClock();
      await using db = await clock.open(ledger, rarely, still(clock));
      await first(db);
      await macrotask();
      await db.has(["x"]);
      clock.elapsed += 20;
      // What was called before has to wait for its turn as well, and gets it first.
      const before = db.set(["x"], 0);
      for (let i = 0; i < 20; i++) await Promise.resolve();
      expect((await Promise.all([read(db), later(db), before]))[0]).toEqual(expected);
      expect(held.count).toBe(0);
    });

    test(`${name} that waits for news sees what is new, and nothing own that was called later`, async () => {
      using made = make();
      const { ledger, held } = watched(made.ledger);
      const clock = new TestClock();
      await using db = await clock.open(ledger, rarely, still(clock));
      await using other = await KV.open(made.ledger);
      await first(other);
      clock.elapsed += 2;
      expect((await Promise.all([read(db), later(db)]))[0]).toEqual(expected);
      expect(held.count).toBe(0);
    });
  }

  test("what a watch's callback writes while a read makes its instance follow was called after that read", async () => {
    using made = make();
    const clock = new TestClock();
    await using db = await clock.open(made.ledger, rarely, still(clock));
    await using other = await KV.open(made.ledger);
    const writes: Promise<unknown>[] = [];
    const unwatch = db.watch(["k"], () => {
      unwatch();
      writes.push(later(db));
    });
    await first(other);
    clock.elapsed += 2;
    expect(await db.get(["k", "a"])).toBe(1);
    await Promise.all(writes);
  });

  test("without an index a history that waits goes up to where it was asked for", async () => {
    using made = make();
    await using db = await KV.open(made.ledger, { disableIndex: true });
    const [, history] = await Promise.all([db.set(["k"], 1), scanned(db), db.set(["k"], 2)]);
    expect(history).toEqual([1]);
  });
});

describe("what was frozen for a read that waits", () => {
  test("is asked for a value once, however long that takes to arrive", async () => {
    let values = 0;
    const { ledger, held } = watched(swapLedger().ledger, (session) => ({
      readValue: async (...of) => {
        values++;
        await macrotask();
        return session.readValue(...of);
      },
    }));
    await using db = await KV.open(ledger);
    const [, entry] = await Promise.all([db.set(["k"], "first"), db.getEntry(["k"]), db.set(["k"], "second")]);
    expect([entry?.value, values, held.count]).toEqual(["first", 1, 0]);
  });

  /** A strong read that waits for its round, with a later write applied before that. */
  async function waiting(path: string) {
    const go = signal();
    let isSlow = false;
    const { ledger, held } = watched(fsLedger(path), (session) => ({
      read: async (position, budget) => {
        if (isSlow) await go.given;
        return session.read(position, budget);
      },
    }));
    const db = await openWith(nodeEnvironment, ledger, { autoSync: false, pinnedBytesMax: 1 });
    isSlow = true;
    const old = db.set(["k"], "old".repeat(1000));
    const calls = [db.get<string>(["k"], strong), db.listAll<string>(["k"], strong).then(([entry]) => entry.value)];
    await Promise.all([old, db.set(["k"], "new")]);
    for (const call of calls) expect(await settles(call)).toBe(false);
    return { db, held, calls, go: () => go.give() };
  }

  test("stays readable when a vacuum has left it behind", async () => {
    using folder = temporaryFolder();
    const { db, held, calls, go } = await waiting(folder.file("a.db"));
    await using vacuuming = await KV.open(folder.file("a.db"));
    await vacuuming.vacuum();
    go();
    expect(await Promise.all(calls)).toEqual(["old".repeat(1000), "old".repeat(1000)]);
    expect([await db.get(["k"]), held.count]).toEqual(["new", 0]);
    await db.close();
  });

  test("stays readable when the file is replaced by another one", async () => {
    using folder = temporaryFolder();
    const { db, held, calls, go } = await waiting(folder.file("a.db"));
    const another = await KV.open(folder.file("b.db"));
    await another.close();
    renameSync(folder.file("b.db"), folder.file("a.db"));
    go();
    expect(await Promise.all(calls)).toEqual(["old".repeat(1000), "old".repeat(1000)]);
    expect([await db.get(["k"]), held.count]).toEqual([null, 0]);
    await db.close();
  });
});

describe("where requests share an instance", () => {
  function isolate() {
    const dropped: (() => void)[] = [];
    const requests = new Requests({
      ...nodeEnvironment,
      dropped: (release) => ({ register: (_, given) => void dropped.push(() => release(given)) }),
    });
    const { ledger, held } = watched(objectLedger(requests.bound(memoryStore())));
    const platform = { environment: requests.environment, ledgerAt: () => memoryLedger() };
    const db = new CoreKV({}, platform);
    const serve = <T>(handle: () => Promise<T>): Promise<T> =>
      requests.begin(async () => {
        await db.open(ledger);
        return handle();
      }).response;
    return { db, requests, ledger, held, dropped, serve };
  }

  for (const [name, [read, expected]] of Object.entries(reads)) {
    test(`${name} that waits sees nothing that was called later, by whatever request`, async () => {
      const { db, serve, held } = isolate();
      await serve(() => first(db));
      const own = serve(() => Promise.all([first(db), read(db), read(db, strong), later(db)]));
      const others = serve(() => later(db));
      expect((await own).slice(1, 3)).toEqual([expected, expected]);
      await others;
      expect(held.count).toBe(0);
      await serve(() => db.close());
    });
  }

  test("what was frozen for a request that is gone is let go of", async () => {
    const { db, requests, ledger, held, dropped, serve } = isolate();
    await serve(() => first(db));
    const gone = requests.begin(async () => {
      await db.open(ledger);
      await Promise.all([first(db), db.count(["k"])]);
    });
    await macrotask();
    gone.end();
    await serve(() => later(db));
    expect(held.count).toBe(1);
    for (const drop of dropped) drop();
    expect(held.count).toBe(0);
    await serve(() => db.close());
  });

  test("whoever waits is not taken for gone by a collector of garbage", async () => {
    setFlagsFromString("--expose-gc");
    const collectGarbage = runInNewContext("gc") as () => void;
    const go = signal();
    const requests = new Requests();
    const { ledger, held } = watched(objectLedger(requests.bound(memoryStore())), (session) => ({
      append: async (commits, position) => {
        await go.given;
        return session.append(commits, position);
      },
    }));
    const db = new CoreKV({}, { environment: requests.environment, ledgerAt: () => memoryLedger() });
    const request = requests.begin(async () => {
      await db.open(ledger);
      const calls = [first(db), ...Object.values(reads).map(([read]) => read(db)), db.deleteAll(["k"]), later(db)];
      return await Promise.all(calls);
    });
    for (let i = 0; i < 20; i++) {
      await macrotask();
      collectGarbage();
    }
    go.give();
    const found = await request.response;
    expect(found.slice(1, -1)).toEqual([...Object.values(reads).map(([, expected]) => expected), 1]);
    const closing = requests.begin(async () => {
      const left = await db.listKeys(["k"], strong);
      await db.close();
      return left;
    });
    expect(await closing.response).toEqual([
      ["k", "b"],
      ["k", "c"],
    ]);
    expect(held.count).toBe(0);
  });
});
