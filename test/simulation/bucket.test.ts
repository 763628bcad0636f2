import { expect, test } from "vitest";
import { runSimulation } from "./program.ts";

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

test("several databases over one simulated bucket keep every promise, and all that can go wrong does", async () => {
  const incidents = ["--incidents", INCIDENTS.join("|")];
  const { code, output } = await runSimulation("--bucket", "--seeds", "300", ...incidents);
  if (code !== 0) expect.fail(output);
  expect(output).toMatch(/^300 seeds .* nothing wrong$/m);
}, 600_000);

test("one seed is one run, watched or not", async () => {
  const { output } = await runSimulation("--bucket", "--digest", "3,12,51");
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

test("a reader comes too late for what its snapshot needs, where some sleep long and others live long", async () => {
  const options = ["--leaning", "answers below the floor count", "--incidents", "SnapshotExpired", "--stop"];
  const { code, output } = await runSimulation("--bucket", "--seeds", "300", ...options);
  if (code !== 0) expect.fail(output);
  expect(output).toMatch(/nothing wrong$/m);
}, 600_000);
