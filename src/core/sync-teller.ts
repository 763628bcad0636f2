import type { Engine } from "./engine.ts";
import type { Round } from "./round.ts";
import type { Emitter } from "./events.ts";

/** Which `sync` events there are: each round and each commit is told of once, however many wait for them. */
export class SyncTeller {
  readonly #emitter: Emitter;
  readonly #autoSync: boolean;
  /** Commits that took effect and that a `sync` event has told of, or that were there at open. */
  #told = 0;
  /** The round that a `sync` event told of last: several may wait for one. */
  #toldRound: Round | undefined;
  /** A round that nobody told of found the ledger replaced. */
  #invalidationUntold = false;

  constructor(emitter: Emitter, autoSync: boolean) {
    this.#emitter = emitter;
    this.#autoSync = autoSync;
  }

  /** What is there now is no news. */
  begin(engine: Engine): void {
    this.#takeUntold(engine);
  }

  hasUntold(engine: Engine): boolean {
    return inEffect(engine) > this.#told;
  }

  tell(engine: Engine, round: Round): void {
    if (round === this.#toldRound) return;
    this.#toldRound = round;
    const invalidated = round.invalidated || this.#invalidationUntold;
    this.#invalidationUntold = false;
    const applied = this.#takeUntold(engine);
    if (this.#emitter.count("sync") === 0) return;
    const result = invalidated ? "ledgerInvalidated" : applied > 0 ? "success" : "ready";
    this.#emitter.emit("sync", { result, applied, version: engine.replica.version });
  }

  /** Without `autoSync` it is for `sync()` to tell. */
  tellUnasked(engine: Engine, round: Round): void {
    if (this.#autoSync) this.tell(engine, round);
    else if (round.invalidated) this.#invalidationUntold = true;
  }

  tellError(engine: Engine, error: unknown): void {
    const applied = this.#takeUntold(engine);
    this.#emitter.emit("sync", { result: "error", error, applied, version: engine.replica.version });
  }

  #takeUntold(engine: Engine): number {
    const applied = inEffect(engine);
    const untold = applied - this.#told;
    this.#told = applied;
    return untold;
  }
}

/** How many commits took effect since open. */
function inEffect({ counts }: Engine): number {
  return counts.commits - counts.voidCommits;
}
