import { inspect, isDeepStrictEqual } from "node:util";
import { describe, expect, test } from "vitest";
import { BlockCache } from "../../src/core/block-cache.ts";
import { BufferPool } from "../../src/core/buffer-pool.ts";
import { whenLoaded } from "../../src/core/bytes-at.ts";
import { ByteWriter, toBinaryString, toHex } from "../../src/core/bytes.ts";
import { itemEnd } from "../../src/core/cbor-items.ts";
import { encodeKey } from "../../src/core/key.ts";
import { Row } from "../../src/core/resolve.ts";
import { RowWalk } from "../../src/core/row-walk.ts";
import { DamageNotes } from "../../src/core/salvage.ts";
import type { StoredRun } from "../../src/core/ledger.ts";
import { beginPiece, endPiece, type PiecePlace, readFooter, readTail, TAIL_BYTES } from "../../src/core/run-format.ts";
import { encodeValue } from "../../src/core/value.ts";
import { describeValue } from "../format/describe.ts";
import { readRun, type ReadRunEntry } from "../format/run-reader.ts";
import { drawText, drawValue } from "../support/drawn-values.ts";
import { Draw } from "../support/random.ts";
import { buildRun, type Content, crc32, lateBytes, openRun, openRunAt, type ReadOptions } from "../support/runs.ts";

/** Values without the names of their properties, which stand once in the run. */

const content = (i: number, value: unknown): Content => {
  const bytes = encodeValue(value).slice();
  return { key: encodeKey([i]), row: new Row(i + 1, 0, 1e12, 0, false, 20, bytes.length, 99, undefined), value: bytes };
};

const contentsOf = (values: readonly unknown[]): Content[] => values.map((value, i) => content(i, value));

const entriesOf = (values: readonly unknown[]): ReadRunEntry[] => readRun(buildRun(contentsOf(values)).bytes).entries;

const none = (count: number): undefined[] => new Array<undefined>(count).fill(undefined);

/** The number of the shape of each value. */
const shapesOf = (values: readonly unknown[]): (number | undefined)[] => entriesOf(values).map(({ shape }) => shape);

describe("values of all kinds come back as they went in,", () => {
  const draw = new Draw(11);
  const names = draw.many(30, () => draw.many(draw.below(30), () => (draw.chance(0.2) ? "" : drawText(draw))));
  const values = Array.from({ length: 1500 }, () => {
    const value = drawValue(draw);
    if (draw.chance(0.3)) return value ?? null;
    // What is shared makes a graph of the value, which is no map any more.
    return Object.fromEntries(
      draw.from(names).map((name) => [name, draw.chance(0.1) ? drawValue(draw) : draw.below(300)]),
    );
  });
  const contents = contentsOf(values);
  const { bytes } = buildRun(contents);
  const reads: Readonly<Record<string, ReadOptions>> = {
    "by blocks": {},
    "by entries": { smallReads: true, cache: new BlockCache(0, BufferPool) },
  };

  for (const [name, options] of Object.entries(reads)) {
    test(name, () => {
      const run = openRun(bytes, options);
      const wrong: string[] = [];
      let homes = 0;
      contents.forEach(({ key, value, row: { valueLength } }, i) => {
        const row = run.get(key) as Row;
        if (row.home === undefined) return;
        if (row.valueLength !== valueLength) wrong.push(`length ${i}`);
        if (toHex(row.home.valueBytes(row)) !== toHex(value as Uint8Array)) wrong.push(`bytes ${i}`);
        if (!isDeepStrictEqual(describeValue(row.home.value(row)), describeValue(values[i]))) wrong.push(`value ${i}`);
        homes++;
      });
      expect(wrong).toEqual([]);
      expect(homes).toBeGreaterThan(1000);
    });
  }

  test("and many of them stand without their names", () => {
    const shapes = readRun(bytes).entries.map(({ shape }) => shape);
    expect(shapes.filter((shape) => shape !== undefined).length).toBeGreaterThan(300);
    expect(new Set(shapes).size).toBeGreaterThan(15);
  });
});

