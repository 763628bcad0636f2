import { describe, expect, test } from "vitest";
import { memoryLedger } from "../../src/adapters/memory/index.ts";
import type { Entry } from "../../src/core/entry.ts";
import type { KeyPart } from "../../src/core/key.ts";
import type { ListOptions } from "../../src/core/options.ts";
import { KV } from "../../src/index.node.ts";
import { onEachOrdering, openPair } from "../support/database.ts";
import { temporaryFolder } from "../support/folder.ts";
import { compareKeys, Draw, drawPart, nameOf } from "../support/random.ts";

const keysOf = (entries: readonly Entry[]): KeyPart[][] => entries.map(({ key }) => key);

async function filled(...keys: KeyPart[][]): Promise<KV> {
  const db = await KV.open(memoryLedger());
  for (const [i, key] of keys.entries()) await db.set(key, i);
  return db;
}

describe("queries", () => {
  onEachOrdering((make) => {
    test("[] is everything, a prefix is the key itself and all below it", async () => {
      using made = make();
      await using db = await KV.open(made.ledger);
      for (const key of [["a"], ["a", 1], ["a", 1, "x"], ["a\0"], ["ab"], ["b", 1]]) await db.set(key, 1);
      expect(await db.count([])).toBe(6);
      expect(await db.listKeys(["a"])).toEqual([["a"], ["a", 1], ["a", 1, "x"]]);
      expect(await db.listKeys(["a", 1])).toEqual([
        ["a", 1],
        ["a", 1, "x"],
      ]);
      expect(await db.listKeys(["x"])).toEqual([]);
      expect(await db.listKeys(["a", {}])).toEqual([
        ["a", 1],
        ["a", 1, "x"],
      ]);
      expect(await db.listKeys([{}, 1])).toEqual([
        ["a", 1],
        ["a", 1, "x"],
        ["b", 1],
      ]);
    });
  });

  test("a range is inclusive, and its missing bound stays within the other bound's type", async () => {
    await using db = await filled(
      ...["a", "b", "c", 1, 2, 3, 2n, true, false, Uint8Array.of(1)].map((part) => ["k", part]),
    );
    const parts = async (range: object): Promise<KeyPart[]> => (await db.listKeys(["k", range])).map((key) => key[1]);
    expect(await parts({ from: "b", to: "c" })).toEqual(["b", "c"]);
    expect(await parts({ from: "b" })).toEqual(["b", "c"]);
    expect(await parts({ to: "b" })).toEqual(["a", "b"]);
    expect(await parts({ from: 2 })).toEqual([2, 3]);
    expect(await parts({ to: 1.5 })).toEqual([1]);
    expect(await parts({ from: 0n })).toEqual([2n]);
    expect(await parts({ from: false })).toEqual([false, true]);
    expect(await parts({ to: Uint8Array.of(9) })).toEqual([Uint8Array.of(1)]);
    expect(await parts({ from: "c", to: "a" })).toEqual([]);
    expect((await parts({})).length).toBe(10);
  });

  test("a range in the middle of a key, with more behind it", async () => {
    await using db = await KV.open(memoryLedger());
    for (const user of ["ann", "bob", "eve"])
      for (const year of [2023, 2024, 2025])
        for (const kind of ["in", "out"]) await db.set(["log", user, year, kind], 1);
    expect(await db.listKeys(["log", { from: "b" }, { to: 2024 }, "out"])).toEqual([
      ["log", "bob", 2023, "out"],
      ["log", "bob", 2024, "out"],
      ["log", "eve", 2023, "out"],
      ["log", "eve", 2024, "out"],
    ]);
    const reversed = await db.listKeys(["log", {}, 2025, "in"], { reverse: true, limit: 2 });
    expect(reversed).toEqual([
      ["log", "eve", 2025, "in"],
      ["log", "bob", 2025, "in"],
    ]);
  });
});

