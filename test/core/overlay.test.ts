import { describe, expect, it } from "vitest";
import { ItemKind, NO_CHECKS, Operation } from "../../src/core/commit.ts";
import type { OrderedCursor } from "../../src/core/ordered-view.ts";
import { type FrozenOverlay, Overlay } from "../../src/core/overlay.ts";
import type { Pacer } from "../../src/core/pacer.ts";
import { Replica } from "../../src/core/replica.ts";
import { resolve, Row } from "../../src/core/resolve.ts";
import { walkThrough } from "../../src/core/row-walk.ts";
import { SortedRows } from "../../src/core/sorted-rows.ts";
import { Draw } from "../support/random.ts";

/** What a plain model holds under a key; deleted rows too. */
type Model = ReadonlyMap<string, Row>;

function draw(random: Draw, version: number): Row {
  const deleted = random.chance(0.3);
  const numeric = deleted ? undefined : random.from([undefined, version + 0.5, BigInt(version) ** 5n, -0, NaN]);
  const expiresAt = random.from([0, 1e12 + version]);
  return new Row(
    version,
    random.below(3),
    1e12 + version,
    expiresAt,
    deleted,
    version * 3,
    7,
    2 ** 52 + version,
    numeric,
  );
}

/** The rows of a model in order. */
function shown(model: Model): [string, Row][] {
  return [...model].sort(([a], [b]) => (a < b ? -1 : 1));
}

function listed(cursor: OrderedCursor<Row>, reverse = false): [string, Row][] {
  const rows: [string, Row][] = [];
  const step = (): boolean => (reverse ? cursor.previous() : cursor.next());
  for (let ok = reverse ? cursor.seekBefore(undefined) : cursor.seek(""); ok; ok = step()) {
    rows.push([cursor.key, cursor.value]);
  }
  return reverse ? rows.reverse() : rows;
}

/** A frozen version, what it has to show, and a cursor that is somewhere within it. */
interface Held {
  readonly view: FrozenOverlay;
  readonly model: Model;
  readonly cursor: OrderedCursor<Row>;
  at: string | undefined;
}

/** One step of a cursor, held against the model. */
function step(held: Held, random: Draw, key: string): void {
  const keys = shown(held.model).map(([each]) => each);
  const { cursor } = held;
  // Written over since it has come here, perhaps.
  if (held.at !== undefined) expect(cursor.value).toEqual(held.model.get(held.at));
  const forward = random.chance(0.5);
  let ok: boolean;
  let expected: string | undefined;
  if (held.at === undefined || random.chance(0.3)) {
    const bound = forward || random.chance(0.9) ? key : undefined;
    ok = forward ? cursor.seek(key) : cursor.seekBefore(bound);
    expected = forward
      ? keys.find((each) => each >= key)
      : keys.findLast((each) => bound === undefined || each < bound);
  } else {
    const { at } = held;
    ok = forward ? cursor.next() : cursor.previous();
    expected = forward ? keys.find((each) => each > at) : keys.findLast((each) => each < at);
  }
  held.at = ok ? cursor.key : undefined;
  expect(held.at).toBe(expected);
  if (ok && random.chance(0.5)) expect(cursor.value).toEqual(held.model.get(cursor.key));
}

