import { parseArgs } from "node:util";
import { defects, putIn } from "./defects.ts";

/**
 * `npm run simulate -- --seeds N [--from S]` runs that many seeds and stops at the first that fails, with the end of its trace;
 * `--seed S` runs one and prints its whole trace; `--defect NAME` puts one of the known defects in before.
 */
const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "1000" },
    from: { type: "string", default: "1" },
    seed: { type: "string" },
    defect: { type: "string" },
  },
});
const TRACE_LINES = 300;

if (values.defect !== undefined) {
  const defect = defects.find(({ name }) => name === values.defect);
  if (defect === undefined) throw new Error(`There is no defect "${values.defect}"`);
  const checkThatItIsIn = putIn(defect);
  await import("./simulation.ts");
  checkThatItIsIn();
}
// Loaded only now, so that a defect is in everything.
const { simulate } = await import("./simulation.ts");

process.on("unhandledRejection", (error) => {
  console.error("unhandled rejection:", error);
  process.exitCode = 1;
});

if (values.seed !== undefined) {
  const { trace, violations } = await simulate(Number(values.seed), { traced: true });
  console.log(trace.join("\n"));
  report(Number(values.seed), violations);
} else {
  await runSeeds(Number(values.from), Number(values.seeds));
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

function report(seed: number, violations: readonly string[]): void {
  if (violations.length === 0) return console.log(`seed ${seed}: nothing wrong`);
  console.log(`seed ${seed} fails:`);
  for (const violation of violations) console.log(`  ${violation}`);
  console.log(`npm run simulate -- --seed ${seed} prints all of it`);
  process.exitCode = 1;
}
