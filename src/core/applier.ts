import type { PendingCommit, Verdict } from "./commit-queue.ts";
import { type Commit, decodeCommit } from "./commit.ts";
import type { EngineContext } from "./engine-context.ts";
import type { EngineState } from "./engine-state.ts";
import { isPromise, type MaybePromise } from "./environment.ts";
import { asKVError } from "./errors.ts";
import { IndexDamaged } from "./held-run.ts";
import type { CommitRecord, LedgerCommit } from "./ledger.ts";
import type { OwnCommits } from "./own-commits.ts";
import type { CommitPlace, Resolution } from "./resolve.ts";
import { resolveLoaded } from "./resolve-loaded.ts";

/** An own commit met in a state that is not in use yet. */
export interface Met {
  readonly own: PendingCommit;
  readonly verdict: Verdict;
  readonly version: number;
}

/**
 * Applies commits to a state in the order of the ledger, own and foreign ones alike. Where what a commit does depends on what has yet to arrive, those
 * behind it wait: the caller awaits what is returned before it applies another one.
 */
export class Applier {
  readonly #context: EngineContext;
  readonly ownCommits: OwnCommits;
  /** Commits up to this version that a state being built anew meets were counted before. */
  #countedTo = 0;

  constructor(context: EngineContext, ownCommits: OwnCommits) {
    this.#context = context;
    this.ownCommits = ownCommits;
  }

  /** A state is being built anew. What its ledger has up to this version was counted; undefined if it is another ledger. */
  startAnew({ countedTo }: { readonly countedTo: number | undefined }): void {
    this.#countedTo = countedTo === undefined ? 0 : Math.max(this.#countedTo, countedTo);
  }

  /** It is the one in use now. */
  endAnew(): void {
    this.#countedTo = 0;
  }

  // --- what is read ------------------------------------------------------------------------------------------------

  /** `met`: takes own commits, whose fate is told once the state is the one in use. */
  meetEach(state: EngineState, commits: readonly LedgerCommit[], met?: Met[]): MaybePromise<void> {
    for (let i = 0; i < commits.length; i++) {
      const meeting = this.#meet(state, commits[i], met);
      if (isPromise(meeting)) return this.#meetRest(meeting, state, commits.slice(i + 1), met);
    }
    return undefined;
  }

  async #meetRest(
    meeting: Promise<void>,
    state: EngineState,
    rest: readonly LedgerCommit[],
    met?: Met[],
  ): Promise<void> {
    try {
      await meeting;
      for (const commit of rest) {
        const next = this.#meet(state, commit, met);
        if (isPromise(next)) await next;
      }
    } catch (error) {
      // What was read is read again, and the first commits of it have been applied.
      state.metTo = state.replica.version;
      throw error;
    }
  }

  #meet(state: EngineState, commit: LedgerCommit, met?: Met[]): MaybePromise<void> {
    if (commit.version <= state.metTo) return undefined;
    const context = this.#context;
    const own = this.ownCommits.find(commit);
    const told = (verdict: Verdict): void => {
      if (own === undefined) return;
      if (met === undefined) this.ownCommits.settle(own, verdict, commit.version);
      else met.push({ own, verdict, version: commit.version });
    };
    if (own !== undefined) this.ownCommits.horizons.meet(own.counter, state);
    try {
      // What an author has resolved is another commit than the one that was asked for.
      const known = context.resolves ? undefined : own?.commit;
      const decoded = context.options.index ? (known ?? decodeCommit(commit.payload)) : undefined;
      const whole = commit.isPartial === true && !context.listener.isIdle() ? complete(state, commit) : commit;
      const verdict = isPromise(whole)
        ? context.own(whole).then((record) => this.apply(state, record, decoded, commit.version, commit.place))
        : this.apply(state, whole, decoded, commit.version, commit.place);
      return isPromise(verdict) ? verdict.then(told) : told(verdict);
    } catch (error) {
      if (error instanceof IndexDamaged) throw error;
      // Whoever cannot tell what a commit does stops before it for good, and never guesses.
      const stopped = asKVError(error);
      context.stopped = stopped;
      throw stopped;
    }
  }

  // --- one commit --------------------------------------------------------------------------------------------------

  /** `commit` is undefined where no state is kept. */
  apply(
    state: EngineState,
    record: CommitRecord,
    commit: Commit | undefined,
    version: number,
    place: number,
  ): MaybePromise<Verdict> {
    const context = this.#context;
    const { replica, checkpointer } = state;
    if (commit === undefined) {
      if (this.counts(state, version)) context.counts.commits++;
      replica.version = version;
      return "applied";
    }
    const at = { version, timestamp: record.timestamp, place };
    // As a rule there is nothing to resolve, and nobody to tell of it.
    if (context.listener.isIdle() && replica.applyPlain(commit, at)) {
      if (this.counts(state, version)) context.counts.commits++;
      checkpointer?.count(commit.operations.length, record.payload.length);
      return "applied";
    }
    const resolution = resolveLoaded(commit, at, replica);
    return isPromise(resolution)
      ? context.own(resolution).then((arrived) => this.#take(state, record, commit, at, arrived))
      : this.#take(state, record, commit, at, resolution);
  }

  #take(state: EngineState, record: CommitRecord, commit: Commit, at: CommitPlace, resolution: Resolution): Verdict {
    const { counts, listener, state: inUse } = this.#context;
    const { replica, checkpointer } = state;
    const isCounted = this.counts(state, at.version);
    if (isCounted) counts.commits++;
    checkpointer?.count(commit.operations.length, record.payload.length);
    if (resolution.verdict === "applied") {
      replica.apply(at.version, resolution.changes);
      if (state === inUse) listener.applied(record, at.version, resolution.changes);
    } else {
      if (isCounted) counts.voidCommits++;
      replica.version = at.version;
      replica.voidVersions.add(at.version);
    }
    return resolution.verdict;
  }

  /** Whether a commit is to be counted: once, however often the state is built anew. */
  counts(state: EngineState, version: number): boolean {
    if (state === this.#context.state) return true;
    if (version <= this.#countedTo) return false;
    this.#countedTo = version;
    return true;
  }
}

/** The commit with all its values: whoever watches is told them. */
async function complete({ source }: EngineState, commit: LedgerCommit): Promise<LedgerCommit> {
  return { ...commit, payload: (await source.session.complete?.(commit)) ?? commit.payload };
}
