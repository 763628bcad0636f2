import { Encoder } from "cbor-x/index-no-eval";
import { describe, expect, test } from "vitest";
import { decodeNumeric, decodeValue, encodeNumeric, encodeValue, valueBytesMax } from "../../src/core/value.ts";
import { MalformedBytes } from "../../src/core/bytes.ts";
import { Draw } from "../support/random.ts";

/** What comes out when a value is stored and read. */
function roundTrip<T>(value: T): T {
  // The encoder's bytes are its own until they are copied.
  return decodeValue(encodeValue(value).slice()) as T;
}

const hasSamePrototype = (a: unknown, b: unknown): boolean =>
  typeof a !== "object" || a === null || Object.getPrototypeOf(a) === Object.getPrototypeOf(b);

describe("values that are kept", () => {
  test.each<[string, unknown]>([
    [
      "strings",
      ["", "a", "ä\u{1f600}\0", "\ufeff", "\ufeffbom", "\ufeff\ufeff", "x".repeat(100_000), "ü".repeat(70_000)],
    ],
    [
      "numbers",
      [0, 1, -1, 23, 24, 255, 256, 65_536, 2 ** 31, 2 ** 32 - 1, 2 ** 32, -(2 ** 31), -(2 ** 32), 2 ** 53, 0.1],
    ],
    [
      "numbers at the edges",
      [Number.MAX_VALUE, Number.MIN_VALUE, Infinity, -Infinity, NaN, -0, Number.MAX_SAFE_INTEGER],
    ],
    ["booleans, null and undefined", [true, false, null, undefined, { a: undefined }]],
    ["bigints", [0n, 1n, -1n, 2n ** 63n, 2n ** 64n, -(2n ** 63n) - 1n, -(2n ** 64n) - 1n, 10n ** 300n, -(10n ** 300n)]],
    ["Dates", [new Date(0), new Date(1_700_000_000_123), new Date(-1), new Date(8.64e15), new Date(-8.64e15)]],
    ["Dates far from now", [new Date(4_431_058_852_500_275), new Date(-4_431_058_852_500_275), new Date(8.64e15 - 1)]],
    ["an invalid Date", new Date(NaN)],
    [
      "Maps",
      new Map<unknown, unknown>([
        ["a", 1],
        [1, "b"],
        [null, undefined],
        [NaN, -0],
        [{ b: 1 }, new Map()],
      ]),
    ],
    ["Sets", new Set<unknown>(["a", 1, null, undefined, NaN, 2n, new Set([1])])],
    ["regular expressions", [/a/, /b\/c/giu, /(?<x>.)/sy, new RegExp(""), new RegExp("\ufeffx")]],
    ["objects with unusual names", { "": 1, 1: 2, "a b": 3, "\ufeffbom": 4, constructor: 5, toString: "x", length: 6 }],
    [
      "such objects beside something that is not plain",
      [new Date(1), { constructor: 5, then: 1, size: 2, "\ufeff": 3 }],
    ],
    ["arrays with holes", [1, , 3, , ,]], // oxlint-disable-line no-sparse-arrays
    ["an array of nothing but holes", new Array(5)],
    ["nested structures", { a: [{ b: new Map([["c", new Set([[new Date(5)]])]]) }] }],
    [
      "large arrays and objects",
      [
        Array.from({ length: 3000 }, (_, i) => ({ i })),
        Object.fromEntries(Array.from({ length: 3000 }, (_, i) => [`k${i}`, i])),
      ],
    ],
  ])("%s", (_, value) => {
    expect(roundTrip(value)).toStrictEqual(value);
    expect(roundTrip([value])).toStrictEqual([value]);
    expect(roundTrip(new Map([["a", value]]))).toStrictEqual(new Map([["a", value]]));
  });

  test("a top-level value of each simple kind", () => {
    for (const value of ["a", "\ufeff", 0, -0, NaN, 1.5, true, false, null, 5n, 2n ** 70n]) {
      expect(Object.is(roundTrip(value), value)).toBe(true);
    }
  });

  test("objects without a prototype, as plain objects", () => {
    const bare = Object.assign(Object.create(null) as object, { a: 1, d: new Date(0) });
    expect(roundTrip(bare)).toStrictEqual({ a: 1, d: new Date(0) });
  });

  const views = [
    Int8Array,
    Uint8Array,
    Uint8ClampedArray,
    Int16Array,
    Uint16Array,
    Int32Array,
    Uint32Array,
    Float32Array,
    Float64Array,
  ];
  test.each(views.map((View) => [View.name, View] as const))("%s, also a part of a larger buffer", (_, View) => {
    const whole = Uint8Array.from({ length: 64 }, (_, i) => i * 3);
    const part = new View(whole.buffer, 8, 3);
    for (const value of [new View(), View.from([1, 2, 250]), part]) {
      const found = roundTrip({ value }).value;
      expect(found).toStrictEqual(value);
      expect(hasSamePrototype(found, value)).toBe(true);
      expect(found.buffer).not.toBe(value.buffer);
    }
  });

  test("arrays of bigints, buffers and DataViews", () => {
    const buffer = Uint8Array.of(1, 2, 3, 4).buffer;
    const value = [new BigInt64Array([1n, -2n]), new BigUint64Array([2n ** 63n]), buffer, new DataView(buffer, 1, 2)];
    const [signed, unsigned, bytes, view] = roundTrip(value) as typeof value;
    expect(signed).toStrictEqual(value[0]);
    expect(unsigned).toStrictEqual(value[1]);
    expect(bytes).toStrictEqual(buffer);
    expect(view).toBeInstanceOf(DataView);
    expect([...new Uint8Array((view as DataView).buffer)]).toEqual([2, 3]);
  });

  test("a Buffer, as the Uint8Array that it is", () => {
    const found = roundTrip({ a: Buffer.from("abc"), b: [Buffer.from("d")] });
    expect(Object.getPrototypeOf(found.a)).toBe(Uint8Array.prototype);
    expect(Object.getPrototypeOf(found.b[0])).toBe(Uint8Array.prototype);
    expect([...found.a]).toEqual([97, 98, 99]);
  });

  test("errors with class, name, message, stack and cause", () => {
    const classes = [Error, TypeError, RangeError, SyntaxError, ReferenceError, EvalError, URIError];
    for (const Class of classes) {
      const error = new Class("\ufeffwrong", { cause: { deep: [new Error("below", { cause: undefined })] } });
      const found = roundTrip(error);
      expect(Object.getPrototypeOf(found)).toBe(Class.prototype);
      expect([found.name, found.message, found.stack]).toEqual([Class.name, error.message, error.stack]);
      const below = (found.cause as { deep: [Error] }).deep[0];
      expect([below.message, Object.hasOwn(below, "cause")]).toEqual(["below", true]);
      expect(Object.keys(found)).toEqual([]);
    }
    const many = roundTrip(new AggregateError([new TypeError("a"), 5], "several"));
    expect(many).toBeInstanceOf(AggregateError);
    expect((many.errors[0] as Error).message).toBe("a");
    expect(many.errors[1]).toBe(5);
    const renamed = new Error("a");
    renamed.name = "Special";
    expect(roundTrip(renamed).name).toBe("Special");
    expect(Object.hasOwn(roundTrip(new Error("a")), "cause")).toBe(false);
  });
});

