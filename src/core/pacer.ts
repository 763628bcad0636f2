import type { Environment } from "./environment.ts";

/** How long work that settles without input or output may go on before timers, signals and other input/output get their turn. */
const BUDGET_MS = 8;

/**
 * One budget per instance: a loop of awaited calls that all settle by microtasks would otherwise keep the program's timers from
 * running for as long as it lasts.
 */
export class Pacer {
  readonly #environment: Environment;
  /** When the first work after the last macrotask began. */
  #since: number | undefined;

  constructor(environment: Environment) {
    this.#environment = environment;
  }

  /** True when a macrotask is due before more is done. */
  due(now: number = this.#environment.monotonic()): boolean {
    if (this.#since === undefined) {
      this.#since = now;
      this.#environment.macrotask(() => {
        this.#since = undefined;
      });
      return false;
    }
    return now - this.#since >= BUDGET_MS;
  }

  /** Resolves in a fresh macrotask. */
  async rest(): Promise<void> {
    await new Promise<void>((resolve) => this.#environment.macrotask(resolve));
    this.#since = undefined;
  }
}
