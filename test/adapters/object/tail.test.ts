import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, test } from "vitest";
import { type SlotFacts, Tail } from "../../../src/adapters/object/tail.ts";

const SLOTS = 65_536;

function factsOf(slot: number): SlotFacts {
  const bytes = (length: number): Uint8Array => Uint8Array.from({ length }, (_, i) => (slot * 31 + i) % 256);
  const lastModified = slot % 2 === 0 ? undefined : slot * 1000;
  return { slot, hash: bytes(32), batchId: bytes(16), bytes: slot + 1, lastVersion: slot * 65_536, lastModified };
}

test("slots are remembered as they were, and none besides", () => {
  const tail = new Tail();
  for (let slot = 1_048_700; slot < 1_049_300; slot++) tail.add(factsOf(slot));
  for (const slot of [1_048_700, 1_048_960, 1_049_299]) expect(tail.get(slot)).toEqual(factsOf(slot));
  for (const slot of [0, 1_048_699, 1_049_300]) expect(tail.get(slot)).toBeUndefined();
});

test("the latest 65,536 slots are remembered, and little more, in less memory than a small Worker has", () => {
  setFlagsFromString("--expose-gc");
  const collectGarbage = runInNewContext("gc") as () => void;
  const used = (): number => {
    collectGarbage();
    const { heapUsed, external } = process.memoryUsage();
    return heapUsed + external;
  };
  const before = used();
  const tail = new Tail();
  for (let slot = 1; slot <= 2 * SLOTS; slot++) tail.add(factsOf(slot));
  expect(used() - before).toBeLessThan(10_000_000);
  expect(tail.get(2 * SLOTS)).toEqual(factsOf(2 * SLOTS));
  expect(tail.get(SLOTS + 1)).toEqual(factsOf(SLOTS + 1));
  expect(tail.get(SLOTS / 2)).toBeUndefined();
});
