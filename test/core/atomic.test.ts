import { describe, expect, test } from "vitest";
import { memoryLedger } from "../../src/adapters/memory/index.ts";
import { KV } from "../../src/index.node.ts";
import { observed, onEachOrdering, openPair } from "../support/database.ts";

onEachOrdering((make) => {
  test("an atomic commit does all of its operations at one version", async () => {
    using made = make();
    await using pair = await openPair({}, made.ledger);
    const { db, other } = pair;
    await db.set(["gone"], 1);
    const result = await db
      .atomic()
      .set(["a"], { a: 1 })
      .delete(["gone"])
      .sum(["n"], 2)
      .min(["n"], 1)
      .max(["m"], 9n)
      .commit();
    expect(result).toEqual({ ok: true, version: expect.any(Number) });
    const found = await other.listAll([], { consistency: "strong" });
    expect(found.map(({ key, value, version }) => [key[0], value, result.ok && version === result.version])).toEqual([
      ["a", { a: 1 }, true],
      ["m", 9n, true],
      ["n", 1, true],
    ]);
  });

  test("with a check that fails it does nothing, for anybody", async () => {
    using made = make();
    await using pair = await openPair({}, made.ledger);
    const { db, other } = pair;
    const first = await db.set(["a"], 1);
    await other.set(["a"], 2);
    const lost = await db
      .atomic()
      .check({ key: ["a"], version: first.version })
      .set(["b"], 1)
      .delete(["a"])
      .commit();
    expect(lost).toEqual({ ok: false });
    for (const kv of [db, other]) expect(await kv.listKeys([], { consistency: "strong" })).toEqual([["a"]]);
    const history: unknown[] = [];
    for await (const { value } of db.scan([])) history.push(value);
    expect(history).toEqual([1, 2]);
    expect((await db.set(["c"], 1)).version).toBeGreaterThan(first.version as number);
  });

  test("sums from two instances add up, whatever comes between", async () => {
    using made = make();
    await using pair = await openPair({}, made.ledger);
    const { db, other } = pair;
    await Promise.all(
      Array.from({ length: 200 }, (_, i) =>
        (i % 2 ? db : other).atomic().sum(["n"], i).sum(["big"], BigInt(i)).commit(),
      ),
    );
    expect(await db.get(["n"], { consistency: "strong" })).toBe(19_900);
    expect(await other.get(["big"], { consistency: "strong" })).toBe(19_900n);
  });
});

describe("checks", () => {
  test("of an entry as it was read, and of null for absent", async () => {
    await using db = await KV.open(memoryLedger());
    await db.set(["a"], 1);
    const entry = await db.getEntry(["a"]);
    const both = [entry as NonNullable<typeof entry>, { key: ["b"], version: null }];
    expect(
      await db
        .atomic()
        .check(...both)
        .set(["a"], 2)
        .commit(),
    ).toMatchObject({ ok: true });
    expect(
      await db
        .atomic()
        .check(...both)
        .set(["a"], 3)
        .commit(),
    ).toEqual({ ok: false });
    expect(
      await db
        .atomic()
        .check({ key: ["a"], version: null })
        .commit(),
    ).toEqual({ ok: false });
    await db.delete(["a"]);
    expect(
      await db
        .atomic()
        .check({ key: ["a"], version: null })
        .commit(),
    ).toMatchObject({ ok: true });
    expect(await db.get(["a"])).toBe(null);
  });

  test("of anything else are a TypeError at the call", async () => {
    await using db = await KV.open(memoryLedger());
    for (const version of [undefined, 0, -1, 1.5, NaN, "1", 1n, 2 ** 53]) {
      const check = (): unknown => db.atomic().check({ key: ["a"], version: version as number });
      expect(check).toThrow(TypeError);
      expect(check).toThrow(expect.objectContaining({ code: "InvalidArgument" }));
    }
    expect(() => db.atomic().check({ key: [], version: null })).toThrow(
      expect.objectContaining({ code: "InvalidKey" }),
    );
    // What `getEntry` gives for an absent key is no check: whether absence is meant has to be said.
    for (const check of [null, undefined, "a", 5])
      expect(() => db.atomic().check(check as never)).toThrow(expect.objectContaining({ code: "InvalidArgument" }));
    // What an open transaction has staged has no version to be checked.
    await db.beginTransaction();
    const { version } = await db.set(["a"], 1);
    const staged = (await db.getEntry(["a"])) as { key: string[]; version: undefined };
    for (const check of [{ key: ["a"], version }, staged]) {
      expect(() => db.atomic().check(check)).toThrow(TypeError);
    }
    await db.abortTransaction();
  });

  test("see own commits that were called before", async () => {
    await using db = await KV.open(memoryLedger());
    const create = (): Promise<unknown> =>
      db
        .atomic()
        .check({ key: ["a"], version: null })
        .set(["a"], 1)
        .commit();
    const results = await Promise.all([create(), create(), db.delete(["a"]), create()]);
    expect(results).toMatchObject([{ ok: true }, { ok: false }, {}, { ok: true }]);
  });
});

