import { inspect } from "node:util";
import { describe, expect, test } from "vitest";
import { BlockCache } from "../../src/core/block-cache.ts";
import { BufferPool } from "../../src/core/buffer-pool.ts";
import { ByteWriter, MalformedBytes } from "../../src/core/bytes.ts";
import { hasCode, KVError } from "../../src/core/errors.ts";
import { encodeKey } from "../../src/core/key.ts";
import type { Run } from "../../src/core/run.ts";
import {
  type Footer,
  type PiecePlace,
  readFooter,
  readTail,
  SectionId,
  TAIL_BYTES,
} from "../../src/core/run-format.ts";
import { IndexNode } from "../../src/core/run-index.ts";
import { decodeValue } from "../../src/core/value.ts";
import { readRun } from "../format/run-reader.ts";
import {
  anyContent,
  buildRun,
  type Content,
  crc32,
  objectBytes,
  openRun,
  type ReadOptions,
  seededRandom,
  toldContent,
  toldRow,
  withValue,
} from "../support/runs.ts";

/** Small, and with a piece of every kind in it: some blocks, records, all sections, values without their names among others. */
const random = seededRandom(3);
const contents = Array.from({ length: 40 }, (_, i): Content => {
  const content = anyContent(encodeKey(["thing", i * 2]), random, 400);
  if (i % 3 > 0) return content;
  // Each byte costs a look at everything: only short ones.
  let value = objectBytes(random);
  while (value.length > 50) value = objectBytes(random);
  return withValue(content, value);
});
const { bytes } = buildRun(contents, {
  blockBytes: 700,
  inlineBytesMax: 150,
  lookup: true,
  filter: true,
  voidVersions: [7, 700],
  extra: Uint8Array.of(1, 2, 3),
});

/** Those whose values stand without their names. */
const shaped = readRun(bytes).entries.flatMap(({ shape }, i) => (shape === undefined ? [] : [contents[i]]));

/** One question to a run: what it says, and what is true. */
interface Question {
  readonly ask: (run: Run) => unknown;
  readonly truth: unknown;
}

const questions: Question[] = contents.flatMap((content, i) => [
  { ask: (run: Run) => toldRow(run.get(content.key)), truth: toldContent(content) },
  { ask: (run: Run) => run.get(encodeKey(["thing", i * 2 + 1])), truth: undefined },
]);
/** What a value of a run is, or of what went into it, as text. */
function shown(decode: () => unknown): string {
  try {
    return inspect(decode(), { depth: null });
  } catch (error) {
    // Of maps that no encoder of ours writes.
    if (error instanceof MalformedBytes) return "malformed";
    throw error;
  }
}
for (const { key, value } of shaped) {
  const truth = shown(() => decodeValue(value as Uint8Array));
  const ask = (run: Run): string => {
    const row = run.get(key);
    return shown(() => row?.home?.value(row));
  };
  if (truth !== "malformed") questions.push({ ask, truth });
}
for (const direction of [1, -1]) {
  const all = contents.map((content) => `${content.key} ${toldContent(content)}`);
  const walk = (run: Run): string => {
    const cursor = run.cursor();
    const seen: string[] = [];
    let ok = direction === 1 ? cursor.seek("") : cursor.seekBefore(undefined);
    for (; ok; ok = direction === 1 ? cursor.next() : cursor.previous())
      seen.push(`${cursor.key} ${toldRow(cursor.value)}`);
    return seen.join();
  };
  questions.push({ ask: walk, truth: (direction === 1 ? all : all.toReversed()).join() });
}
questions.push({ ask: (run) => run.voidVersions().join(), truth: "7,700" });

/**
 * Asks everything, and tells the first answer that is neither the truth nor a report of damage; how many reports there were; and whether all
 * of them have a place within the run.
 */
function interrogate(damaged: Uint8Array, options: ReadOptions): { wrong?: string; reports: number; placed: boolean } {
  let reports = 0;
  let placed = true;
  const attempt = <T>(ask: () => T): { answer: T } | undefined => {
    try {
      return { answer: ask() };
    } catch (error) {
      if (!(error instanceof KVError) || error.code !== "LedgerDamaged") throw error;
      reports++;
      const [range] = error.ranges ?? [];
      placed &&= range !== undefined && range.from >= 0 && range.from <= range.to && range.to <= bytes.length;
      return undefined;
    }
  };
  const opened = attempt(() => openRun(damaged, options));
  if (opened === undefined) return { reports, placed };
  for (const { ask, truth } of questions) {
    const got = attempt(() => ask(opened.answer));
    if (got !== undefined && got.answer !== truth)
      return { wrong: `${String(got.answer)} instead of ${String(truth)}`, reports, placed };
  }
  return { reports, placed };
}

