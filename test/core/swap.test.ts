import { describe, expect, test } from "vitest";
import { decodeCommit, ItemKind } from "../../src/core/commit.ts";
import { KVError } from "../../src/core/errors.ts";
import type { CommitRecord } from "../../src/core/ledger.ts";
import { KV } from "../../src/index.node.ts";
import { macrotask, settles, signal, TestClock } from "../support/database.ts";
import { swapLedger, type SwapLedger } from "../support/swap-ledger.ts";

const still = { autoSync: false } as const;

/** What commits do, as they were handed to the ledger. */
function kinds(commits: readonly CommitRecord[]): number[][] {
  return commits.map(({ payload }) => decodeCommit(payload).operations.map(({ kind }) => kind));
}

/** Lets another database be first, once. */
function loseOnce(swap: SwapLedger, first: () => Promise<unknown>): void {
  swap.before = async () => {
    swap.before = () => undefined;
    await first();
  };
}

describe("what goes into a ledger whose authors resolve", () => {
  test("is plain sets and deletes: sums as their results, checks left out, what is void or empty not at all", async () => {
    const swap = swapLedger();
    await using db = await KV.open(swap.ledger, still);
    const [set, sum, void_, misfit, checked, empty, deleted] = await Promise.allSettled([
      db.set(["n"], 1),
      db.atomic().sum(["n"], 2).sum(["n"], 3).max(["m"], 7n).commit(),
      db
        .atomic()
        .check({ key: ["n"], version: null })
        .set(["never"], 1)
        .commit(),
      db.atomic().sum(["m"], 1).commit(),
      db
        .atomic()
        .check({ key: ["x"], version: null })
        .set(["x"], "x")
        .delete(["n"])
        .set(["n"], 9)
        .commit(),
      db
        .atomic()
        .check({ key: ["y"], version: null })
        .commit(),
      db.delete(["absent"]),
    ]);
    expect([set.status, sum.status, checked.status, deleted.status]).toEqual(Array(4).fill("fulfilled"));
    expect(void_).toMatchObject({ value: { ok: false } });
    expect(misfit).toMatchObject({ reason: { code: "TypeMismatch" } });
    expect(empty).toMatchObject({ value: { ok: true } });
    const set_ = ItemKind.set;
    expect(kinds(swap.appends[0])).toEqual([[set_], [set_, set_], [set_, set_], [ItemKind.delete]]);
    for (const { payload } of swap.appends[0]) expect(decodeCommit(payload).checks).toEqual([]);
    expect(swap.appends).toHaveLength(1);
    await using other = await KV.open(swap.ledger, still);
    for (const each of [db, other]) {
      expect((await each.listAll([])).map(({ key, value }) => [key, value])).toEqual([
        [["m"], 7n],
        [["n"], 9],
        [["x"], "x"],
      ]);
      expect(await each.has(["never"])).toBe(false);
    }
    expect(await other.listAll([], { order: "version" })).toEqual(await db.listAll([], { order: "version" }));
    expect((await other.listAll([], { order: "version" })).map(({ key }) => key[0])).toEqual(["m", "x", "n"]);
  });

  test("is the very payload, not a copy, of a commit that is plain already", async () => {
    const swap = swapLedger();
    await using db = await KV.open(swap.ledger, still);
    await Promise.all([db.set(["a"], "x".repeat(1000)), db.set(["b"], 1), db.atomic().sum(["n"], 1).commit()]);
    await db.set(["c"], 1);
    // Payloads of small commits that are written after each other share a buffer.
    const [a, b] = swap.appends[0];
    expect(a.payload.buffer).toBe(b.payload.buffer);
    expect(swap.appends[1][0].payload.buffer).toBe(a.payload.buffer);
  });

  test("keeps the time at which an entry expires, to the bit, through a sum", async () => {
    const swap = swapLedger();
    const clock = new TestClock();
    clock.time += 0.123;
    await using db = await clock.open(swap.ledger, still);
    await db.set(["a"], 1, { expireIn: 1000.7 });
    const before = await db.getEntry(["a"]);
    clock.time += 17.3;
    await db.atomic().sum(["a"], 1, { expireIn: 5 }).sum(["new"], 1, { expireIn: 50 }).commit();
    await using other = await clock.open(swap.ledger, still);
    for (const each of [db, other]) {
      expect(await each.getEntry(["a"])).toMatchObject({ value: 2, expiresAt: before?.expiresAt });
      expect(await each.getEntry(["new"])).toMatchObject({ value: 1, expiresAt: clock.time + 50 });
    }
    clock.time = before?.expiresAt as number;
    await db.atomic().sum(["a"], 1).commit();
    await other.sync();
    expect(await other.getEntry(["a"])).toMatchObject({ value: 1 });
    expect((await other.getEntry(["a"]))?.expiresAt).toBeUndefined();
  });

  test("may not be larger than the ledger takes, and fails alone", async () => {
    const swap = swapLedger();
    const limited = {
      ...swap.ledger,
      open: async (...options: Parameters<typeof swap.ledger.open>) => {
        const session = await swap.ledger.open(...options);
        return new Proxy(session, {
          get: (target, name) => (name === "payloadBytesMax" ? 300 : Reflect.get(target, name, target)) as unknown,
        });
      },
    };
    await using db = await KV.open(limited, still);
    await db.set(["n"], 2n ** 1900n);
    await db.set(["o"], 2n ** 1900n);
    const many = db.atomic();
    for (let i = 0; i < 20; i++) many.check({ key: ["a key that takes room", i], version: null });
    // A sum of a few bytes, and a result that is many times as large.
    const [fits, grown, after] = await Promise.allSettled([
      many.set(["k"], 1).commit(),
      db.atomic().sum(["n"], 1n).sum(["m"], 1n).sum(["o"], 1n).commit(),
      db.atomic().sum(["m"], 5n).commit(),
    ]);
    expect(fits).toMatchObject({ value: { ok: true } });
    expect(grown).toMatchObject({ reason: { code: "CommitTooLarge", outcome: "not committed" } });
    expect(after.status).toBe("fulfilled");
    expect([await db.get(["k"]), await db.get(["m"]), await db.get(["o"])]).toEqual([1, 5n, 2n ** 1900n]);
  });
});

