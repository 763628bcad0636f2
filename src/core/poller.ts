import { type Environment, isPromise, type MaybePromise, type Timer } from "./environment.ts";

/** ms after which the timer that keeps the process alive for a watch is renewed. */
const KEEP_ALIVE_MS = 2 ** 30;

export interface PollerOptions {
  readonly environment: Environment;
  readonly intervalMs: number;
  /** Follows the ledger. Never rejects. */
  readonly poll: () => MaybePromise<void>;
  /** Follows the ledger because of a hint. Never rejects. */
  readonly hinted: () => Promise<void>;
}

/** Decides when an instance with `autoSync` looks at its ledger without being asked. What it does then is the engine's affair. */
export class Poller {
  readonly #options: PollerOptions;
  #timer: Timer | undefined;
  #keepAlive: Timer | undefined;
  #unsubscribe: (() => void) | undefined;
  #hintUnderWay = false;
  #hintPending = false;
  #stopped = false;

  constructor(options: PollerOptions) {
    this.#options = options;
  }

  /** Polls every interval from now on. The interval counts from the end of one poll to the beginning of the next. */
  start(): void {
    if (this.#stopped) return;
    this.#timer = this.#options.environment.setTimer(this.#poll, this.#options.intervalMs, { ref: false });
  }

  readonly #poll = (): void => {
    const polled = this.#options.poll();
    if (isPromise(polled)) void polled.then(() => this.start());
    else this.start();
  };

  /** Likewise, if it has not been started before. */
  startOnce(): void {
    if (this.#timer === undefined) this.start();
  }

  /** Subscribes to hints while somebody waits for news, and keeps the process alive while somebody must be able to get them. */
  adjust(wanted: {
    readonly hints: ((listener: () => void) => () => void) | undefined;
    readonly keepAlive: boolean;
  }): void {
    if (wanted.hints === undefined || this.#stopped) {
      this.#unsubscribe?.();
      this.#unsubscribe = undefined;
    } else {
      this.#unsubscribe ??= wanted.hints(() => this.#hint());
    }
    if (!wanted.keepAlive || this.#stopped) {
      this.#keepAlive?.cancel();
      this.#keepAlive = undefined;
    } else if (this.#keepAlive === undefined) {
      this.#stayAlive();
    }
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
    this.adjust({ hints: undefined, keepAlive: false });
  }

  #stayAlive(): void {
    this.#keepAlive = this.#options.environment.setTimer(() => this.#stayAlive(), KEEP_ALIVE_MS, { ref: true });
  }

  /** Hints that come while one is being followed are one more look afterwards. */
  #hint(): void {
    if (this.#stopped) return;
    if (this.#hintUnderWay) {
      this.#hintPending = true;
      return;
    }
    this.#hintUnderWay = true;
    void this.#options.hinted().then(() => {
      this.#hintUnderWay = false;
      if (!this.#hintPending) return;
      this.#hintPending = false;
      this.#hint();
    });
  }
}