describe("operands", () => {
  test("that are NaN or no number are a TypeError at the call", async () => {
    await using db = await KV.open(memoryLedger());
    for (const operand of [NaN, "1", null, undefined, true, {}]) {
      for (const name of ["sum", "min", "max"] as const) {
        expect(() => db.atomic()[name](["n"], operand as number)).toThrow(TypeError);
      }
    }
  });

  test("that do not fit what is stored reject the commit, and void all of it", async () => {
    await using pair = await openPair();
    const { db, other } = pair;
    await db.set(["text"], "a");
    await db.set(["n"], 1);
    const refused = { code: "TypeMismatch", outcome: "not committed" };
    await expect(db.atomic().set(["a"], 1).sum(["text"], 1).commit()).rejects.toMatchObject(refused);
    await expect(db.atomic().sum(["n"], 1n).commit()).rejects.toMatchObject(refused);
    expect(await other.listKeys([], { consistency: "strong" })).toEqual([["n"], ["text"]]);
    // A failed check comes first.
    const checked = db
      .atomic()
      .check({ key: ["a"], version: 1 })
      .sum(["text"], 1)
      .commit();
    expect(await checked).toEqual({ ok: false });
  });

  test("have results with one encoding, which is read as what it is", async () => {
    await using db = await KV.open(memoryLedger());
    await db
      .atomic()
      .sum(["zero"], -0)
      .sum(["big"], 2n ** 100n)
      .sum(["n"], 2 ** 40)
      .commit();
    expect(await db.get(["zero"])).toBe(0);
    expect(await db.get(["big"])).toBe(2n ** 100n);
    expect(await db.get(["n"])).toBe(2 ** 40);
  });
});

test("a value is encoded at the call: changing it before the commit changes nothing", async () => {
  await using db = await KV.open(memoryLedger());
  const value = { n: 1 };
  const atomic = db.atomic().set(["a"], value);
  value.n = 2;
  await atomic.commit();
  expect(await db.get(["a"])).toEqual({ n: 1 });
});

test("a getter within a value that commits it does not change what was committed", async () => {
  await using db = await KV.open(memoryLedger());
  const atomic = db.atomic().set(["a"], 1);
  let committed: Promise<unknown> | undefined;
  const value = {
    get late() {
      committed = atomic.commit();
      return "late";
    },
  };
  expect(() => atomic.set(["b"], value)).toThrow(expect.objectContaining({ code: "InvalidArgument" }));
  expect(await committed).toMatchObject({ ok: true });
  expect(await db.listAll([])).toMatchObject([{ key: ["a"], value: 1 }]);
});

test("each can be committed once", async () => {
  await using db = await KV.open(memoryLedger());
  const atomic = db.atomic().set(["a"], 1);
  await atomic.commit();
  await expect(atomic.commit()).rejects.toMatchObject({ code: "InvalidArgument" });
  expect(() => atomic.set(["b"], 1)).toThrow(expect.objectContaining({ code: "InvalidArgument" }));
  expect(() => atomic.check({ key: ["a"], version: null })).toThrow(
    expect.objectContaining({ code: "InvalidArgument" }),
  );
});

test("what is refused at a call is not a part of the commit", async () => {
  const { ledger, appends } = observed(memoryLedger());
  await using db = await KV.open(ledger);
  const atomic = db.atomic().set(["a"], 1);
  expect(() => atomic.set(["b"], () => 1)).toThrow(expect.objectContaining({ code: "InvalidValue" }));
  expect(() => atomic.set([], 1)).toThrow(expect.objectContaining({ code: "InvalidKey" }));
  expect(() => atomic.delete([NaN])).toThrow(expect.objectContaining({ code: "InvalidKey" }));
  expect(() => atomic.set(["b"], 1, { ttl: 5 } as never)).toThrow(expect.objectContaining({ code: "InvalidOption" }));
  expect(appends.length).toBe(0);
  await atomic.commit();
  expect(await db.listKeys([])).toEqual([["a"]]);
});

test("nothing is committed before commit, and after close commit rejects", async () => {
  const ledger = memoryLedger();
  const db = await KV.open(ledger);
  const atomic = db.atomic().set(["a"], 1);
  expect(await db.count([])).toBe(0);
  await db.close();
  await expect(atomic.commit()).rejects.toMatchObject({ code: "Closed", outcome: "not committed" });
  expect(() => db.atomic()).toThrow(expect.objectContaining({ code: "Closed" }));
  await using again = await KV.open(ledger);
  expect(await again.count([])).toBe(0);
});
