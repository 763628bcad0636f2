import { describe, expect, test } from "vitest";
import { simulate } from "./simulation.ts";

/** In blocks, so that a failure names its neighbourhood and a block its time. */
const BLOCK = 50;
const BLOCKS = 10;
const TRACE_LINES = 200;

describe("several databases over one simulated file keep every promise", () => {
  for (let block = 0; block < BLOCKS; block++) {
    const from = 1 + block * BLOCK;
    test(`seeds ${from} to ${from + BLOCK - 1}`, async () => {
      for (let seed = from; seed < from + BLOCK; seed++) {
        const { violations } = await simulate(seed);
        if (violations.length === 0) continue;
        const { trace } = await simulate(seed, { traced: true });
        console.log(trace.slice(-TRACE_LINES).join("\n"));
        expect.fail(`seed ${seed}: ${violations.join("; ")}`);
      }
    });
  }
});

test("one seed is one run, watched or not", async () => {
  for (const seed of [3, 12, 77]) {
    const first = await simulate(seed);
    const second = await simulate(seed, { traced: true });
    expect(second.digest).toBe(first.digest);
    expect(second.steps).toBe(first.steps);
    expect(second.trace.length).toBeGreaterThan(first.steps / 10);
  }
});

/** Each leaves such words in a trace. */
const INCIDENTS = [
  "killed",
  "slowly",
  "stopped",
  "goes on",
  "write fails",
  "read fails",
  "sync fails",
  "no room",
  "dies with",
  "deletes the file",
  "puts back the file",
  "ledgerInvalidated",
  "is conflict",
  "is mismatch",
  "is not committed",
  "is unknown",
] as const;

test("all that can go wrong does, within a few runs", async () => {
  const happened = new Set<string>();
  for (let seed = 1; seed <= 300 && happened.size < INCIDENTS.length; seed++) {
    const { trace } = await simulate(seed, { traced: true });
    for (const incident of INCIDENTS) if (trace.some((line) => line.includes(incident))) happened.add(incident);
  }
  expect([...happened].toSorted()).toEqual(INCIDENTS.toSorted());
});
