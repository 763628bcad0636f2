import { encodePart, type KeyPart } from "../../src/core/key.ts";

/** Numbers from 0 to below 1, the same ones for the same seed (mulberry32). */
export function randomSource(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Draws whole numbers, items of a list, and arrays of draws. */
export class Draw {
  readonly random: () => number;

  constructor(seed: number) {
    this.random = randomSource(seed);
  }

  /** From 0 to below `limit`. */
  below(limit: number): number {
    return Math.floor(this.random() * limit);
  }

  chance(probability: number): boolean {
    return this.random() < probability;
  }

  from<T>(items: readonly T[]): T {
    return items[this.below(items.length)];
  }

  many<T>(count: number, draw: () => T): T[] {
    return Array.from({ length: count }, draw);
  }
}

/** Parts of all types that lie close together, so that prefixes, neighbours and equals come up often. */
export const CLOSE_PARTS: readonly KeyPart[] = [
  new Uint8Array(),
  Uint8Array.of(0),
  Uint8Array.of(0, 255),
  Uint8Array.of(255),
  "",
  "\0",
  "\0\xff",
  "a",
  "a\0",
  "a\0b",
  "ab",
  "\uffff",
  "\u{10000}",
  -Infinity,
  -1.5,
  -1,
  0,
  Number.MIN_VALUE,
  1,
  256,
  Infinity,
  -(2n ** 64n),
  -256n,
  -255n,
  -1n,
  0n,
  1n,
  255n,
  256n,
  2n ** 64n,
  false,
  true,
];

/** A part of any type. */
export function drawPart(draw: Draw): KeyPart {
  if (draw.chance(0.5)) return draw.from(CLOSE_PARTS);
  switch (draw.below(5)) {
    case 0:
      return Uint8Array.from(draw.many(draw.below(4), () => draw.from([0, 1, 254, 255, draw.below(256)])));
    case 1:
      return draw.many(draw.below(4), () => draw.from(["\0", "a", "ä", "\uffff", "\u{1f600}", "z"])).join("");
    case 2:
      return (draw.random() - 0.5) * 10 ** (draw.below(40) - 20);
    case 3:
      return BigInt(draw.below(2 ** 31)) ** BigInt(draw.below(4)) * (draw.chance(0.5) ? 1n : -1n);
    default:
      return draw.chance(0.5);
  }
}

const TYPES = ["bytes", "string", "number", "bigint", "boolean"];

function typeOf(part: KeyPart): number {
  return TYPES.indexOf(part instanceof Uint8Array ? "bytes" : typeof part);
}

function compareLists<T>(a: readonly T[], b: readonly T[], compare: (x: T, y: T) => number): number {
  for (let i = 0; i < a.length && i < b.length; i++) {
    const order = compare(a[i], b[i]);
    if (order !== 0) return order;
  }
  return a.length - b.length;
}

const compareValues = (a: number | bigint | boolean, b: number | bigint | boolean): number =>
  a < b ? -1 : a > b ? 1 : 0;

/** How two parts are ordered, said in terms of values alone: by type, then by value, strings by code point. */
export function compareParts(a: KeyPart, b: KeyPart): number {
  const types = typeOf(a) - typeOf(b);
  if (types !== 0) return types;
  if (a instanceof Uint8Array) return compareLists([...a], [...(b as Uint8Array)], compareValues);
  if (typeof a === "string") {
    const points = (text: string): number[] => Array.from(text, (character) => character.codePointAt(0) as number);
    return compareLists(points(a), points(b as string), compareValues);
  }
  return compareValues(a, b as number);
}

/** How two keys are ordered: part by part, a key before what lies below it. */
export function compareKeys(a: readonly KeyPart[], b: readonly KeyPart[]): number {
  return compareLists(a, b, compareParts);
}

/** Names a part unmistakably, for sets and messages. */
export function nameOf(key: readonly KeyPart[]): string {
  return key.map((part) => encodePart(part)).join("");
}
