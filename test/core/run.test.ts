import { describe, expect, test } from "vitest";
import { BlockCache } from "../../src/core/block-cache.ts";
import { BufferPool } from "../../src/core/buffer-pool.ts";
import { toBinaryString } from "../../src/core/bytes.ts";
import { encodeKey } from "../../src/core/key.ts";
import { runHash } from "../../src/core/run-hash.ts";
import { Row } from "../../src/core/resolve.ts";
import type { Run } from "../../src/core/run.ts";
import { encodeValue } from "../../src/core/value.ts";
import {
  anyContent,
  type BuildOptions,
  buildRun,
  type Content,
  openRun,
  pick,
  randomBytes,
  type ReadOptions,
  seededRandom,
  toldContent,
  toldRow,
} from "../support/runs.ts";

const plain = (key: string, version = 1): Content => {
  const value = encodeValue({ key });
  return { key, row: new Row(version, 0, 1e12, 0, false, 20, value.length, 99, undefined), value: value.slice() };
};

const valueOf = (row: Row): unknown => row.home?.value(row);

/** Sorted, each once. */
const sorted = (keys: Iterable<string>): string[] => [...new Set(keys)].sort((a, b) => (a < b ? -1 : 1));

/** Keys that agree with those that are there in all but little. */
function neighbours(key: string): string[] {
  const last = key.charCodeAt(key.length - 1);
  const head = key.slice(0, -1);
  return [
    `${key}\0`,
    head,
    head + String.fromCharCode(Math.max(0, last - 1)),
    head + String.fromCharCode(Math.min(255, last + 1)),
    `\xff${key}`,
  ].filter((each) => each !== "");
}

/** Asks a run everything that can be asked and tells where its answers differ from those of a plain sorted array. */
function differences(run: Run, contents: readonly Content[], asked: readonly string[]): string[] {
  const found: string[] = [];
  const check = (call: string, got: unknown, wanted: unknown): void => {
    if (got !== wanted) found.push(`${call}: ${String(got)} instead of ${String(wanted)}`);
  };
  const keys = contents.map(({ key }) => key);
  const told = contents.map(toldContent);
  const places = new Map(keys.map((key, place) => [key, place]));
  for (const key of asked) check(`get ${key}`, toldRow(run.get(key)), told[places.get(key) ?? -1]);
  const cursor = run.cursor();
  const stands = (call: string, ok: boolean, at: number): void => {
    check(call, ok ? cursor.key : undefined, keys[at]);
    if (!ok) return;
    check(call, toldRow(cursor.value), told[at]);
    check(call, cursor.version, contents[at].row.version);
  };
  for (const key of asked) {
    const from = keys.findIndex((each) => each >= key);
    const at = from < 0 ? keys.length : from;
    stands(`seek ${key}`, cursor.seek(key), at);
    if (at < keys.length) stands(`next of ${key}`, cursor.next(), at + 1);
    stands(`seek before ${key}`, cursor.seekBefore(key), at - 1);
    if (at > 0) stands(`previous of ${key}`, cursor.previous(), at - 2);
  }
  let at = 0;
  for (let ok = cursor.seek(""); ok; ok = cursor.next()) stands("forward", true, at++);
  check("forward", at, keys.length);
  for (let ok = cursor.seekBefore(undefined); ok; ok = cursor.previous()) stands("backward", true, --at);
  check("backward", at, 0);
  return found;
}

const KEYS: Readonly<Record<string, (random: () => number) => string[]>> = {
  numbers: (random) => Array.from({ length: 700 }, () => encodeKey(["user", Math.floor(random() * 3000)])),
  "long prefixes": (random) =>
    Array.from({ length: 400 }, () =>
      encodeKey(["a".repeat(60), pick(random, ["", "b".repeat(40), "c".repeat(90)]), Math.floor(random() * 200)]),
    ),
  "fields of many things": (random) =>
    Array.from({ length: 600 }, () =>
      encodeKey(["tenant", `0000-${Math.floor(random() * 40)}-abcdefgh`, pick(random, ["name", "email", "address"])]),
    ),
  "keys of 2 KiB": (random) =>
    Array.from({ length: 60 }, () => encodeKey(["k".repeat(2033), Math.floor(random() * 1000)])),
  "long keys without anything in common": (random) =>
    Array.from({ length: 60 }, () =>
      String.fromCharCode(...Array.from({ length: 500 + Math.floor(random() * 1548) }, () => random() * 256)),
    ),
  "any bytes": (random) =>
    Array.from({ length: 800 }, () =>
      String.fromCharCode(...Array.from({ length: 1 + Math.floor(random() ** 3 * 40) }, () => random() * 4)),
    ),
};

const BUILDS: Readonly<Record<string, BuildOptions>> = {
  "as built by default": {},
  "with a lookup": { lookup: true, filter: false },
  "with a filter": { lookup: false, filter: true },
  "with both": { lookup: true, filter: true },
  "with neither, in small blocks": { lookup: false, filter: false, blockBytes: 300 },
  "in large blocks": { blockBytes: 60_000 },
  "with most values in records": { inlineBytesMax: 50, lookup: true },
};

