import { BlockCache } from "../../src/core/block-cache.ts";
import { BufferPool } from "../../src/core/buffer-pool.ts";
import { toHex } from "../../src/core/bytes.ts";
import { ArrivingBytes, type BytesAt } from "../../src/core/bytes-at.ts";
import { Row } from "../../src/core/resolve.ts";
import { Run } from "../../src/core/run.ts";
import { RunBuilder, type RunBuilderOptions } from "../../src/core/run-builder.ts";
import type { RunOptions } from "../../src/core/run-pieces.ts";
import { PointLookups } from "../../src/core/run-lookup.ts";
import { PointReads } from "../../src/core/run-points.ts";
import { encodeNumeric, encodeValue } from "../../src/core/value.ts";
import { nodeEnvironment } from "../../src/platform/environment-node.ts";

export const { crc32 } = nodeEnvironment;

/** What goes into a run: a row, and the bytes of its value if the run is to hold them. */
export interface Content {
  readonly key: string;
  readonly row: Row;
  readonly value?: Uint8Array;
}

export type BuildOptions = Omit<Partial<RunBuilderOptions>, "sink" | "crc32"> & {
  readonly voidVersions?: readonly number[];
  readonly extra?: Uint8Array;
};

/** Builds a run in memory. */
export function buildRun(
  contents: Iterable<Content>,
  { voidVersions = [], extra = new Uint8Array(0), ...options }: BuildOptions = {},
): { readonly bytes: Uint8Array; readonly openFrom: number } {
  const chunks: Uint8Array[] = [];
  const builder = new RunBuilder({ Lookups: PointLookups, ...options, crc32, sink: (chunk) => chunks.push(chunk) });
  for (const { key, row, value } of contents) builder.add(key, row, value);
  for (const version of voidVersions) builder.addVoidVersion(version);
  const finishing = builder.finish({ base: 0, upto: 2 ** 40, extra });
  for (;;) {
    const step = finishing.next();
    if (step.done === true) return { bytes: join(chunks), openFrom: step.value };
  }
}

export function join(chunks: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(chunks.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}

/** How a test reads a run. */
export interface ReadOptions {
  readonly cache?: BlockCache;
  readonly smallReads?: boolean;
  /** How many bytes there are said to be. */
  readonly length?: number;
  /** Undefined: point lookups are passed over. */
  readonly Lookups?: RunOptions["Lookups"];
}

export function openRun(bytes: Uint8Array, options: ReadOptions = {}): Run {
  return openRunAt(memoryBytes(bytes, options.smallReads ?? false), { length: bytes.length, ...options });
}

export function openRunAt(
  bytes: BytesAt,
  options: ReadOptions & { readonly length: number; readonly openFrom?: number },
): Run {
  const { cache = new BlockCache(8 * 1024 * 1024, BufferPool), length } = options;
  return Run.open(bytes, { Lookups: PointReads, ...options, crc32, cache, name: "the run", length });
}

/** Reads that use the target they are given, as those of a file do. */
export function memoryBytes(bytes: Uint8Array, smallReads: boolean): BytesAt {
  return {
    smallReads,
    read: (place, length, target) => {
      const found = bytes.subarray(place, place + length);
      if (target === undefined) return found.slice();
      target.set(found);
      return target.subarray(0, found.length);
    },
  };
}

/** Reads that take their time. */
export function lateBytes(bytes: Uint8Array): ArrivingBytes {
  return new ArrivingBytes(async (place, length) => {
    await Promise.resolve();
    return bytes.slice(place, place + length);
  });
}

/** Numbers in [0, 1) that are the same in every run of a test. */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    // Mulberry32.
    state = (state + 0x6d2b79f5) >>> 0;
    let bits = Math.imul(state ^ (state >>> 15), state | 1);
    bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61);
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A row of any kind, with everything in it that a row can have. */
export function anyContent(key: string, random: () => number, valueBytesMax = 6000): Content {
  const version = 1 + Math.floor(random() * 2 ** (random() < 0.1 ? 53 : 30));
  const order = random() < 0.7 ? 0 : Math.floor(random() * 5000);
  const timestamp = pick(random, [1.7e12 + Math.floor(random() * 1e6), random() * -1e6, 1.5, -1e300, 0, 2 ** 53]);
  const expiresAt = random() < 0.8 ? 0 : 1.8e12 + random();
  const kind = Math.floor(random() * 7);
  if (kind === 0) return { key, row: new Row(version, order, timestamp, 0, true, -1, 0, -1, undefined) };
  if (kind === 1) {
    const numeric = pick(random, [0, -0, 7, -3, 2.5, NaN, Infinity, 10n ** 40n, -1n, 0n, 2n ** 64n]);
    const length = encodeNumeric(numeric).length;
    return { key, row: new Row(version, order, timestamp, expiresAt, false, -1, length, -1, numeric) };
  }
  if (kind === 2) {
    const place = Math.floor(random() * 2 ** 40) + (random() < 0.5 ? 0 : 2 ** 52);
    const offset = Math.floor(random() * 1000);
    const length = Math.floor(random() * 100_000);
    return { key, row: new Row(version, order, timestamp, expiresAt, false, offset, length, place, undefined) };
  }
  const value =
    kind === 3
      ? objectBytes(random)
      : randomBytes(random, Math.floor(random() * pick(random, [3, 200, 200, valueBytesMax])));
  return { key, row: new Row(version, order, timestamp, expiresAt, false, 20, value.length, 99, undefined), value };
}

