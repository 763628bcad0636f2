import { nodeEnvironment } from "../../src/platform/environment-node.ts";
import type { Environment, Timer } from "../../src/core/environment.ts";
import { sha256AtOnce } from "../support/sha256.ts";
import { Disk } from "./disk.ts";
import type { Party } from "./inode.ts";
import { Random } from "./random.ts";

/** What a run found wrong. */
export class Violation extends Error {
  override readonly name = "Violation";
}

interface Task {
  due: number;
  readonly run: () => void;
  readonly what: string;
}

/** The wall clock of the world at its beginning. */
const EPOCH = 1_700_000_000_000;
/** A run that takes more steps than this does not end by itself. */
const STEPS_MAX = 300_000;

/**
 * One scheduler for everything: picks, by its seed, who does the next thing. A step is one callback of one process together with all
 * microtasks that follow from it, as in an event loop; between two steps of a process anybody else may do any number.
 */
export class World {
  readonly random: Random;
  readonly disk = new Disk(() => this.wallClock());
  processes: Process[] = [];
  readonly #trace: string[] | undefined;
  /** ms of simulated time since the beginning. */
  now = 0;
  /** Since when nothing goes wrong any more. */
  calmSince = Infinity;
  steps = 0;
  /** Called between two steps. */
  disturb: () => void = () => undefined;
  /** Called within system calls: what others do in the middle of somebody's step. */
  interfere: (caller: Process) => void = () => undefined;
  readonly violations: Violation[] = [];
  /** Processes that have opened a file of which something was lost that is there by all appearances, and were not told. */
  readonly hasTrusted = new Set<Process>();

  constructor(seed: number, traced: boolean) {
    this.random = new Random(seed);
    this.#trace = traced ? [] : undefined;
  }

  get trace(): readonly string[] {
    return this.#trace ?? [];
  }

  /** Whose own is right. */
  wallClock(): number {
    return EPOCH + this.now;
  }

  note(who: string, what: () => string): void {
    this.#trace?.push(`${this.now.toFixed(3).padStart(12)} ${who.padEnd(8)} ${what()}`);
  }

  fail(message: string): void {
    const violation = new Violation(message);
    this.violations.push(violation);
    this.note("!", () => violation.stack ?? message);
  }

  /** Goes on until `done`, or until `limitMs` of simulated time are over. True if it was done. */
  async runUntil(done: () => boolean, limitMs: number): Promise<boolean> {
    const end = this.now + limitMs;
    while (!done() && this.violations.length === 0) {
      if (this.now > end) return false;
      if (++this.steps > STEPS_MAX) {
        this.fail(`no end after ${STEPS_MAX} steps`);
        return false;
      }
      this.disturb();
      await this.#step();
    }
    return true;
  }

  async #step(): Promise<void> {
    const ready = this.processes.filter((process) => process.isReady(this.now));
    const written = this.disk.inTransit();
    if (written.length > 0 && (ready.length === 0 || this.random.chance(0.4))) {
      this.now += this.random.next() * 0.05;
      this.random.pick(written).advance(this.random.between(1, this.random.pick([8, 60, 2000])));
    } else if (ready.length > 0) {
      this.now += this.random.next() * (this.random.chance(0.02) ? 5 : 0.1);
      await this.random.pick(ready).step(this.now);
    } else {
      const next = Math.min(...this.processes.map((process) => process.nextDue()));
      this.now = Number.isFinite(next) ? Math.max(this.now, next) : this.now + 1;
    }
  }
}

/** One process: what it has to do, its clocks, and whether it still lives. */
export class Process implements Party {
  readonly name: string;
  readonly world: World;
  readonly random: Random;
  readonly environment: Environment;
  #tasks: Task[] = [];
  state: "running" | "stopped" | "dead" = "running";
  /** One of its callbacks is being run. */
  isInStep = false;
  /** In the middle of a write call: it does nothing else until that is over. */
  writing = false;
  /** What it has done in this step behind a write that is not over yet, for those who keep a record. */
  #heldBack: (() => void)[] = [];
  /** Added to the world's time. */
  wallOffset = 0;
  monotonicOffset = 0;
  /** What `now()` has returned, in order, repetitions left out. */
  readonly clockReadings: number[] = [];
  /** Its replica acknowledges what is durable, and nothing else. */
  strict = false;
  ledgerPath = "";
  /** Nonces of generations of whose file a sync has failed under a strict replica. */
  readonly failedSyncs = new Set<string>();
  /** Files of which it was told that a sync has failed. */
  readonly knownFailures = new Set<object>();

