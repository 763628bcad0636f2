import type { EngineContext } from "./engine-context.ts";
import type { EngineState } from "./engine-state.ts";
import { isPromise, type MaybePromise } from "./environment.ts";
import { type AddressRange, hasCode, KVError } from "./errors.ts";
import { IndexDamaged } from "./held-run.ts";
import type { LedgerCommit } from "./ledger.ts";
import { readOn, type ReadingParts } from "./reading.ts";
import type { Reopening } from "./reopening.ts";
import type { FollowState } from "./round.ts";

/** How much of the ledger is read by a round that may leave the rest: that takes about a millisecond. */
const GLANCE_BYTES = 64 * 1024;
/** As often in a row something may be left; then all of it is followed, so that whoever reads at last does not have to catch up with hours. */
const LEFT_BEHIND_MAX = 3;
/** A look at the ledger's end that is younger serves a read. */
const LOOK_MS = 1;

export interface FollowerParts extends ReadingParts {
  readonly reopening: Reopening;
}

/** Reads on from the state's position to the end of the ledger and applies what it finds, across generations. Called by steps, one at a time. */
export class Follower {
  readonly #context: EngineContext;
  readonly #parts: FollowerParts;
  /** What the last attempt to follow has failed with. */
  #failure: unknown = undefined;
  /** A vacuum of this instance is under way: its seal is not left for others to act on. */
  helpsAtOnce = false;
  /** monotonic() of the last time the end of the ledger was looked at. */
  #lastLook = -Infinity;
  /** Hasty rounds in a row that have left something. */
  #leftBehind = 0;

  constructor(context: EngineContext, parts: FollowerParts) {
    this.#context = context;
    this.#parts = parts;
  }

  /** The last attempt to follow failed: nothing is written before one succeeds. */
  get isAstray(): boolean {
    return this.#failure !== undefined;
  }

  /** What cannot be read of what comes next, on a ledger where nobody can go on behind it. */
  get damagedAhead(): readonly AddressRange[] {
    const { resolves, stopped } = this.#context;
    // What a commit that cannot be understood would have done, no later look tells.
    const isAhead = resolves && stopped === undefined && hasCode(this.#failure, "LedgerDamaged");
    return isAhead ? ((this.#failure as KVError).ranges ?? []) : [];
  }

  /** See `Engine.isBehind`. */
  isBehind(now: number, intervalMs: number): boolean {
    const age = now - this.#lastLook;
    const { session, environment, state } = this.#context;
    // Where timers may die, no poll can be relied upon.
    if (session.hasNews === undefined) return environment.isolated === true && age >= intervalMs;
    if (age < LOOK_MS) return false;
    const hasNews = session.hasNews(state.position);
    // Whoever finds some has read nothing of it yet: others who read until it was followed have to wait as well.
    if (!hasNews) this.#lastLook = now;
    return hasNews;
  }

  /** Applies everything up to the present end of the ledger, or as much as the round asks for. */
  async follow(verify: boolean, round: FollowState): Promise<void> {
    try {
      await this.#followToEnd(verify, round);
      this.#failure = undefined;
    } catch (error) {
      this.#failure = error;
      // Not every read tries again.
      this.#lastLook = this.#context.environment.monotonic();
      throw error;
    }
  }

  async #followToEnd(verify: boolean, round: FollowState): Promise<void> {
    const context = this.#context;
    const { environment, readBytes, pacer } = context;
    const { saving, reopening } = this.#parts;
    await reopening.first?.(round);
    if (context.stopped !== undefined) throw context.stopped;
    if (reopening.isMoved) await reopening.move(round);
    let asked: number;
    for (let check = verify; ; check = false) {
      if (reopening.hasLeft) await reopening.settleLeftBehind(round);
      if (reopening.isIndexDamaged) await reopening.rebuild(round);
      const now = context.state;
      asked = environment.monotonic();
      const bytes = round.haste === "leave" ? GLANCE_BYTES : readBytes.size;
      const meet = (commits: readonly LedgerCommit[]): MaybePromise<boolean> => this.#meetAll(now, commits);
      const result = await readOn(context, this.#parts, now, { bytes, verify: check, meet });
      if (result === undefined) continue;
      if (result.status === "moved") await reopening.move(round);
      else if (result.status === "sealed")
        // Reads go on, commits wait.
        return this.#sealed();
      else if (result.status === "end") break;
      else if (round.untilMet === true && context.queue.inFlight.size === 0) return;
      else if (round.haste !== undefined && (await this.#shorten(now, round))) return;
      if (pacer.due()) await context.own(pacer.rest());
    }
    this.#leftBehind = 0;
    this.#lastLook = asked;
    saving.followed();
  }

  /** False if the saved index turned out to be damaged: then the state is not to be used any more. */
  #meetAll(state: EngineState, commits: readonly LedgerCommit[]): MaybePromise<boolean> {
    const { applier, reopening } = this.#parts;
    const failed = (error: unknown): boolean => {
      // A value of one of them is kept no longer: the session says so, and there is a newer state to go on with.
      if (hasCode(error, "SnapshotExpired")) return false;
      if (!(error instanceof IndexDamaged)) throw error;
      reopening.indexDamaged();
      return false;
    };
    try {
      const met = applier.meetEach(state, commits);
      return isPromise(met) ? met.then(() => true, failed) : true;
    } catch (error) {
      return failed(error);
    }
  }

  /** There is more to follow, and haste: true if the round may end here. */
  async #shorten(now: EngineState, round: FollowState): Promise<boolean> {
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

  #sealed(): void {
    const { sealWait, ledger } = this.#context;
    if (sealWait === undefined)
      throw new KVError("UnsupportedTarget", `${ledger.name} is sealed, which this entry knows nothing of`);
    sealWait.sealed({ helpAtOnce: this.helpsAtOnce });
  }
}
