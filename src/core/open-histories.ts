import { DroppedNet } from "./dropped.ts";
import type { EngineState } from "./engine-state.ts";
import type { Environment } from "./environment.ts";

/** What a history that is being told holds, and what ends it from outside. Nothing here leads to its iterator: that may be dropped without a word. */
export class OpenHistory {
  readonly #all: Set<OpenHistory>;
  #state: EngineState | undefined;
  /** An entry was handed out and the next one not yet asked for: nothing is being read. */
  #isResting = false;
  #failure: unknown;

  /** Made by `OpenHistories`. */
  constructor(all: Set<OpenHistory>) {
    this.#all = all;
  }

  /** From now on it is known to those who end all histories. */
  begin(): void {
    this.#all.add(this);
  }

  /** What is read from meanwhile. */
  hold(state: EngineState): void {
    this.#state = state;
    this.check();
  }

  /** Asked before an entry is handed out: whoever rests with a failure would never be asked to let go. */
  rest(): void {
    this.check();
    this.#isResting = true;
  }

  goOn(): void {
    this.#isResting = false;
    this.check();
  }

  /** Throws what has ended it. */
  check(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** What is being read is not taken away: whoever reads it lets go of it at the next check. */
  fail(failure: unknown): void {
    this.#failure ??= failure;
    if (this.#isResting) this.end();
  }

  end(): void {
    this.#all.delete(this);
    const state = this.#state;
    this.#state = undefined;
    state?.retire();
  }
}

/** The histories of one instance that have not been told to their end. */
export class OpenHistories {
  readonly #all = new Set<OpenHistory>();
  readonly #dropped: DroppedNet<OpenHistory>;

  constructor(environment: Environment) {
    this.#dropped = new DroppedNet(environment, (open) => open.end());
  }

  add(): OpenHistory {
    return new OpenHistory(this.#all);
  }

  /** What `entries` holds is released when it is dropped, too. */
  watch(entries: object, open: OpenHistory): void {
    this.#dropped.watch(entries, open);
  }

  /** The next entry that is asked for of any of them is this failure. */
  end(failure: unknown): void {
    for (const open of [...this.#all]) open.fail(failure);
  }
}
