import type { AfterAppend } from "./after-append.ts";
import type { Applier } from "./applier.ts";
import type { PendingCommit, Verdict } from "./commit-queue.ts";
import type { EngineContext } from "./engine-context.ts";
import { isPromise, type MaybePromise } from "./environment.ts";
import { asKVError, unknownOutcome } from "./errors.ts";
import { IndexDamaged } from "./held-run.ts";
import type { AppendResult } from "./ledger.ts";
import type { OwnCommits } from "./own-commits.ts";
import type { Reopening } from "./reopening.ts";

/** Payload bytes of one batch. A single larger commit goes alone. */
const BATCH_BYTES_MAX = 16 * 1024 * 1024;

export interface FlushParts {
  readonly ownCommits: OwnCommits;
  readonly applier: Applier;
  readonly reopening: Reopening;
  readonly afterAppend: AfterAppend;
}

/**
 * Appends a batch of what waits, and applies it when its place in the order is known. A step of its own: from the append to the last commit applied
 * nothing else is, and what is awaited in between leaves the rest of the batch in flight, or to be read again.
 */
export class Flush {
  readonly #context: EngineContext;
  readonly #parts: FlushParts;

  constructor(context: EngineContext, parts: FlushParts) {
    this.#context = context;
    this.#parts = parts;
  }

  flush(): MaybePromise<void> {
    const context = this.#context;
    const { queue, batchCommits, environment } = context;
    const { ownCommits } = this.#parts;
    const batch = queue.take({ bytesMax: BATCH_BYTES_MAX, countMax: batchCommits.size });
    const isFull = batch.length === batchCommits.size;
    const began = isFull ? environment.monotonic() : 0;
    let result: MaybePromise<AppendResult>;
    try {
      result = context.session.append(batch, context.state.position);
    } catch (error) {
      return ownCommits.appendFailed(batch, error);
    }
    context.counts.batches++;
    if ("status" in result) {
      const applied = this.#appended(batch, result);
      if (isFull && !isPromise(applied)) batchCommits.took(environment.monotonic() - began);
      return applied;
    }
    ownCommits.inFlight(batch);
    return context.own(result).then(
      (settled) => this.#appended(queue.takeInFlight(), settled),
      (error: unknown) => ownCommits.appendFailed(queue.takeInFlight(), error),
    );
  }

  #appended(batch: readonly PendingCommit[], result: AppendResult): MaybePromise<void> {
    const { applier, ownCommits, reopening, afterAppend } = this.#parts;
    // Given up meanwhile: nobody asks any more.
    if (batch.length === 0) return undefined;
    if (result.status === "read-on") return afterAppend.readOn(batch, result.error);
    if (result.status === "behind") return afterAppend.behind(batch);
    const { state, options } = this.#context;
    for (let i = 0; i < batch.length; i++) {
      const pending = batch[i];
      const version = result.versions[i];
      try {
        ownCommits.horizons.meet(pending.counter, state);
        const commit = options.index ? pending.commit : undefined;
        const verdict = applier.apply(state, pending, commit, version, result.places[i]);
        if (isPromise(verdict)) return this.#appendedLate(batch.slice(i), result, verdict, i);
        ownCommits.settle(pending, verdict, version);
      } catch (error) {
        if (!(error instanceof IndexDamaged)) return this.#stopAt(batch.slice(i), error);
        reopening.indexDamaged();
        return afterAppend.readOn(batch.slice(i), undefined);
      }
    }
    return afterAppend.end(state, result.next);
  }

  /** What the first of these commits does depends on what has yet to arrive. */
  async #appendedLate(
    batch: readonly PendingCommit[],
    { versions, places, next }: Extract<AppendResult, { status: "appended" }>,
    first: Promise<Verdict>,
    offset: number,
  ): Promise<void> {
    const { applier, ownCommits, reopening, afterAppend } = this.#parts;
    const { state } = this.#context;
    let i = 0;
    try {
      for (; i < batch.length; i++) {
        const pending = batch[i];
        const version = versions[offset + i];
        ownCommits.horizons.meet(pending.counter, state);
        // It was the index that had to be waited for.
        const verdict = i === 0 ? first : applier.apply(state, pending, pending.commit, version, places[offset + i]);
        ownCommits.settle(pending, isPromise(verdict) ? await verdict : verdict, version);
      }
    } catch (error) {
      // Nothing is known yet of those that are left: following finds them again.
      if (error instanceof IndexDamaged) reopening.indexDamaged();
      else state.metTo = state.replica.version;
      return afterAppend.readOn(batch.slice(i), undefined);
    }
    await afterAppend.end(state, next);
  }

  /** These commits are in the ledger, and nobody here can tell what the first of them does. */
  #stopAt(batch: readonly PendingCommit[], cause: unknown): void {
    const context = this.#context;
    const stopped = asKVError(cause);
    context.stopped = stopped;
    context.queue.reject(batch, unknownOutcome(stopped.message, cause));
    context.queue.rejectWaiting(stopped);
    context.listener.problem(stopped);
  }
}
