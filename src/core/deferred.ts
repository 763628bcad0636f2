import type { Environment } from "./environment.ts";
import type { Opened } from "./lifecycle.ts";

/** Timers that are set for longer fire at once. */
const TIMER_MS_MAX = 2 ** 31 - 1;

/** What `close` waits for: promises that it was given, and everything that was accepted. */
export class Deferred {
  readonly #environment: Environment;
  readonly #problem: (error: unknown) => void;
  readonly #promises = new Set<Promise<unknown>>();

  /** `problem` is told of rejections that nobody else is told of. */
  constructor(environment: Environment, problem: (error: unknown) => void) {
    this.#environment = environment;
    this.#problem = problem;
  }

  add(promise: Promise<unknown>, onError: (error: unknown) => void = this.#problem): void {
    // It may be somebody else's kind of promise, that knows nothing but `then`.
    const handled: Promise<unknown> = Promise.resolve(promise)
      .then(() => undefined, onError)
      .catch(this.#problem)
      .finally(() => this.#promises.delete(handled));
    this.#promises.add(handled);
  }

  /** Waits for everything that was accepted. False if that took too long. */
  async drain({ engine, maintenance }: Opened, timeoutMs: number): Promise<boolean> {
    const settled = async (): Promise<true> => {
      // What is awaited may defer more.
      do await Promise.allSettled([maintenance.idle(), engine.drained(), ...this.#promises]);
      while (this.#promises.size > 0);
      return true;
    };
    const everything = settled();
    if (timeoutMs === Infinity) return everything;
    let timer: { cancel(): void } | undefined;
    const timeout = new Promise<false>((resolve) => {
      timer = this.#environment.setTimer(() => resolve(false), Math.min(timeoutMs, TIMER_MS_MAX), { ref: true });
    });
    const inTime = await Promise.race([everything, timeout]);
    timer?.cancel();
    if (!inTime) engine.abandon();
    return inTime;
  }
}
