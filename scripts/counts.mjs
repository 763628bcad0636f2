/** How many checks passed, failed and were skipped: added up from what the runners say themselves, and printed as the last line of everything. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";

export class Counts {
  passed = 0;
  failed = 0;
  skipped = 0;

  /** One check that passes or fails as a whole. Returns whether it passed. */
  add(name, passed) {
    this[passed ? "passed" : "failed"]++;
    if (!passed) console.log(`failed: ${name}`);
    return passed;
  }

  /** Never silently: what could not run is printed and counted. */
  skip(name, reason) {
    this.skipped++;
    console.log(`\nskipped: ${name}: ${reason}`);
  }

  /** Adds the numbers that a runner has left in a file. `passed`: whether it ended well. */
  addReport(name, file, passed) {
    const report = existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : undefined;
    this.passed += report?.numPassedTests ?? 0;
    this.failed += report?.numFailedTests ?? 0;
    this.skipped += report?.numPendingTests ?? 0;
    // A runner that failed without a failed test to show (a file that does not load), or that ran nothing, is a failure all the same.
    const isTold = passed ? report?.numPassedTests > 0 : report?.numFailedTests > 0;
    if (!isTold) this.add(name, false);
    return passed && isTold;
  }

  /** Leaves the numbers where others add them up. */
  save(file) {
    const { passed, failed, skipped } = this;
    writeFileSync(file, JSON.stringify({ numPassedTests: passed, numFailedTests: failed, numPendingTests: skipped }));
  }

  /** Prints the last line, and ends the process as it says. */
  end() {
    const { passed, failed, skipped } = this;
    console.log(`\n${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`);
    process.exit(failed === 0 ? 0 : 1);
  }
}
