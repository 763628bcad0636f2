/**
 * `npm run torture -- [--kills N] [--stops N] [--rounds N] [--vacuum-kills N]`: what the tests do to real processes on one file, for longer, with figures. Ends
 * with code 1 and says what was lost as soon as anything was.
 */
import { deepStrictEqual } from "node:assert/strict";
import { parseArgs } from "node:util";
import { killWriters } from "../support/kills.ts";
import { manyWriters } from "../support/many-writers.ts";
import { killVacuums } from "../support/vacuum-kills.ts";
import { vacuumingWriters } from "../support/vacuuming-writers.ts";
import { stopWriters } from "../support/stops.ts";

const COMMITS = 20_000;
const PROCESSES = 4;
const STOPPED_MS = 3000;

const { values } = parseArgs({
  options: {
    kills: { type: "string", default: "300" },
    stops: { type: "string", default: "10" },
    rounds: { type: "string", default: "3" },
    "vacuum-kills": { type: "string", default: "200" },
  },
});
const [kills, stops, rounds, vacuumKills] = [values.kills, values.stops, values.rounds, values["vacuum-kills"]].map(
  (text) => {
    const count = Number(text);
    if (Number.isSafeInteger(count) && count >= 0) return count;
    console.error("torture: --kills, --stops, --rounds and --vacuum-kills are whole numbers");
    process.exit(1);
  },
);

for (let round = 1; round <= rounds; round++) {
  const seconds = stopwatch();
  const { reports, result } = await manyWriters({ processes: PROCESSES, commits: COMMITS });
  for (const report of reports) {
    const { count, digest } = result;
    deepStrictEqual(report, { count, digest, watchedCount: count, watchedDigest: digest, wrong: 0 });
  }
  deepStrictEqual([result.sum, result.damage], [(PROCESSES * COMMITS) / 10, []]);
  console.log(
    `writers ${round} of ${rounds}: ${PROCESSES} processes x ${COMMITS} commits, each exactly once, ${result.count} changes in one order ` +
      `in ${PROCESSES + 1} processes, read and watched; ${result.voidCommits} lost a race and ran again; ${seconds()} s`,
  );
}

for (let round = 1; round <= rounds; round++) {
  const seconds = stopwatch();
  const figures = await vacuumingWriters({ processes: PROCESSES, commits: COMMITS, vacuuming: PROCESSES });
  console.log(
    `vacuums ${round} of ${rounds}: ${PROCESSES} processes x ${COMMITS} commits, each exactly once, and ${figures.vacuums} vacuums, of which ` +
      `${figures.generations} became the next generation, which the processes noticed ${figures.invalidated} times; ${figures.reloaded} entries told of by ` +
      `difference; the longest wait for a commit ${Math.round(figures.longestMs)} ms, for a transaction ${Math.round(figures.longestTransactionMs)} ms; ${seconds()} s`,
  );
}

if (vacuumKills > 0) {
  const seconds = stopwatch();
  const figures = await killVacuums(vacuumKills, (killed) => {
    if (killed > 0 && killed % 50 === 0) console.log(`vacuum kills: ${killed} of ${vacuumKills}, ${seconds()} s`);
  });
  console.log(
    `vacuum kills: ${figures.kills} processes killed, ${figures.vacuuming} of them in a vacuum; ${figures.generations} generations; ` +
      `${figures.acknowledged} commits acknowledged, all of them found, and ${figures.found - figures.acknowledged} more; ` +
      `${figures.left} siblings left at the end, none after the next vacuum; ${seconds()} s`,
  );
}

if (kills > 0) {
  const seconds = stopwatch();
  const figures = await killWriters(kills, (killed) => {
    if (killed > 0 && killed % 50 === 0) console.log(`kills: ${killed} of ${kills}, ${seconds()} s`);
  });
  console.log(
    `kills: ${figures.kills} writers killed, ${figures.stumps} torn frames left behind; ${figures.acknowledged} commits acknowledged, all of ` +
      `them found, and ${figures.found - figures.acknowledged} more whose writers did not live to be told; ` +
      `${Math.round(figures.bytes / 1e6)} MB; ${seconds()} s`,
  );
}

if (stops > 0) {
  const seconds = stopwatch();
  const figures = await stopWriters(stops, STOPPED_MS);
  console.log(
    `stops: ${stops} writers stopped for ${STOPPED_MS / 1000} s; each of the others made at least ${figures.fewestMeanwhile} commits meanwhile; ` +
      `${figures.acknowledged} acknowledged, ${figures.found} found; ${seconds()} s`,
  );
}

function stopwatch(): () => string {
  const began = performance.now();
  return () => ((performance.now() - began) / 1000).toFixed(1);
}
