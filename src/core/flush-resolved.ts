import type { EngineContext } from "./engine-context.ts";
import { isPromise, type MaybePromise } from "./environment.ts";
import { KVError } from "./errors.ts";
import type { FlushParts } from "./flush.ts";
import { IndexDamaged } from "./held-run.ts";
import type { AppendResult } from "./ledger.ts";
import { type Outcome, resolveBatch } from "./outcomes.ts";
import type { Saving } from "./saving.ts";

/** A batch may be taken in part only, and resolved again and again. */
const BATCH = { bytesMax: 8 * 1024 * 1024, countMax: 4096 } as const;
/** Writing down the state takes longer than what one request to a store does. */
const KEEP_MS = 5000;

/**
 * As `Flush`, of a ledger whose authors resolve (compare-and-swap): what the commits come to is found out against the state that the append goes
 * behind, and holds if nobody else was first. The state does not change between the two, for this is the step under way.
 */
export class FlushResolved {
  readonly #context: EngineContext;
  readonly #parts: FlushParts & { readonly saving: Saving };

  constructor(context: EngineContext, parts: FlushParts & { readonly saving: Saving }) {
    this.#context = context;
    this.#parts = parts;
  }

  async flush(): Promise<void> {
    const context = this.#context;
    const { queue, turn } = context;
    const { ownCommits, saving, reopening, afterAppend } = this.#parts;
    const kept = saving.isFirst ? saving.keep() : undefined;
    if (isPromise(kept)) {
      turn?.allow(KEEP_MS);
      await context.own(kept);
      turn?.end();
    }
    const { state } = context;
    ownCommits.inFlight(queue.take(BATCH));
    let outcomes: Outcome[];
    let result: AppendResult;
    try {
      const { payloadBytesMax } = context.session;
      const { crc32 } = context.environment;
      const resolved = resolveBatch([...queue.inFlight.values()], state.replica, { crc32, payloadBytesMax });
      outcomes = isPromise(resolved) ? await context.own(resolved) : resolved;
      // Given up meanwhile.
      if (queue.inFlight.size === 0) return;
      ownCommits.noteUnwritten(outcomes);
      const written = outcomes.flatMap((outcome) => outcome.written?.record ?? []);
      if (written.length > 0) context.counts.batches++;
      const appended = context.session.append(written, state.position);
      result = isPromise(appended) ? await context.own(appended) : appended;
    } catch (error) {
      ownCommits.forgetUnwritten();
      if (!(error instanceof IndexDamaged)) return ownCommits.appendFailed(queue.takeInFlight(), error);
      reopening.indexDamaged();
      return afterAppend.behind(queue.takeInFlight());
    }
    const batch = queue.takeInFlight();
    if (batch.length > 0 && result.status === "read-on") return this.#readOn(outcomes, result.error);
    ownCommits.forgetUnwritten();
    if (batch.length === 0) return;
    if (result.status === "appended") await this.#appended(outcomes, result);
    else await afterAppend.behind(batch);
  }

  /** Settles what was appended, and what comes to nothing before the last of it. The rest is resolved again. */
  #appended(
    outcomes: readonly Outcome[],
    { versions, places, next }: Extract<AppendResult, { status: "appended" }>,
  ): MaybePromise<void> {
    const { state, queue, options, ledger } = this.#context;
    const { applier, ownCommits, afterAppend } = this.#parts;
    const written = outcomes.flatMap((outcome, i) => (outcome.written === undefined ? [] : i));
    if (written.length > 0 && versions.length === 0) {
      const message = `${ledger.name} took nothing and was not behind`;
      const batch = outcomes.map(({ pending }) => pending);
      return ownCommits.appendFailed(batch, new KVError("InputOutput", message));
    }
    const settled = written.length === 0 ? outcomes.length : written[versions.length - 1] + 1;
    // Before anybody is told anything: what is called in answer comes behind these.
    queue.putBack(outcomes.slice(settled).map(({ pending }) => pending));
    let at = 0;
    for (const outcome of outcomes.slice(0, settled)) {
      if (outcome.written === undefined) {
        ownCommits.settleUnwritten(outcome);
      } else {
        const commit = options.index ? outcome.written.commit : undefined;
        ownCommits.horizons.meet(outcome.pending.counter, state);
        // What is plain needs nothing that would have to arrive.
        void applier.apply(state, outcome.written.record, commit, versions[at], places[at]);
        ownCommits.settle(outcome.pending, "applied", versions[at++]);
      }
    }
    return afterAppend.end(state, next);
  }

  async #readOn(outcomes: readonly Outcome[], error: unknown): Promise<void> {
    const { ownCommits, afterAppend } = this.#parts;
    const written = outcomes.filter((outcome) => outcome.written !== undefined);
    const unwritten = outcomes.filter((outcome) => outcome.written === undefined).map(({ pending }) => pending);
    await afterAppend.readOn(
      written.map(({ pending }) => pending),
      error,
    );
    ownCommits.forgetUnwritten();
    this.#context.queue.putBack(unwritten.filter(({ released }) => !released));
  }
}
