import { Encoder } from "cbor-x/index-no-eval";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { encodePlain } from "../../src/core/value-plain.ts";
import { decodePlain, makeCharactersBy, NOT_PLAIN } from "../../src/core/value-plain-decoder.ts";
import { Draw } from "../support/random.ts";

const codec = new Encoder({ useRecords: false, variableMapSize: true });

/** A value that the quick way takes. */
function drawPlain(draw: Draw, depth: number): unknown {
  const text = (): string =>
    draw
      .many(draw.below(draw.chance(0.1) ? 300 : 12), () => draw.from(["a", "Z", "ä", "€", "\u{1f600}", "\0"]))
      .join("");
  switch (draw.below(depth > 3 ? 6 : 8)) {
    case 0:
      // cbor-x drops a byte order mark at the beginning: none is drawn.
      return text();
    case 1:
      return draw.below(draw.from([24, 256, 65_536, 2 ** 32]));
    case 2:
      return -1 - draw.below(draw.from([24, 256, 65_536, 2 ** 31]));
    case 3:
      return draw.from([
        0.5,
        NaN,
        Infinity,
        -Infinity,
        2 ** 32,
        2 ** 53,
        -(2 ** 31),
        -(2 ** 31) - 1,
        -(2 ** 32),
        -(2 ** 32) - 1,
        draw.random(),
      ]);
    case 4:
      return draw.from([true, false, null, undefined]);
    case 5:
      return draw.below(1000);
    case 6:
      return draw.many(draw.below(draw.chance(0.1) ? 40 : 5), () => drawPlain(draw, depth + 1));
    default:
      return Object.fromEntries(
        draw.many(draw.below(draw.chance(0.1) ? 40 : 5), () => [text(), drawPlain(draw, depth + 1)]),
      );
  }
}

/** How strings are made: by the core alone, and by what the platform has for it. */
const ways = [
  undefined,
  (bytes: Uint8Array, from: number, to: number) => Buffer.from(bytes).toString("latin1", from, to),
];

describe.each(ways)("the quick way for plain values", (way) => {
  beforeAll(() => makeCharactersBy(way));
  afterAll(() => makeCharactersBy(undefined));

  test("writes the bytes that cbor-x writes, and reads them as the same value", () => {
    const draw = new Draw(5);
    let plain = 0;
    for (let i = 0; i < 3000; i++) {
      const value = drawPlain(draw, 0);
      const bytes = encodePlain(value)?.slice();
      if (bytes === undefined) continue;
      plain++;
      expect(Buffer.from(bytes).toString("hex")).toBe(codec.encode(value).toString("hex"));
      expect(decodePlain(bytes, 0, bytes.length)).toStrictEqual(value);
      expect(decodePlain(Uint8Array.of(0x61, ...bytes, 0x61, 0x61), 1, 1 + bytes.length)).toStrictEqual(value);
      expect(codec.decode(bytes)).toStrictEqual(value);
    }
    // The draw stays within what the quick way takes.
    expect(plain).toBeGreaterThan(2900);
  });

  test("tells objects apart whose names are alike, and those with more names than it remembers", () => {
    const draw = new Draw(6);
    const name = (): string => "x".repeat(draw.below(40)) + draw.from(["a", "b", "ä", "0", "7"]);
    for (let i = 0; i < 5000; i++) {
      const value = Object.fromEntries(
        draw.many(draw.below(10), () => [draw.chance(0.3) ? `${i}` : name(), draw.below(9)]),
      );
      const bytes = codec.encode(value);
      const decoded = decodePlain(bytes, 0, bytes.length);
      expect(decoded).toStrictEqual(codec.decode(bytes));
      expect(Object.keys(decoded as object)).toEqual(Object.keys(value));
    }
  });

  test("takes the last of equal names, as cbor-x does", () => {
    const bytes = Buffer.from("a3616101616202616103", "hex");
    for (let i = 0; i < 3; i++) expect(decodePlain(bytes, 0, bytes.length)).toStrictEqual(codec.decode(bytes));
  });

  test("leaves a value that is cut off to the other one, wherever it is cut", () => {
    const value = { name: "a name", list: [1, 300, 70_000, -5, 0.5, "ä", null], more: { name: "x".repeat(300) } };
    const bytes = codec.encode(value);
    for (let round = 0; round < 2; round++) {
      expect(decodePlain(bytes, 0, bytes.length)).toStrictEqual(value);
      // What lies behind the end would complete it.
      for (let to = 0; to < bytes.length; to++) expect(decodePlain(bytes, 0, to)).toBe(NOT_PLAIN);
    }
  });

  const shared = {};
  test.each<[string, unknown]>([
    ["-0", -0],
    ["-0 below", { a: [-0] }],
    ["bigints", 1n],
    ["a lone surrogate", "\ud800"],
    ["a lone surrogate as a name", { "\udc00": 1 }],
    ["functions", { f: () => 1 }],
    ["symbols as names", { [Symbol("a")]: 1 }],
    ["__proto__ as a name", JSON.parse('{"__proto__":1}')],
    ["holes", [1, , 2]], // oxlint-disable-line no-sparse-arrays
    ["holes that properties make up for", Object.assign([1, , 2], { a: 1 })], // oxlint-disable-line no-sparse-arrays
    ["arrays with properties", Object.assign([1], { a: 1 })],
    ["objects with another prototype", Object.create({})],
    ["objects without a prototype", Object.create(null)],
    ["Dates", new Date(0)],
    ["Maps", new Map()],
    ["shared containers", [shared, shared]],
    ["typed arrays", new Uint8Array(1)],
  ])("leaves %s to the other one", (_, value) => {
    expect(encodePlain(value)).toBe(undefined);
  });

  test("has forgotten what it met when it begins with the next value", () => {
    const value = { a: [1] };
    const bytes = encodePlain(value)?.slice();
    expect(encodePlain([value, -0])).toBe(undefined);
    expect(encodePlain(value)).toEqual(bytes);
  });

  test("decides nothing about bytes that it does not write", () => {
    const foreign = [
      "",
      "1b0000000000000001",
      "c100",
      "d9666f8100",
      "5801",
      "7f6161ff",
      "9fff",
      "a16001ff",
      "8101ff",
      "62c3",
    ];
    for (const hex of foreign) {
      const bytes = Buffer.from(hex, "hex");
      expect(decodePlain(bytes, 0, bytes.length)).toBe(NOT_PLAIN);
    }
  });
});