describe("nothing of a batch is answered", () => {
  test("before the append is settled, conflicts and misfits neither", async () => {
    const swap = swapLedger();
    await using db = await KV.open(swap.ledger, still);
    await db.set(["n"], "text");
    const gate = signal();
    swap.after = () => gate.given;
    const calls = [
      db
        .atomic()
        .check({ key: ["n"], version: null })
        .set(["a"], 1)
        .commit(),
      db.atomic().sum(["n"], 1).commit(),
      db.set(["b"], 1),
    ];
    expect(await Promise.all(calls.map(settles))).toEqual([false, false, false]);
    expect(await settles(calls[0])).toBe(false);
    gate.give();
    const [conflict, misfit, set] = await Promise.allSettled(calls);
    expect(conflict).toMatchObject({ value: { ok: false } });
    expect(misfit).toMatchObject({ reason: { code: "TypeMismatch" } });
    expect(set.status).toBe("fulfilled");
  });

  test("that comes to nothing, before the ledger has confirmed that the state is the latest", async () => {
    const swap = swapLedger();
    await using db = await KV.open(swap.ledger, still);
    await using other = await KV.open(swap.ledger, still);
    const { version } = await db.set(["n"], 1);
    await other.sync();
    // The other one changes what the check is about before the confirmation: the verdict is another one.
    swap.appends.length = 0;
    loseOnce(swap, async () => db.delete(["n"]));
    const result = await other
      .atomic()
      .check({ key: ["n"], version: null })
      .set(["x"], 1)
      .commit();
    expect(result).toMatchObject({ ok: true });
    expect(swap.appends[0]).toEqual([]);
    const late = other
      .atomic()
      .check({ key: ["n"], version })
      .set(["y"], 1)
      .commit();
    expect(await late).toEqual({ ok: false });
    expect(swap.appends.at(-1)).toEqual([]);
    expect(await other.has(["y"])).toBe(false);
  });

  test("at its end, which comes to nothing, before that is confirmed behind what was appended", async () => {
    const swap = swapLedger();
    await using db = await KV.open(swap.ledger, still);
    const answers: string[] = [];
    const gate = signal();
    swap.before = (commits) => (commits.length === 0 ? gate.given : undefined);
    const set = db.set(["a"], 1).then(() => answers.push("set"));
    const conflict = db
      .atomic()
      .check({ key: ["a"], version: null })
      .set(["a"], 2)
      .commit()
      .then(() => answers.push("conflict"));
    await set;
    expect(await settles(conflict)).toBe(false);
    gate.give();
    await conflict;
    expect(answers).toEqual(["set", "conflict"]);
    expect(swap.appends.map((commits) => commits.length)).toEqual([1, 0]);
  });
});