describe("options", () => {
  test("limit and reverse", async () => {
    await using db = await filled(["a"], ["b"], ["c"], ["d"]);
    const list = async (options: ListOptions): Promise<KeyPart[]> =>
      (await db.listKeys([], options)).map(([part]) => part);
    expect(await list({ limit: 2 })).toEqual(["a", "b"]);
    expect(await list({ reverse: true, limit: 3 })).toEqual(["d", "c", "b"]);
    expect(await list({ limit: Infinity, reverse: false })).toEqual(["a", "b", "c", "d"]);
    for (const order of ["key", "version"] as const)
      for (const reverse of [false, true]) {
        expect(await list({ limit: 0, order, reverse })).toEqual([]);
        expect(await db.listAll([], { limit: 0, order, reverse })).toEqual([]);
        expect(await db.iterate([], { limit: 0, order, reverse }).next()).toEqual({ done: true, value: undefined });
      }
  });

  test("order by version is the order of the last writes, within a commit that of the operations", async () => {
    await using db = await filled(["d"], ["c"], ["b"]);
    await db.atomic().set(["z"], 1).set(["a"], 1).set(["m"], 1).sum(["c"], 1).delete(["z"]).set(["z"], 2).commit();
    const expected = ["d", "b", "a", "m", "c", "z"];
    const list = async (options: ListOptions): Promise<KeyPart[]> =>
      keysOf(await db.listAll([], { ...options, order: "version" })).map(([part]) => part);
    expect(await list({})).toEqual(expected);
    expect(await list({ reverse: true })).toEqual(expected.toReversed());
    for (let limit = 0; limit <= 7; limit++) {
      expect(await list({ limit })).toEqual(expected.slice(0, limit));
      expect(await list({ limit, reverse: true })).toEqual(expected.toReversed().slice(0, limit));
    }
    expect(await db.listKeys([{ from: "c" }], { order: "version" })).toEqual([["d"], ["m"], ["c"], ["z"]]);
  });

  test("what cannot be used is refused", async () => {
    await using db = await filled(["a"]);
    const [entry] = await db.listAll([]);
    const [byVersion] = await db.listAll([], { order: "version" });
    const refused: object[] = [
      { limit: -1 },
      { limit: 1.5 },
      { limit: "1" },
      { reverse: 1 },
      { order: "value" },
      { cursor: "x" },
      { cursor: "k0" },
      { cursor: 5 },
      { cursor: byVersion.cursor },
      { cursor: entry.cursor, order: "version" },
      { offset: 1 },
    ];
    for (const options of refused) {
      await expect(db.listAll([], options)).rejects.toMatchObject({ code: "InvalidOption" });
      await expect(db.listKeys([], options)).rejects.toMatchObject({ code: "InvalidOption" });
      expect(() => db.iterate([], options)).toThrow(expect.objectContaining({ code: "InvalidOption" }));
      await expect(db.transaction((tx) => tx.listAll([], options))).rejects.toMatchObject({ code: "InvalidOption" });
    }
    await expect(db.count([], { limit: 1 } as never)).rejects.toMatchObject({ code: "InvalidOption" });
  });
});

