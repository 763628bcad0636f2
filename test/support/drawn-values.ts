import type { Draw } from "./random.ts";

/** Values of all kinds that are kept, also shared and lying within themselves, with what lies at the edges more often than by chance. */
export function drawValue(draw: Draw): unknown {
  return drawBelow(draw, draw.below(3), []);
}

export function drawText(draw: Draw): string {
  const length = draw.below(draw.chance(0.02) ? 3000 : draw.chance(0.1) ? 300 : 12);
  const text = draw.many(length, () =>
    draw.from(["a", "Z", "0", "\0", "ä", "€", "\u{1f600}", "\ufffd", "\ud7ff", "\ue000"]),
  );
  return (draw.chance(0.05) ? "\ufeff" : "") + text.join("");
}

const VIEWS = [
  Int8Array,
  Uint8Array,
  Uint8ClampedArray,
  Int16Array,
  Uint16Array,
  Int32Array,
  Uint32Array,
  Float32Array,
  Float64Array,
  BigInt64Array,
  BigUint64Array,
  DataView,
] as const;
const ERRORS = [Error, TypeError, RangeError, SyntaxError, ReferenceError, EvalError, URIError] as const;

/** `met` has the objects drawn so far, which may be drawn again. */
function drawBelow(draw: Draw, depth: number, met: object[]): unknown {
  if (met.length > 0 && draw.chance(0.06)) return draw.from(met);
  if (depth > 4 || draw.chance(0.4)) return drawSimple(draw);
  if (draw.chance(0.2)) return keep(met, drawLeaf(draw));
  return drawContainer(draw, met, () => drawBelow(draw, depth + 1, met));
}

function keep<T extends object>(met: object[], object: T): T {
  met.push(object);
  return object;
}

function drawSimple(draw: Draw): unknown {
  switch (draw.below(8)) {
    case 0:
      return draw.from([true, false, null, undefined]);
    case 1:
      return draw.below(draw.from([24, 256, 65_536, 2 ** 32]));
    case 2:
      return -1 - draw.below(draw.from([24, 256, 65_536, 2 ** 32]));
    case 3:
      return draw.from([0.5, NaN, Infinity, -Infinity, -0, 2 ** 32, 2 ** 53, -(2 ** 31), -(2 ** 32), -(2 ** 32) - 1]);
    case 4:
      return (draw.random() - 0.5) * 10 ** draw.below(30);
    case 5:
      return draw.from([0n, -1n, 2n ** 64n - 1n, 2n ** 64n, -(2n ** 64n) + 1n, -(2n ** 64n), -(2n ** 64n) - 1n]);
    case 6:
      return BigInt(draw.below(2 ** 31)) ** BigInt(draw.below(9)) * (draw.chance(0.5) ? -1n : 1n);
    default:
      return drawText(draw);
  }
}

function drawLeaf(draw: Draw): object {
  const bytes = Uint8Array.from(draw.many(64, () => draw.below(256)));
  switch (draw.below(4)) {
    case 0:
      return new Date(
        draw.from([
          NaN,
          0,
          2 ** 32 * 1000,
          8.64e15,
          draw.below(2 ** 32) * 1000,
          draw.below(2 ** 41),
          -draw.below(2 ** 41),
        ]),
      );
    case 1:
      return new RegExp(draw.from(["", "a", "b/c", "(?<x>.)", "ä+", "\ufeffx"]), draw.from(["", "g", "giu", "sy"]));
    case 2:
      return bytes.buffer.slice(0, draw.below(64));
    default:
      return new (draw.from(VIEWS) as typeof Uint8Array)(bytes.buffer, draw.below(2) * 8, draw.below(4));
  }
}

function drawContainer(draw: Draw, met: object[], drawItem: () => unknown): object {
  const items = (): unknown[] => draw.many(draw.below(draw.chance(0.1) ? 40 : 4), drawItem);
  switch (draw.below(7)) {
    case 0: {
      const map = keep(met, new Map<unknown, unknown>());
      for (const key of items()) map.set(key, drawItem());
      return map;
    }
    case 1: {
      const set = keep(met, new Set<unknown>());
      for (const item of items()) set.add(item);
      return set;
    }
    case 2: {
      const array = keep(met, new Array<unknown>(draw.below(20)));
      for (const item of items()) array[draw.below(30)] = item;
      return array;
    }
    case 3: {
      const array = keep<unknown[]>(met, []);
      array.push(...items());
      return array;
    }
    case 4:
      return drawError(draw, met, drawItem);
    default: {
      const object = keep<Record<string, unknown>>(met, {});
      for (const item of items())
        object[draw.chance(0.3) ? drawText(draw) : draw.from(["a", "name", "7", "then", "constructor"])] = item;
      return object;
    }
  }
}

function drawError(draw: Draw, met: object[], drawItem: () => unknown): Error {
  const error: Error = keep(
    met,
    draw.chance(0.3) ? new AggregateError([], drawText(draw)) : new (draw.from(ERRORS))(drawText(draw)),
  );
  if (error instanceof AggregateError) error.errors.push(...draw.many(draw.below(3), drawItem));
  if (draw.chance(0.3)) error.name = drawText(draw);
  if (draw.chance(0.2)) delete error.stack;
  if (draw.chance(0.3)) error.cause = drawItem();
  return error;
}
