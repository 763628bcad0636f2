import { expect, test } from "vitest";
import type { OrderedView } from "../../src/core/ordered-view.ts";
import { Row } from "../../src/core/resolve.ts";
import { StagedRows } from "../../src/core/staged-rows.ts";
import { Draw } from "../support/random.ts";

type View = Pick<OrderedView<Row>, "get" | "cursor">;
/** Keys and what is under them, ascending. */
type Contents = readonly (readonly [key: string, row: Row])[];

function forward(view: View): Contents {
  const cursor = view.cursor();
  const found: [string, Row][] = [];
  for (let ok = cursor.seek(""); ok; ok = cursor.next()) found.push([cursor.key, cursor.value]);
  return found;
}

function backward(view: View): Contents {
  const cursor = view.cursor();
  const found: [string, Row][] = [];
  for (let ok = cursor.seekBefore(undefined); ok; ok = cursor.previous()) found.unshift([cursor.key, cursor.value]);
  return found;
}

test("every frozen state stays what it was, from either end, from any key on and by key, whatever is written later", () => {
  const draw = new Draw(3);
  for (let round = 0; round < 20; round++) {
    const rows = new StagedRows();
    const now = new Map<string, Row>();
    const sorted = (): Contents => [...now].toSorted(([a], [b]) => (a < b ? -1 : 1));
    const frozen: { readonly view: View; readonly contents: Contents }[] = [];
    for (let i = 0; i < 600; i++) {
      if (draw.chance(0.03)) frozen.push({ view: rows.freeze(), contents: sorted() });
      const key = `k${draw.below(200)}`;
      const row = new Row(0, 0, i, 0, draw.chance(0.2), -1, 0, 0, i);
      rows.set(key, row);
      now.set(key, row);
    }
    for (const { view, contents } of [...frozen, { view: rows, contents: sorted() }]) {
      expect(forward(view)).toEqual(contents);
      expect(backward(view)).toEqual(contents);
      const cursor = view.cursor();
      for (let i = 0; i < 20; i++) {
        const key = `k${draw.below(220)}`;
        expect(view.get(key)).toBe(contents.find(([each]) => each === key)?.[1]);
        expect(cursor.seek(key) ? cursor.key : undefined).toBe(contents.find(([each]) => each >= key)?.[0]);
        expect(cursor.seekBefore(key) ? cursor.key : undefined).toBe(contents.findLast(([each]) => each < key)?.[0]);
      }
    }
  }
});

test("a cursor of a frozen state goes on while rows are written, and comes upon none of them", () => {
  const rows = new StagedRows();
  const row = (n: number): Row => new Row(0, 0, n, 0, false, -1, 0, 0, n);
  for (let i = 0; i < 500; i++) rows.set(`k${i}`.padStart(8, "_"), row(i));
  const before = forward(rows);
  const cursor = rows.freeze().cursor();
  const found: [string, Row][] = [];
  for (let ok = cursor.seek(""); ok; ok = cursor.next()) {
    found.push([cursor.key, cursor.value]);
    rows.set(`${cursor.key}+`, row(-1));
    rows.set(cursor.key, row(-2));
  }
  expect(found).toEqual(before);
});
