import { expect, test } from "vitest";
import { memoryLedger } from "../../src/adapters/memory/index.ts";
import { KV } from "../../src/index.node.ts";
import { compileQuery } from "../../src/core/query.ts";
import { encodeKey, type Key } from "../../src/core/key.ts";

test("a key that ends where a range begins is passed over, in both directions", async () => {
  await using db = await KV.open(memoryLedger());
  for (const key of [["a"], ["a", "b"], ["a", "b", "c"], ["d"]]) await db.set(key, 1);
  for (const reverse of [false, true]) {
    const below = await db.listKeys(["a", {}], { reverse });
    expect(reverse ? below.reverse() : below).toEqual([
      ["a", "b"],
      ["a", "b", "c"],
    ]);
    expect(await db.listKeys([{}, {}, {}], { reverse })).toEqual([["a", "b", "c"]]);
    expect(await db.listKeys(["d", {}], { reverse })).toEqual([]);
  }
});

test("a key whose part goes on with a zero is not below the shorter one", async () => {
  const longer: Key = ["a\0b", 1];
  for (const query of [["a"], ["a", {}], [{ from: "a", to: "a" }]]) {
    expect(compileQuery(query).matches(encodeKey(longer))).toBe(false);
  }
  await using db = await KV.open(memoryLedger());
  const seen: unknown[] = [];
  db.watch(["a"], ({ key }) => seen.push(key));
  await db.set(longer, 1);
  await db.set(["a", 1], 1);
  expect(seen).toEqual([["a", 1]]);
  expect(await db.listKeys(["a"])).toEqual([["a", 1]]);
  expect(await db.listKeys(["a", {}])).toEqual([["a", 1]]);
});
