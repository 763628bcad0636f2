import { describe, expect, test } from "vitest";
import { runSimulation } from "./program.ts";

/** In blocks, so that a failure names its neighbourhood and a block its time. */
const BLOCK = 100;
const BLOCKS = 5;

describe("several databases over one simulated disk keep every promise", () => {
  for (let block = 0; block < BLOCKS; block++) {
    const from = 1 + block * BLOCK;
    test(`seeds ${from} to ${from + BLOCK - 1}`, async () => {
      const { code, output } = await runSimulation("--from", String(from), "--seeds", String(BLOCK));
      if (code !== 0) expect.fail(output);
      expect(output).toMatch(/nothing wrong$/m);
    });
  }
});

test("one seed is one run, watched or not", async () => {
  for (const seed of [3, 12, 77]) {
    const { output } = await runSimulation("--digest", String(seed));
    const [first, second, traced] = output.split("\n");
    expect(first).toMatch(/^\["[0-9a-f]{16}",\d+\]$/);
    expect(second).toBe(first);
    expect(Number(traced)).toBeGreaterThan(0);
  }
});

/** Each leaves such words in a trace. */
const INCIDENTS = [
  "killed",
  "slowly",
  "stopped",
  "goes on",
  "crashes",
  "write fails",
  "read fails",
  "sync fails",
  "no room",
  "dies with",
  "deletes the file",
  "puts back the file",
  "deletes ledger.db.idx",
  "the power fails",
  "tail in zeros",
  "loses sectors",
  "rename /data/ledger.db.idx",
  "generation 3, own",
  "another's",
  "1 purged",
  "was aborted",
  "told of reloaded",
  "has repaired",
  "ledgerInvalidated",
  "is conflict",
  "is mismatch",
  "is not committed",
  "is unknown",
] as const;

test("all that can go wrong does, within a few runs", async () => {
  const { output } = await runSimulation("--incidents", INCIDENTS.join("|"), "--seeds", "300");
  expect(output.trimEnd().split("\n").toSorted()).toEqual(INCIDENTS.toSorted());
});