describe("shared and circular references", () => {
  test("stay what they are", () => {
    const shared = { n: 1 };
    const date = new Date(7);
    const found = roundTrip({
      a: shared,
      b: [shared, date, date],
      c: new Map([[shared, shared]]),
      d: new Set([shared]),
    });
    expect(found.b[0]).toBe(found.a);
    expect(found.b[1]).toBe(found.b[2]);
    expect([...found.c.entries()][0]).toEqual([found.a, found.a]);
    expect([...found.c.keys()][0]).toBe(found.a);
    expect(found.d.has(found.a)).toBe(true);
    expect(found.a).toStrictEqual({ n: 1 });
  });

  test("in every kind of container", () => {
    const object: Record<string, unknown> = { "\ufeffx": 1 };
    const array: unknown[] = [1, , 3]; // oxlint-disable-line no-sparse-arrays
    const map = new Map<unknown, unknown>();
    const set = new Set<unknown>();
    const error = new Error("round");
    const all = [object, array, map, set, error];
    object.all = all;
    array.push(all);
    map.set(all, map);
    set.add(all);
    error.cause = all;
    const found = roundTrip(all) as typeof all;
    const [o, a, m, s, e] = found as [typeof object, typeof array, typeof map, typeof set, Error];
    expect(o.all).toBe(found);
    expect(o["\ufeffx"]).toBe(1);
    expect(a[3]).toBe(found);
    expect(1 in a).toBe(false);
    expect(m.get(found)).toBe(m);
    expect(s.has(found)).toBe(true);
    expect(e.cause).toBe(found);
  });

  test("a long chain of them", () => {
    interface Node {
      next: Node | undefined;
      readonly all: Node[];
    }
    const all: Node[] = [];
    for (let i = 0; i < 300; i++) all.push({ next: all[i - 1], all });
    const found = roundTrip(all);
    let length = 0;
    for (let node = found.at(-1); node !== undefined; node = node.next) length++;
    expect(length).toBe(300);
    expect(found[5].all).toBe(found);
  });
});

