import { describe, expect, test } from "vitest";
import { BlockCache } from "../../src/core/block-cache.ts";
import { BufferPool } from "../../src/core/buffer-pool.ts";
import { seededRandom } from "../support/runs.ts";

/** Tells buffers apart. */
const slabNumbers = new Map<ArrayBufferLike, number>();
function placeOf({ buffer, byteOffset }: Uint8Array): string {
  if (!slabNumbers.has(buffer)) slabNumbers.set(buffer, slabNumbers.size);
  return `${slabNumbers.get(buffer)} ${byteOffset}`;
}

for (const options of [{}, { keys: 1000 }]) {
  describe(options.keys === undefined ? "a space of any keys" : "a space of known keys", () => {
    test("gives what was put there, as long as there is room", () => {
      const space = new BlockCache(100_000).space<string>(options);
      space.set(0, "a", 100);
      space.set(999, "b", 100);
      expect([space.get(0), space.get(999), space.get(5)]).toEqual(["a", "b", undefined]);
      space.set(0, "c", 100);
      expect(space.get(0)).toBe("c");
    });

    test("keeps what is used, not what came last, and never more than it may", () => {
      const cache = new BlockCache(20_000);
      const space = cache.space<number>(options);
      for (let i = 0; i < 10; i++) space.set(i, i, 1000);
      for (let i = 0; i < 10; i++) expect(space.get(i)).toBe(i);
      for (let i = 100; i < 900; i++) {
        space.set(i, i, 1000);
        expect(cache.stats().bytes).toBeLessThanOrEqual(20_000);
        for (let used = 0; used < 10; used++) space.get(used);
      }
      const kept = Array.from({ length: 10 }, (_, i) => space.get(i)).filter((value) => value !== undefined);
      expect(kept.length).toBe(10);
    });

    test("does as a plain map does, for what it still has", () => {
      const random = seededRandom(1);
      const cache = new BlockCache(50_000);
      const spaces = [cache.space<number>(options), cache.space<number>(options)];
      const plain = [new Map<number, number>(), new Map<number, number>()];
      let wrong = 0;
      for (let i = 0; i < 20_000; i++) {
        const which = random() < 0.5 ? 0 : 1;
        const key = Math.floor(random() ** 2 * 1000);
        if (random() < 0.5) {
          spaces[which].set(key, i, Math.floor(random() * 2000));
          plain[which].set(key, i);
        } else {
          const value = spaces[which].get(key);
          if (value !== undefined && value !== plain[which].get(key)) wrong++;
        }
        if (i === 10_000) spaces[0].clear();
        if (cache.stats().bytes > 50_000 || cache.stats().bytes < 0) wrong++;
      }
      expect(wrong).toBe(0);
      spaces[0].clear();
      spaces[1].clear();
      expect(cache.stats()).toMatchObject({ bytes: 0, entries: 0 });
    });
  });
}

test("whoever is told of what is dropped hears of each value once, however it goes", () => {
  const cache = new BlockCache(2000);
  const dropped: string[] = [];
  const space = cache.space<string>({ dropped: (value) => dropped.push(value) });
  for (const value of ["a", "b", "c", "d", "e", "f"]) space.set(value.charCodeAt(0), value, 300);
  space.set("f".charCodeAt(0), "g", 300);
  const other = cache.space<string>();
  other.set(1, "x", 1200);
  space.clear();
  expect(dropped.sort()).toEqual(["a", "b", "c", "d", "e", "f", "g"]);
  expect(other.get(1)).toBe("x");
});

test("buffers that were given back are used again, whole", () => {
  expect(new BlockCache(10_000, BufferPool).buffers).toBeUndefined();
  const pool = new BlockCache(1_000_000, BufferPool).buffers as BufferPool;
  const buffers = Array.from({ length: 100 }, () => pool.take(4096) as Uint8Array);
  expect(new Set(buffers.map(placeOf)).size).toBe(100);
  for (const buffer of buffers) pool.recycle(buffer.subarray(0, 7));
  pool.recycle(new Uint8Array(5000));
  const again = Array.from({ length: 100 }, () => pool.take(1) as Uint8Array);
  expect(again.every(({ length }) => length >= 4096)).toBe(true);
  const slabs = new Set(buffers.map(({ buffer }) => buffer));
  expect(again.every(({ buffer }) => slabs.has(buffer))).toBe(true);
  expect(new Set(again.map(placeOf)).size).toBe(100);
  expect(pool.take(100_000)).toBeUndefined();
});

test("what is larger than the whole cache is not kept, and pushes nothing out", () => {
  const cache = new BlockCache(10_000);
  const space = cache.space<string>();
  space.set(1, "small", 100);
  space.set(2, "large", 10_001);
  expect([space.get(1), space.get(2)]).toEqual(["small", undefined]);
});

test("hits and misses are counted", () => {
  const cache = new BlockCache(10_000);
  const space = cache.space<string>();
  space.set(1, "a", 100);
  space.get(1);
  space.get(1);
  space.get(2);
  expect(cache.stats()).toMatchObject({ hits: 2, misses: 1, entries: 1, bytesMax: 10_000 });
});

test("once it is full, only what is asked for again soon is worth a place", () => {
  const cache = new BlockCache(10_000);
  const space = cache.space<string>();
  expect(space.admits(1, 4000)).toBe(true);
  space.set(1, "a", 4000);
  space.set(2, "b", 4000);
  expect(space.admits(3, 4000)).toBe(false);
  expect(space.admits(3, 4000)).toBe(true);
  expect(space.admits(3, 4000)).toBe(false);
  expect(cache.space<string>().admits(3, 4000)).toBe(false);
});