describe("values stand without their names", () => {
  test("from the second one on that has them", () => {
    expect(shapesOf([{ name: 1 }, { name: 2 }, { name: 3 }])).toEqual([undefined, 0, 0]);
    expect(shapesOf([{ a: 1, b: 1 }, { b: 1, a: 1 }, { a: 1 }, { a: 1, b: "x" }])).toEqual([
      undefined,
      undefined,
      undefined,
      0,
    ]);
  });

  test("whatever has come between", () => {
    const values = [{ name: 1 }, 5, "x", [1], { name: 2 }, null, { other: 1 }, { other: 2 }, { name: 3 }];
    expect(shapesOf(values)).toEqual([...none(4), 0, ...none(2), 1, 0]);
  });

  test("not where nothing is saved, and not where names are long or many", () => {
    const twice = (names: readonly string[]): (number | undefined)[] => {
      const value = Object.fromEntries(names.map((name) => [name, 1]));
      return shapesOf([value, value]);
    };
    expect(twice([])).toEqual([undefined, undefined]);
    expect(twice([""])).toEqual([undefined, undefined]);
    expect(twice(["a"])).toEqual([undefined, 0]);
    expect(twice(["a".repeat(255)])).toEqual([undefined, 0]);
    expect(twice(["a".repeat(256)])).toEqual([undefined, undefined]);
    const numbered = (count: number): string[] => Array.from({ length: count }, (_, i) => i.toString(36));
    for (const count of [23, 24, 255]) expect(twice(numbered(count))).toEqual([undefined, 0]);
    expect(twice(numbered(256))).toEqual([undefined, undefined]);
  });

  test("of so many kinds as there is room for, and all come back", () => {
    const kinds = Array.from({ length: 3000 }, (_, i) => ({ [`kind ${i}`]: i, more: i }));
    const values = kinds.flatMap((value) => [value, value]);
    const entries = entriesOf(values);
    expect(entries.map(({ value }) => value)).toEqual(
      contentsOf(values).map(({ value }) => toHex(value as Uint8Array)),
    );
    const shapes = new Set(entries.map(({ shape }) => shape));
    expect(shapes.size).toBeGreaterThan(500);
    expect(shapes.size).toBeLessThan(1200);
  });

  test("not for each of many that have names of their own", () => {
    const values = Array.from({ length: 3000 }, (_, i) => ({ [`id ${i}`]: i, name: 1 }));
    values.splice(1500, 0, { name: 1 } as never, { name: 2 } as never);
    expect(shapesOf(values).filter((shape) => shape !== undefined)).toEqual([0]);
  });

  test("which makes a run of them smaller by about the names", () => {
    const objects = contentsOf(Array.from({ length: 1000 }, (_, i) => ({ name: i, address: "x", active: true })));
    const arrays = contentsOf(Array.from({ length: 1000 }, (_, i) => [i, "x", true]));
    const difference = buildRun(objects).bytes.length - buildRun(arrays).bytes.length;
    expect(difference).toBeLessThan(200);
  });
});

test("a name that no property has is refused, as it is in a value that has its names", () => {
  const key = (i: number): string => encodeKey([i]);
  const value = Uint8Array.from(Buffer.from("a1695f5f70726f746f5f5f01", "hex"));
  const run = openRun(
    buildRun(
      [1, 2].map((i) => ({ key: key(i), row: new Row(i, 0, 1, 0, false, 0, value.length, 0, undefined), value })),
    ).bytes,
  );
  const [plain, shaped] = [1, 2].map((i) => run.get(key(i)) as Row);
  expect(shaped.home).not.toBe(plain.home);
  for (const row of [plain, shaped]) {
    expect(() => row.home?.value(row)).toThrow(Error);
    expect(toHex(row.home?.valueBytes(row) as Uint8Array)).toBe(toHex(value));
  }
});

