import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { bundled } from "./bundled.ts";

/** What a program tells, a line each: see `report` in programs/report.ts. */
export interface Message {
  readonly [name: string]: unknown;
}

export interface ProgramOptions {
  /** Command and arguments to run Node by: `["bash", "-c", "ulimit -f 100; exec \"$@\"", "bash"]`. */
  readonly through?: readonly string[];
  /** Its sources are loaded one by one, for a program that changes them while they are. */
  readonly asSources?: boolean;
}

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

const programs = fileURLToPath(new URL("../processes/programs/", import.meta.url));
const compileCache = fileURLToPath(new URL("../../.cache/compiled", import.meta.url));

/** A program of test/processes/programs in a process of its own, which is ended, if it still runs, by the block that holds it. */
export class Program implements AsyncDisposable {
  readonly exited: Promise<Exit>;
  readonly #child: ChildProcess;
  readonly #listeners = new Set<(message: Message) => void>();
  readonly #messages: Message[] = [];
  #taken = 0;
  #wake: (() => void)[] = [];
  #ended = false;
  #errors = "";

  /** `argument` reaches the program as JSON. */
  constructor(name: string, argument: unknown, options: ProgramOptions = {}) {
    const [command, ...before] = [...(options.through ?? []), process.execPath];
    const source = join(programs, name);
    const program = options.asSources === true ? source : bundled(source);
    const args = [...before, "--disable-warning=ExperimentalWarning", program, JSON.stringify(argument)];
    this.#child = spawn(command, args, {
      stdio: ["pipe", "pipe", "pipe"],
      // Programs start three times as fast when they need not be compiled each time.
      env: { ...process.env, NODE_COMPILE_CACHE: compileCache },
    });
    this.#child.stderr?.on("data", (chunk: Buffer) => (this.#errors += chunk.toString()));
    // A process that was killed has nobody to read what is sent to it.
    this.#child.stdin?.on("error", () => undefined);
    createInterface({ input: this.#child.stdout as NodeJS.ReadableStream }).on("line", (line) => this.#take(line));
    this.exited = new Promise((resolve) => {
      this.#child.on("close", (code, signal) => {
        this.#ended = true;
        this.#wakeAll();
        resolve({ code, signal });
      });
    });
  }

  get pid(): number {
    return this.#child.pid as number;
  }

  /** What it wrote to its error output. */
  get errors(): string {
    return this.#errors;
  }

  /** Everything told so far. */
  get messages(): readonly Message[] {
    return this.#messages;
  }

  /** Calls back for each message that arrives. */
  onMessage(listener: (message: Message) => void): void {
    this.#listeners.add(listener);
  }

  send(message: unknown): void {
    this.#child.stdin?.write(`${JSON.stringify(message)}\n`);
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name);
  }

  /** The next message not taken yet that satisfies `condition`; those before it are passed over. Rejects when the program ends first. */
  async next(condition: (message: Message) => boolean = () => true): Promise<Message> {
    for (;;) {
      while (this.#taken < this.#messages.length) {
        const message = this.#messages[this.#taken++];
        if (condition(message)) return message;
      }
      if (this.#ended) throw new Error(`The program ended before it told what was waited for.\n${this.#errors}`);
      await new Promise<void>((resolve) => this.#wake.push(resolve));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#ended) this.signal("SIGKILL");
    await this.exited;
  }

  #take(line: string): void {
    // The last line of a process that was killed can be a piece: what it told of was not told.
    let message: Message;
    try {
      message = JSON.parse(line) as Message;
    } catch {
      return;
    }
    this.#messages.push(message);
    for (const listener of this.#listeners) listener(message);
    this.#wakeAll();
  }

  #wakeAll(): void {
    for (const wake of this.#wake.splice(0)) wake();
  }
}
