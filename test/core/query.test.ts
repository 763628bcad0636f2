import { describe, expect, test } from "vitest";
import { encodeKey, type KeyPart } from "../../src/core/key.ts";
import { listRows } from "../../src/core/listing.ts";
import { compileQuery, type KeyRange, type Query } from "../../src/core/query.ts";
import { Row } from "../../src/core/resolve.ts";
import { StagedRows } from "../../src/core/staged-rows.ts";
import { compareKeys, compareParts, Draw, drawPart, nameOf } from "../support/random.ts";

type Part = KeyPart | KeyRange;

const sameType = (a: KeyPart, b: KeyPart): boolean =>
  a instanceof Uint8Array ? b instanceof Uint8Array : typeof a === typeof b;

/** What a part of a query takes, in terms of values. */
function takes(wanted: Part, part: KeyPart): boolean {
  if (typeof wanted !== "object" || wanted instanceof Uint8Array) return compareParts(wanted, part) === 0;
  const { from, to } = wanted;
  if (from !== undefined && (!sameType(from, part) || compareParts(part, from) < 0)) return false;
  return to === undefined || (sameType(to, part) && compareParts(part, to) <= 0);
}

const matches = (query: Query, key: readonly KeyPart[]): boolean =>
  query.length <= key.length && query.every((wanted, i) => takes(wanted, key[i]));

function drawQuery(draw: Draw, keys: readonly KeyPart[][]): Query {
  // Parts of keys that exist, so that queries find something.
  const part = (): KeyPart => (draw.chance(0.8) ? draw.from(draw.from(keys)) : drawPart(draw));
  return draw.many(draw.below(4), (): Part => {
    switch (draw.below(6)) {
      case 0:
        return {};
      case 1:
        return { from: part() };
      case 2:
        return { to: part() };
      case 3: {
        const from = part();
        const to = part();
        return sameType(from, to) ? { from, to } : { from };
      }
      default:
        return part();
    }
  });
}

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
