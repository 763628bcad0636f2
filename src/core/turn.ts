import type { Environment } from "./environment.ts";

/** How long the one whose turn it is may make no progress, at first: it may have been taken over several times already, and be slow, not gone. */
const PATIENCE_MS = { first: 500, max: 30_000 } as const;

/**
 * Whose turn it is to do the work of an instance that several requests share (`Environment.isolated`). One of them does, and may be gone at any
 * moment without a word. After a while without progress another one takes over, and what the first one still waits for never settles any more: a
 * request that was only slow ends where a dead one does, at an `await`.
 */
export class Turn {
  readonly #environment: Environment;
  /** Counts who has taken over. */
  #number = 0;
  #progressAt = 0;
  #patienceMs: number = PATIENCE_MS.first;

  constructor(environment: Environment) {
    this.#environment = environment;
  }

  /** A step begins. Returns its number. */
  begin(): number {
    this.#progressAt = this.#environment.monotonic();
    return this.#number;
  }

  /** True as long as nobody has taken over the step with this number. */
  isOf(number: number): boolean {
    return number === this.#number;
  }

  /** The step under way may take so long without progress. */
  allow(ms: number): void {
    this.#patienceMs = Math.max(this.#patienceMs, ms);
  }

  /** A step has ended: whoever comes next is given little time again. */
  end(): void {
    this.#patienceMs = PATIENCE_MS.first;
  }

  /** True if whoever has begun the step is gone, by all appearances. */
  get isStalled(): boolean {
    return this.#environment.monotonic() - this.#progressAt >= this.#patienceMs;
  }

  /** Nothing of what is awaited by `own` settles any more. */
  takeOver(): void {
    this.#number++;
    // What is slow has to come to its end at last.
    this.#patienceMs = Math.min(this.#patienceMs * 2, PATIENCE_MS.max);
  }

  /** As the promise, as long as it is the turn of the one who calls. */
  own<T>(promise: Promise<T>): Promise<T> {
    const number = this.#number;
    return new Promise((resolve, reject) => {
      promise.then(
        (value) => {
          if (this.#progressed(number)) resolve(value);
        },
        (error: unknown) => {
          if (this.#progressed(number)) reject(error);
        },
      );
    });
  }

  #progressed(number: number): boolean {
    if (number !== this.#number) return false;
    this.#progressAt = this.#environment.monotonic();
    return true;
  }
}