describe("who was not first", () => {
  test("resolves again what was void before, in order, each commit with its own time", async () => {
    const swap = swapLedger();
    const clock = new TestClock();
    await using db = await clock.open(swap.ledger, still);
    await using other = await clock.open(swap.ledger, still);
    await other.set(["lock"], "mine", { expireIn: 1000 });
    await db.sync();
    loseOnce(swap, async () => {
      await other.delete(["taken"]);
      await other.atomic().sum(["n"], 10).commit();
      await other.set(["lock"], "again", { expireIn: 1000 });
      // All of this takes long: by now the entry has expired, and at the time of the call it had not.
      clock.time += 5000;
    });
    const began = clock.time;
    const results = await Promise.all([
      db
        .atomic()
        .check({ key: ["lock"], version: null })
        .set(["taken"], true)
        .commit(),
      db.atomic().sum(["n"], 1).commit(),
      db
        .atomic()
        .check({ key: ["n2"], version: null })
        .sum(["n"], 1)
        .set(["n2"], 1)
        .commit(),
      db
        .atomic()
        .check({ key: ["n2"], version: null })
        .set(["n2"], 2)
        .commit(),
    ]);
    expect(results.map(({ ok }) => ok)).toEqual([false, true, true, false]);
    expect(await db.get(["n"])).toBe(12);
    expect((await db.getEntry(["n2"]))?.timestamp).toBe(began);
    expect(await db.get(["taken"])).toBe(null);
    expect(db.stats().counts.lost).toBe(1);
    const versions = results.flatMap((result) => (result.ok ? result.version : []));
    expect(versions).toEqual(versions.toSorted((a, b) => a - b));
  });

  test("finds void what was not, and the other way round", async () => {
    const swap = swapLedger();
    await using db = await KV.open(swap.ledger, still);
    await using other = await KV.open(swap.ledger, still);
    await other.set(["b"], 1);
    await db.sync();
    loseOnce(swap, async () => {
      await other.set(["a"], 1);
      await other.delete(["b"]);
    });
    const results = await Promise.all([
      db
        .atomic()
        .check({ key: ["a"], version: null })
        .set(["x"], 1)
        .commit(),
      db
        .atomic()
        .check({ key: ["b"], version: null })
        .set(["y"], 1)
        .commit(),
    ]);
    expect(results.map(({ ok }) => ok)).toEqual([false, true]);
    expect(swap.appends[0]).toHaveLength(1);
    await other.sync();
    expect([await other.has(["x"]), await other.has(["y"])]).toEqual([false, true]);
  });

  test("keeps the order of what is called meanwhile", async () => {
    const swap = swapLedger();
    await using db = await KV.open(swap.ledger, still);
    await using other = await KV.open(swap.ledger, still);
    let called: Promise<unknown> | undefined;
    loseOnce(swap, async () => {
      called = db.set(["k"], "second");
      await other.set(["k"], "theirs");
    });
    await db.set(["k"], "first");
    await called;
    await other.sync();
    const seen: unknown[] = [];
    for await (const { value } of other.history(["k"])) seen.push(value);
    expect(seen).toEqual(["theirs", "first", "second"]);
  });

  test("counts exactly, whatever is used to count", async () => {
    const swap = swapLedger();
    await using db = await KV.open(swap.ledger, still);
    await using other = await KV.open(swap.ledger, still);
    const count = async (each: KV, n: number): Promise<void> => {
      for (let i = 0; i < n; i++) {
        const sums = [each.atomic().sum(["sum"], 1).commit(), each.atomic().sum(["sum"], 1).commit()];
        await each.transaction(async (tx) => tx.set(["tx"], ((await tx.get<number>(["tx"])) ?? 0) + 1));
        for (let done = false; !done;) {
          const entry = await each.getEntry<number>(["cas"], { consistency: "strong" });
          const next = (entry?.value ?? 0) + 1;
          const tried = each.atomic().check({ key: ["cas"], version: entry?.version ?? null });
          done = (await tried.set(["cas"], next).commit()).ok;
        }
        await Promise.all(sums);
      }
    };
    await Promise.all([count(db, 15), count(db, 5), count(other, 20)]);
    await Promise.all([db.sync(), other.sync()]);
    for (const each of [db, other])
      expect([await each.get(["sum"]), await each.get(["tx"]), await each.get(["cas"])]).toEqual([80, 40, 40]);
    expect(await other.listAll([])).toEqual(await db.listAll([]));
  });
});

