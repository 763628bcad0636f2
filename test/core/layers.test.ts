import { describe, expect, it } from "vitest";
import { HeldRun } from "../../src/core/held-run.ts";
import { type KeyBounds, type Layer, LayeredView } from "../../src/core/layers.ts";
import type { OrderedCursor } from "../../src/core/ordered-view.ts";
import { Row } from "../../src/core/resolve.ts";

const rowOf = (version: number, deleted = false): Row => new Row(version, 0, 0, 0, deleted, -1, 0, 0, version);

/** A layer over a plain sorted array, every call of which may fail once before it succeeds, as one that waits for bytes does. */
class PlainLayer implements Layer {
  readonly rows: readonly (readonly [string, Row])[];
  readonly #failing: (() => boolean) | undefined;
  cursors = 0;

  constructor(rows: ReadonlyMap<string, Row>, failing?: () => boolean) {
    this.rows = [...rows].sort(([a], [b]) => (a < b ? -1 : 1));
    this.#failing = failing;
  }

  get(key: string): Row | undefined {
    return this.rows.find(([each]) => each === key)?.[1];
  }

  reaches({ lower, upper }: KeyBounds): boolean {
    return this.rows.some(([key]) => key >= lower && (upper === undefined || key < upper));
  }

  cursor(): OrderedCursor<Row> {
    const { rows } = this;
    this.cursors++;
    let at = -1;
    const move = (to: number): boolean => {
      if (this.#failing?.() === true) throw new Error("not yet");
      at = to;
      return at >= 0 && at < rows.length;
    };
    return {
      get key() {
        return rows[at][0];
      },
      get value() {
        return rows[at][1];
      },
      seek: (key) => move(rows.filter(([each]) => each < key).length),
      seekBefore: (key) => move(rows.filter(([each]) => key === undefined || each < key).length - 1),
      next: () => move(at + 1),
      previous: () => move(at - 1),
    };
  }
}

/** A generator of the same numbers for the same seed (Numerical Recipes' linear congruential one). */
function seeded(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

interface Case {
  readonly view: LayeredView;
  readonly model: ReadonlyMap<string, Row>;
}

/** Commits dealt out to layers in order, with a base that has been brought up to some version on its own. */
function makeCase(random: (below: number) => number, failing?: () => boolean): Case {
  const layerCount = 1 + random(4);
  const perLayer = 1 + random(12);
  const layers: Map<string, Row>[] = [];
  const model = new Map<string, Row>();
  const base = new Map<string, Row>();
  const below = random(2) === 0 ? 0 : 1 + random(layerCount * perLayer + 2);
  let version = 0;
  for (let l = 0; l < layerCount; l++) {
    const rows = new Map<string, Row>();
    for (let i = 0; i < perLayer; i++) {
      const key = String.fromCharCode(97 + random(12));
      const row = rowOf(++version, random(4) === 0);
      rows.set(key, row);
      model.set(key, row);
      if (version >= below) continue;
      if (row.deleted) base.delete(key);
      else base.set(key, row);
    }
    layers.unshift(rows);
  }
  const plain = layers.map((rows) => new PlainLayer(rows, failing));
  const hidden = [...model].filter(([, row]) => row.deleted && row.version < below).map(([key]) => key);
  for (const key of hidden) model.delete(key);
  return {
    view: new LayeredView(plain, below === 0 ? undefined : { layer: new PlainLayer(base, failing), below }),
    model,
  };
}

function walk(cursor: OrderedCursor<Row>, from: string | undefined, direction: 1 | -1): [string, number][] {
  const patiently = (call: () => boolean): boolean => {
    for (;;) {
      try {
        return call();
      } catch (error) {
        if ((error as Error).message !== "not yet") throw error;
      }
    }
  };
  const found: [string, number][] = [];
  let ok = patiently(() => (direction === 1 ? cursor.seek(from ?? "") : cursor.seekBefore(from)));
  while (ok) {
    found.push([cursor.key, cursor.value.version]);
    ok = patiently(() => (direction === 1 ? cursor.next() : cursor.previous()));
  }
  return found;
}

const versionsOf = (model: ReadonlyMap<string, Row>): [string, number][] =>
  [...model].map(([key, row]): [string, number] => [key, row.version]).sort(([a], [b]) => (a < b ? -1 : 1));

describe("layers seen as one", () => {
  it("give the newest row of every key, in both directions and from any key", () => {
    for (let seed = 0; seed < 400; seed++) {
      const random = seeded(seed);
      const { view, model } = makeCase(random);
      const rows = versionsOf(model);
      for (const [key, version] of rows) expect(view.get(key)?.version).toBe(version);
      expect(view.get("zz")).toBeUndefined();
      const from = String.fromCharCode(97 + random(13));
      expect(walk(view.cursor(), undefined, 1)).toEqual(rows);
      expect(walk(view.cursor(), from, 1)).toEqual(rows.filter(([key]) => key >= from));
      expect(walk(view.cursor(), undefined, -1)).toEqual(rows.toReversed());
      expect(walk(view.cursor(), from, -1)).toEqual(rows.toReversed().filter(([key]) => key < from));
    }
  });

  it("give what lies within bounds without a look at layers that do not reach there", () => {
    for (let seed = 0; seed < 400; seed++) {
      const random = seeded(seed);
      const { view, model } = makeCase(random);
      const lower = String.fromCharCode(97 + random(13));
      const upper = random(4) === 0 ? undefined : String.fromCharCode(lower.charCodeAt(0) + random(4));
      const isWithin = ([key]: readonly [string, unknown]): boolean =>
        key >= lower && (upper === undefined || key < upper);
      const expected = versionsOf(model).filter(isWithin);
      const cursor = (): OrderedCursor<Row> => view.cursor({ lower, upper });
      expect(walk(cursor(), lower, 1).filter(isWithin)).toEqual(expected);
      expect(walk(cursor(), upper, -1).filter(isWithin)).toEqual(expected.toReversed());
    }
    const layers = ["a", "b", "c"].map((key) => new PlainLayer(new Map([[key, rowOf(1)]])));
    const base = new PlainLayer(new Map([["d", rowOf(1)]]));
    walk(new LayeredView(layers, { layer: base, below: 1 }).cursor({ lower: "b", upper: "c" }), "b", 1);
    // The base tells what of others does not count any more.
    expect([...layers, base].map(({ cursors }) => cursors)).toEqual([0, 1, 0, 1]);
  });

  it("go on where they were when a call is made again after it had to wait", () => {
    for (let seed = 0; seed < 400; seed++) {
      const random = seeded(seed);
      let failures = 0;
      const { view, model } = makeCase(random, () => random(3) === 0 && failures++ >= 0);
      const rows = versionsOf(model);
      expect(walk(view.cursor(), undefined, 1)).toEqual(rows);
      expect(walk(view.cursor(), undefined, -1)).toEqual(rows.toReversed());
    }
  });
});

describe("a run as a layer", () => {
  const never = (): never => expect.fail();
  const heldRun = (keys: { readonly smallestKey?: string; readonly largestKey?: string }): HeldRun => {
    const info = { entries: 2, tombstones: 0, upto: 1, ...keys };
    const stored = { id: "run", length: 1, read: never, close: never };
    return new HeldRun({ info, get: never, cursor: never, voidVersions: never, release: never }, stored);
  };

  it.each([
    ["a", "b", false],
    ["a", "b\0", true],
    ["a", undefined, true],
    ["c", "c\0", true],
    ["d", undefined, true],
    ["d", "e", true],
    ["d\0", "e", false],
    ["d\0", undefined, false],
  ])("of keys from b to d, within %j and %j: %s", (lower, upper, reaches) => {
    expect(heldRun({ smallestKey: "b", largestKey: "d" }).reaches({ lower, upper })).toBe(reaches);
    // What a run held that is lost nobody knows: whoever looks for it is told.
    expect(heldRun({}).reaches({ lower, upper })).toBe(true);
  });
});