const READS: Readonly<Record<string, () => ReadOptions>> = {
  "much cache": () => ({}),
  "hardly any cache": () => ({ cache: new BlockCache(64 * 1024, BufferPool) }),
  "hardly any cache, small reads": () => ({ cache: new BlockCache(64 * 1024, BufferPool), smallReads: true }),
  "next to no cache": () => ({ cache: new BlockCache(6_000, BufferPool) }),
  "no point lookups": () => ({ Lookups: undefined }),
};

describe("a run holds what went into it", () => {
  for (const [keysName, makeKeys] of Object.entries(KEYS)) {
    for (const [buildName, options] of Object.entries(BUILDS)) {
      test(`${keysName}, ${buildName}`, () => {
        const random = seededRandom(keysName.length * 100 + buildName.length);
        const keys = sorted(makeKeys(random));
        const contents = keys.map((key) => anyContent(key, random));
        const { bytes } = buildRun(contents, options);
        expect(openRun(bytes).info.entries).toBe(keys.length);
        const some = keys.filter((_, i) => i % 7 === 0 || i < 3 || i > keys.length - 3);
        const asked = [...some, ...some.flatMap(neighbours)];
        for (const read of Object.values(READS))
          expect(differences(openRun(bytes, read()), contents, asked)).toEqual([]);
      });
    }
  }

  test("no entries at all", () => {
    for (const options of Object.values(BUILDS)) {
      const run = openRun(buildRun([], options).bytes);
      expect(run.info.entries).toBe(0);
      expect(differences(run, [], ["", "a", "\xff"])).toEqual([]);
    }
  });

  test("one entry", () => {
    for (const options of Object.values(BUILDS)) {
      for (const read of Object.values(READS)) {
        const run = openRun(buildRun([plain("b")], options).bytes, read());
        expect(differences(run, [plain("b")], ["a", "b", "b\0", "c"])).toEqual([]);
      }
    }
  });

  test("100,000 entries, found one by one and walked through both ways", () => {
    const count = 100_000;
    function* contents(): Generator<Content> {
      for (let i = 0; i < count; i++) yield plain(encodeKey(["user", i]), i + 1);
    }
    const { bytes } = buildRun(contents());
    for (const smallReads of [false, true]) {
      const run = openRun(bytes, { smallReads, cache: new BlockCache(1024 * 1024, BufferPool) });
      let wrong = 0;
      for (let i = 0; i < count; i += 3) {
        const row = run.get(encodeKey(["user", i]));
        if (row?.version !== i + 1) wrong++;
        else if (i % 30 === 0 && (valueOf(row) as { key: string }).key !== encodeKey(["user", i])) wrong++;
        if (i % 5 === 0 && run.get(encodeKey(["user", i + 0.5])) !== undefined) wrong++;
      }
      expect(wrong).toBe(0);
      const cursor = run.cursor();
      let i = 0;
      for (let ok = cursor.seek(""); ok; ok = cursor.next()) if (cursor.version !== ++i) break;
      expect(i).toBe(count);
      for (let ok = cursor.seekBefore(undefined); ok; ok = cursor.previous()) if (cursor.version !== i--) break;
      expect(i).toBe(0);
    }
  });

  test("keys whose hashes are all the same", () => {
    const alike = sorted(keysOfOneHash());
    expect(new Set(alike.map(runHash)).size).toBe(1);
    const others = Array.from({ length: 700 }, (_, i) => encodeKey([i]));
    // As many as a lookup gives out, one more, and all.
    for (const count of [2, 8, 9, alike.length]) {
      const present = new Set(alike.filter((_, i) => i % (alike.length / count) < 1));
      const contents = sorted([...present, ...others]).map((key) => plain(key));
      for (const read of Object.values(READS)) {
        const run = openRun(buildRun(contents, { lookup: true, filter: true }).bytes, read());
        expect(alike.filter((key) => run.get(key) !== undefined)).toEqual(alike.filter((key) => present.has(key)));
      }
    }
  });
});

/** Sixteen: in four places one of two pieces that leave the hash in the same state. */
function keysOfOneHash(): string[] {
  const random = seededRandom(7);
  let keys = ["\x02"];
  for (let round = 0; round < 4; round++) {
    const pieces = new Map<number, string>();
    for (;;) {
      const piece = toBinaryString(randomBytes(random, 5));
      const hash = runHash(keys[0] + piece);
      const other = pieces.get(hash);
      if (other !== undefined && other !== piece) {
        keys = keys.flatMap((key) => [key + piece, key + other]);
        break;
      }
      pieces.set(hash, piece);
    }
  }
  return keys;
}

