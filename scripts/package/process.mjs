/** Running other programs, and npm among them. */
import { spawn } from "node:child_process";
import { delimiter } from "node:path";

const TIMEOUT_MS = 120_000;

/** Resolves with the standard output; rejects with everything that was printed if the program does not end with 0. */
export function run(command, args, { cwd, env = process.env } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd,
      env,
      stdio: ["ignore", "pipe", "pipe"],
      timeout: TIMEOUT_MS,
      killSignal: "SIGKILL",
    });
    let output = "";
    let errors = "";
    child.stdout.setEncoding("utf8").on("data", (text) => (output += text));
    child.stderr.setEncoding("utf8").on("data", (text) => (errors += text));
    child.on("error", reject);
    child.on("close", (status, signal) => {
      if (status === 0) resolve(output);
      else reject(new Error(`${[command, ...args].join(" ")} ended with ${signal ?? status}\n${output}${errors}`));
    });
  });
}

/** npm in another folder: without what an npm that runs this script tells its children about its own. */
export function npm(args, cwd) {
  const kept = Object.entries(process.env).filter(
    ([name]) => !/^npm_(config_(local|global)_prefix|package|lifecycle)/i.test(name),
  );
  const env = { ...Object.fromEntries(kept), NO_COLOR: "1" };
  const script = process.env.npm_execpath;
  if (script?.endsWith(".js")) return run(process.execPath, [script, ...args], { cwd, env });
  return run(process.platform === "win32" ? "npm.cmd" : "npm", args, { cwd, env });
}

/** The folders that programs are looked for in. */
export function searchPath() {
  return (process.env.PATH ?? "").split(delimiter).filter((folder) => folder !== "");
}
