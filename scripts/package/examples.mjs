/** The programs of examples/multi-process, run together beside the installed package, as their README says. */
import { spawn } from "node:child_process";
import { cpSync } from "node:fs";
import { join } from "node:path";
import { root } from "../node24.mjs";
import { assert, assertEqual } from "./checks.mjs";

const TIMEOUT_MS = 60_000;

export async function checkExamples(checks, { consumer }) {
  cpSync(join(root, "examples/multi-process"), join(consumer, "examples/multi-process"), { recursive: true });
  await checks.check("examples: writer, reader and watcher on one file", async () => {
    let look = () => undefined;
    const [watcher, reader, writer] = ["watcher", "reader", "writer"].map(
      (name) => new Program(consumer, `examples/multi-process/${name}.ts`, () => look()),
    );
    const programs = [watcher, reader, writer];
    const wrote = () => writer.found(/^wrote (\S+) as version \d+$/);
    const saw = () => watcher.found(/^saw data\/timestamp = (\S+)$/);
    const read = () => reader.found(/^read (\S+Z)$/);
    // Two of each, and the writer has printed what the others have learnt by then.
    const done = () =>
      saw().length >= 2 &&
      read().length >= 2 &&
      [...saw(), ...read()].every((timestamp) => wrote().includes(timestamp));
    try {
      await new Promise((resolve, reject) => {
        const printed = () => programs.map((program) => program.printed).join("\n");
        const timer = setTimeout(() => reject(new Error(`not in time; printed:\n${printed()}`)), TIMEOUT_MS);
        for (const program of programs) program.ended.catch(reject).finally(() => clearTimeout(timer));
        look = () => done() && resolve(clearTimeout(timer));
      });
      const expected = wrote().slice(wrote().indexOf(saw()[0]));
      assertEqual(saw(), expected.slice(0, saw().length), "what the watcher saw");
      assert(reader.found(/^sync: (success), [1-9]\d* applied$/).length >= 1, "the reader is told of its syncs");
      return `${wrote().length} written, ${saw().length} seen, ${read().length} read`;
    } finally {
      for (const program of programs) program.kill();
    }
  });
}

/** A running program and the lines that it has printed. */
class Program {
  #lines = [];
  #child;

  constructor(cwd, file, printed) {
    this.#child = spawn(process.execPath, [file], { cwd, stdio: ["ignore", "pipe", "pipe"] });
    let rest = "";
    let errors = "";
    this.#child.stderr.setEncoding("utf8").on("data", (text) => (errors += text));
    this.#child.stdout.setEncoding("utf8").on("data", (text) => {
      const lines = (rest + text).split("\n");
      rest = lines.pop();
      this.#lines.push(...lines);
      printed();
    });
    /** Rejects when the program ends by itself: none of them does. */
    this.ended = new Promise((_, reject) => {
      this.#child.on("close", (status) => reject(new Error(`${file} ended with ${status}\n${errors}`)));
    });
  }

  get printed() {
    return this.#lines.join("\n");
  }

  /** What the pattern's group matched, line by line. */
  found(pattern) {
    return this.#lines.flatMap((line) => pattern.exec(line)?.[1] ?? []);
  }

  kill() {
    this.#child.kill("SIGKILL");
  }
}