describe("what a run says of itself", () => {
  const contents = [plain("a", 5), { ...plain("b", 9), row: new Row(9, 1, 2, 0, true, -1, 0, -1, undefined) }];
  contents.push(plain("c", 7));
  const extra = Uint8Array.of(1, 2, 3, 0xfc);
  const { bytes } = buildRun(contents, { extra, voidVersions: [3, 4, 1000, 2 ** 50] });

  test("is in its footer", () => {
    const { info } = openRun(bytes);
    expect(info).toMatchObject({
      entries: 3,
      tombstones: 1,
      smallestKey: "a",
      largestKey: "c",
      base: 0,
      upto: 2 ** 40,
      highestVersion: 9,
    });
    expect([...info.extra]).toEqual([...extra]);
  });

  test("names the void versions", () => {
    expect(openRun(bytes).voidVersions()).toEqual([3, 4, 1000, 2 ** 50]);
    expect(openRun(buildRun([]).bytes).voidVersions()).toEqual([]);
  });
});

describe("building", () => {
  test("refuses keys that do not ascend, and values of other runs that are not given", () => {
    const [content] = [plain("b")];
    expect(() => buildRun([content, content])).toThrow(RangeError);
    expect(() => buildRun([content, plain("a")])).toThrow(RangeError);
    const foreign = openRun(buildRun([content]).bytes).get("b") as Row;
    expect(() => buildRun([{ key: "b", row: foreign }])).toThrow(RangeError);
  });

  test("hands out chunks while rows come, and keeps none of the bytes it was given", () => {
    const reused = new Uint8Array(100);
    function* contents(): Generator<Content> {
      for (let i = 0; i < 2000; i++) {
        reused.fill(i & 0xff);
        yield { key: encodeKey([i]), row: new Row(i + 1, 0, 1, 0, false, 0, 100, 0, undefined), value: reused };
      }
    }
    const run = openRun(buildRun(contents()).bytes);
    for (let i = 0; i < 2000; i++) {
      const row = run.get(encodeKey([i])) as Row;
      expect(row.home?.valueBytes(row)?.[99]).toBe(i & 0xff);
    }
  });

  test("gives the same run whatever was expected of the number of its entries", () => {
    const contents = sorted(Array.from({ length: 9000 }, (_, i) => encodeKey([i * 7]))).map((key) => plain(key));
    const { bytes } = buildRun(contents, { lookup: true, filter: true });
    for (const entries of [0, 1, 9000, 1e9])
      expect(buildRun(contents, { lookup: true, filter: true, entries }).bytes).toEqual(bytes);
  });

  test("blocks stay about as large as asked, whatever the entries are like", () => {
    const random = seededRandom(5);
    const contents = sorted(Array.from({ length: 20_000 }, () => encodeKey([Math.floor(random() * 1e9)]))).map(
      (key) => {
        const kind = random() < 0.5;
        const value = new Uint8Array(kind ? 0 : Math.floor(random() * 1000));
        return { key, row: new Row(1, 0, 0, 0, kind, 0, value.length, 0, undefined), value };
      },
    );
    const { bytes } = buildRun(contents, { lookup: false, filter: false });
    const run = openRun(bytes);
    expect(bytes.length / run.blocks).toBeGreaterThan(3000);
    expect(bytes.length / run.blocks).toBeLessThan(4400);
  });
});

describe("a cursor", () => {
  const contents = Array.from({ length: 3000 }, (_, i) => plain(encodeKey(["user", i]), i + 1));
  const { bytes } = buildRun(contents);

  test("stands where it stood when the cache has let its block go", () => {
    for (const bytesMax of [0, 10_000, 70_000]) {
      const run = openRun(bytes, { cache: new BlockCache(bytesMax, BufferPool) });
      const forward = run.cursor();
      const backward = run.cursor();
      forward.seek("");
      backward.seekBefore(undefined);
      const seen: number[] = [];
      const wrong: string[] = [];
      for (let i = 0; i < contents.length; i++) {
        run.get(contents[(i * 997) % contents.length].key);
        if (forward.key !== contents[i].key) wrong.push(`forward ${i}`);
        seen.push(forward.value.version);
        const row = forward.value;
        run.get(contents[(i * 991) % contents.length].key);
        if ((valueOf(row) as { key: string }).key !== contents[i].key) wrong.push(`value ${i}`);
        if (backward.value.version !== contents.length - i) wrong.push(`backward ${i}`);
        if (forward.next() !== i + 1 < contents.length) wrong.push(`end ${i}`);
        backward.previous();
      }
      expect(wrong).toEqual([]);
      expect(seen).toEqual(contents.map((_, i) => i + 1));
    }
  });

  test("gives rows whose values can be had after it has gone on", () => {
    const run = openRun(bytes, { cache: new BlockCache(70_000, BufferPool) });
    const cursor = run.cursor();
    const rows: Row[] = [];
    for (let ok = cursor.seek(""); ok; ok = cursor.next()) rows.push(cursor.value);
    expect(rows.map((row) => (valueOf(row) as { key: string }).key)).toEqual(contents.map(({ key }) => key));
  });

  test("does not fill the cache with what it passes once", () => {
    const cache = new BlockCache(8 * 1024 * 1024, BufferPool);
    const run = openRun(bytes, { cache });
    const cursor = run.cursor();
    for (let ok = cursor.seek(""); ok; ok = cursor.next());
    expect(cache.stats().bytes).toBeLessThan(bytes.length / 2);
  });
});
