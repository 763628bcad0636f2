import { expect, test } from "vitest";
import { runSimulation } from "./program.ts";

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

test("several databases over one simulated disk keep every promise, and all that can go wrong does", async () => {
  const incidents = ["--incidents", INCIDENTS.join("|")];
  const { code, output } = await runSimulation("--seeds", "500", ...incidents);
  if (code !== 0) expect.fail(output);
  expect(output).toMatch(/^500 seeds .* nothing wrong$/m);
}, 600_000);

test("one seed is one run, watched or not", async () => {
  const { output } = await runSimulation("--digest", "3,12,77");
  const runs = output
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(runs).toHaveLength(3);
  for (const { first, second, lines } of runs) {
    expect(first).toEqual([expect.stringMatching(/^[0-9a-f]{16}$/), expect.any(Number)]);
    expect(second).toEqual(first);
    expect(lines).toBeGreaterThan(0);
  }
});
