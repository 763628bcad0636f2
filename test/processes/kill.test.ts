import { expect, test } from "vitest";
import { killWriters } from "../support/kills.ts";

// `npm run torture -- --kills N` kills more of them.
test("writers killed at random lose nothing that was acknowledged, and nobody waits for them", async () => {
  const figures = await killWriters(30);
  expect(figures.kills).toBe(30);
  expect(figures.acknowledged).toBeGreaterThan(30);
  expect(figures.found).toBeGreaterThanOrEqual(figures.acknowledged);
}, 180_000);
