import type { HeldRun } from "./held-run.ts";

/** So many runs of about the same size stand beside each other before one more is merged with them. */
const TIER_RUNS = 3;
/** Of all sizes. */
const RUNS_MAX = 12;

/**
 * How many of the newest runs are to be merged with so many rows that are newer. Four of one size become one of the next, so that each row is written once
 * for each size, while a read has few runs to look into.
 */
export function countToMerge(rows: number, runs: readonly HeldRun[]): number {
  const rowsIn = (run: HeldRun): number => run.run.info.entries;
  let newer = rows;
  let count = 0;
  for (;;) {
    let alike = count;
    while (alike < runs.length && rowsIn(runs[alike]) < 2 * newer) alike++;
    if (alike - count < TIER_RUNS) {
      if (runs.length - count < RUNS_MAX) return count;
      alike = count + 1;
    }
    for (; count < alike; count++) newer += rowsIn(runs[count]);
  }
}
