/** Checks that count for themselves: each passes, fails, or is skipped with a reason that is printed. */
import { inspect, isDeepStrictEqual } from "node:util";
import { Counts } from "../counts.mjs";

export class Checks {
  #counts = new Counts();

  /** Runs one check. `work` may return a line to print with it; what it throws fails the check, and the others go on. */
  async check(name, work) {
    try {
      const note = await work();
      this.#counts.passed++;
      console.log(`  passed   ${name}${typeof note === "string" ? `: ${note}` : ""}`);
    } catch (error) {
      this.#counts.failed++;
      console.log(`  failed   ${name}\n${indent(error instanceof Error ? error.message : String(error))}`);
    }
  }

  /** Never silently: what could not run is printed and counted. */
  skip(name, reason) {
    this.#counts.skipped++;
    console.log(`  skipped  ${name}: ${reason}`);
  }

  /** Leaves the numbers where `npm test` adds them up. True if nothing failed. */
  finish(file) {
    this.#counts.save(file);
    return this.#counts.failed === 0;
  }
}

export function assert(holds, message) {
  if (!holds) throw new Error(message);
}

/** Compares plain data. */
export function assertEqual(actual, expected, what = "value") {
  if (isDeepStrictEqual(actual, expected)) return;
  const show = (value) => inspect(value, { maxStringLength: 200, maxArrayLength: 10 });
  throw new Error(`${what}: expected ${show(expected)}\nreceived ${show(actual)}`);
}

function indent(text) {
  return text.replaceAll(/^/gm, "    ");
}
