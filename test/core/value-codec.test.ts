import { Encoder } from "cbor-x/index-no-eval";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { MalformedBytes } from "../../src/core/bytes.ts";
import { decodeValue, encodeValue } from "../../src/core/value.ts";
import { makeCharactersBy } from "../../src/core/value-decoder.ts";
import { inLittleEndian } from "../../src/core/value-forms.ts";
import { describeValue } from "../format/describe.ts";
import { decodeValue as decodeIndependently } from "../format/reader.ts";
import { encodeByCborX } from "../support/cbor-x.ts";
import { drawValue } from "../support/drawn-values.ts";
import { Draw } from "../support/random.ts";

/** The bytes of values: those that cbor-x writes, read as the same values, and nothing else. */

const codec = new Encoder({ useRecords: false, variableMapSize: true });

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
const unhex = (digits: string): Uint8Array => Uint8Array.from(Buffer.from(digits, "hex"));

/** How strings are made: by the core alone, and by what the platform has for it. */
const ways = [
  undefined,
  (bytes: Uint8Array, from: number, to: number) => Buffer.from(bytes).toString("latin1", from, to),
];

describe.each(ways)("the codec of values", (way) => {
  beforeAll(() => makeCharactersBy(way));
  afterAll(() => makeCharactersBy(undefined));

  test("writes the bytes that cbor-x writes, and reads them as the same value, as does a reader written from docs/FORMAT.md", () => {
    const draw = new Draw(5);
    let graphs = 0;
    for (let i = 0; i < 3000; i++) {
      const value = drawValue(draw);
      if (value === undefined) continue;
      const bytes = encodeValue(value).slice();
      expect(hex(bytes)).toBe(hex(encodeByCborX(value)));
      if (hex(bytes).startsWith("d9666f8305")) graphs++;
      const found = decodeValue(Uint8Array.of(0x61, ...bytes, 0x61, 0x61), 1, 1 + bytes.length);
      expect(describeValue(found)).toEqual(describeValue(value));
      expect(describeValue(decodeIndependently(bytes))).toEqual(describeValue(value));
    }
    // Shared objects are drawn often enough.
    expect(graphs).toBeGreaterThan(100);
  });

  test("tells objects apart whose names are alike, and those with more names than it remembers", () => {
    const draw = new Draw(6);
    const name = (): string => "x".repeat(draw.below(40)) + draw.from(["a", "b", "ä", "0", "7"]);
    for (let i = 0; i < 5000; i++) {
      const value = Object.fromEntries(
        draw.many(draw.below(10), () => [draw.chance(0.3) ? `${i}` : name(), draw.below(9)]),
      );
      const bytes = codec.encode(value);
      const decoded = decodeValue(bytes);
      expect(decoded).toStrictEqual(codec.decode(bytes));
      expect(Object.keys(decoded as object)).toEqual(Object.keys(value));
    }
  });

  test("takes the last of equal names, as cbor-x does", () => {
    const bytes = unhex("a3616101616202616103");
    for (let i = 0; i < 3; i++) expect(decodeValue(bytes)).toStrictEqual(codec.decode(bytes));
  });

  test("finds a value malformed that is cut off, wherever it is cut", () => {
    const circular: unknown[] = [1, 300, 70_000, -5, 0.5, "ä", null, 2n, 2n ** 80n];
    circular.push({ name: "a name", circular }, new Map([[1, circular]]), new Set([circular]), new Float32Array(3));
    const plain = { name: "a name", list: [1, 300, 70_000, -5, 0.5, "ä", null], more: { name: "x".repeat(300) } };
    for (const value of [plain, circular, plain]) {
      const bytes = encodeValue(value).slice();
      expect(describeValue(decodeValue(bytes))).toEqual(describeValue(value));
      // What lies behind the end would complete it.
      for (let to = 0; to < bytes.length; to++) expect(() => decodeValue(bytes, 0, to)).toThrow(MalformedBytes);
    }
  });
});

test("what a value's getters store is a value of its own", () => {
  let inner = "";
  const value = {
    before: [1, 2, 3],
    get stored() {
      inner = hex(encodeValue({ inner: "x".repeat(300) }));
      return 5;
    },
    after: "y".repeat(300),
  };
  const bytes = encodeValue(value).slice();
  expect(decodeValue(bytes)).toStrictEqual({ before: [1, 2, 3], stored: 5, after: "y".repeat(300) });
  expect(decodeValue(unhex(inner))).toStrictEqual({ inner: "x".repeat(300) });
});

test("a value whose getter threw has left nothing for the next one", () => {
  const shared = {};
  const value = {
    shared,
    get broken() {
      throw new RangeError("broken");
    },
  };
  expect(() => encodeValue(value)).toThrow("broken");
  expect(hex(encodeValue(shared))).toBe("a0");
});