describe("a value read is the reader's own", () => {
  test("and what was stored is not changed by changing what was given", () => {
    const bytes = Uint8Array.of(1, 2, 3);
    const encoded = encodeValue({ bytes, list: [1] }).slice();
    bytes[0] = 9;
    const first = decodeValue(encoded) as { bytes: Uint8Array; list: number[] };
    first.bytes[1] = 9;
    first.list.push(2);
    expect(decodeValue(encoded)).toStrictEqual({ bytes: Uint8Array.of(1, 2, 3), list: [1] });
    expect(first.bytes.buffer.byteLength).toBe(3);
  });
});

class Point {
  readonly x = 1;
}
class Points extends Array<number> {}
class SpecialMap extends Map {}
class SpecialError extends Error {}

/** A view of memory that was given away. */
function transferred<V>(view: (buffer: ArrayBuffer) => V): V {
  const buffer = new ArrayBuffer(8);
  const made = view(buffer);
  structuredClone(buffer, { transfer: [buffer] });
  return made;
}

const withProperty = <T extends object>(value: T): T => Object.assign(value, { extra: 1 });

describe("values that are refused, with the path to them", () => {
  test.each<[string, unknown]>([
    ["", undefined],
    ["", () => 1],
    ["", Symbol("a")],
    ["", new WeakMap()],
    ["", new Point()],
    ["", "\ud800"],
    ["", Promise.resolve()],
    ["", Object(5)],
    ["", new URL("http://localhost/")],
    [".a", { a: () => 1 }],
    [".a.b[1]", { a: { b: [1, Symbol("x")] } }],
    ['["a b"].c', { "a b": { c: new Point() } }],
    [
      ".a<value 1>.b",
      {
        a: new Map<unknown, unknown>([
          ["x", 1],
          ["y", { b: new WeakSet() }],
        ]),
      },
    ],
    ["<key 0>", new Map([[new Point(), 1]])],
    ["<item 1>.p", new Set<unknown>([1, { p: new Point() }])],
    [".cause.f", new Error("a", { cause: { f: () => 1 } })],
    [".a", { a: "x\udc00y" }],
    [".a", { a: Points.of(1) }],
    [".a", { a: new SpecialMap() }],
    [".a", { a: new SpecialError("x") }],
    [".a", { a: new Uint8Array(new SharedArrayBuffer(4)) }],
    [".a", { a: transferred((buffer) => buffer) }],
    [".a[0]", { a: [transferred((buffer) => new Uint8Array(buffer, 2, 2))] }],
    [".a", { a: transferred((buffer) => new Float64Array(buffer)) }],
    [".a", { a: transferred((buffer) => new DataView(buffer)) }],
    [".a", { a: transferred((buffer) => Buffer.from(buffer)) }],
    [".a.code", { a: Object.assign(new Error("x"), { code: "E" }) }],
    [".a.errors", { a: Object.assign(new Error("x"), { errors: [1] }) }],
    [".a", { a: Object.assign(new Error("x"), { [Symbol("s")]: 1 }) }],
    [".a.message", { a: new Error("\ud800") }],
    [".a.name", { a: Object.defineProperty(new Error("x"), "name", { value: null }) }],
    [".a", { a: { [Symbol("s")]: 1 } }],
    [".a.__proto__", { a: JSON.parse('{"__proto__":1}') as unknown }],
    [".a", { a: withProperty([1, 2]) }],
    [".a", { a: withProperty([1, , 3]) }], // oxlint-disable-line no-sparse-arrays
    [".a", { a: withProperty([1, , 3, ,]) }], // oxlint-disable-line no-sparse-arrays
    [".a", { a: withProperty(new Date(0)) }],
    [".a", { a: withProperty(new Map()) }],
    [".a", { a: withProperty(new Set()) }],
    [".a", { a: withProperty(/a/) }],
    [".a", { a: withProperty(new ArrayBuffer(1)) }],
    [".a", { a: new RegExp("\ud800") }],
    [".a", { a: withProperty(new DataView(new ArrayBuffer(1))) }],
  ])("value%s", (path, value) => {
    const refused = { name: "InvalidArgumentError", code: "InvalidValue", outcome: "not committed" };
    expect(() => encodeValue(value)).toThrow(expect.objectContaining(refused));
    expect(() => encodeValue(value)).toThrow(TypeError);
    expect(() => encodeValue(value)).toThrow(`value${path}: `);
  });

  test("an instance of one's own class by its name, whatever it carries", () => {
    expect(() => encodeValue({ a: new Point() })).toThrow("value.a: an instance of Point ");
    expect(() => encodeValue({ a: Object.assign(new Point(), { more: 1 }) })).toThrow("value.a: an instance of Point ");
    expect(() => encodeValue([new Blob(["x"])])).toThrow("value[0]: an instance of Blob ");
    expect(() => encodeValue({ a: Promise.resolve(1) })).toThrow("await");
  });

  test("what throws while it is read, with what it has thrown", () => {
    const thrown = new Error("getter");
    const throwing = {
      get a(): never {
        throw thrown;
      },
    };
    const proxy = new Proxy(
      {},
      {
        ownKeys() {
          throw thrown;
        },
      },
    );
    for (const value of [
      throwing,
      proxy,
      new Map([[1, { throwing }]]),
      [proxy, proxy],
      { shared: [throwing, throwing] },
    ])
      expect(() => encodeValue({ value })).toThrow(
        expect.objectContaining({ code: "InvalidValue", outcome: "not committed", cause: thrown }),
      );
    expect(() => encodeValue({ in: [1, throwing] })).toThrow("value.in[1]: ");
    const fakes = [Date.prototype, RegExp.prototype, Map.prototype, Set.prototype].map(
      (prototype): unknown => Object.create(prototype) as unknown,
    );
    for (const fake of [...fakes, new Proxy(new Date(0), {}), new Proxy(/a/, {}), new Proxy(new Map(), {})]) {
      const encode = (): unknown => encodeValue({ in: [new Date(0), /a/, fake] });
      expect(encode).toThrow(expect.objectContaining({ code: "InvalidValue" }));
      expect(encode).toThrow("value.in[2]: ");
    }
  });

  test("below what is shared too", () => {
    const shared = { list: [{ f: () => 1 }] };
    expect(() => encodeValue({ first: { s: shared }, second: shared })).toThrow("value.first.s.list[0].f: ");
    const circular: Record<string, unknown> = {};
    circular.self = circular;
    circular.below = { point: new Point() };
    expect(() => encodeValue([circular])).toThrow("value[0].below.point: ");
  });

  test("what is nested too deeply", () => {
    const nested = (depth: number): unknown => {
      let value: unknown = [];
      for (let i = 1; i < depth; i++) value = [value];
      return value;
    };
    expect(roundTrip(nested(400))).toStrictEqual(nested(400));
    expect(() => encodeValue(nested(50_000))).toThrow(expect.objectContaining({ code: "InvalidValue" }));
  });

  test("and the next value is encoded as if nothing had been", () => {
    expect(() => encodeValue([{ a: 1 }, () => 1])).toThrow(expect.objectContaining({ code: "InvalidValue" }));
    expect(roundTrip([{ a: 1 }])).toStrictEqual([{ a: 1 }]);
  });
});