test("an append that takes only the first commits is followed by one of the rest, in order", async () => {
  const swap = swapLedger();
  swap.takes = 2;
  await using db = await KV.open(swap.ledger, still);
  const settled: number[] = [];
  const calls = Array.from({ length: 7 }, (_, i) =>
    db
      .atomic()
      .check({ key: ["k", i % 3], version: null })
      .sum(["n"], 1)
      .set(["k", i % 3], i)
      .commit()
      .then((result) => {
        settled.push(i);
        return result.ok;
      }),
  );
  expect(await Promise.all(calls)).toEqual([true, true, true, false, false, false, false]);
  expect(settled).toEqual([0, 1, 2, 3, 4, 5, 6]);
  expect(await db.get(["n"])).toBe(3);
  expect(swap.appends.map((commits) => commits.length)).toEqual([3, 1, 0]);
});

describe("an append that fails", () => {
  test("for sure rejects its batch as not committed, what is void as well, and what waits behind it", async () => {
    const swap = swapLedger();
    await using db = await KV.open(swap.ledger, still);
    await db.set(["a"], 1);
    let waiting: Promise<unknown> | undefined;
    swap.before = () => {
      waiting = db.set(["b"], 1);
      waiting.catch(() => undefined);
      throw new KVError("Contention", "others were faster", { outcome: "not committed" });
    };
    const calls = [
      db.set(["a"], 2),
      db
        .atomic()
        .check({ key: ["a"], version: null })
        .set(["a"], 3)
        .commit(),
    ];
    for (const result of await Promise.allSettled(calls))
      expect(result).toMatchObject({ reason: { code: "Contention", outcome: "not committed" } });
    await expect(waiting).rejects.toMatchObject({ code: "Contention", outcome: "not committed" });
    swap.before = () => undefined;
    await db.set(["c"], 1);
    expect(await db.get(["a"])).toBe(1);
  });

  test("unknown how is told so, what waits is not committed, and commits that turn up later are applied", async () => {
    const swap = swapLedger();
    await using db = await KV.open(swap.ledger, still);
    await db.set(["n"], 1);
    let waiting: Promise<unknown> | undefined;
    swap.after = () => {
      swap.after = () => undefined;
      waiting = db.set(["b"], 1);
      waiting.catch(() => undefined);
      throw new KVError("CommitOutcomeUnknown", "no answer", { outcome: "unknown" });
    };
    const sum = db.atomic().sum(["n"], 1).commit();
    await expect(sum).rejects.toMatchObject({ code: "CommitOutcomeUnknown", outcome: "unknown" });
    await expect(waiting).rejects.toMatchObject({ outcome: "not committed" });
    await db.sync();
    expect(await db.get(["n"])).toBe(2);
    expect(await db.has(["b"])).toBe(false);
    await db.atomic().sum(["n"], 1).commit();
    expect(await db.get(["n"])).toBe(3);
  });

  test("to tell makes the engine find its commits, and settle with them what came to nothing before them", async () => {
    const swap = swapLedger();
    const { ledger } = swap;
    let lose = false;
    const telling: typeof ledger = {
      ...ledger,
      open: async (options) => {
        const session = await ledger.open(options);
        return new Proxy(session, {
          get: (target, name) => {
            if (name !== "append") return Reflect.get(target, name, target) as unknown;
            return async (...given: Parameters<typeof session.append>) => {
              const result = await session.append(...given);
              return lose && given[0].length > 0 ? { status: "read-on" } : result;
            };
          },
        });
      },
    };
    await using db = await KV.open(telling, still);
    await db.set(["n"], 1);
    lose = true;
    const order: string[] = [];
    const noted = <T>(name: string, promise: Promise<T>): Promise<T> => promise.finally(() => void order.push(name));
    const results = await Promise.all([
      noted(
        "void",
        db
          .atomic()
          .check({ key: ["n"], version: null })
          .set(["a"], 1)
          .commit(),
      ),
      noted("sum", db.atomic().sum(["n"], 1).commit()),
      noted(
        "tail",
        db
          .atomic()
          .check({ key: ["n"], version: null })
          .set(["b"], 1)
          .commit(),
      ),
    ]);
    expect(results.map(({ ok }) => ok)).toEqual([false, true, false]);
    expect(order).toEqual(["void", "sum", "tail"]);
    expect(await db.get(["n"])).toBe(2);
  });
});

