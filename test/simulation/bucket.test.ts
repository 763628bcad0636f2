import { describe, expect, test } from "vitest";
import { runSimulation } from "./program.ts";

/** In blocks, so that a failure names its neighbourhood and a block its time. */
const BLOCK = 100;
const BLOCKS = 3;

describe("several databases over one simulated bucket keep every promise", () => {
  for (let block = 0; block < BLOCKS; block++) {
    const from = 1 + block * BLOCK;
    test(`seeds ${from} to ${from + BLOCK - 1}`, async () => {
      const { code, output } = await runSimulation("--bucket", "--from", String(from), "--seeds", String(BLOCK));
      if (code !== 0) expect.fail(output);
      expect(output).toMatch(/nothing wrong$/m);
    });
  }
});

test("one seed is one run, watched or not", async () => {
  for (const seed of [3, 12, 51]) {
    const { output } = await runSimulation("--bucket", "--digest", String(seed));
    const [first, second, traced] = output.split("\n");
    expect(first).toMatch(/^\["[0-9a-f]{16}",\d+\]$/);
    expect(second).toBe(first);
    expect(Number(traced)).toBeGreaterThan(0);
  }
});

/** Each leaves such words in a trace. */
const INCIDENTS = [
  "killed",
  "is frozen",
  "thaws",
  "leaps by",
  "dies with",
  "which is sent",
  "is sent twice",
  "deletes everything",
  '"unsent"',
  '"answer-lost"',
  '"late"',
  '"overloaded"',
  '"conflict"',
  '"truncated"',
  ": ambiguous",
  ": exists",
  ": changed",
  "delete ",
  "/staged/",
  "told of reloaded",
  "ledgerInvalidated",
  "is conflict",
  "is mismatch",
  "is not committed",
  "is unknown",
  "1 purged",
  "was aborted",
  "Contention",
] as const;

test("all that can go wrong does, within a few runs", async () => {
  const { output } = await runSimulation("--bucket", "--incidents", INCIDENTS.join("|"), "--seeds", "100");
  expect(output.trimEnd().split("\n").toSorted()).toEqual(INCIDENTS.toSorted());
});

test("a reader comes too late for what its snapshot needs, where some sleep long and others live long", async () => {
  const leaning = ["--leaning", "answers below the floor count"];
  const { output } = await runSimulation("--bucket", "--incidents", "SnapshotExpired", ...leaning, "--seeds", "300");
  expect(output.trimEnd()).toBe("SnapshotExpired");
});
