/** A running program and the lines that it has printed. */
import { spawn } from "node:child_process";

export class Program {
  #lines = [];
  #child;
  #ended;

  /** `printed` is called whenever it has printed something. */
  constructor(cwd, file, { env = process.env, printed = () => undefined } = {}) {
    this.#child = spawn(process.execPath, [file], { cwd, env, stdio: ["ignore", "pipe", "pipe"] });
    let rest = "";
    let errors = "";
    this.#child.stderr.setEncoding("utf8").on("data", (text) => (errors += text));
    this.#child.stdout.setEncoding("utf8").on("data", (text) => {
      const lines = (rest + text).split("\n");
      rest = lines.pop();
      this.#lines.push(...lines);
      printed();
    });
    this.#ended = new Promise((resolve) => {
      this.#child.on("close", (status, signal) => resolve({ status, signal, errors, output: this.printed }));
    });
  }

  get printed() {
    return this.#lines.join("\n");
  }

  /** Resolves when it has ended. */
  get ended() {
    return this.#ended;
  }

  /** What the pattern's group matched, line by line. */
  found(pattern) {
    return this.#lines.flatMap((line) => pattern.exec(line)?.[1] ?? []);
  }

  kill(signal = "SIGKILL") {
    this.#child.kill(signal);
  }
}