describe("cursors", () => {
  onEachOrdering((make) => {
    test("page by page everything comes once, in both orders and directions", async () => {
      using made = make();
      await using db = await KV.open(made.ledger);
      const draw = new Draw(9);
      const keys = new Map<string, KeyPart[]>();
      for (let i = 0; i < 60; i++) {
        const key = draw.many(1 + draw.below(3), () => drawPart(draw));
        keys.set(nameOf(key), key);
        await db.set(key, i);
      }
      const sorted = [...keys.values()].sort(compareKeys);
      for (const order of ["key", "version"] as const)
        for (const reverse of [false, true]) {
          const whole = await db.listAll([], { order, reverse });
          if (order === "key") expect(keysOf(whole)).toEqual(reverse ? sorted.toReversed() : sorted);
          const paged: Entry[] = [];
          let cursor: string | undefined;
          for (;;) {
            const page = await db.listAll([], {
              order,
              reverse,
              limit: 7,
              ...(cursor === undefined ? {} : { cursor }),
            });
            paged.push(...page);
            cursor = page.at(-1)?.cursor;
            if (page.length < 7) break;
          }
          expect(paged).toEqual(whole);
        }
    });
  });

  test("stay valid at later versions, when what they were taken from has changed or gone", async () => {
    await using db = await filled(["a"], ["b"], ["c"], ["d"]);
    const [, b] = await db.listAll([], { limit: 2 });
    await db.delete(["b"]);
    await db.set(["aa"], 1);
    await db.set(["bb"], 1);
    await db.set(["b", "below"], 1);
    expect(await db.listKeys([], { cursor: b.cursor })).toEqual([["b", "below"], ["bb"], ["c"], ["d"]]);
    expect(await db.listKeys([], { cursor: b.cursor, reverse: true })).toEqual([["aa"], ["a"]]);
    // With another query too, where it lies before, within or behind it.
    expect(await db.listKeys(["c"], { cursor: b.cursor })).toEqual([["c"]]);
    expect(await db.listKeys(["a"], { cursor: b.cursor })).toEqual([]);
  });

  test("by version go on behind the write that they were taken from", async () => {
    await using db = await filled(["a"], ["b"], ["c"]);
    const [, b] = await db.listAll([], { order: "version", limit: 2 });
    await db.set(["a"], "again");
    await db.delete(["b"]);
    expect(await db.listKeys([], { order: "version", cursor: b.cursor })).toEqual([["c"], ["a"]]);
    expect(await db.listKeys([], { order: "version", cursor: b.cursor, reverse: true })).toEqual([]);
  });

  test("of an iterator are those of its last entry", async () => {
    await using db = await filled(["a"], ["b"], ["c"]);
    const iterator = db.iterate([]);
    expect(iterator.cursor).toBe(undefined);
    await iterator.next();
    const second = (await iterator.next()).value as Entry;
    expect(iterator.cursor).toBe(second.cursor);
    await iterator.return();
    expect(await db.listKeys([], { cursor: iterator.cursor as string })).toEqual([["c"]]);
    const single = await db.getEntry(["a"]);
    expect(await db.listKeys([], { cursor: single?.cursor as string })).toEqual([["b"], ["c"]]);
  });

  test("are left out where an entry is compared or written down", async () => {
    await using db = await filled(["a"]);
    const entry = (await db.getEntry(["a"])) as Entry;
    expect(Object.keys(entry)).not.toContain("cursor");
    expect(JSON.parse(JSON.stringify(entry))).not.toHaveProperty("cursor");
  });
});

