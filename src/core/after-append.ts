import type { PendingCommit } from "./commit-queue.ts";
import type { EngineContext } from "./engine-context.ts";
import type { EngineState } from "./engine-state.ts";
import { isPromise, type MaybePromise } from "./environment.ts";
import { asKVError } from "./errors.ts";
import type { Follower } from "./follower.ts";
import type { Position } from "./ledger.ts";
import type { OwnCommits } from "./own-commits.ts";
import type { FollowState } from "./round.ts";
import type { Saving } from "./saving.ts";

export interface AfterAppendParts {
  readonly ownCommits: OwnCommits;
  readonly saving: Saving;
  readonly follower: Follower;
}

/** What comes of a batch that was to be appended, whoever has resolved it. Part of the flush that is under way. */
export class AfterAppend {
  readonly #context: EngineContext;
  readonly #parts: AfterAppendParts;

  constructor(context: EngineContext, parts: AfterAppendParts) {
    this.#context = context;
    this.#parts = parts;
  }

  /** All of it was appended and applied. */
  end(state: EngineState, next: Position): MaybePromise<void> {
    const { saving } = this.#parts;
    state.position = next;
    this.#context.listener.flushed({ invalidated: false });
    const kept = saving.isFirst ? undefined : saving.keep();
    return isPromise(kept) ? this.#context.own(kept) : saving.checkpoint(state);
  }

  /**
   * Finds an appended batch by reading on to it, or to the end; then everything about it is known. What others have appended behind it meanwhile is
   * left for later: a process that has fallen behind would run after those who write without ever telling its authors.
   */
  async readOn(batch: readonly PendingCommit[], error: unknown): Promise<void> {
    const context = this.#context;
    const { ownCommits, follower } = this.#parts;
    ownCommits.inFlight(batch);
    const untilMet = error === undefined && context.ledger.ordering === "append";
    const round: FollowState = { invalidated: false, error, untilMet };
    try {
      await follower.follow(false, round);
      if (context.queue.inFlight.size > 0 && !context.isSealed && error === undefined)
        await follower.follow(true, round);
      ownCommits.settleUnmet(error);
    } catch (cause) {
      ownCommits.giveUp(`Reading ${context.ledger.name} failed before the commit was found: ${String(cause)}`, cause);
      context.queue.rejectWaiting(asKVError(cause));
      // Nobody is to be told that all is well.
      if (!round.invalidated) return;
    }
    context.listener.flushed(round);
  }

  /** Somebody else was first: what was taken is resolved again, before everything that waits, against what they have done. */
  async behind(batch: readonly PendingCommit[]): Promise<void> {
    const { queue, counts, listener } = this.#context;
    queue.putBack(batch);
    counts.lost++;
    const round: FollowState = { invalidated: false };
    try {
      await this.#parts.follower.follow(false, round);
    } catch (error) {
      queue.rejectWaiting(asKVError(error));
      if (!round.invalidated) return;
    }
    listener.flushed(round);
  }
}