  constructor(world: World, name: string) {
    this.world = world;
    this.name = name;
    this.random = world.random.fork();
    this.environment = this.#makeEnvironment();
    world.processes.push(this);
  }

  get isAlive(): boolean {
    return this.state !== "dead";
  }

  isReady(now: number): boolean {
    return this.state === "running" && !this.writing && this.#tasks.some((task) => task.due <= now);
  }

  nextDue(): number {
    return this.state === "running" && !this.writing
      ? Math.min(Infinity, ...this.#tasks.map((task) => task.due))
      : Infinity;
  }

  later(what: string, ms: number, run: () => void): Timer {
    const task = { due: this.world.now + ms, run, what };
    if (this.isAlive) this.#tasks.push(task);
    return {
      cancel: () => {
        const place = this.#tasks.indexOf(task);
        if (place >= 0) this.#tasks.splice(place, 1);
      },
    };
  }

  /** Everything that it waits for is due. */
  hurry(): void {
    for (const task of this.#tasks) task.due = Math.min(task.due, this.world.now);
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.later("wake", ms, resolve));
  }

  /** Runs the task that is due longest, and every microtask that follows. */
  async step(now: number): Promise<void> {
    const first = this.#tasks.reduce((a, b) => (b.due < a.due ? b : a));
    if (first.due > now) return;
    this.#tasks.splice(this.#tasks.indexOf(first), 1);
    this.world.note(this.name, () => `- ${first.what}`);
    this.isInStep = true;
    try {
      first.run();
    } catch (error) {
      this.fail(`a callback threw ${describe(error)}`);
    }
    await new Promise<void>((resolve) => setImmediate(resolve));
    this.isInStep = false;
  }

  /** Puts something on record, once it is certain that the process has come so far. */
  record(put: () => void): void {
    if (!this.isAlive) return;
    if (this.writing) this.#heldBack.push(put);
    else put();
  }

  /** Something is wrong with it, unless it is dead: what a process does behind the call that killed it has not happened. */
  fail(message: string): void {
    if (this.isAlive) this.world.fail(`${this.name}: ${message}`);
  }

  writeOver(): void {
    this.writing = false;
    this.world.note(this.name, () => "write over");
    for (const put of this.#heldBack.splice(0)) put();
  }

  /** It never does anything again. What it was about to do behind an unfinished write has not happened. */
  kill(): void {
    this.world.note(this.name, () => "killed");
    this.state = "dead";
    this.#tasks = [];
    this.#heldBack = [];
    this.writing = false;
    for (const inode of this.world.disk.inTransit()) if (inode.transit?.author === this) inode.tear();
  }

  #makeEnvironment(): Environment {
    const { world, random } = this;
    return {
      now: () => {
        const now = Math.floor(world.wallClock() + this.wallOffset);
        if (this.clockReadings.at(-1) !== now) this.clockReadings.push(now);
        return now;
      },
      // Looking at the clock stands for the work that was done since: now and then it was much.
      monotonic: () => {
        world.now += random.chance(0.01) ? random.next() * 6 : 0.001;
        return world.now + this.monotonicOffset;
      },
      random: () => random.next(),
      randomBytes: (length) => random.bytes(length),
      setTimer: (callback, ms) => this.later("timer", ms, callback),
      macrotask: (callback) => void this.later("macrotask", 0, callback),
      crc32: nodeEnvironment.crc32,
      sha256: sha256AtOnce,
    };
  }
}

export function describe(error: unknown): string {
  return error instanceof Error
    ? `${error.name} ${(error as { code?: string }).code ?? ""}: ${error.message}`
    : String(error);
}
