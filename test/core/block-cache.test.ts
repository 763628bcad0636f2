import { describe, expect, test } from "vitest";
import { BlockCache } from "../../src/core/block-cache.ts";
import { seededRandom } from "../support/runs.ts";

for (const keys of [undefined, 1000]) {
  describe(keys === undefined ? "a space of any keys" : "a space of known keys", () => {
    test("gives what was put there, as long as there is room", () => {
      const space = new BlockCache(100_000).space<string>(keys);
      space.set(0, "a", 100);
      space.set(999, "b", 100);
      expect([space.get(0), space.get(999), space.get(5)]).toEqual(["a", "b", undefined]);
      space.set(0, "c", 100);
      expect(space.get(0)).toBe("c");
    });

    test("keeps what is used, not what came last, and never more than it may", () => {
      const cache = new BlockCache(20_000);
      const space = cache.space<number>(keys);
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
      const spaces = [cache.space<number>(keys), cache.space<number>(keys)];
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