describe("an overlay", () => {
  it.each([1, 2, 3])("shows each frozen version as it was, whatever is written meanwhile (seed %i)", (seed) => {
    const random = new Draw(seed);
    const overlay = new Overlay({ seed });
    const model = new Map<string, Row>();
    const held: Held[] = [];
    const keyOf = (): string => String.fromCharCode(...random.many(1 + random.below(2), () => random.below(20)));
    for (let version = 1; version < 1200; version++) {
      // One commit: one row or several.
      for (let i = random.below(4); i >= 0; i--) {
        const key = keyOf();
        const row = draw(random, version);
        overlay.put(key, row);
        model.set(key, row);
      }
      if (random.chance(0.1)) {
        const view = overlay.freeze();
        held.push({ view, model: new Map(model), cursor: view.cursor(), at: undefined });
      }
      for (const each of held) if (random.chance(0.2)) step(each, random, keyOf());
      if (held.length > 0) {
        const { view, model: before } = random.from(held);
        const key = keyOf();
        expect(view.get(key)).toEqual(before.get(key));
      }
      if (held.length > 0 && random.chance(0.12)) {
        const [gone] = held.splice(random.below(held.length), 1);
        const expected = shown(gone.model);
        expect(listed(gone.view.cursor())).toEqual(expected);
        expect(listed(gone.view.cursor(), true)).toEqual(expected);
        gone.view.release();
        gone.view.release();
      }
    }
    expect(listed(overlay.cursor())).toEqual(shown(model));
    expect(overlay.size).toBe([...model.values()].filter(({ deleted }) => !deleted).length);
    for (const { view, model: before } of held) {
      expect(listed(view.cursor())).toEqual(shown(before));
      view.release();
    }
    for (const [key, row] of model) expect(overlay.get(key)).toEqual(row);
  });

  it("finds and orders many keys that come in any order, and knows of those deleted that they are", () => {
    const random = new Draw(9);
    const overlay = new Overlay({ seed: 9 });
    const keys = [...new Set(random.many(20_000, () => `${random.below(1e9)}`))];
    let version = 0;
    for (const key of keys) overlay.put(key, new Row(++version, 0, 0, 0, false, 0, 1, version, undefined));
    expect(listed(overlay.cursor()).map(([key]) => key)).toEqual(keys.toSorted());
    const [kept, removed] = [keys.slice(0, 5000), keys.slice(5000)];
    for (const key of removed) overlay.put(key, new Row(++version, 0, 0, 0, true, -1, 0, 0, undefined));
    const present = listed(overlay.cursor()).filter(([, row]) => !row.deleted);
    expect(present.map(([key]) => key)).toEqual(kept.toSorted());
    for (const key of kept) expect(overlay.get(key)?.deleted).toBe(false);
    for (const key of removed) expect(overlay.get(key)?.deleted).toBe(true);
    expect(overlay.size).toBe(5000);
    expect(overlay.rows).toBe(keys.length);
  });
});

it("holds of plain sets and deletes what resolving them gives", () => {
  const random = new Draw(11);
  const direct = new Overlay({ seed: 1 });
  const resolved = new Overlay({ seed: 2 });
  for (let version = 1; version < 3000; version++) {
    const operations = random.many(1 + random.below(3), () => {
      const key = String(random.below(50));
      if (random.chance(0.3)) return new Operation(ItemKind.delete, key, 0, 0, 0, undefined);
      const numeric = random.from([undefined, version / 2, BigInt(version)]);
      return new Operation(ItemKind.set, key, random.from([0, 5000]), random.below(1000), random.below(99), numeric);
    });
    const at = { version, timestamp: 1e12 + version, place: version + 48 };
    for (let order = 0; order < operations.length; order++) direct.putPlain(operations[order], at, order);
    const resolution = resolve({ checks: NO_CHECKS, operations }, at, resolved);
    if (resolution.verdict !== "applied") throw new Error(resolution.verdict);
    for (const { key, row } of resolution.changes) resolved.put(key, row);
  }
  expect(direct.size).toBe(resolved.size);
  expect(listed(direct.cursor())).toEqual(listed(resolved.cursor()));
});

