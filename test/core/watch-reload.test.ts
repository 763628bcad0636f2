import { expect, it } from "vitest";
import { memoryLedger } from "../../src/adapters/memory/index.ts";
import { Watches } from "../../src/core/watch.ts";
import { KV } from "../../src/index.node.ts";

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
