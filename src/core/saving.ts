import type { EngineContext } from "./engine-context.ts";
import type { EngineState } from "./engine-state.ts";
import type { MaybePromise } from "./environment.ts";

/** When the state is written down: beside the ledger, by a checkpointer, or where the ledger keeps it itself, by a keeper. */
export class Saving {
  readonly #context: EngineContext;

  constructor(context: EngineContext) {
    this.#context = context;
  }

  /**
   * Nothing goes on in the background of a request that ends with its answer, where there is no `waitUntil`: the state is written down before the
   * next commit, whose author waits.
   */
  get isFirst(): boolean {
    return this.#context.waits !== undefined && this.#context.options.waitUntil === undefined;
  }

  /** Where the ledger keeps the state itself: it may be this session's turn. A promise if commits have to wait for that. */
  keep(): MaybePromise<void> {
    const { keeper } = this.#context.state;
    if (keeper === undefined || this.#context.refusal() !== undefined) return undefined;
    return keeper.keep();
  }

  /** Sees to it that what lies in memory is saved; a promise if so much waits for it that commits have to wait too. */
  checkpoint({ checkpointer }: EngineState): MaybePromise<void> {
    if (checkpointer === undefined) return undefined;
    checkpointer.check();
    // Who saves may be of a request that is gone: there nobody waits for it.
    return checkpointer.isOverdue && this.#context.waits === undefined ? checkpointer.whenRelieved() : undefined;
  }

  /** A round has come to the end of the ledger. */
  followed(): void {
    // Commits that have to wait for it find that out themselves.
    if (!this.isFirst || this.#context.state.keeper?.isWanted === true) void this.keep();
  }
}