describe("the order of an overlay", () => {
  const random = new Draw(12);
  const keys = [...new Set(random.many(10_000, () => `${random.below(1e9)}`))];
  const filled = (): Overlay => {
    const overlay = new Overlay({ seed: 3 });
    keys.forEach((key, i) => overlay.put(key, new Row(i + 1, 0, 0, 0, false, 0, 1, i + 1, undefined)));
    return overlay;
  };

  it("is not made before somebody asks for it", () => {
    const overlay = filled();
    expect(overlay.isReadInOrder).toBe(false);
    const rows = overlay.toBeSorted(SortedRows);
    while (rows.sortSome());
    expect(listed(rows.cursor()).map(([key]) => key)).toEqual(keys.toSorted());
    expect(overlay.isReadInOrder).toBe(false);
    expect(listed(overlay.cursor()).map(([key]) => key)).toEqual(keys.toSorted());
    expect(overlay.isReadInOrder).toBe(true);
  });

  it("is the same for who passes through once, wherever they go", () => {
    const overlay = filled();
    const rows = overlay.toBeSorted(SortedRows);
    while (rows.sortSome());
    const cursor = rows.cursor();
    const ordered = overlay.cursor();
    for (const key of [...keys.slice(0, 100), "", "~", ...keys.slice(0, 100).map((each) => `${each}0`)]) {
      for (const call of ["seek", "next", "seekBefore", "previous"] as const) {
        const isFound = cursor[call](key);
        expect(ordered[call](key)).toBe(isFound);
        // Without a row there is nowhere to go on from.
        if (!isFound) expect(ordered.seek("")).toBe(cursor.seek(""));
        expect([cursor.key, cursor.value]).toEqual([ordered.key, ordered.value]);
      }
    }
  });

  it("is not made as keys come because a vacuum passes through, which sees what was there when it began", async () => {
    const replica = new Replica({}, 3);
    const put = (some: readonly string[]): void => {
      for (const key of some) {
        const version = replica.version + 1;
        replica.apply(version, [{ key, row: new Row(version, 0, 0, 0, false, 0, 1, version, undefined) }]);
      }
    };
    put(keys.slice(0, 6000));
    const frozen = replica.freeze();
    const pacer = { dueInBackground: () => false } as Pacer;
    const walk = await walkThrough(frozen, { pacer, check: () => undefined });
    put(keys.slice(3000));
    const before = keys.slice(0, 6000).map((key, i) => [key, i + 1] as const);
    const passed: [string, number][] = [];
    for (let ok = await walk.next(); ok; ok = await walk.next()) passed.push([walk.key, walk.row.version]);
    expect(passed).toEqual(before.toSorted(([a], [b]) => (a < b ? -1 : 1)));
    frozen.release();
    expect(replica.close()[0].isReadInOrder).toBe(false);
    put(keys);
    const other = replica.freeze();
    other.cursor();
    other.release();
    expect(replica.close()[0].isReadInOrder).toBe(true);
  });

  it("is made as keys come once somebody has asked for it", () => {
    const overlay = filled();
    overlay.cursor();
    for (let i = 0; i < 1024; i++) overlay.put(`new ${i}`, new Row(20_000 + i, 0, 0, 0, false, 0, 1, i, undefined));
    overlay.put("last", new Row(30_000, 0, 0, 0, false, 0, 1, 0, undefined));
    const rows = overlay.toBeSorted(SortedRows);
    // The last one alone is left.
    expect(rows.sortSome()).toBe(true);
    expect(rows.sortSome()).toBe(false);
    expect(listed(rows.cursor()).length).toBe(keys.length + 1025);
    expect(listed(overlay.cursor()).length).toBe(keys.length + 1025);
  });
});

describe("the memory of an overlay", () => {
  const set = (version: number): Row => new Row(version, 0, 0, 0, false, 0, 1, version, undefined);

  it("holds one row for a key that is written again and again", () => {
    const overlay = new Overlay({ seed: 1 });
    for (let version = 1; version <= 100_000; version++) overlay.put("counter", set(version));
    expect(overlay.rows).toBe(1);
  });

  it("holds what frozen versions see, and no more than so many rows that nobody sees", () => {
    const overlay = new Overlay({ seed: 1 });
    overlay.put("counter", set(1));
    const first = overlay.freeze();
    for (let version = 2; version <= 100_000; version++) {
      const view = overlay.freeze();
      overlay.put("counter", set(version));
      expect(view.get("counter")?.version).toBe(version - 1);
      view.release();
    }
    expect(first.get("counter")?.version).toBe(1);
    expect(overlay.rows).toBeLessThan(10_000);
    first.release();
    expect(overlay.rows).toBe(1);
  });
});
