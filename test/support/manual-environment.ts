import type { Environment, Timer } from "../../src/core/environment.ts";
import { nodeEnvironment } from "../../src/platform/environment-node.ts";
import { randomSource } from "./random.ts";
import { sha256AtOnce } from "./sha256.ts";

interface Waiting {
  readonly due: number;
  readonly run: () => void;
}

/** An environment whose time passes only when somebody lets it, and whose chance is the same each time. */
export class ManualEnvironment implements Environment {
  readonly random = randomSource(1);
  readonly crc32 = nodeEnvironment.crc32;
  readonly sha256 = sha256AtOnce;
  #now = 1_700_000_000_000;
  #waiting: Waiting[] = [];

  now = (): number => this.#now;
  monotonic = (): number => this.#now;
  randomBytes = (length: number): Uint8Array => Uint8Array.from({ length }, () => Math.floor(this.random() * 256));
  macrotask = (callback: () => void): void => void setImmediate(callback);

  setTimer = (callback: () => void, ms: number): Timer => {
    const waiting = { due: this.#now + ms, run: callback };
    this.#waiting.push(waiting);
    return { cancel: () => void (this.#waiting = this.#waiting.filter((each) => each !== waiting)) };
  };

  /** Timers that have not rung yet. */
  get timers(): number {
    return this.#waiting.length;
  }

  /** Lets time pass, timer by timer, and everything happen that follows from each. */
  async pass(ms: number): Promise<void> {
    const end = this.#now + ms;
    for (;;) {
      await settle();
      const next = this.#waiting.toSorted((a, b) => a.due - b.due).at(0);
      if (next === undefined || next.due > end) break;
      this.#waiting = this.#waiting.filter((each) => each !== next);
      this.#now = Math.max(this.#now, next.due);
      next.run();
    }
    this.#now = end;
    await settle();
  }

  /** Lets time pass until the promise has settled. */
  async until<T>(promise: Promise<T>): Promise<T> {
    let settled = false;
    const mark = (): void => void (settled = true);
    promise.then(mark, mark);
    while (!settled) {
      await settle();
      const next = Math.min(...this.#waiting.map(({ due }) => due));
      if (!settled && Number.isFinite(next)) await this.pass(Math.max(0, next - this.#now));
    }
    return await promise;
  }
}

/** Everything that follows without a timer has happened. */
function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
