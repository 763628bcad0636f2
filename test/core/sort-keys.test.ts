import { describe, expect, it } from "vitest";
import { encodeKey } from "../../src/core/key.ts";
import { KeyOrder, OrderCursor } from "../../src/core/key-order.ts";
import { sortedPlaces } from "../../src/core/sort-keys.ts";
import { Draw, drawPart } from "../support/random.ts";

/** Keys that differ at their ends, in their lengths, or all over. */
function drawKeys(draw: Draw, count: number): string[] {
  const beginning = draw.from(["", "a", "a\0\xff", "the same for all of them"]);
  const end = draw.from([
    () => encodeKey([draw.below(1e6)]),
    () => encodeKey([drawPart(draw)]),
    () => "\0".repeat(draw.below(12)),
    () => draw.many(draw.below(9), () => draw.from(["\0", "a", "\xff"])).join(""),
  ]);
  return [...new Set(draw.many(count, () => beginning + end()))];
}

describe("keys", () => {
  it.each([0, 1, 2, 100, 4096, 4097, 20_000])("are sorted as strings are, %d of them", (count) => {
    const draw = new Draw(count + 1);
    for (let round = 0; round < 8; round++) {
      const keys = drawKeys(draw, count);
      expect(Array.from(sortedPlaces(keys), (place) => keys[place])).toEqual(keys.toSorted());
    }
  });

  it("are found in order however many of them are added at a time, and a cursor goes on where it was", () => {
    const draw = new Draw(9);
    for (let round = 0; round < 20; round++) {
      const order = new KeyOrder();
      const cursor = new OrderCursor(order);
      const expected = new Map<string, number>();
      for (let batch = 0; batch < 6; batch++) {
        const keys = drawKeys(draw, draw.from([1, 60, 70, 700])).filter((key) => !expected.has(key));
        if (draw.chance(0.5)) keys.sort();
        const stood = expected.size > 0 && cursor.seek(draw.from([...expected.keys()])) ? cursor.key : undefined;
        const ids = keys.map(() => draw.below(1e6));
        order.addAll(keys, ids);
        keys.forEach((key, i) => expected.set(key, ids[i]));
        const sorted = [...expected].sort(([a], [b]) => (a < b ? -1 : 1));
        if (stood !== undefined) {
          const after = sorted.find(([key]) => key > stood);
          expect(cursor.next() ? cursor.key : undefined).toBe(after?.[0]);
        }
        // One is added by itself.
        const one = `\xfe${batch}`;
        order.add(one, batch);
        expected.set(one, batch);
        const forward: [string, number][] = [];
        for (let ok = cursor.seek(""); ok; ok = cursor.next()) forward.push([cursor.key, cursor.id]);
        expect(forward).toEqual([...expected].sort(([a], [b]) => (a < b ? -1 : 1)));
        const backward: string[] = [];
        for (let ok = cursor.seekBefore(undefined); ok; ok = cursor.previous()) backward.push(cursor.key);
        expect(backward).toEqual(forward.map(([key]) => key).reverse());
      }
    }
  });
});
