/**
 * What `npm run build`, `npm run check` and `npm test` do, step by step; the last line is the count of all of them. `npm test -- --s3` is what CI
 * runs: the same, and the servers of S3 that Go can build, where there is Go.
 */
import { spawn, spawnSync } from "node:child_process";
import { rmSync } from "node:fs";
import { Counts } from "./counts.mjs";
import { root } from "./node24.mjs";
import { hasGo } from "./s3/servers.mjs";

const counts = new Counts();

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
  return counts.add(name, run(name, command, args));
}

/** Begins a step that keeps one processor busy while the next ones go on. Returns what waits for it and prints what it has printed. */
function begin(name, command, args) {
  const child = spawn(command, args, { cwd: root, stdio: ["ignore", "pipe", "pipe"], env });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (text) => (output += text));
  const ended = new Promise((resolve) => child.on("close", resolve).on("error", resolve));
  return async () => {
    const status = await ended;
    console.log(`\n> ${name}\n${output}`);
    return counts.add(name, status === 0);
  };
}

/** Steps that count for themselves: they leave their numbers in a file. */
function counted(name, command, args, file) {
  const path = `${root}.cache/${file}`;
  rmSync(path, { force: true });
  return counts.addReport(name, path, run(name, command, args));
}

const format = () => begin("format", "prettier", ["--check", "--log-level", "warn", "."]);
const lint = () => step("lint", "oxlint", ["--type-aware", "--deny-warnings"]);
const types = () => {
  step("types of the core, without any runtime's", "tsc", ["-p", "tsconfig.core.json"]);
  step("types", "tsc", ["-p", "tsconfig.json"]);
};
const build = () => {
  rmSync(`${root}dist`, { recursive: true, force: true });
  return step("build", "tsc", ["-p", "tsconfig.build.json"]) && step("build for Node", "node", ["scripts/bundle.mjs"]);
};
const tests = () =>
  counted(
    "tests",
    "vitest",
    ["run", "--reporter=default", "--reporter=json", "--outputFile.json=.cache/vitest.json"],
    "vitest.json",
  );
const packed = () => counted("package", "node", ["scripts/package.mjs"], "package.json");
const servers = () => {
  if (!hasGo()) return counts.skip("servers of S3", "there is no Go here, which builds them");
  counted("servers of S3", "node", ["scripts/s3.mjs", "--install", "versitygw,gofakes3"], "s3.json");
};

const tasks = {
  build: () => build(),
  check: async () => {
    const formatted = format();
    lint();
    types();
    await formatted();
    tests();
  },
  test: async () => {
    const formatted = format();
    lint();
    types();
    if (build()) packed();
    await formatted();
    tests();
    if (process.argv.includes("--s3")) servers();
  },
};

await tasks[process.argv[2]]();
counts.end();
