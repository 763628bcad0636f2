/** What `npm run build`, `npm run check` and `npm test` do, step by step; the last line of `npm test` is its own count. */
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, rmSync } from "node:fs";
import { root } from "./node24.mjs";

const results = { passed: 0, failed: 0, skipped: 0 };

// Some tools print colours into a file when they find themselves on a CI machine.
const env = process.stdout.isTTY ? process.env : { ...process.env, NO_COLOR: "1", FORCE_COLOR: undefined };

function run(name, command, args) {
  console.log(`\n> ${name}`);
  const began = performance.now();
  const { status } = spawnSync(command, args, { cwd: root, stdio: "inherit", env });
  console.log(`${name}: ${((performance.now() - began) / 1000).toFixed(1)} s`);
  return status === 0;
}

/** One step that passes or fails as a whole. */
function step(name, command, args) {
  const passed = run(name, command, args);
  results[passed ? "passed" : "failed"]++;
  if (!passed) console.log(`failed: ${name}`);
  return passed;
}

/** Steps that count for themselves: they leave their numbers in a file. */
function counted(name, command, args, file) {
  const path = `${root}.cache/${file}`;
  rmSync(path, { force: true });
  const passed = run(name, command, args);
  const report = existsSync(path) ? JSON.parse(readFileSync(path, "utf8")) : undefined;
  results.passed += report?.numPassedTests ?? 0;
  results.failed += report?.numFailedTests ?? 0;
  results.skipped += report?.numPendingTests ?? 0;
  // A runner that failed without a failed test to show (a file that does not load) is a failure all the same.
  if (!passed && !(report?.numFailedTests > 0)) results.failed++;
  return passed;
}

const format = () => step("format", "prettier", ["--check", "--log-level", "warn", "."]);
const lint = () => step("lint", "oxlint", ["--type-aware", "--deny-warnings"]);
const types = () => {
  step("types of the core, without any runtime's", "tsc", ["-p", "tsconfig.core.json"]);
  step("types", "tsc", ["-p", "tsconfig.json"]);
};
const build = () => {
  rmSync(`${root}dist`, { recursive: true, force: true });
  return step("build", "tsc", ["-p", "tsconfig.build.json"]);
};
const tests = () =>
  counted(
    "tests",
    "vitest",
    ["run", "--reporter=default", "--reporter=json", "--outputFile.json=.cache/vitest.json"],
    "vitest.json",
  );
const packed = () => counted("package", "node", ["scripts/package.mjs"], "package.json");

const tasks = {
  build: () => build(),
  check: () => {
    format();
    lint();
    types();
    tests();
  },
  test: () => {
    format();
    lint();
    types();
    if (build()) packed();
    tests();
  },
};

tasks[process.argv[2]]();
const { passed, failed, skipped } = results;
console.log(`\n${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`);
process.exit(failed === 0 ? 0 : 1);
