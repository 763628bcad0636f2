import { expect, test } from "vitest";
import { stopWriters } from "../support/stops.ts";

test("a writer stopped for seconds holds nobody up, and catches up when it goes on", async () => {
  const figures = await stopWriters(3, 1500);
  expect(figures.fewestMeanwhile).toBeGreaterThanOrEqual(20);
  // Nobody was killed: all that is in was acknowledged.
  expect(figures.found).toBe(figures.acknowledged);
}, 180_000);
