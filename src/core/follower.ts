import type { EngineContext } from "./engine-context.ts";
import type { EngineState } from "./engine-state.ts";
import { isPromise, type MaybePromise } from "./environment.ts";
import { type AddressRange, hasCode, KVError } from "./errors.ts";
import type { Haste } from "./haste.ts";
import { IndexDamaged } from "./held-run.ts";
import type { LedgerCommit } from "./ledger.ts";
import { readOn, type ReadingParts } from "./reading.ts";
import type { Reopening } from "./reopening.ts";
import type { FollowState } from "./round.ts";

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
  readonly #haste: Haste | undefined;

  constructor(context: EngineContext, parts: FollowerParts) {
    this.#context = context;
    this.#parts = parts;
    const { fileWork } = context.options;
    this.#haste = fileWork && new fileWork.Haste(context);
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
      const bytes = this.#haste?.bytes(round) ?? readBytes.size;
      const meet = (commits: readonly LedgerCommit[]): MaybePromise<boolean> => this.#meetAll(now, commits);
      const result = await readOn(context, this.#parts, now, { bytes, verify: check, meet });
      if (result === undefined) continue;
      if (result.status === "moved") await reopening.move(round);
      else if (result.status === "sealed")
        // Reads go on, commits wait.
        return this.#sealed();
      else if (result.status === "end") break;
      else if (round.untilMet === true && context.queue.inFlight.size === 0) return;
      else if (round.haste !== undefined && (await this.#haste?.mayEnd(now, round)) === true) return;
      if (pacer.due()) await context.own(pacer.rest());
    }
    this.#haste?.ended();
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

  #sealed(): void {
    const { sealWait, ledger } = this.#context;
    if (sealWait === undefined)
      throw new KVError("UnsupportedTarget", `${ledger.name} is sealed, which this entry knows nothing of`);
    sealWait.sealed({ helpAtOnce: this.helpsAtOnce });
  }
}
