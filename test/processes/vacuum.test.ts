import { describe, expect, test } from "vitest";
import { dieAtEachStep, sleepAtEachStep } from "../support/deaths.ts";
import { killVacuums } from "../support/vacuum-kills.ts";
import { vacuumingWriters } from "../support/vacuuming-writers.ts";

// `npm run torture` does the same for longer.
test("four processes, three of which vacuum all the time, lose and double nothing, and each sees every commit once", async () => {
  const figures = await vacuumingWriters({ processes: 4, commits: 3000, vacuuming: 3 });
  expect(figures.entries).toBe(4 * 3000 + 4);
  expect(figures.generations).toBeGreaterThan(1);
}, 180_000);

test("processes killed at random while they vacuum and save lose nothing that was acknowledged, and leave nothing lying about", async () => {
  const figures = await killVacuums(20);
  expect(figures.kills).toBe(20);
  expect(figures.vacuuming).toBeGreaterThan(0);
  expect(figures.found).toBeGreaterThanOrEqual(figures.acknowledged);
}, 180_000);

describe("a process killed at any step", () => {
  test("of a vacuum leaves a database that others complete or go on with", async () => {
    const { died, completed } = await dieAtEachStep("vacuum");
    const sealing = died.indexOf("append");
    expect(died[0]).toBe("create");
    expect(died.slice(sealing)).toEqual(["append", "fdatasync", "write", "fsync", "rename"]);
    // Those that came to seal it.
    expect(completed).toBe(died.length - sealing - 1);
  }, 180_000);

  test("of saving the index leaves one that is whole, the old one or the new one", async () => {
    const { died } = await dieAtEachStep("save");
    expect([died[0], died.at(-1)]).toEqual(["create", "rename"]);
  }, 180_000);
});

describe.skipIf(process.platform !== "linux")("a process that sleeps through two generations at any step", () => {
  test("of a vacuum goes on as everybody when it wakes up, and does no harm", async () => {
    expect((await sleepAtEachStep("vacuum")).slice(-3)).toEqual(["fsync", "rename", "append"]);
  }, 180_000);

  test("of saving the index puts no old one in the place of a newer one", async () => {
    expect((await sleepAtEachStep("save")).at(-1)).toBe("rename");
  }, 180_000);
});
