import type { KeyPart } from "../../src/core/key.ts";
import type { KeyRange, Query } from "../../src/core/query.ts";
import { compareParts, type Draw, drawPart } from "./random.ts";

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

/** What a query matches, part by part. */
export const matches = (query: Query, key: readonly KeyPart[]): boolean =>
  query.length <= key.length && query.every((wanted, i) => takes(wanted, key[i]));

/** A query that finds something among these keys as a rule. */
export function drawQuery(draw: Draw, keys: readonly KeyPart[][]): Query {
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