const READS: Readonly<Record<string, () => ReadOptions>> = {
  "by blocks": () => ({}),
  "by entries": () => ({ smallReads: true, cache: new BlockCache(0, BufferPool) }),
};

const FLIPS = [0x01, 0x80, 0xff, 0x10];

for (const [name, options] of Object.entries(READS)) {
  describe(`a damaged run, read ${name}`, () => {
    test("is not damaged to begin with", () => {
      expect(shaped.length).toBeGreaterThan(5);
      expect(interrogate(bytes, options())).toEqual({ reports: 0, placed: true });
    });

    test("never gives a wrong answer, whatever byte is another", () => {
      const wrong: string[] = [];
      const unnoticed: number[] = [];
      const copy = bytes.slice();
      for (let at = 0; at < bytes.length; at++) {
        copy[at] = bytes[at] ^ FLIPS[at % FLIPS.length];
        const found = interrogate(copy, options());
        copy[at] = bytes[at];
        if (found.wrong !== undefined) wrong.push(`byte ${at}: ${found.wrong}`);
        if (!found.placed) wrong.push(`byte ${at}: no place`);
        if (found.reports === 0) unnoticed.push(at);
      }
      expect(wrong).toEqual([]);
      // The first byte holds nothing. What an entry by itself does not need (mask, codec, checksum and end of its block) nobody looks at then.
      if (name === "by blocks") expect(unnoticed).toEqual([0]);
    });

    test("never gives a wrong answer, wherever it was cut", () => {
      const wrong: string[] = [];
      for (let length = 0; length < bytes.length; length++) {
        const cut = bytes.slice(0, length);
        // Cut and known to be, and cut while the length says otherwise.
        for (const said of [length, bytes.length]) {
          const found = interrogate(cut, { ...options(), length: said });
          if (found.wrong !== undefined || !found.placed) wrong.push(`${length} bytes: ${found.wrong ?? "no place"}`);
          if (found.reports === 0) wrong.push(`${length} bytes: unnoticed`);
        }
      }
      expect(wrong).toEqual([]);
    });
  });
}

describe("what is not damage", () => {
  /** The run with one byte of a piece changed by somebody who knows the format. */
  function rewritten(piece: PiecePlace, offset: number, byte: number): Uint8Array {
    const copy = bytes.slice();
    copy[piece.place + offset] = byte;
    const end = piece.place + piece.length;
    new DataView(copy.buffer).setUint32(end - 5, crc32(copy.subarray(piece.place + 4, end - 5)), true);
    return copy;
  }
  const footerBytes = readTail(bytes.subarray(bytes.length - TAIL_BYTES)) as number;
  const footerPlace = { place: bytes.length - TAIL_BYTES - footerBytes, length: footerBytes };
  const footer = readFooter(bytes.subarray(footerPlace.place, footerPlace.place + footerBytes)) as Footer;

  function codeOf(ask: () => unknown): unknown {
    try {
      ask();
    } catch (error) {
      return (error as KVError).code;
    }
    return undefined;
  }

  test("a newer format", () => {
    expect(codeOf(() => openRun(rewritten(footerPlace, 5, 2)))).toBe("UnsupportedFormat");
  });

  test("a block in another codec", () => {
    const top = new IndexNode(bytes.subarray(footer.top.place, footer.top.place + footer.top.length));
    const first = { place: top.place(0), length: top.length(0) };
    const run = openRun(rewritten(first, 4, 1));
    expect(codeOf(() => run.cursor().seek(""))).toBe("UnsupportedFormat");
    expect(toldRow(run.get(contents[39].key))).toBe(toldContent(contents[39]));
  });

  test("a section that is not known", () => {
    for (let i = 0; i < footer.sections.length; i++) {
      // The sections are the last part of the footer.
      const rest = new ByteWriter();
      for (const { id, place, length } of footer.sections.slice(i))
        [id, place, length].map((each) => rest.varint(each));
      const run = openRun(rewritten(footerPlace, footerBytes - 5 - rest.length, 77));
      const wrong = (each: Content): boolean => {
        try {
          return toldRow(run.get(each.key)) !== toldContent(each);
        } catch (error) {
          if (hasCode(error, "LedgerDamaged")) return true;
          throw error;
        }
      };
      const needed = footer.sections[i].id === SectionId.shapes ? shaped : [];
      expect(contents.filter(wrong)).toEqual(needed);
    }
  });

  test("and what is no run at all, is", () => {
    expect(codeOf(() => openRun(new Uint8Array(1000).fill(7)))).toBe("LedgerDamaged");
    expect(codeOf(() => openRun(new Uint8Array(0)))).toBe("LedgerDamaged");
  });
});
