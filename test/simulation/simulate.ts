import type { BucketLeaning } from "./bucket-profile.ts";
import { bucketDefects } from "./bucket-defects.ts";
import { defects } from "./defects.ts";
import type { Leaning } from "./profile.ts";
import { parseSimulateOptions, type SimulateOptions, USAGE } from "./simulate-options.ts";
import type { RunResult } from "./simulation.ts";
import { changeSources, small, smallBucket } from "./sources.ts";

/** `npm run simulate`: see `simulate-options.ts`. */

const TRACE_LINES = 300;

/** Runs one seed. */
type Simulate = (seed: number, traced: boolean) => Promise<RunResult>;
/** Gives what runs seeds with a leaning, or with none. */
type Leaned = (leaning: Leaning | BucketLeaning | undefined) => Simulate;

const options = parse();
if (options.help) console.log(USAGE);
else if (options.defects) for (const { name } of options.bucket ? bucketDefects : defects) console.log(name);
else await run(options);

function parse(): SimulateOptions {
  try {
    return parseSimulateOptions();
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${USAGE}`);
    process.exit(2);
  }
}

async function run({ bucket, defect, leanings, seed, digest }: SimulateOptions): Promise<void> {
  process.on("unhandledRejection", (error) => {
    // Of a process that died in the middle of its step, and with it whoever would have handled it.
    if (error instanceof Error && error.name === "Killed") return;
    console.error("unhandled rejection:", error);
    process.exitCode = 1;
  });
  const checkThatAllAreMade = changeSources([...(bucket ? smallBucket : small), ...(defect?.changes ?? [])]);
  // Loaded only now, so that the changes are in everything.
  const leaned = bucket ? await loadBucket() : await loadFile();
  checkThatAllAreMade();
  const first = leaned((leanings[0] ?? defect)?.leaning);
  if (seed !== undefined) await printTrace(first, seed);
  else if (digest !== undefined) await printDigests(first, digest);
  else await runSeeds(leanings.length === 0 ? [first] : leanings.map(({ leaning }) => leaned(leaning)));
}

async function loadFile(): Promise<Leaned> {
  const { simulate } = await import("./simulation.ts");
  return (leaning) => (seed, traced) => simulate(seed, { traced, leaning: leaning as Leaning | undefined });
}

async function loadBucket(): Promise<Leaned> {
  const { simulateBucket } = await import("./bucket-simulation.ts");
  return (leaning) => (seed, traced) => simulateBucket(seed, { traced, leaning: leaning as BucketLeaning | undefined });
}

async function printTrace(simulate: Simulate, seed: number): Promise<void> {
  const { trace, violations } = await simulate(seed, true);
  console.log(trace.join("\n"));
  if (violations.length === 0) console.log(`seed ${seed}: nothing wrong`);
  else report(seed, violations);
}

async function printDigests(simulate: Simulate, seeds: readonly number[]): Promise<void> {
  for (const seed of seeds) {
    const first = await simulate(seed, false);
    const second = await simulate(seed, true);
    console.log(
      JSON.stringify({
        first: [first.digest, first.steps],
        second: [second.digest, second.steps],
        lines: second.trace.length,
      }),
    );
  }
}

/** Runs all seeds in each of these ways, until one fails. */
async function runSeeds(ways: readonly Simulate[]): Promise<void> {
  const { from, seeds, stop } = options;
  const missing = new Set(options.incidents);
  for (const [i, simulate] of ways.entries()) {
    let commits = 0;
    let steps = 0;
    let seed = from;
    for (; seed < from + seeds && !(stop && missing.size === 0); seed++) {
      const result = await simulate(seed, missing.size > 0);
      commits += result.commits;
      steps += result.steps;
      for (const incident of missing)
        if (result.trace.some((line) => line.includes(incident))) missing.delete(incident);
      if (result.violations.length === 0) continue;
      const { trace } = await simulate(seed, true);
      console.log(trace.slice(-TRACE_LINES).join("\n"));
      return report(seed, result.violations, i);
    }
    console.log(`${seed - from} seeds from ${from} on: ${steps} steps, ${commits} commits, nothing wrong`);
  }
  if (missing.size === 0) return;
  console.log(`in no trace: ${[...missing].join("|")}`);
  process.exitCode = 1;
}

function report(seed: number, violations: readonly string[], way = 0): void {
  const { bucket, defect, leanings } = options;
  console.log(`seed ${seed} fails:`);
  for (const violation of violations) console.log(`  ${violation}`);
  const given = [
    ...(bucket ? ["--bucket"] : []),
    ...(defect === undefined ? [] : [`--defect "${defect.name}"`]),
    ...(leanings.length === 0 ? [] : [`--leaning "${leanings[way].name}"`]),
  ];
  console.log(`npm run simulate -- ${[...given, "--seed", seed].join(" ")} prints all of it`);
  process.exitCode = 1;
}
