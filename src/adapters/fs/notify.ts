import type { Environment, Timer } from "../../core/environment.ts";
import type { FileSystemCalls } from "./file.ts";

/** More hints than this in a second, and looking now and then costs everybody less than being told each time. */
const HINTS_PER_SECOND_MAX = 200;
/** How long a look waits while hints are replaced by looking: the shorter the more there was to see. */
const LOOK_MIN_MS = 2;
const LOOK_MAX_MS = 20;
const QUIET_MS = 1000;

export interface NotifierOptions {
  readonly calls: FileSystemCalls;
  readonly environment: Environment;
  readonly directory: string;
  /** Name of the ledger's file in it. */
  readonly name: string;
  /** True if there may be something new. One fstat. */
  readonly hasNews: () => boolean;
  readonly listener: () => void;
}

/**
 * Tells of changes to the ledger's file within a millisecond or so, by watching its directory: a watch of the file itself goes dead when the
 * path is replaced. Every append of every writer pays for every watch, so a busy ledger is not watched but looked at.
 */
export class Notifier {
  readonly #options: NotifierOptions;
  #unwatch: (() => void) | undefined;
  #timer: Timer | undefined;
  #secondBegan = 0;
  #hints = 0;
  #lookMs = LOOK_MIN_MS;
  #lastNews = 0;
  #stopped = false;

  constructor(options: NotifierOptions) {
    this.#options = options;
    this.#watch();
  }

  stop(): void {
    this.#stopped = true;
    this.#unwatch?.();
    this.#timer?.cancel();
  }

  #watch(): void {
    const { calls, directory, name, environment } = this.#options;
    this.#secondBegan = environment.monotonic();
    this.#hints = 0;
    this.#unwatch = calls.watchDirectory(directory, (changed) => {
      // Some systems do not tell the name. Another file's change is nobody's news.
      if (this.#stopped || this.#unwatch === undefined || (changed !== undefined && changed !== name)) return;
      this.#hint();
    });
  }

  #hint(): void {
    const now = this.#options.environment.monotonic();
    if (now - this.#secondBegan >= 1000) {
      this.#secondBegan = now;
      this.#hints = 0;
    }
    this.#hints++;
    if (this.#hints <= HINTS_PER_SECOND_MAX) {
      if (this.#options.hasNews()) this.#options.listener();
      return;
    }
    this.#unwatch?.();
    this.#unwatch = undefined;
    this.#lookMs = LOOK_MIN_MS;
    this.#lastNews = now;
    this.#lookLater();
  }

  #lookLater(): void {
    this.#timer = this.#options.environment.setTimer(() => this.#look(), this.#lookMs, { ref: false });
  }

  #look(): void {
    if (this.#stopped) return;
    const now = this.#options.environment.monotonic();
    if (this.#options.hasNews()) {
      this.#lastNews = now;
      this.#lookMs = LOOK_MIN_MS;
      this.#options.listener();
    } else if (now - this.#lastNews >= QUIET_MS) {
      this.#timer = undefined;
      this.#watch();
      // What was appended between the last look and the new watch.
      if (this.#options.hasNews()) this.#options.listener();
      return;
    } else {
      this.#lookMs = Math.min(this.#lookMs * 2, LOOK_MAX_MS);
    }
    this.#lookLater();
  }
}
