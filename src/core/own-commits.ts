import { equalBytes } from "./bytes.ts";
import { PendingCommit, type Verdict } from "./commit-queue.ts";
import type { Commit } from "./commit.ts";
import type { EngineContext } from "./engine-context.ts";
import { KVError, unknownOutcome } from "./errors.ts";
import { Horizon } from "./horizon.ts";
import type { LedgerCommit } from "./ledger.ts";
import type { Outcome } from "./outcomes.ts";

/** The latest own commits that are known as such. */
const OWN_VERSIONS = 4096;

/**
 * The commits of this instance: how they are known in the ledger, and what their authors are told. Nobody is told anything before it is certain: what
 * was appended is applied first, and what nobody can find out is said to be unknown.
 */
export class OwnCommits {
  readonly #context: EngineContext;
  readonly #writer: Uint8Array;
  #counter = 0;
  /** Those of reads that wait: before an own commit is applied, it meets them. */
  readonly horizons = new Horizon();
  /** The outcomes, void or empty, of commits that stand before one in flight and are settled with it. */
  readonly #before = new Map<PendingCommit, readonly Outcome[]>();
  /** The latest own commits, for transactions to know to whom they lost. */
  readonly #versions = new Float64Array(OWN_VERSIONS);
  #count = 0;

  constructor(context: EngineContext) {
    this.#context = context;
    this.#writer = context.environment.randomBytes(12);
  }

  // --- how they are known ------------------------------------------------------------------------------------------

  /** The number of the next commit. */
  nextNumber(): number {
    return ++this.#counter;
  }

  /** For a read that is called now. */
  horizon(): Horizon {
    return new Horizon(this.#counter, this.horizons);
  }

  /** A commit of this number, from now on. */
  begin(
    number: number,
    payload: Uint8Array,
    commit: Commit,
    settled: (verdict: Verdict, version: number) => void,
    rejected: (error: unknown) => void,
  ): PendingCommit {
    const timestamp = this.#context.environment.now();
    return new PendingCommit(this.#writer, number, timestamp, payload, commit, settled, rejected);
  }

  /** Keeps the next numbers for commits that come later, and before all others. */
  keepNumbers(count: number): void {
    this.#counter += count;
  }

  /** The commit in flight that was met here; undefined if it is somebody else's, or of nobody who waits. */
  find(commit: Pick<LedgerCommit, "writer" | "counter">): PendingCommit | undefined {
    const { inFlight } = this.#context.queue;
    if (inFlight.size === 0) return undefined;
    const own = inFlight.get(commit.counter);
    if (own === undefined || !equalBytes(commit.writer, this.#writer)) return undefined;
    return own;
  }

  /** True if the commit with this version was made here, as far as is remembered. */
  isOwn(version: number): boolean {
    return this.#versions.includes(version);
  }

  // --- what was appended -------------------------------------------------------------------------------------------

  /** They may be in the ledger from now on: whoever meets them there settles them. */
  inFlight(batch: readonly PendingCommit[]): void {
    const { inFlight } = this.#context.queue;
    for (const pending of batch) inFlight.set(pending.counter, pending);
  }

  /** The commit was met in the ledger and did this. */
  settle(own: PendingCommit, verdict: Verdict, version: number): void {
    const { queue, damage, ledger, state } = this.#context;
    state.checkpointer?.countOwn(own.commit.operations.length);
    if (this.#before.size > 0) for (const outcome of this.#before.get(own) ?? []) this.settleUnwritten(outcome);
    queue.inFlight.delete(own.counter);
    queue.release(own);
    this.#versions[this.#count++ % OWN_VERSIONS] = version;
    if (damage.some(({ from }) => from < version))
      own.reject(unknownOutcome(`The commit lies behind damage in ${ledger.name}`));
    else own.settle(verdict, version);
  }

  // --- what was resolved to nothing --------------------------------------------------------------------------------

  /**
   * If a commit is met in the ledger, its batch was appended directly behind the position: then what was found still holds, also of those before it
   * that come to nothing.
   */
  noteUnwritten(outcomes: readonly Outcome[]): void {
    let unwritten: Outcome[] = [];
    for (const outcome of outcomes) {
      if (outcome.written === undefined) {
        unwritten.push(outcome);
      } else {
        if (unwritten.length > 0) this.#before.set(outcome.pending, unwritten);
        unwritten = [];
      }
    }
  }

  /** It is to be found out anew. */
  forgetUnwritten(): void {
    this.#before.clear();
  }

  settleUnwritten({ pending, verdict, failure }: Outcome): void {
    const { queue, state } = this.#context;
    queue.inFlight.delete(pending.counter);
    queue.release(pending);
    if (failure === undefined) pending.settle(verdict, state.replica.version);
    else pending.reject(failure);
  }

  // --- what was not met --------------------------------------------------------------------------------------------

  /** Nothing of the batch was appended, or nobody can know. What waits behind it goes with it, so that order holds. */
  appendFailed(batch: readonly PendingCommit[], cause: unknown): void {
    const { queue } = this.#context;
    const outcome = cause instanceof KVError && cause.outcome === "unknown" ? "unknown" : "not committed";
    const code = cause instanceof KVError ? cause.code : "InputOutput";
    const message = cause instanceof Error ? cause.message : String(cause);
    const error =
      outcome === "unknown" ? unknownOutcome(message, cause) : new KVError(code, message, { cause, outcome });
    queue.reject(batch, error);
    queue.rejectWaiting(error);
  }

  /** What was appended, not met, and is certain not to be in what was read, is appended again, before everything that waits. */
  tryAgain(error: unknown): void {
    const { queue } = this.#context;
    const unmet = queue.takeInFlight();
    if (error === undefined) queue.putBack(unmet);
    else if (unmet.length > 0) this.appendFailed(unmet, error);
  }

  /** The ledger was read to its end: what is in flight still is not there. `error`: what kept some of it from being appended. */
  settleUnmet(error: unknown): void {
    const { queue, sealWait, isSealed, ledger } = this.#context;
    const unmet = queue.takeInFlight();
    if (unmet.length === 0) return;
    if (error !== undefined) {
      this.appendFailed(unmet, error);
    } else if (isSealed) {
      queue.putBack(unmet);
      sealWait?.commitsWait();
    } else {
      queue.reject(unmet, unknownOutcome(`The commit was written to ${ledger.name} and is not to be found there`));
    }
  }

  /** Nobody can find out any more what became of the commits in flight. */
  giveUp(message: string, cause?: unknown): void {
    const { queue } = this.#context;
    queue.reject(queue.takeInFlight(), unknownOutcome(message, cause));
  }
}
