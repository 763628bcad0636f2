import { inspect } from "node:util";
import { describe, expect, test } from "vitest";
import { memoryLedger } from "../../src/adapters/memory/index.ts";
import { KV } from "../../src/index.node.ts";
import { onEachOrdering, openPair } from "../support/database.ts";

onEachOrdering((make) => {
  test("get gives the value under exactly its key, or null", async () => {
    using made = make();
    await using db = await KV.open(made.ledger);
    await db.set(["a", "b"], "below");
    expect(await db.get(["a"])).toBe(null);
    await db.set(["a"], "itself");
    await db.set(["a\0"], "zero");
    expect([await db.get(["a"]), await db.get(["a", "b"]), await db.get(["a\0"])]).toEqual(["itself", "below", "zero"]);
    expect(await db.get(["a", "b", "c"])).toBe(null);
    for (const key of [[1], [1n], ["1"], [true], [Uint8Array.of(1)]]) await db.set(key, typeof key[0]);
    expect(await db.get([1n])).toBe("bigint");
    expect(await db.get([-0])).toBe(null);
  });

  test("values that other stores take for missing are values", async () => {
    using made = make();
    await using db = await KV.open(made.ledger);
    const values = [0, -0, false, "", NaN, 0n, null, [], {}];
    for (const [i, value] of values.entries()) await db.set([i], value);
    for (const [i, value] of values.entries()) {
      expect(await db.get([i])).toStrictEqual(value);
      expect(await db.has([i])).toBe(true);
      expect((await db.getEntry([i]))?.value).toStrictEqual(value);
    }
    expect((await db.listAll([])).map(({ value }) => value)).toStrictEqual(values);
  });

  test("getEntry gives value, version and times, or null", async () => {
    using made = make();
    await using db = await KV.open(made.ledger);
    const before = Date.now();
    const { version } = await db.set(["a", 1], "x");
    const entry = await db.getEntry(["a", 1]);
    expect(entry).toEqual({ key: ["a", 1], value: "x", version, timestamp: entry?.timestamp });
    expect(entry?.timestamp).toBeGreaterThanOrEqual(Math.floor(before));
    expect(entry?.timestamp).toBeLessThanOrEqual(Date.now());
    const expiring = await db.set(["b"], 1, { expireIn: 1e6 });
    const other = await db.getEntry(["b"]);
    expect(other).toMatchObject({ version: expiring.version, expiresAt: (other?.timestamp as number) + 1e6 });
    expect(await db.getEntry(["a"])).toBe(null);
    await db.delete(["b"]);
    expect(await db.getEntry(["b"])).toBe(null);
  });

  test("getMany gives entries or null in the order asked, also twice, all of one version", async () => {
    using made = make();
    await using pair = await openPair({}, made.ledger);
    const { db, other } = pair;
    await db.set(["a"], { n: 1 });
    await db.set(["b"], 2);
    const found = await db.getMany<{ n: number }>([["b"], ["x"], ["a"], ["a"]]);
    expect(found.map((entry) => entry?.value ?? null)).toEqual([2, null, { n: 1 }, { n: 1 }]);
    expect(found[2]?.value).not.toBe(found[3]?.value);
    expect(await db.getMany([])).toEqual([]);
    // Two keys that are always written together are never read apart.
    let running = true;
    const writing = (async () => {
      for (let i = 0; running; i++) await other.atomic().set(["x"], i).set(["y"], i).commit();
    })();
    for (let i = 0; i < 200; i++) {
      const [x, y] = await db.getMany([["x"], ["y"]]);
      expect(x?.value).toBe(y?.value);
    }
    running = false;
    await writing;
  });

  test("a value read is the reader's own", async () => {
    using made = make();
    await using db = await KV.open(made.ledger);
    const stored = { list: [1], bytes: Uint8Array.of(1, 2), map: new Map([["a", { b: 1 }]]), date: new Date(5) };
    await db.set(["a"], stored);
    const spoil = (value: typeof stored): void => {
      value.list.push(2);
      value.bytes.fill(9);
      value.map.clear();
      value.date.setTime(0);
    };
    const reads = [
      async () => (await db.get<typeof stored>(["a"])) as typeof stored,
      async () => (await db.getEntry<typeof stored>(["a"]))?.value as typeof stored,
      async () => (await db.getMany<typeof stored>([["a"]]))[0]?.value as typeof stored,
      async () => (await db.listAll<typeof stored>([]))[0].value,
      async () => (await db.iterate<typeof stored>([]).next()).value?.value as typeof stored,
    ];
    for (const read of reads) {
      expect(await read()).toEqual(stored);
      spoil(await read());
    }
    expect(await db.get(["a"])).toEqual(stored);
    const entry = await db.getEntry(["a"]);
    entry?.key.push("b");
    expect((await db.getEntry(["a"]))?.key).toEqual(["a"]);
  });
});

