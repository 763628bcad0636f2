/** `node scripts/run.mjs <task> [arguments]`: runs a task of this repository on a Node that is new enough for its tools. */
import { spawnSync } from "node:child_process";
import { delimiter, dirname } from "node:path";
import { root, toolsNode } from "./node24.mjs";

const tasks = {
  build: ["scripts/tasks.mjs", "build"],
  check: ["scripts/tasks.mjs", "check"],
  test: ["scripts/tasks.mjs", "test"],
  demo: ["examples/demo/demo.ts"],
  "example:serverless": ["examples/serverless/start.ts"],
  bench: ["bench/bench.ts"],
  simulate: ["test/simulation/simulate.ts"],
  "test:s3": ["scripts/s3.mjs"],
  "check:linearizable": ["scripts/linearizable.mjs"],
  torture: ["test/torture/torture.ts"],
};

/** What has to be done before: these run the library as users get it. */
const first = { bench: "build", "example:serverless": "build" };

const [task, ...rest] = process.argv.slice(2);
if (task === undefined || !Object.hasOwn(tasks, task)) {
  console.error(`There is no task ${task}; there are ${Object.keys(tasks).join(", ")}.`);
  process.exit(1);
}
const node = toolsNode();
const path = `${dirname(node)}${delimiter}${root}node_modules/.bin${delimiter}${process.env.PATH ?? ""}`;
const run = (args) =>
  spawnSync(node, args, { cwd: root, stdio: "inherit", env: { ...process.env, PATH: path } }).status ?? 1;
const before = Object.hasOwn(first, task) ? run(tasks[first[task]]) : 0;
process.exit(before === 0 ? run([...tasks[task], ...rest]) : before);
