import { describe, expect, test } from "vitest";
import { decodeKey, encodeKey, encodePart, type Key, KeyDecoder, keyBytesMax } from "../../src/core/key.ts";
import { CLOSE_PARTS, compareKeys, Draw, drawPart } from "../support/random.ts";

const refused = { name: "InvalidArgumentError", code: "InvalidKey", outcome: "not committed" };

describe("the encoding of keys", () => {
  test("orders keys as their values are ordered, type by type", () => {
    const draw = new Draw(1);
    const keys = [
      ...CLOSE_PARTS.map((part) => [part]),
      ...draw.many(600, () => draw.many(1 + draw.below(3), () => drawPart(draw))),
    ].map((key) => ({ key, encoded: encodeKey(key) }));
    keys.sort((a, b) => compareKeys(a.key, b.key));
    for (let i = 1; i < keys.length; i++) {
      const expected = Math.sign(compareKeys(keys[i - 1].key, keys[i].key));
      const found = keys[i - 1].encoded < keys[i].encoded ? -1 : keys[i - 1].encoded === keys[i].encoded ? 0 : 1;
      expect({ pair: [keys[i - 1].key, keys[i].key], order: found }).toEqual({
        pair: [keys[i - 1].key, keys[i].key],
        order: expected,
      });
    }
  });

  test("gives back what went in", () => {
    const draw = new Draw(2);
    for (let i = 0; i < 500; i++) {
      const key = draw.many(1 + draw.below(4), () => drawPart(draw));
      expect(decodeKey(encodeKey(key))).toEqual(key);
    }
  });

  test("gives back what went in, whatever a decoder has decoded before", () => {
    const draw = new Draw(3);
    const beginnings: Key[] = [["a"], ["a\0"], ["a\0\0"], ["a", "b"], ["a", Uint8Array.of(0)], [1, 2], [true]];
    const decoder = new KeyDecoder();
    for (let i = 0; i < 3000; i++) {
      const key = [...draw.from(beginnings), ...draw.many(draw.below(3), () => drawPart(draw))];
      expect(decoder.decode(encodeKey(key))).toEqual(key);
    }
  });

  test("is that of the parts one after the other, however long they are and whatever was encoded before", () => {
    const draw = new Draw(4);
    const texts = ["", "a", "\0", "a\0b", "\x7f", "\x80", "é", "a\0é"];
    let lengths = 0;
    for (let i = 0; i < 5000; i++) {
      const key = draw.many(1 + draw.below(3), () =>
        draw.chance(0.3) ? drawPart(draw) : "abc".repeat(draw.below(20)) + draw.from(texts),
      );
      const encoded = encodeKey(key);
      expect(encoded).toBe(key.map((part) => encodePart(part)).join(""));
      expect(decodeKey(encoded)).toEqual(key);
      lengths |= encoded.length === 48 ? 1 : encoded.length === 49 ? 2 : 0;
    }
    // Up to 48 characters a key is made in one piece.
    expect(lengths).toBe(3);
  });

  test("a decoder gives everybody parts of their own", () => {
    const decoder = new KeyDecoder();
    const bytes = Uint8Array.of(1, 2);
    const [first, second] = [1, 2].map((n) => decoder.decode(encodeKey(["a", bytes, n])));
    (first[1] as Uint8Array)[0] = 9;
    first[0] = "b";
    expect(second).toEqual(["a", bytes, 2]);
    expect(decoder.decode(encodeKey(["a", bytes, 3]))).toEqual(["a", bytes, 3]);
  });

  test("tells parts of different types apart", () => {
    const encoded = [1, 1n, "1", true, Uint8Array.of(1)].map((part) => encodeKey([part]));
    expect(new Set(encoded).size).toBe(encoded.length);
  });

  test("refuses bytes that were transferred, which look like none", () => {
    const bytes = Uint8Array.of(1, 2);
    expect(encodeKey(["a", bytes.subarray(0, 0)])).toBe(encodeKey(["a", new Uint8Array(0)]));
    structuredClone(bytes.buffer, { transfer: [bytes.buffer] });
    expect(() => encodeKey(["a", bytes])).toThrow(expect.objectContaining(refused));
  });

  test("takes -0 for 0", () => {
    expect(encodeKey([-0])).toBe(encodeKey([0]));
    expect(Object.is(decodeKey(encodeKey([-0]))[0], 0)).toBe(true);
  });

  test("takes a Buffer for the bytes that it holds", () => {
    const [part] = decodeKey(encodeKey([Buffer.from("ab")]));
    expect(Object.getPrototypeOf(part)).toBe(Uint8Array.prototype);
    expect(encodeKey([Buffer.from("ab")])).toBe(encodeKey([Uint8Array.of(97, 98)]));
  });

  test("takes keys up to its limit, and none above", () => {
    // A string has a byte before and a byte behind it.
    expect(encodeKey(["a".repeat(keyBytesMax - 2)])).toHaveLength(keyBytesMax);
    const long: Key[] = [
      ["a".repeat(keyBytesMax - 1)],
      ["ä".repeat(keyBytesMax / 2)],
      ["\0".repeat(keyBytesMax / 2)],
      ["a".repeat(keyBytesMax / 2), "b".repeat(keyBytesMax / 2)],
      [new Uint8Array(keyBytesMax)],
      [2n ** BigInt(8 * keyBytesMax)],
      [-(2n ** BigInt(8 * keyBytesMax))],
    ];
    for (const key of long) expect(() => encodeKey(key)).toThrow(expect.objectContaining(refused));
  });

  test.each([
    ["no part", []],
    ["no array", "a"],
    ["a missing part", [undefined]],
    ["null", ["a", null]],
    ["NaN", [NaN]],
    ["a symbol", [Symbol("a")]],
    ["an object", [{}]],
    ["a Date", [new Date(0)]],
    ["an array", [["a"]]],
    ["another typed array", [new Uint16Array(1)]],
    ["a lone surrogate at the end", ["a\ud800"]],
    ["a lone surrogate at the beginning", ["\udc00a"]],
    ["a hole", [, "a"]], // oxlint-disable-line no-sparse-arrays
    ["a part that cannot be read", Object.defineProperty(["a"], 0, { get: throwing })],
    ["parts that cannot be read", new Proxy(["a"], { get: throwing })],
  ])("refuses %s", (_, key) => {
    expect(() => encodeKey(key as unknown as Key)).toThrow(expect.objectContaining(refused));
    expect(() => encodeKey(key as unknown as Key)).toThrow(TypeError);
  });
});

function throwing(): never {
  throw new Error("It throws when it is read");
}
