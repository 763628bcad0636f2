import { describe, expect, test } from "vitest";
import { memoryLedger } from "../../src/adapters/memory/index.ts";
import { KV } from "../../src/index.node.ts";
import { parseOptions } from "../../src/core/options.ts";

type Kind = Parameters<typeof parseOptions>[0];

const refused = { name: "InvalidArgumentError", code: "InvalidOption", outcome: "not committed" };
const signal = new AbortController().signal;

/** What each call takes, with values that it must and must not accept. */
const ACCEPTED: readonly (readonly [kind: Kind, name: string, fine: readonly unknown[], wrong: readonly unknown[]])[] =
  [
    ["kv", "autoSync", [true, false], [1, "true", null]],
    ["kv", "syncIntervalMs", [1, 1000, 0.5 + 1, 2 ** 31 - 1], [0, -1, NaN, Infinity, 2 ** 31, "1000", null, 5n]],
    ["kv", "disableIndex", [true, false], [0, null]],
    ["kv", "pendingBytesMax", [1, 2 ** 40], [0, -1, NaN, Infinity, "1"]],
    ["open", "createIfMissing", [true, false], [1, null]],
    ["open", "readOnly", [true, false], ["yes"]],
    ["open", "allowNetworkFileSystem", [true, false], ["yes"]],
    ["open", "durability", ["relaxed", "strict"], ["full", true, null]],
    ["read", "consistency", ["eventual", "strong"], ["weak", true, null]],
    ["list", "consistency", ["eventual", "strong"], ["weak"]],
    ["list", "limit", [0, 1, 2 ** 53 - 1, Infinity], [-1, 0.5, NaN, "1", null, 1n]],
    ["list", "reverse", [true, false], [1, "yes", null]],
    ["list", "order", ["key", "version"], ["value", null]],
    ["list", "cursor", ["k0361", "v5.0"], ["", "x", "k", "k1", "v5", 5, null]],
    ["set", "expireIn", [0.5, 1, 1e15], [0, -1, NaN, Infinity, "1", null]],
    ["watch", "signal", [signal], [null, {}, true]],
    ["watch", "ref", [true, false], [1]],
    ["watchIterator", "bufferMax", [1, 1e6], [0, -1, 1.5, Infinity, "1"]],
    ["sync", "signal", [signal], [null, {}]],
    ["transaction", "timeoutMs", [1, 0.5, 1e9], [0, -1, NaN, Infinity, "1"]],
    ["transaction", "signal", [signal], [null, {}]],
    ["deleteAll", "atomic", [true, false], [0, null]],
    ["close", "timeoutMs", [0, 1, Infinity], [-1, NaN, "1"]],
    ["history", "snapshot", [true, false], [0, null]],
  ];

describe.each(ACCEPTED)("the option %s %s", (kind, name, fine, wrong) => {
  test("takes what it should, and nothing else", () => {
    for (const value of fine) {
      const parsed = parseOptions(kind, "call", { [name]: value }) as unknown as Record<string, unknown>;
      if (name !== "cursor") expect(parsed[name]).toBe(value);
    }
    for (const value of wrong) {
      const parse = (): unknown => parseOptions(kind, "call", { [name]: value });
      expect(parse).toThrow(expect.objectContaining(refused));
      expect(parse).toThrow(TypeError);
      // The message names call, option and rule.
      expect(parse).toThrow(`call: ${name} must be `);
    }
  });

  test("may be undefined, which is its default", () => {
    const defaults = parseOptions(kind, "call", undefined);
    expect(parseOptions(kind, "call", { [name]: undefined })).toEqual(defaults);
    expect(parseOptions(kind, "call", {})).toEqual(defaults);
  });
});

test("defaults are what is documented", () => {
  expect(parseOptions("kv", "call", {})).toMatchObject({
    autoSync: true,
    syncIntervalMs: 1000,
    disableIndex: false,
    pendingBytesMax: undefined,
  });
  expect(parseOptions("open", "call", {})).toMatchObject({
    createIfMissing: true,
    readOnly: false,
    allowNetworkFileSystem: false,
  });
  expect(parseOptions("list", "call", {})).toEqual({
    consistency: "eventual",
    limit: Infinity,
    reverse: false,
    order: "key",
    cursor: undefined,
  });
  expect(parseOptions("transaction", "call", {}).timeoutMs).toBe(10_000);
  expect(parseOptions("close", "call", {}).timeoutMs).toBe(Infinity);
});

describe("names that nobody knows", () => {
  test.each<[Kind, string, string]>([
    ["kv", "ledgerCacheSize", "cacheBytesMax"],
    ["kv", "enableIndexCache", "sideIndex"],
    ["kv", "syncInterval", "syncIntervalMs"],
    ["kv", "readOnly", "one of open"],
    ["open", "autoSync", "one of new KV"],
    ["set", "expiresIn", "expireIn"],
    ["set", "ttl", "expireIn"],
  ])("%s: %s is told to be %s here", (kind, theirs, ours) => {
    expect(() => parseOptions(kind, "call", { [theirs]: 5 })).toThrow(expect.objectContaining(refused));
    expect(() => parseOptions(kind, "call", { [theirs]: 5 })).toThrow(ours);
  });

  test("are refused, also those that every object has", () => {
    for (const name of ["limits", "constructor", "toString", "hasOwnProperty"]) {
      expect(() => parseOptions("list", "call", { [name]: 1 })).toThrow(expect.objectContaining(refused));
      expect(() => parseOptions("list", "call", { [name]: 1 })).toThrow(name);
    }
    expect(() => parseOptions("list", "call", JSON.parse('{"__proto__":1}'))).toThrow(expect.objectContaining(refused));
  });
});

