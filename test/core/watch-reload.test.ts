import { expect, it } from "vitest";
import { memoryLedger } from "../../src/adapters/memory/index.ts";
import { Watches } from "../../src/core/watch.ts";
import { KV } from "../../src/index.node.ts";
import { temporaryFolder } from "../support/folder.ts";

it("a watch that a callback adds is not told of the commit that the callback was told of", async () => {
  await using db = await KV.open(memoryLedger(), { autoSync: false });
  let calls = 0;
  const watchAgain = (): void => {
    calls++;
    if (calls < 100) db.watch(["a"], watchAgain);
  };
  db.watch(["a"], watchAgain);
  await db.set(["a"], 1);
  expect(calls).toBe(1);
  await db.set(["a"], 2);
  expect(calls).toBe(3);
});

it("a watch is told so when what a reload has changed cannot be told, if it was there and is still", () => {
  const watches = new Watches(
    () => undefined,
    () => undefined,
  );
  const told: unknown[] = [];
  const options = { ref: true, signal: undefined };
  watches.add(["a"], (entry) => told.push(entry), options);
  const unwatch = watches.add(["a"], () => told.push("ended"), options);
  const reloading = watches.reloading();
  unwatch();
  watches.add(["a"], () => told.push("late"), options);
  reloading.reset(5);
  expect(told).toEqual([{ reset: true, version: 5 }]);
});

it("what a reload tells one watch does not change when the callback of another one reads", async () => {
  using folder = temporaryFolder();
  const path = folder.file("ledger.db");
  const still = { autoSync: false, sideIndex: false } as const;
  await using author = await KV.open(path, still);
  await author.set(["first"], 1);
  await using db = await KV.open(path, still);
  await author.vacuum();
  await author.set(["between"], 1);
  await author.vacuum();
  // Longer than half a page of the file: most of them lie in two.
  const text = (i: number): string => String.fromCharCode(97 + i).repeat(3000);
  for (let i = 0; i < 20; i++) await author.set(["item", i], text(i));
  const reads: Promise<unknown>[] = [];
  const told: unknown[] = [];
  db.watch(["item"], ({ key }) => reads.push(db.get(["item", ((key?.[1] as number) + 7) % 20])));
  db.watch(["item"], (entry) => told.push(entry));
  await db.sync();
  await Promise.all(reads);
  expect(told).toMatchObject(
    Array.from({ length: 20 }, (_, i) => ({ key: ["item", i], value: text(i), reloaded: true })),
  );
});