/** The content with this value instead of its own. */
export function withValue({ key, row }: Content, value: Uint8Array): Content {
  const { version, order, timestamp, expiresAt } = row;
  return { key, row: new Row(version, order, timestamp, expiresAt, false, 20, value.length, 99, undefined), value };
}

const NAMES = [
  ["name", "age"],
  ["name", "age", "tags"],
  [""],
  ["\ufeffmarked", "\u00e4", "then"],
  Array.from({ length: 25 }, (_, i) => `${i}`),
];
/** Maps that no encoder of ours writes: the same name twice, `__proto__`, lengths that are not the shortest. */
const FOREIGN = ["a2616101616102", "a1695f5f70726f746f5f5f01", "a178016101", "b801616101", "bf616101ff"].map((digits) =>
  Uint8Array.from(Buffer.from(digits, "hex")),
);

/** The value of an object whose names others have as well. */
export function objectBytes(random: () => number): Uint8Array {
  if (random() < 0.1) return pick(random, FOREIGN);
  const item = (): unknown =>
    pick(random, [
      7,
      -300,
      0.5,
      "text",
      "\u{1f600}".repeat(20),
      null,
      [1, [2]],
      { name: { age: 1 } },
      2n ** 70n,
      new Map([[1, 2]]),
    ]);
  return encodeValue(Object.fromEntries(pick(random, NAMES).map((name) => [name, item()]))).slice();
}

export function randomBytes(random: () => number, length: number): Uint8Array {
  return Uint8Array.from({ length }, () => Math.floor(random() * 256));
}

export function pick<T>(random: () => number, from: readonly T[]): T {
  return from[Math.floor(random() * from.length)];
}

/** Everything that a row says, whatever it was made from: the same for a row that went into a run and the one that comes out. */
function told(row: Row, value: Uint8Array | undefined): string {
  const { version, order, timestamp, expiresAt, deleted, numeric, valueLength } = row;
  let content = "nothing";
  if (numeric !== undefined) content = `${typeof numeric} ${Object.is(numeric, -0) ? "-0" : String(numeric)}`;
  else if (value !== undefined) content = toHex(value);
  else if (!deleted) content = `at ${row.place + row.valueOffset}`;
  return [version, order, timestamp, expiresAt, deleted, valueLength, content].join(" ");
}

/** `told` of what went in. */
export function toldContent({ row, value }: Content): string {
  return told(row, value);
}

/** `told` of what came out. */
export function toldRow(row: Row | undefined): string | undefined {
  return row === undefined ? undefined : told(row, row.home?.valueBytes(row));
}