test("keepHistory is one of two, a number from 0, and the other may be undefined", () => {
  const parse = (keepHistory: unknown): unknown => parseOptions("vacuum", "vacuum", { keepHistory }).keepHistory;
  expect(parse({ forMs: 0.5, commits: undefined })).toEqual({ forMs: 0.5 });
  expect(parse({ commits: 0 })).toEqual({ commits: 0 });
  for (const wrong of [
    {},
    { forMs: undefined },
    { forMs: 1, commits: 1 },
    { commits: 1.5 },
    { forMs: -1 },
    { days: 1 },
    [],
    null,
  ])
    expect(() => parse(wrong)).toThrow(expect.objectContaining(refused));
});

test("options that cannot be read are refused", () => {
  const thrown = new Error("It throws when it is read");
  const options = {
    get expireIn(): number {
      throw thrown;
    },
  };
  expect(() => parseOptions("set", "set", options)).toThrow(expect.objectContaining({ ...refused, cause: thrown }));
});

describe("options of KV.open", () => {
  test("are those of new KV and of open, in an object", async () => {
    for (const options of [5, true, null, "autoSync", [], { limit: 1 }] as never[])
      await expect(KV.open(memoryLedger(), options)).rejects.toMatchObject(refused);
    await expect(KV.open(memoryLedger(), { limit: 1 } as never)).rejects.toThrow(/KV\.open.*autoSync.*readOnly/);
    await using db = await KV.open(memoryLedger(), { autoSync: false, readOnly: false });
    expect(db.isOpen()).toBe(true);
  });
});

describe("options that stand in the wrong place", () => {
  test("positional ones are a TypeError that names the option", async () => {
    await using db = await KV.open(memoryLedger());
    const calls: [string, () => unknown][] = [
      ["expireIn", () => db.set(["a"], 1, 1000 as never)],
      ["limit", () => db.listAll([], 10 as never)],
      ["limit", () => db.listKeys([], 10 as never)],
      ["limit", () => db.iterate([], 10 as never)],
      ["consistency", () => db.get(["a"], 10 as never)],
      ["consistency", () => db.getEntry(["a"], 10 as never)],
      ["consistency", () => db.getMany([["a"]], 10 as never)],
      ["consistency", () => db.has(["a"], 10 as never)],
      ["consistency", () => db.count([], 10 as never)],
      ["bufferMax", () => db.watch([], 10 as never)],
      ["signal", () => db.watch([], () => undefined, true as never)],
      ["timeoutMs", () => db.transaction(() => 1, 10 as never)],
      ["atomic", () => db.deleteAll([], false as never)],
      ["signal", () => db.sync(10 as never)],
      ["timeoutMs", () => db.close(10 as never)],
      ["snapshot", () => db.history(["a"], 10 as never).next()],
      ["createIfMissing", () => new KV().open(memoryLedger(), true as never)],
      ["syncIntervalMs", () => new KV(1000 as never)],
      ["expireIn", () => db.atomic().set(["a"], 1, 1000 as never)],
      ["expireIn", () => db.transaction((tx) => tx.set(["a"], 1, 1000 as never))],
    ];
    for (const [name, call] of calls) {
      const error: unknown = await Promise.resolve()
        .then(call)
        .catch((caught: unknown) => caught);
      expect(error).toBeInstanceOf(TypeError);
      expect(error).toMatchObject(refused);
      expect((error as TypeError).message).toContain(name);
    }
    expect(await db.count([])).toBe(0);
  });

  test("unknown and wrong ones are refused by every call", async () => {
    await using db = await KV.open(memoryLedger());
    const strange = { strange: 1 } as never;
    const calls: (() => unknown)[] = [
      () => db.set(["a"], 1, strange),
      () => db.get(["a"], strange),
      () => db.getEntry(["a"], strange),
      () => db.getMany([["a"]], strange),
      () => db.has(["a"], strange),
      () => db.count([], strange),
      () => db.listAll([], strange),
      () => db.listKeys([], strange),
      () => db.iterate([], strange),
      () => db.scan([], strange).next(),
      () => db.history(["a"], strange).next(),
      () => db.watch([], strange),
      () => db.watch([], () => undefined, strange),
      () => db.watch([], () => undefined, { bufferMax: 5 } as never),
      () => db.transaction(() => 1, strange),
      () => db.deleteAll([], strange),
      () => db.sync(strange),
      () => db.close(strange),
      () => new KV().open(memoryLedger(), strange),
      () => new KV(strange),
      () => KV.open(memoryLedger(), strange),
      () => memoryLedger(strange),
    ];
    for (const call of calls) {
      const error: unknown = await Promise.resolve()
        .then(call)
        .catch((caught: unknown) => caught);
      expect(error).toMatchObject({ code: "InvalidOption" });
    }
    expect(db.isOpen()).toBe(true);
  });

  test("KV.open takes those of the constructor and those of open", async () => {
    await using db = await KV.open(memoryLedger(), { autoSync: false, disableIndex: true, readOnly: true });
    await expect(db.get(["a"])).rejects.toMatchObject({ code: "IndexDisabled" });
    await expect(db.set(["a"], 1)).rejects.toMatchObject({ code: "ReadOnly" });
    expect(() => new KV({ readOnly: true } as never)).toThrow(expect.objectContaining(refused));
  });
});
