import type { Environment } from "./environment.ts";

/**
 * Waiting where no promise may cross from one request to another (`Environment.isolated`): whoever settles it may be gone, and the one who awaits
 * it would hang for good. What is waited for is plain data; each waiter looks at it with timers of its own, and does the next step of the work
 * itself if nobody else does.
 */

/** From one look to the next: first, and at most. */
const LOOK_MS = { first: 2, max: 25 } as const;
/** Microtask turns within which those who begin to wait share one timer: they are of one macrotask, and so of one request. */
const GATHER_TURNS_MAX = 16;

/** A step of the work that has begun. */
export interface Step {
  /** Resolves when it has ended; never, if another request has taken it over. */
  readonly ended: Promise<void>;
  /** True once it has ended or was taken over. */
  readonly isOver: () => boolean;
}

interface Waiter {
  /** Looks; true if it need not be looked for any more. */
  readonly look: () => boolean;
}

const microtask = Promise.resolve();

export class Waits {
  readonly #environment: Environment;
  /** Waiters of the present macrotask. */
  #gathering: Waiter[] | undefined;
  /**
   * Does a step of the work that everybody waits for, in the request of the one who calls. Undefined if it was done at once, there is nothing to do, or
   * somebody else is at it.
   */
  drive: () => Step | undefined = () => undefined;

  constructor(environment: Environment) {
    this.#environment = environment;
  }

  /** Resolves when `isReady` says so. */
  until(isReady: () => boolean): Promise<void> {
    if (isReady()) return microtask;
    return new Promise((resolve) => {
      this.#add(() => {
        if (!isReady()) return false;
        resolve();
        return true;
      });
    });
  }

  /** As `new Promise(begin)`, for what may be settled by another request. `looking`: called whenever it is looked whether it is. */
  promise<T>(
    begin: (resolve: (value: T) => void, reject: (error: unknown) => void) => void,
    looking?: () => void,
  ): Promise<T> {
    let outcome: { readonly value: T } | { readonly error: unknown } | undefined;
    begin(
      (value) => (outcome ??= { value }),
      (error) => (outcome ??= { error }),
    );
    return new Promise<T>((resolve, reject) => {
      this.#add(() => {
        if (outcome === undefined) looking?.();
        if (outcome === undefined) return false;
        if ("value" in outcome) resolve(outcome.value);
        else reject(outcome.error);
        return true;
      });
    });
  }

  #add(look: () => boolean): void {
    if (this.#gathering !== undefined) {
      this.#gathering.push({ look });
      return;
    }
    this.#gathering = [{ look }];
    void this.#watchOver(this.#gathering);
  }

  /** Never rejects: `drive` does not. */
  async #watchOver(waiters: Waiter[]): Promise<void> {
    for (let turns = 0, count = 0; turns < GATHER_TURNS_MAX && count < waiters.length; turns++) {
      count = waiters.length;
      await microtask;
    }
    this.#gathering = undefined;
    let waiting: readonly Waiter[] = waiters;
    let step: Step | undefined;
    for (let ms: number = LOOK_MS.first; ; ms = Math.min(ms * 2, LOOK_MS.max)) {
      waiting = waiting.filter(({ look }) => !look());
      if (waiting.length === 0) return;
      // Who is at it takes nothing over from itself, however long it takes.
      if (step?.isOver() !== false) step = this.drive();
      if (step === undefined) {
        waiting = waiting.filter(({ look }) => !look());
        if (waiting.length === 0) return;
      }
      await this.#nap(ms, step);
    }
  }

  /** Until the time is over, or an own step. */
  #nap(ms: number, step: Step | undefined): Promise<void> {
    return new Promise((resolve) => {
      const timer = this.#environment.setTimer(resolve, ms, { ref: true });
      void step?.ended.then(() => {
        timer.cancel();
        resolve();
      });
    });
  }
}