describe("one frozen version", () => {
  onEachOrdering((make) => {
    test("is what an iteration sees, whatever is written meanwhile, here and elsewhere", async () => {
      using made = make();
      await using pair = await openPair({}, made.ledger);
      const { db, other } = pair;
      for (let i = 0; i < 300; i++) await db.set(["k", i], `v${i}`);
      for (const options of [{}, { reverse: true }, { order: "version" } as const]) {
        const expected = await db.listAll(["k"], options);
        const found: Entry[] = [];
        for await (const entry of db.iterate(["k"], options)) {
          found.push(entry);
          if (found.length % 50 === 1) {
            await db.deleteAll(["k", { from: 100, to: 200 }]);
            await other.set(["k", 150.5], "new");
            await other.set(["k", 299], "changed");
            await db.sync();
          }
        }
        expect(found).toEqual(expected);
      }
    });

    test("is what listAll, listKeys and count see", async () => {
      using made = make();
      await using pair = await openPair({}, made.ledger);
      const { db, other } = pair;
      // All keys of a set are always written, and deleted, together.
      let running = true;
      const writing = (async () => {
        for (let i = 0; running; i++) {
          const atomic = other.atomic();
          for (let k = 0; k < 40; k++) atomic[i % 2 ? "delete" : "set"](["k", k], i);
          await atomic.commit();
        }
      })();
      for (let i = 0; i < 60; i++) {
        const entries = await db.listAll(["k"], { consistency: "strong" });
        expect(new Set(entries.map(({ value }) => value)).size).toBeLessThanOrEqual(1);
        expect([0, 40]).toContain(entries.length);
        expect([0, 40]).toContain(await db.count(["k"]));
        expect([0, 40]).toContain((await db.listKeys(["k"])).length);
      }
      running = false;
      await writing;
    });
  });

  test("is released at the end, by return, by leaving the loop, by an error and by close", async () => {
    const db = await filled(...Array.from({ length: 10 }, (_, i) => [i]));
    const open = (): number => db.stats().snapshots.count;
    for await (const _ of db.iterate([])) expect(open()).toBe(1);
    expect(open()).toBe(0);
    for await (const _ of db.iterate([])) break;
    expect(open()).toBe(0);
    const leave = async (): Promise<void> => {
      for await (const _ of db.iterate([])) throw new Error("left");
    };
    await expect(leave()).rejects.toThrow("left");
    expect(open()).toBe(0);
    const never = db.iterate([]);
    expect(open()).toBe(0);
    expect(await never.return()).toEqual({ done: true, value: undefined });
    expect(await never.next()).toEqual({ done: true, value: undefined });
    const left = db.iterate([]);
    await left.next();
    const fresh = db.iterate([]);
    expect(open()).toBe(1);
    expect(db.stats().snapshots.oldestAgeMs).toBeGreaterThanOrEqual(0);
    await db.close();
    await expect(left.next()).rejects.toMatchObject({ code: "Closed" });
    await expect(fresh.next()).rejects.toMatchObject({ code: "Closed" });
  });

  test("an iterator at its end stays there, also when the database is closed", async () => {
    using folder = temporaryFolder();
    const db = await KV.open(folder.file("ledger.db"));
    await db.set(["a"], 1);
    const passed = db.iterate([]);
    for await (const _ of passed);
    const left = db.iterate([]);
    for await (const _ of left) break;
    const collected = db.iterate([]);
    await collected.collect();
    await db.close();
    for (const iterator of [passed, left, collected]) {
      expect(await iterator.next()).toEqual({ done: true, value: undefined });
      expect(await iterator.collect()).toEqual([]);
    }
  });

  test("collect gives what is left, in its turn, and its cursor is that of the last entry", async () => {
    await using db = await filled(["a"], ["b"], ["c"], ["d"]);
    const iterator = db.iterate([]);
    const [first, rest, end] = await Promise.all([iterator.next(), iterator.collect(), iterator.next()]);
    expect(first.value?.key).toEqual(["a"]);
    expect(keysOf(rest)).toEqual([["b"], ["c"], ["d"]]);
    expect(end.done).toBe(true);
    expect(iterator.cursor).toBe(rest[2].cursor);
    const begun = db.iterate([]);
    await begun.next();
    expect(keysOf(await begun.collect())).toEqual([["b"], ["c"], ["d"]]);
    expect(db.stats().snapshots.count).toBe(0);
  });

  test("calls of next that overlap are answered in order", async () => {
    await using db = await filled(["a"], ["b"], ["c"]);
    const iterator = db.iterate([]);
    const results = await Promise.all([iterator.next(), iterator.next(), iterator.next(), iterator.next()]);
    expect(results.map(({ value }) => value?.key[0])).toEqual(["a", "b", "c", undefined]);
    expect(results.map(({ done }) => done)).toEqual([false, false, false, true]);
  });

  test("an iterator that is ended while it waits releases what it then gets", async () => {
    await using db = await filled(["a"]);
    void db.set(["b"], 1);
    const iterator = db.iterate([]);
    const first = iterator.next();
    await iterator.return();
    expect(await first).toEqual({ done: true, value: undefined });
    expect(db.stats().snapshots.count).toBe(0);
  });
});