test("a read does not wait for an append that gets no answer, and sees own writes once it has", async () => {
  const swap = swapLedger({ isQuiet: true });
  const clock = new TestClock();
  await using db = await clock.open(swap.ledger, { syncIntervalMs: 5 }, { isolated: true });
  await db.set(["a"], 1);
  const gate = signal();
  swap.after = () => gate.given;
  const writing = db.set(["b"], 1);
  clock.elapsed += 1000;
  expect(await db.get(["a"])).toBe(1);
  const own = db.get(["b"]);
  expect(await settles(own)).toBe(false);
  gate.give();
  await writing;
  expect(await own).toBe(1);
});

test("where the poll follows, a read does not", async () => {
  const swap = swapLedger({ isQuiet: true });
  const clock = new TestClock();
  await using db = await clock.open(swap.ledger, { syncIntervalMs: 1e6 });
  await using other = await KV.open(swap.ledger, still);
  await other.set(["a"], 1);
  clock.elapsed += 1e7;
  expect(await db.get(["a"])).toBe(null);
  expect(await db.get(["a"], { consistency: "strong" })).toBe(1);
});

test("a watch is told the same by the author and by others, and so are scans", async () => {
  const swap = swapLedger();
  await using db = await KV.open(swap.ledger, still);
  await using other = await KV.open(swap.ledger, still);
  const told: unknown[][] = [[], []];
  for (const [i, each] of [db, other].entries()) each.watch([], (entry) => told[i].push(entry));
  await db.atomic().set(["a"], 1).sum(["n"], 1).set(["a"], { b: 2 }, { expireIn: 1e6 }).commit();
  await other.atomic().sum(["n"], 5).delete(["a"]).commit();
  await db.sync();
  expect(told[0]).toHaveLength(4);
  expect(told[1]).toEqual(told[0]);
  const scans: unknown[][] = [[], []];
  for (const [i, each] of [db, other].entries()) for await (const entry of each.scan([])) scans[i].push(entry);
  expect(scans[0]).toEqual(scans[1]);
  expect(scans[0]).toEqual(told[0]);
});

test("a batch may be given up while it waits: close says that nobody knows", async () => {
  const swap = swapLedger();
  const db = await KV.open(swap.ledger, still);
  const gate = signal();
  swap.before = () => gate.given;
  const writing = db.set(["a"], 1);
  writing.catch(() => undefined);
  await macrotask();
  await db.close({ timeoutMs: 1 });
  await expect(writing).rejects.toMatchObject({ code: "CommitOutcomeUnknown" });
  gate.give();
});