describe("what somebody wrote who did not know the format is damage:", () => {
  const value = { name: "x", age: 7 };
  const { bytes } = buildRun(contentsOf([value, value, value]), { lookup: false, filter: false });
  const footerBytes = readTail(bytes.subarray(bytes.length - TAIL_BYTES)) as number;
  const footerAt = bytes.length - TAIL_BYTES - footerBytes;
  const footer = readFooter(bytes.subarray(footerAt, footerAt + footerBytes));
  const [section] = (footer as Exclude<typeof footer, number>).sections;

  function withSection(change: (content: Uint8Array) => void): Uint8Array {
    const copy = bytes.slice();
    rewrite(copy, section, change);
    return copy;
  }

  function rewrite(run: Uint8Array, { place, length }: PiecePlace, change: (content: Uint8Array) => void): void {
    const writer = new ByteWriter();
    beginPiece(writer);
    const given = run.slice(place + 5, place + length - 5);
    change(given);
    writer.bytes(given);
    endPiece(writer, 0, crc32);
    run.set(writer.take(), place);
  }

  const ask = (run: Uint8Array, what: "value" | "valueBytes"): string => {
    const opened = openRun(run);
    const row = opened.get(encodeKey([1])) as Row;
    return inspect(row.home?.[what](row));
  };

  test("nothing is, to begin with", () => {
    expect(
      ask(
        withSection(() => undefined),
        "value",
      ),
    ).toBe("{ name: 'x', age: 7 }");
    expect([...bytes.subarray(section.place + 5, section.place + 7)]).toEqual([10, 0xa2]);
  });

  const changes: Readonly<Record<string, (content: Uint8Array) => void>> = {
    "bytes that are not there": (content) => void (content[0] = 11),
    "no bytes, and others behind": (content) => void (content[0] = 0),
    "more names than there are": (content) => void (content[1] = 0xa3),
    "fewer names than there are": (content) => void (content[1] = 0xa1),
    "no names": (content) => void (content[1] = 0xa0),
    "no pairs": (content) => content.set([1, 0xa0, 8, 0xa1, 0x66]),
    "no map": (content) => void (content[1] = 0x82),
    "a name that is none": (content) => void (content[2] = 0x44),
    "a name that ends behind the shape": (content) => void (content[7] = 0x64),
    // One name of eight bytes where there were two: the shape is whole, and its values are too many.
    "other names than there are values": (content) => content.set([10, 0xa1, 0x68]),
  };
  for (const [name, change] of Object.entries(changes)) {
    test(name, () => {
      const damaged = expect.objectContaining({ code: "LedgerDamaged" });
      for (const what of ["value", "valueBytes"] as const)
        expect(() => ask(withSection(change), what)).toThrow(damaged);
    });
  }

  test("fewer values than there are names, and a number of a shape that is not there", () => {
    const block = { place: 1, length: section.place - 1 };
    const entries = Buffer.from(bytes);
    // The second entry: number of the shape, length of the values, the values.
    const at = entries.indexOf(Uint8Array.of(0, 3, 0x61, 0x78, 7), 30);
    const withEntry = (...values: number[]): Uint8Array => {
      const copy = bytes.slice();
      rewrite(copy, block, (content) => content.set(values, at - 6));
      return copy;
    };
    expect(ask(withEntry(0, 3, 0x61, 0x79, 8), "value")).toBe("{ name: 'y', age: 8 }");
    const damaged = expect.objectContaining({ code: "LedgerDamaged" });
    for (const what of ["value", "valueBytes"] as const) {
      expect(() => ask(withEntry(0, 3, 0x62, 0x79, 0x79), what)).toThrow(damaged);
      expect(() => ask(withEntry(0, 3, 1, 2, 3), what)).toThrow(damaged);
      expect(() => ask(withEntry(0, 3, 0x61, 0x78, 0x61), what)).toThrow(damaged);
      expect(() => ask(withEntry(1, 3, 0x61, 0x78, 7), what)).toThrow(damaged);
    }
    // Of that entry alone.
    const run = openRun(withEntry(1, 3, 0x61, 0x78, 7));
    const [, wrong, right] = [0, 1, 2].map((i) => run.get(encodeKey([i])) as Row);
    expect(() => wrong.home?.value(wrong)).toThrow(damaged);
    expect(right.home?.value(right)).toEqual(value);
    expect(run.get(encodeKey([2]))?.home).toBe(right.home);
  });
});

test("where an item ends is told for every value, and beyond the end for what is cut off", () => {
  const draw = new Draw(12);
  for (let i = 0; i < 1000; i++) {
    const bytes = encodeValue(drawValue(draw) ?? null).slice();
    const between = Uint8Array.of(0xff, ...bytes, 0x61, 0x61);
    expect(itemEnd(between, 1, bytes.length + 1)).toBe(bytes.length + 1);
    for (const cut of [0, 1, Math.floor(bytes.length / 2), bytes.length - 1])
      if (cut < bytes.length) expect(itemEnd(bytes, 0, cut)).toBeGreaterThan(cut);
  }
});

describe("where the names are damaged", () => {
  const values = Array.from({ length: 40 }, (_, i) => (i % 2 === 0 ? `text ${i}` : { name: i, other: true }));
  const contents = contentsOf(values);
  const { bytes } = buildRun(contents, { blockBytes: 300, topBlocksMax: 1 });
  const place = toBinaryString(bytes).lastIndexOf("other");
  const damaged = bytes.slice();
  damaged[place] ^= 0xff;

  test("nothing else is", () => {
    const run = openRun(damaged);
    const cursor = run.cursor();
    for (let i = 0, ok = cursor.seek(""); i < 40; i++, ok = cursor.next()) {
      expect(ok && cursor.key === contents[i].key && cursor.value.version === i + 1).toBe(true);
      const row = run.get(contents[i].key) as Row;
      if (i % 2 === 0) expect(row.home?.value(row)).toBe(values[i]);
      else if (i > 1) expect(() => row.home?.value(row)).toThrow(expect.objectContaining({ code: "LedgerDamaged" }));
    }
  });

  test("only of what was read when the run was opened, they are read again", () => {
    let reads = 0;
    const openFrom = place - 100;
    const read = (at: number, length: number): Uint8Array => (reads++ === 0 ? damaged : bytes).slice(at, at + length);
    const run = openRunAt({ read }, { length: bytes.length, openFrom });
    const row = run.get(contents[3].key) as Row;
    expect(row.home?.value(row)).toEqual(values[3]);
  });

  test("what is salvaged waits for them and passes nothing", async () => {
    const late = lateBytes(bytes);
    const stored = { length: bytes.length } as StoredRun;
    const run = await whenLoaded(() => openRunAt(late, { length: bytes.length, openFrom: bytes.length - 200 }));
    const walk = new RowWalk(new DamageNotes().salvaged(run, stored));
    const keys: string[] = [];
    while (await walk.next()) keys.push(walk.key);
    expect(keys).toEqual(contents.map(({ key }) => key));
  });
});
