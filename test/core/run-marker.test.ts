import { describe, expect, test } from "vitest";
import { toBinaryString } from "../../src/core/bytes.ts";
import { encodeKey } from "../../src/core/key.ts";
import { indexOfMarker, MARKER } from "../../src/core/mask.ts";
import { Row } from "../../src/core/resolve.ts";
import { buildRun, type Content, openRun, randomBytes, seededRandom, toldContent, toldRow } from "../support/runs.ts";

/** Bytes that consist of markers, begun somewhere within one. */
function markers(length: number, from: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => MARKER[(i + from) % MARKER.length]);
}

function content(key: string, value: Uint8Array | undefined, place = 0): Content {
  const row = new Row(1, 0, 0, 0, false, 0, value?.length ?? 5, place, undefined);
  return value === undefined ? { key, row } : { key, row, value };
}

const sorted = (contents: readonly Content[]): Content[] => contents.toSorted((a, b) => (a.key < b.key ? -1 : 1));

const marked = toBinaryString(MARKER);
const random = seededRandom(11);

const CONTENTS: Readonly<Record<string, readonly Content[]>> = {
  "values made of markers, of all lengths": Array.from({ length: 500 }, (_, i) =>
    content(encodeKey([i]), markers(i, i % 8)),
  ),
  "keys made of markers": Array.from({ length: 500 }, (_, i) =>
    content(marked.repeat(1 + (i % 3)) + toBinaryString(Uint8Array.of(i >> 8, i & 0xff)), undefined),
  ),
  "keys and values that end and begin within markers": Array.from({ length: 400 }, (_, i) =>
    content(encodeKey([i]) + marked.slice(0, i % 8), markers(20 + (i % 30), i % 8)),
  ),
  "large values made of markers": Array.from({ length: 12 }, (_, i) =>
    content(encodeKey([i]), markers(9000 + i, i % 8)),
  ),
  "a large value that holds every mask that is tried first": [
    content(
      "a",
      Uint8Array.from({ length: 40_000 }, (_, i) => {
        // Under the n-th mask the n-th stretch becomes a marker.
        const stretch = Math.floor(i / 16);
        let mask = Math.imul(stretch, 0x9e3779b1) >>> 0;
        for (let shift = 0; shift < 32; shift += 8)
          if (((mask >>> shift) & 0xff) === MARKER[0]) mask = (mask ^ (1 << shift)) >>> 0;
        return MARKER[i % 8] ^ ((mask >>> ((i & 3) * 8)) & 0xff);
      }),
    ),
  ],
  "places that read like a marker": Array.from({ length: 300 }, (_, i) =>
    content(encodeKey([i]), undefined, 0x6c6f66fc + 2 ** 32 * 0x0b6f69 + i),
  ),
  "noise with markers in it": Array.from({ length: 300 }, (_, i) => {
    const value = randomBytes(random, 300);
    value.set(MARKER, Math.floor(random() * 292));
    return content(encodeKey([i]), value);
  }),
};

describe("the marker of frames occurs nowhere in a run that holds", () => {
  for (const [name, contents] of Object.entries(CONTENTS)) {
    test(name, () => {
      for (const options of [{ lookup: true, filter: true }, { blockBytes: 300 }, { inlineBytesMax: 30 }]) {
        const all = sorted(contents);
        const extra = markers(100, 3);
        const { bytes } = buildRun(all, { ...options, extra });
        expect(indexOfMarker(bytes, 0)).toBe(-1);
        // In whatever it lies, and whatever comes behind.
        const within = new Uint8Array(bytes.length + 16);
        within.set(MARKER, 0);
        within.set(bytes, 8);
        within.set(MARKER, 8 + bytes.length);
        expect(indexOfMarker(within, 1)).toBe(8 + bytes.length);
        for (const smallReads of [false, true]) {
          const run = openRun(bytes, { smallReads });
          expect([...run.info.extra]).toEqual([...extra]);
          expect(all.filter((each) => toldRow(run.get(each.key)) !== toldContent(each))).toEqual([]);
        }
      }
    });
  }

  test("a marker that begins before it, at its border", () => {
    const { bytes } = buildRun([content("a", markers(30, 0))]);
    for (let cut = 1; cut < MARKER.length; cut++) {
      const within = new Uint8Array(cut + bytes.length);
      within.set(MARKER.subarray(0, cut), 0);
      within.set(bytes, cut);
      expect(indexOfMarker(within, 0)).toBe(-1);
    }
  });
});