describe("what changes its size while it is stored is refused, rather than written with the size that it had", () => {
  /** An object that calls `change` when it is stored. */
  const changing = (change: () => unknown): object => ({
    get item() {
      return change() === undefined;
    },
  });
  const map: Map<unknown, unknown> = new Map([[0, changing((): unknown => map.set(map.size, 0))]]);
  const emptied: Map<unknown, unknown> = new Map<unknown, unknown>([
    [0, changing((): unknown => emptied.delete(1))],
    [1, 1],
  ]);
  const set: Set<unknown> = new Set<unknown>([changing((): unknown => set.add(set.size))]);
  const cleared: Set<unknown> = new Set<unknown>([changing((): unknown => cleared.delete(1)), 1]);
  test.each(Object.entries({ map, emptied, set, cleared }))("%s", (_, value) => {
    expect(() => encodeValue({ value })).toThrow(expect.objectContaining({ code: "InvalidValue" }));
  });
  // The sizes change again each time.
  test.each(Object.entries({ map, set }))("within a graph: %s", (_, value) => {
    expect(() => encodeValue([value, value])).toThrow(expect.objectContaining({ code: "InvalidValue" }));
  });
});

describe("forms that are no longer written", () => {
  test.each<[string, string, unknown]>([
    ["a string behind a mark", "d9666f82076161", "\ufeffa"],
    ["a string behind two marks", "d9666f8207d9666f82076161", "\ufeff\ufeffa"],
    ["an object with names behind marks", "d9666f8508d9666f82076161016162f7", { "\ufeffa": 1, b: undefined }],
    ["names behind marks in a graph", "d9666f8305d9666f820600818300d9666f82076161d9666f820600", undefined],
  ])("are read: %s", (_, digits, value) => {
    const found = decodeValue(unhex(digits));
    if (value !== undefined) expect(found).toStrictEqual(value);
    else expect((found as Record<string, unknown>)["\ufeffa"]).toBe(found);
  });
});

test.each<[string, string]>([
  ["nothing", ""],
  ["two items", "0102"],
  ["an array without end", "9fff"],
  ["a string in pieces", "7f6161ff"],
  ["an array that announces more than there is", "9affffffff01"],
  ["a map whose name is a number", "a10102"],
  ["a map whose name is a Date", "a1c1000102"],
  ["a map with __proto__ as a name", "a1695f5f70726f746f5f5f01"],
  ["an object of a form with __proto__ as a name", "d9666f8308695f5f70726f746f5f5fa0"],
  ["an object of a graph with __proto__ as a name", "d9666f8305d9666f820600818300695f5f70726f746f5f5fa0"],
  ["an array with holes that has an item at __proto__", "d9666f840401695f5f70726f746f5f5fa0"],
  ["an array with holes that has an item beyond its length", "d9666f8404010101"],
  ["an array with holes that has an item before its first place", "d9666f84040220f6"],
  ["an array with holes that is longer than one can be", "d9666f8204fb41f0000000000000"],
  ["an Error whose class is no number", "d9666f86036b636f6e7374727563746f72f6f6f6f6"],
  ["a half float", "f93c00"],
  ["a simple value", "e0"],
  ["a tag without content", "c1"],
  ["a Date of a string", "c16161"],
  ["a bigint of a string", "c26161"],
  ["a RegExp that is none", "d81b8366526567457870612860"],
  ["an Error by another name", "d81b8366526567457870016161"],
  ["elements that are cut off", "d84543010203"],
  ["an unknown tag", "d9d9f700"],
  ["an unknown form", "d9666f8109"],
  ["a form without content", "d9666f80"],
  ["an Error of an unknown class", "d9666f860309f6f6f6f6"],
  ["a buffer of a number", "d9666f820101"],
  ["a reference without a graph", "d9666f820600"],
  ["a reference to a missing object", "d9666f8305d9666f8206018181" + "00"],
  ["a reference to no place", "d9666f8305d9666f8206666c656e677468818100"],
  ["a graph within an array", "81d9666f8305d9666f820600818100"],
  ["a graph without a table", "d9666f83050000"],
  ["an object of unknown kind in a graph", "d9666f8305d9666f820600818106"],
  ["an array of a graph that is none", "d9666f8305d9666f82060081820100"],
  ["a Map of a graph with half an entry", "d9666f8305d9666f82060081820200"],
])("%s is no value", (_, digits) => {
  expect(() => decodeValue(unhex(digits))).toThrow(MalformedBytes);
});

test("items of an array are not looked for behind what lies in it, however many each array announces", () => {
  // Each array announces as many items as there are bytes behind its head, and the first array within it takes them all.
  const bytes = new Uint8Array(6_000_000);
  for (let at = 0; at < 15_000; at += 5) {
    const left = bytes.length - at - 5;
    bytes.set([0x9a, left >>> 24, left >>> 16, left >>> 8, left], at);
  }
  expect(() => decodeValue(bytes)).toThrow(MalformedBytes);
});

test("what was read of a graph is not there for the next value", () => {
  const circular: Record<string, unknown> = {};
  circular.self = circular;
  const bytes = encodeValue(circular).slice();
  for (const broken of [bytes, bytes.subarray(0, bytes.length - 1)]) {
    try {
      decodeValue(broken);
    } catch {
      // The second one: that it is malformed is not what this is about.
    }
    expect(() => decodeValue(unhex("d9666f820600"))).toThrow(MalformedBytes);
  }
});

test("elements are little-endian, whatever the machine", () => {
  const bytes = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);
  expect([...inLittleEndian(bytes, 4, true)]).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
  expect([...inLittleEndian(bytes, 1, false)]).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
  expect([...inLittleEndian(bytes, 2, false)]).toEqual([2, 1, 4, 3, 6, 5, 8, 7]);
  expect([...inLittleEndian(bytes, 8, false)]).toEqual([8, 7, 6, 5, 4, 3, 2, 1]);
  expect([...bytes]).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
});
