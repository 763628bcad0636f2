import type { EngineContext } from "./engine-context.ts";
import type { EngineState } from "./engine-state.ts";
import type { FollowState } from "./round.ts";

/** How much of the ledger is read by a round that may leave the rest: that takes about a millisecond. */
const GLANCE_BYTES = 64 * 1024;
/** As often in a row something may be left; then all of it is followed, so that whoever reads at last does not have to catch up with hours. */
const LEFT_BEHIND_MAX = 3;

/** Rounds that may end before the ledger does, of processes: where nobody needs each commit, there are shorter ways to the present state. */
export class Haste {
  readonly #context: EngineContext;
  /** Hasty rounds in a row that have left something. */
  #leftBehind = 0;

  constructor(context: EngineContext) {
    this.#context = context;
  }

  /** How much a round reads at once; undefined: as much as others do. */
  bytes({ haste }: FollowState): number | undefined {
    return haste === "leave" ? GLANCE_BYTES : undefined;
  }

  /** There is more to follow, and haste: true if the round may end here. */
  async mayEnd(now: EngineState, round: FollowState): Promise<boolean> {
    const { queue, listener, turn, ledger, counts } = this.#context;
    const { haste } = round;
    round.haste = undefined;
    const maySkip = (): boolean => queue.inFlight.size === 0 && !listener.needsEach();
    // Where another request may take this one's place, nothing is to be exchanged by the one that was given up.
    if (turn !== undefined || ledger.ordering !== "append" || !maySkip()) return false;
    const skipped = await now.checkpointer?.skipAhead(maySkip);
    if (skipped !== undefined) {
      now.position = skipped;
      counts.skips++;
      this.#leftBehind = 0;
      return haste === "leave";
    }
    return haste === "leave" && ++this.#leftBehind < LEFT_BEHIND_MAX;
  }

  /** A round has come to the end. */
  ended(): void {
    this.#leftBehind = 0;
  }
}
