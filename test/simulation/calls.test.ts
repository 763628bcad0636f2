import { expect, test } from "vitest";
import { System } from "./calls.ts";
import { Process, World } from "./world.ts";

const FAULTS = {
  slowWrite: 1,
  shortWrite: 0,
  writeError: 0,
  readError: 0,
  shortRead: 0,
  syncError: 0,
  slowSync: 0,
  crash: 0,
  crashReplacing: 0,
  hintLost: 0,
  hintLateMs: 0,
};

test("of two files that a process writes to in one step, only the writing to the second can be torn", () => {
  const world = new World(1, false);
  const process = new Process(world, "p");
  const calls = new System(world, FAULTS).callsFor(process);
  calls.makeDirectories("/data");
  const [first, second] = ["/data/a", "/data/b"].map((path) => calls.open(path, { write: true, create: true }));
  const told: string[] = [];
  first.append(new Uint8Array(10));
  process.record(() => told.push("first"));
  second.append(new Uint8Array(10));
  process.record(() => told.push("second"));
  expect(told).toEqual(["first"]);
  process.kill();
  expect(told).toEqual(["first"]);
  const left = (path: string): number | undefined => world.disk.lookup(path)?.size(undefined);
  expect([left("/data/a"), left("/data/b")]).toEqual([10, 0]);
});
