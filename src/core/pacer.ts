import type { Environment } from "./environment.ts";

/** How long work that settles without input or output may go on before timers, signals and other input/output get their turn. */
const BUDGET_MS = 8;
/** The same for work that nobody waits for: what it leaves is for calls, and for pieces that are longer than was thought. */
const BACKGROUND_MS = 4;
/** Small steps between two looks at the clock: at most so many, and as many as take no longer than this. */
const STRIDE_MAX = 16;
const STRIDE_MS = 0.5;

const microtask = Promise.resolve();

/**
 * One budget per instance: a loop of awaited calls that all settle by microtasks would otherwise keep the program's timers from
 * running for as long as it lasts.
 */
export class Pacer {
  readonly #environment: Environment;
  /** When the first work after the last macrotask began. */
  #since: number | undefined;
  /** Small steps from one look at the clock to the next, and how many are left. */
  #stride = 1;
  #left = 0;
  #lookedAt = 0;
  /** Work that nobody waits for, and that goes on in the next macrotask. */
  #inBackground = 0;

  constructor(environment: Environment) {
    this.#environment = environment;
  }

  /** True when a macrotask is due before more is done. */
  due(now: number = this.#environment.monotonic()): boolean {
    // What goes on in the background has its part of the same turn.
    return this.#isDue(now, this.#inBackground > 0 ? BUDGET_MS - BACKGROUND_MS : BUDGET_MS);
  }

  /** As `due`, for work that nobody waits for. */
  dueInBackground(now: number = this.#environment.monotonic()): boolean {
    return this.#isDue(now, BACKGROUND_MS);
  }

  #isDue(now: number, budgetMs: number): boolean {
    if (this.#since === undefined) {
      this.#since = now;
      // After the work that asks: asking for a macrotask takes as long as a small write when the program has been idle.
      void microtask.then(this.#awaitMacrotask);
      return false;
    }
    return now - this.#since >= budgetMs;
  }

  readonly #awaitMacrotask = (): void => {
    this.#environment.macrotask(this.#begin);
  };

  readonly #begin = (): void => {
    this.#since = undefined;
  };

  /** As `due`, for work in steps so small that looking at the clock would be a good part of each: looks only as often as their duration demands. */
  dueSoon(): boolean {
    if (--this.#left > 0) return false;
    const now = this.#environment.monotonic();
    const quick = now - this.#lookedAt < STRIDE_MS;
    this.#stride = quick ? Math.min(STRIDE_MAX, this.#stride * 2) : 1;
    this.#left = this.#stride;
    this.#lookedAt = now;
    return this.due(now);
  }

  /** As `rest`, for work that nobody waits for. */
  async restInBackground(): Promise<void> {
    this.#inBackground++;
    await this.rest();
    this.#inBackground--;
  }

  /** Resolves in a fresh macrotask. */
  async rest(): Promise<void> {
    await new Promise<void>((resolve) => this.#environment.macrotask(resolve));
    this.#since = undefined;
  }
}
