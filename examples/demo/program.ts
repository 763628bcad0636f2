import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

/** A process of the demo, and the lines it prints. */
export class Program {
  readonly name: string;
  readonly #child: ChildProcess;
  /** Resolves when the process has ended and all that it printed was read, with how it ended. */
  readonly ended: Promise<string>;
  /** Resolves with its first line. */
  readonly printed: Promise<void>;

  /** Starts programs/`role`.ts. `line` gets every whole line; what was cut off by a kill is none. */
  constructor(role: string, name: string, args: readonly string[], line: (words: readonly string[]) => void) {
    this.name = name;
    const script = fileURLToPath(new URL(`./programs/${role}.ts`, import.meta.url));
    const child = spawn(process.execPath, [script, ...args], { stdio: ["ignore", "pipe", "inherit"] });
    this.#child = child;
    let rest = "";
    let first = (): void => undefined;
    this.printed = new Promise((resolve) => (first = resolve));
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      const lines = (rest + text).split("\n");
      rest = lines.pop() ?? "";
      for (const each of lines) line(each.split(" "));
      if (lines.length > 0) first();
    });
    this.ended = once(child, "close").then(([status, signal]: unknown[]) => String(signal ?? status));
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  signal(signal: "SIGTERM" | "SIGKILL"): void {
    this.#child.kill(signal);
  }

  /** Asks it to stop, and waits until it has. Throws if it ended in any other way than well. */
  async stop(): Promise<void> {
    this.signal("SIGTERM");
    const how = await this.ended;
    if (how !== "0") throw new Error(`${this.name} ended with ${how}`);
  }
}