test("an entry is printed by the name that users know, without its cursor", async () => {
  await using db = await KV.open(memoryLedger());
  await db.set(["a"], 1);
  const { version, timestamp } = (await db.getEntry(["a"])) ?? {};
  const printed = `Entry { key: [ 'a' ], value: 1, version: ${version}, timestamp: ${timestamp} }`;
  expect(inspect(await db.getEntry(["a"]), { breakLength: Infinity })).toBe(printed);
  expect(inspect((await db.listAll([]))[0], { breakLength: Infinity })).toBe(printed);
});

test("an entry's times and version are those of the last write, wherever it came from", async () => {
  await using pair = await openPair();
  await pair.db.set(["a"], 1);
  const { version } = await pair.other.set(["a"], 2);
  expect(await pair.db.getEntry(["a"], { consistency: "strong" })).toMatchObject({ value: 2, version });
});

describe('consistency: "strong"', () => {
  test("follows the ledger to its end before it reads, for every kind of read", async () => {
    await using pair = await openPair({ autoSync: false });
    const { db, other } = pair;
    const strong = { consistency: "strong" } as const;
    let i = 0;
    const fresh = async (): Promise<[string]> => {
      const key: [string] = [`k${i++}`];
      await other.set(key, "x");
      return key;
    };
    let key = await fresh();
    expect(await db.get(key)).toBe(null);
    expect(await db.get(key, { consistency: "eventual" })).toBe(null);
    expect(await db.get(key, strong)).toBe("x");
    expect(await db.getEntry((key = await fresh()), strong)).toMatchObject({ value: "x" });
    expect(await db.has((key = await fresh()), strong)).toBe(true);
    expect(await db.getMany([(key = await fresh())], strong)).toMatchObject([{ value: "x" }]);
    expect(await db.count((key = await fresh()), strong)).toBe(1);
    expect(await db.listKeys((key = await fresh()), strong)).toEqual([key]);
    expect(await db.listAll((key = await fresh()), strong)).toMatchObject([{ key }]);
    expect(await db.iterate((key = await fresh()), strong).next()).toMatchObject({ value: { key } });
  });
});

test("reads refuse what they cannot use, at the call", async () => {
  await using db = await KV.open(memoryLedger());
  const key = { code: "InvalidKey" };
  await expect(db.get([])).rejects.toMatchObject(key);
  await expect(db.get("a" as never)).rejects.toMatchObject(key);
  await expect(db.getEntry([NaN])).rejects.toMatchObject(key);
  await expect(db.has([{} as never])).rejects.toMatchObject(key);
  await expect(db.getMany([["a"], []])).rejects.toMatchObject(key);
  await expect(db.getMany([, ["a"]] as never)).rejects.toMatchObject(key); // oxlint-disable-line no-sparse-arrays
  await expect(db.getMany("a" as never)).rejects.toMatchObject({ code: "InvalidArgument" });
  const query = { code: "InvalidQuery" };
  await expect(db.listAll("a" as never)).rejects.toMatchObject(query);
  await expect(db.listKeys([new Date() as never])).rejects.toMatchObject(query);
  await expect(db.count([{ from: 1, to: "a" }])).rejects.toMatchObject(query);
  expect(() => db.iterate([null as never])).toThrow(expect.objectContaining(query));
});
