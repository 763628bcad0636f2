import { describe, expect, test } from "vitest";
import { encodeKey } from "../../src/core/key.ts";
import { listRows } from "../../src/core/listing.ts";
import { compileQuery, type Query } from "../../src/core/query.ts";
import { Row } from "../../src/core/resolve.ts";
import { StagedRows } from "../../src/core/staged-rows.ts";
import { drawQuery, matches } from "../support/queries.ts";
import { compareKeys, Draw, drawPart, nameOf } from "../support/random.ts";

const row = new Row(1, 0, 0, 0, false, -1, 0, 0, 1);

describe("queries", () => {
  test("find what a look at every key finds, in both directions, from any cursor on", () => {
    const draw = new Draw(7);
    let found = 0;
    for (let round = 0; round < 30; round++) {
      const drawn = draw.many(120, () => draw.many(1 + draw.below(4), () => drawPart(draw)));
      const keys = [...new Map(drawn.map((key) => [nameOf(key), key])).values()].sort(compareKeys);
      const rows = new StagedRows();
      for (const key of keys) rows.set(encodeKey(key), row);
      for (let i = 0; i < 40; i++) {
        const query = drawQuery(draw, keys);
        const reverse = draw.chance(0.5);
        const after = draw.chance(0.3) ? draw.from(keys) : undefined;
        const limit = draw.chance(0.3) ? draw.below(5) : Infinity;
        const ordered = reverse ? keys.toReversed() : keys;
        const expected = ordered
          .filter((key) => matches(query, key))
          .filter((key) => after === undefined || compareKeys(key, after) * (reverse ? -1 : 1) > 0)
          .slice(0, limit)
          .map(nameOf);
        const compiled = compileQuery(query);
        const listing = listRows(rows.freeze(), compiled, {
          reverse,
          limit,
          order: "key",
          after: after === undefined ? undefined : { order: "key", key: encodeKey(after) },
          now: 0,
        });
        const listed: string[] = [];
        while (listing.next()) listed.push(listing.key);
        expect({ query, reverse, after, limit, listed }).toEqual({ query, reverse, after, limit, listed: expected });
        const wrong = keys.filter((key) => compiled.matches(encodeKey(key)) !== matches(query, key));
        expect({ query, wrong }).toEqual({ query, wrong: [] });
        found += listed.length;
      }
    }
    // The generator finds something to compare.
    expect(found).toBeGreaterThan(3000);
  });

  test.each([
    ["no array", "a"],
    ["null", [null]],
    ["a missing part", ["a", undefined]],
    ["NaN", [NaN]],
    ["NaN as a bound", [{ from: NaN }]],
    ["a lone surrogate", ["\ud800"]],
    ["bounds of two types", [{ from: 1, to: "b" }]],
    ["bounds of number and bigint", [{ from: 1, to: 2n }]],
    ["something else beside the bounds", [{ from: 1, until: 2 }]],
    ["an array for a range", [[]]],
    ["a Date for a range", [new Date(0)]],
    ["a Map for a range", [new Map()]],
    ["an instance for a range", [new (class Range {})()]],
    ["a prefix longer than any key", ["a".repeat(1500), "b".repeat(1500)]],
  ])("refuse %s", (_, query) => {
    const refused = { name: "InvalidArgumentError", code: "InvalidQuery", outcome: "not committed" };
    expect(() => compileQuery(query as unknown as Query)).toThrow(expect.objectContaining(refused));
  });

  test("a range takes the two booleans for one type", () => {
    const both = compileQuery([{ from: false }]);
    expect([false, true, 1].map((part) => both.matches(encodeKey([part])))).toEqual([true, true, false]);
  });
});
