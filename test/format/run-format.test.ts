import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { toHex } from "../../src/core/bytes.ts";
import { encodeKey } from "../../src/core/key.ts";
import { MARKER } from "../../src/core/mask.ts";
import { encodeNumeric } from "../../src/core/value.ts";
import {
  anyContent,
  buildRun,
  type BuildOptions,
  type Content,
  objectBytes,
  openRun,
  seededRandom,
  toldRow,
  withValue,
} from "../support/runs.ts";
import { type ReadRunEntry, readRun } from "./run-reader.ts";

const hexKey = (key: string): string => Buffer.from(key, "latin1").toString("hex");

/** What the independent reader has to find. `kind` is left to it where the run may choose. */
function described({ key, row, value }: Content, inlineBytesMax: number): ReadRunEntry {
  const { version, order, timestamp, deleted, numeric } = row;
  const expiresAt = row.expiresAt === 0 ? undefined : row.expiresAt;
  const common = { key: hexKey(key), version, order, timestamp, expiresAt };
  if (deleted) return { ...common, kind: "tombstone" };
  if (numeric !== undefined) return { ...common, kind: "number", value: toHex(encodeNumeric(numeric)) };
  if (value === undefined)
    return { ...common, kind: "reference", place: row.place + row.valueOffset, valueLength: row.valueLength };
  return { ...common, kind: value.length > inlineBytesMax ? "record" : "value", value: toHex(value) };
}

const fieldsOfThings = (random: () => number): Content[] => {
  const keys = Array.from({ length: 900 }, (_, i) =>
    encodeKey(["things", `number-${Math.floor(i / 3)}-of-many`, ["address", "email", "name"][i % 3]]),
  );
  return keys.sort((a, b) => (a < b ? -1 : 1)).map((key) => anyContent(key, random, 300));
};

const markers = Uint8Array.from({ length: 100 }, (_, i) => MARKER[i % 8]);
const withMarkers = (random: () => number): Content[] =>
  Array.from({ length: 400 }, (_, i) => {
    const content = anyContent(encodeKey([i]), random, 100);
    return content.value === undefined || i % 50 > 5 ? content : { ...content, value: markers.subarray(i % 8) };
  });

const objects = (random: () => number): Content[] =>
  Array.from({ length: 500 }, (_, i) => withValue(anyContent(encodeKey([i]), random, 100), objectBytes(random)));

const CASES: Readonly<Record<string, readonly [(random: () => number) => Content[], BuildOptions]>> = {
  nothing: [() => [], {}],
  "numbers as keys, all sections": [
    (random) => Array.from({ length: 3000 }, (_, i) => anyContent(encodeKey(["user", i]), random, 500)),
    { lookup: true, filter: true, voidVersions: [1, 2, 300], extra: Uint8Array.of(1, 2) },
  ],
  "keys that share, records": [fieldsOfThings, { inlineBytesMax: 40 }],
  "masked blocks": [withMarkers, { blockBytes: 600 }],
  "values without their names": [objects, { blockBytes: 700, filter: true, voidVersions: [5] }],
  "an index of two levels": [
    (random) => Array.from({ length: 9000 }, (_, i) => anyContent(encodeKey([i]), random, 60)),
    { blockBytes: 256, lookup: true },
  ],
};

describe("the reader written from docs/FORMAT.md reads what the library writes:", () => {
  for (const [name, [make, options]] of Object.entries(CASES)) {
    test(name, () => {
      const contents = make(seededRandom(name.length));
      const { bytes } = buildRun(contents, options);
      const read = readRun(bytes);
      expect(read.entries.map((entry) => ({ ...entry, shape: undefined }))).toEqual(
        contents.map((each) => described(each, options.inlineBytesMax ?? 4096)),
      );
      expect(read).toMatchObject({
        tombstones: contents.filter(({ row }) => row.deleted).length,
        base: 0,
        upto: 2 ** 40,
        highestVersion: Math.max(0, ...contents.map(({ row }) => row.version)),
        smallestKey: hexKey(contents[0]?.key ?? ""),
        largestKey: hexKey(contents.at(-1)?.key ?? ""),
        voidVersions: options.voidVersions ?? [],
      });
      const keys = read.entries.map(({ key }) => key);
      if (options.lookup === true) expect(keys.filter((key) => read.lookup?.(key) !== true)).toEqual([]);
      if (options.filter === true) {
        expect(keys.filter((key) => read.filter?.(key) !== true)).toEqual([]);
        // Most of what is not there is told at once.
        expect(keys.filter((key) => read.filter?.(`${key}00`) === true).length).toBeLessThan(keys.length / 20);
      }
    });
  }
});

test("values of which several have the same names stand without these", () => {
  const { entries } = readRun(buildRun(objects(seededRandom(1))).bytes);
  const shapes = new Set(entries.map(({ shape }) => shape));
  // One for each list of names that are more than a byte, one for each map of another's making that a shape can stand for, and undefined.
  expect(shapes.size).toBe(9);
});

const GOLDEN = {
  everything: "1b863da6e755e5ae039558d867e1ecf457ac23e39f785e0c6d7a761b9037cd62",
  shapes: "44e0e842c0254c0d6c7cd976bb1d2868b6993d66ce79cf2e6cc6cfab315ac160",
};

describe.each(Object.entries(GOLDEN))("a run that an older version has written, %s", (name, digest) => {
  const golden = readFileSync(new URL(`golden-runs/${name}.run`, import.meta.url));
  const said = JSON.parse(readFileSync(new URL(`golden-runs/${name}.json`, import.meta.url), "utf8")) as unknown;

  test("is the one that was written then", () => {
    const checksum = createHash("sha256").update(golden).digest("hex");
    expect(checksum).toBe(digest);
  });

  test("is read by the reader written from docs/FORMAT.md", () => {
    const { lookup, filter, ...read } = readRun(golden);
    expect(JSON.parse(JSON.stringify(read))).toEqual(said);
    expect(read.entries.filter(({ key }) => lookup?.(key) !== true || filter?.(key) !== true)).toEqual([]);
  });

  test("is read by the library", () => {
    const run = openRun(new Uint8Array(golden));
    const { entries } = readRun(golden);
    const cursor = run.cursor();
    let at = 0;
    for (let ok = cursor.seek(""); ok; ok = cursor.next()) {
      const { key, version, order, timestamp, expiresAt, kind, value } = entries[at++];
      const row = cursor.value;
      expect(hexKey(cursor.key)).toBe(key);
      expect(row).toMatchObject({
        version,
        order,
        timestamp,
        expiresAt: expiresAt ?? 0,
        deleted: kind === "tombstone",
      });
      if (row.home !== undefined) expect(toHex(row.home.valueBytes(row))).toBe(value);
      expect(toldRow(run.get(cursor.key))).toBe(toldRow(row));
    }
    expect(at).toBe(entries.length);
    expect(run.voidVersions()).toEqual([3, 4, 1000]);
  });
});

test("the independent reader of runs imports nothing of the library", () => {
  const source = readFileSync(new URL("run-reader.ts", import.meta.url), "utf8");
  expect([...source.matchAll(/from "(.*)";$/gm)].map(([, from]) => from)).toEqual(["node:zlib"]);
});
