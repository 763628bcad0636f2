import type { EngineState } from "./engine-state.ts";

/** What a history that is being told holds, and what ends it from outside. Nothing here leads to its iterator: that may be dropped without a word. */
export class OpenHistory {
  readonly #all: Set<OpenHistory>;
  #state: EngineState | undefined;
  /** An entry was handed out and the next one not yet asked for: nothing is being read. */
  #isResting = false;
  #failure: unknown;

  /** `all`: those of the instance that have begun and not ended. */
  constructor(all: Set<OpenHistory>) {
    this.#all = all;
  }

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
