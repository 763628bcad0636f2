/** What a follow round found. */
export interface Round {
  /** The ledger was replaced by its next generation or by something else. */
  readonly invalidated: boolean;
}

/**
 * How a round may be shorter than the ledger's end is far. `skip`: what another process has published as its state may be taken instead of the commits
 * that have led to it. `leave`: moreover, what lies far ahead may be left for later.
 */
export type Haste = "skip" | "leave";

/** What somebody who waits for a round asks of it. */
export interface RoundWish {
  /** Makes sure first that it still is the ledger that was named. */
  readonly verify: boolean;
  readonly haste?: Haste | undefined;
}

/** A round under way. */
export interface FollowState {
  invalidated: boolean;
  /** Until it has been made use of. */
  haste?: Haste | undefined;
  /** What kept some of the commits in flight from being appended: those not met are not tried again. */
  readonly error?: unknown;
  /** It may end where the commits in flight have been met, however far the ledger goes on. */
  readonly untilMet?: boolean;
}

/** What all of them agree to. */
export function commonHaste(wishes: readonly RoundWish[]): Haste | undefined {
  if (wishes.every(({ haste }) => haste === "leave")) return "leave";
  return wishes.every(({ haste }) => haste !== undefined) ? "skip" : undefined;
}
