import { parseArgs } from "node:util";
import { bucketDefects } from "./bucket-defects.ts";
import { defects } from "./defects.ts";
import type { RunResult } from "./simulation.ts";
import { changeSources, small, smallBucket } from "./sources.ts";

/**
 * `npm run simulate -- --seeds N [--from S]` runs that many seeds and stops at the first that fails, with the end of its trace;
 * `--seed S` runs one and prints its whole trace, `--digest S` runs it twice and prints what tells two runs apart; `--defect NAME` puts one of the
 * known defects in before, `--leaning NAME` lets happen more often what leads to it, with the defect or without; `--incidents "A|B|..."` runs seeds until each of these words has stood in some trace, and prints those that have. With
 * `--bucket` all of it is of a ledger in a bucket, otherwise of one in a file.
 */
const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "1000" },
    from: { type: "string", default: "1" },
    seed: { type: "string" },
    digest: { type: "string" },
    incidents: { type: "string" },
    defect: { type: "string" },
    leaning: { type: "string" },
    bucket: { type: "boolean", default: false },
  },
});
const TRACE_LINES = 300;

/** Runs one seed, leaning towards what leads to a defect if that was asked for. */
type Simulate = (seed: number, options?: { readonly traced: boolean }) => Promise<RunResult>;

const simulate = values.bucket ? await loadBucket() : await loadFile();

process.on("unhandledRejection", (error) => {
  // Of a process that died in the middle of its step, and with it whoever would have handled it.
  if (error instanceof Error && error.name === "Killed") return;
  console.error("unhandled rejection:", error);
  process.exitCode = 1;
});

if (values.seed !== undefined) {
  const { trace, violations } = await simulate(Number(values.seed), { traced: true });
  console.log(trace.join("\n"));
  report(Number(values.seed), violations);
} else if (values.digest !== undefined) {
  const first = await simulate(Number(values.digest));
  const { digest, steps, trace } = await simulate(Number(values.digest), { traced: true });
  console.log(JSON.stringify([first.digest, first.steps]));
  console.log(JSON.stringify([digest, steps]));
  console.log(trace.length);
} else if (values.incidents !== undefined) {
  await findIncidents(values.incidents.split("|"), Number(values.seeds));
} else {
  await runSeeds(Number(values.from), Number(values.seeds));
}

async function loadFile(): Promise<Simulate> {
  const defect = named(values.defect, defects);
  const leaning = (named(values.leaning, defects) ?? defect)?.leaning;
  const checkThatAllAreMade = changeSources([...small, ...(defect?.changes ?? [])]);
  // Loaded only now, so that the changes are in everything.
  const loaded = await import("./simulation.ts");
  checkThatAllAreMade();
  return (seed, options) => loaded.simulate(seed, { ...options, leaning });
}

/** Likewise. */
async function loadBucket(): Promise<Simulate> {
  const defect = named(values.defect, bucketDefects);
  const leaning = (named(values.leaning, bucketDefects) ?? defect)?.leaning;
  const checkThatAllAreMade = changeSources([...smallBucket, ...(defect?.changes ?? [])]);
  const loaded = await import("./bucket-simulation.ts");
  checkThatAllAreMade();
  return (seed, options) => loaded.simulateBucket(seed, { ...options, leaning });
}

function named<D extends { readonly name: string }>(name: string | undefined, all: readonly D[]): D | undefined {
  const found = all.find((each) => each.name === name);
  if (name !== undefined && found === undefined) throw new Error(`There is no defect "${name}"`);
  return found;
}

async function runSeeds(from: number, count: number): Promise<void> {
  let commits = 0;
  let steps = 0;
  for (let seed = from; seed < from + count; seed++) {
    const result = await simulate(seed);
    commits += result.commits;
    steps += result.steps;
    if (result.violations.length === 0) continue;
    const { trace } = await simulate(seed, { traced: true });
    console.log(trace.slice(-TRACE_LINES).join("\n"));
    report(seed, result.violations);
    return;
  }
  console.log(`${count} seeds from ${from} on: ${steps} steps, ${commits} commits, nothing wrong`);
}

async function findIncidents(incidents: readonly string[], seeds: number): Promise<void> {
  const happened = new Set<string>();
  for (let seed = 1; seed <= seeds && happened.size < incidents.length; seed++) {
    const { trace } = await simulate(seed, { traced: true });
    for (const incident of incidents) if (trace.some((line) => line.includes(incident))) happened.add(incident);
  }
  for (const incident of happened) console.log(incident);
}

function report(seed: number, violations: readonly string[]): void {
  if (violations.length === 0) return console.log(`seed ${seed}: nothing wrong`);
  console.log(`seed ${seed} fails:`);
  for (const violation of violations) console.log(`  ${violation}`);
  console.log(`npm run simulate -- ${values.bucket ? "--bucket " : ""}--seed ${seed} prints all of it`);
  process.exitCode = 1;
}