test("a long array with few items costs as much as its items", () => {
  const array: number[] = [];
  array[4_000_000_000] = 1;
  expect(encodeValue({ array }).length).toBeLessThan(100);
  const found = roundTrip({ array }).array;
  expect(found.length).toBe(4_000_000_001);
  expect(Object.keys(found)).toEqual(["4000000000"]);
});

test("many long arrays with few items, or none, take memory for their items alone where they are read, too", () => {
  const arrays = Array.from({ length: 100 }, () => {
    const array: unknown[] = [];
    array[20_000_000] = 1;
    return array;
  });
  // oxlint-disable-next-line typescript/no-array-delete -- a hole is what it is to be
  for (const array of arrays.slice(0, 50)) delete array[20_000_000];
  // On their own, and in the table of a graph.
  for (const found of [roundTrip(arrays), roundTrip({ arrays, again: arrays.slice() }).again]) {
    expect(found.map(({ length }) => length)).toEqual(new Array(100).fill(20_000_001));
    expect(found.map((array) => Object.keys(array).length)).toEqual(arrays.map((_, i) => (i < 50 ? 0 : 1)));
  }
});

test("a value may have 64 MiB, and no byte more", () => {
  // A tag of two bytes and a head of five stand before the bytes.
  const largest = new Uint8Array(valueBytesMax - 7);
  expect(encodeValue(largest).length).toBe(valueBytesMax);
  const refused = { code: "CommitTooLarge", outcome: "not committed" };
  expect(() => encodeValue(new Uint8Array(valueBytesMax - 6))).toThrow(expect.objectContaining(refused));
});

describe("numbers have one encoding", () => {
  test("which is that of the codec, and reads as the same number", () => {
    const codec = new Encoder({ useRecords: false });
    const draw = new Draw(3);
    const numbers: (number | bigint)[] = [
      0,
      1,
      2 ** 32,
      2 ** 53,
      NaN,
      Infinity,
      0.5,
      0n,
      -1n,
      2n ** 64n,
      -(2n ** 64n) - 1n,
    ];
    for (let i = 0; i < 300; i++) {
      numbers.push((draw.random() - 0.5) * 10 ** draw.below(30), draw.below(2 ** 31) * (draw.chance(0.5) ? -1 : 1));
      numbers.push(BigInt(draw.below(2 ** 31)) ** BigInt(draw.below(9)) * (draw.chance(0.5) ? -1n : 1n));
    }
    for (const number of numbers) {
      expect([...encodeNumeric(number)]).toEqual([...codec.encode(number)]);
      expect(Object.is(decodeNumeric(encodeNumeric(number).slice()), number)).toBe(true);
      expect([...encodeValue(number)]).toEqual([...encodeNumeric(number)]);
    }
    expect(Object.is(decodeNumeric(encodeNumeric(-0)), -0)).toBe(true);
  });

  test("and nothing else reads as a number", () => {
    for (const value of ["1", true, null, [1], { a: 1 }, new Date(5), /1/, Uint8Array.of(1), new Map()]) {
      expect(decodeNumeric(encodeValue(value).slice())).toBe(undefined);
    }
  });
});

describe("bytes that nobody wrote", () => {
  const attempt = (bytes: Uint8Array): void => {
    try {
      decodeValue(bytes);
    } catch (error) {
      expect(error).toBeInstanceOf(MalformedBytes);
    }
    try {
      decodeNumeric(bytes);
    } catch (error) {
      expect(error).toBeInstanceOf(MalformedBytes);
    }
  };

  test("are a value or malformed, and nothing worse, when drawn at random", () => {
    const draw = new Draw(11);
    for (let i = 0; i < 4000; i++) {
      // Heads of containers, tags and the forms of this library more often than others. No head announces more than 64 KiB.
      const byte = (): number => draw.from([0x80, 0x81, 0xa1, 0xc2, 0xd9, 0xf7, 0xfb, 0x19, 0x62, draw.below(256)]);
      const bytes = Uint8Array.from(draw.many(1 + draw.below(24), byte));
      if (draw.chance(0.5)) bytes.set([0xd9, 0x66, 0x6f, 0x82, draw.below(10)].slice(0, bytes.length));
      attempt(bytes);
    }
  });

  test("are found out when one byte of a value has changed or its end is missing", () => {
    const circular: Record<string, unknown> = { list: [1, "a", { b: null }] };
    circular.self = circular;
    const values = [
      circular,
      { d: new Date(5), m: new Map([[1, 2]]), s: new Set(["x"]), e: new Error("e"), r: /r/g, n: -0, big: 10n ** 30n },
      [1.5, "text", [, 1], new Float64Array(2), new DataView(new ArrayBuffer(3)), "\ufeffbom"], // oxlint-disable-line no-sparse-arrays
    ];
    for (const value of values) {
      const bytes = encodeValue(value).slice();
      for (let at = 0; at < bytes.length; at++) {
        attempt(bytes.slice(0, at));
        for (const flip of [0x01, 0x20, 0x80]) {
          const changed = bytes.slice();
          changed[at] ^= flip;
          attempt(changed);
        }
      }
    }
  });

  test("may be nested a million times", () => {
    for (const head of [0x81, 0xa1, 0xc2, 0xc1]) attempt(new Uint8Array(1_000_000).fill(head));
    const forms = new Uint8Array(1_000_000);
    for (let at = 0; at + 5 <= forms.length; at += 5) forms.set([0xd9, 0x66, 0x6f, 0x82, 0x07], at);
    attempt(forms);
  });
});
