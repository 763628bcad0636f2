import type { Met } from "./applier.ts";
import { keepingBytes } from "./block-cache.ts";
import { isPlain } from "./commit.ts";
import type { EngineContext } from "./engine-context.ts";
import { EngineState } from "./engine-state.ts";
import { isPromise } from "./environment.ts";
import { hasCode, KVError, unknownOutcome } from "./errors.ts";
import { IndexDamaged } from "./held-run.ts";
import { readToSeal } from "./left-behind.ts";
import type { LedgerCommit, Position } from "./ledger.ts";
import type { OwnCommits } from "./own-commits.ts";
import { readOn, type ReadingParts } from "./reading.ts";
import type { FollowState } from "./round.ts";

export interface ReopeningParts extends ReadingParts {
  readonly ownCommits: OwnCommits;
}

/**
 * What takes the place of a state that cannot be gone on with: because the ledger was replaced, by its next generation or by something else, or
 * because the saved index is damaged. Until there is another state, reads go on with the old one. All of it happens within a round.
 */
export class Reopening {
  readonly #context: EngineContext;
  readonly #parts: ReopeningParts;
  #isMoved = false;
  /** What the next round does first: a repair of this instance looks for a seal, to which the way leads through what is damaged. */
  first: ((round: FollowState) => Promise<void>) | undefined;
  #isIndexDamaged = false;
  /** A generation that was left with commits in flight: what became of them is found out before anything else is read or written. */
  #left: Pick<EngineState, "source" | "position"> | undefined;

  constructor(context: EngineContext, parts: ReopeningParts) {
    this.#context = context;
    this.#parts = parts;
  }

  /** What was read is not, or no longer, what lies at the ledger's place: nothing is read or written before it was reopened. */
  get isMoved(): boolean {
    return this.#isMoved;
  }

  /** A run of the saved index could not be read: the state is to be built anew before anything else. */
  get isIndexDamaged(): boolean {
    return this.#isIndexDamaged;
  }

  /** May be said at any time, and is acted upon by the next round. */
  indexDamaged(): void {
    this.#isIndexDamaged = true;
  }

  // --- a ledger that was replaced ----------------------------------------------------------------------------------

  async move(round: FollowState): Promise<void> {
    this.#isMoved = true;
    // Reads go on from the old state until there is another.
    const unpin = this.#context.session.pin?.();
    try {
      await this.#moveOn(round);
    } finally {
      unpin?.();
    }
  }

  async #moveOn(round: FollowState): Promise<void> {
    const context = this.#context;
    const { ownCommits } = this.#parts;
    const reopened = context.session.reopen(context.state.position);
    const result = isPromise(reopened) ? await context.own(reopened) : reopened;
    if (result.status === "continued" && context.damage.length === 0 && !context.state.hasLost) {
      const continued = context.state.continued(result.position);
      if (isPromise(continued)) await context.own(continued);
      context.sealWait?.over();
      this.#isMoved = false;
      round.invalidated = true;
      ownCommits.tryAgain(round.error);
      return;
    }
    // Behind damage, and behind what is lost, the state may not be what the others go on with: the snapshot says what that is.
    if (result.status === "continued" || result.ownCommits === "not committed") ownCommits.tryAgain(round.error);
    else ownCommits.giveUp(`${context.ledger.name} was replaced by something else`);
    await this.#reload();
    this.#isMoved = false;
    round.invalidated = true;
  }

  // --- a saved index that is damaged -------------------------------------------------------------------------------

  /** Builds the state anew because the saved index is damaged. */
  async rebuild(round: FollowState): Promise<void> {
    const context = this.#context;
    const nonce = context.identity?.nonce;
    // Nothing of it is to be published any more.
    context.state.checkpointer?.abandon();
    context.state.keeper?.abandon();
    await this.#reload({ load: false });
    this.#isIndexDamaged = false;
    context.counts.rebuilds++;
    // Where the ledger keeps the state, what was kept before is gone.
    if (context.session.openState !== undefined || context.identity?.nonce !== nonce) round.invalidated = true;
    await this.settleLeftBehind(round);
  }

  /** There are commits whose fate `settleLeftBehind` is to find out. */
  get hasLeft(): boolean {
    return this.#left !== undefined;
  }

  /**
   * Looks for own commits in a generation that was left, in whatever step: the one that has left it may have been taken over before. What is not found there, and
   * is not certain never to be there, is nobody's to append again: it may be in the state that came next.
   */
  async settleLeftBehind(round: FollowState): Promise<void> {
    const context = this.#context;
    const { queue, ledger } = context;
    const { ownCommits } = this.#parts;
    const left = this.#left;
    if (left === undefined) return;
    const { session } = left.source;
    let cause: unknown;
    let isOver = queue.inFlight.size === 0;
    if (!isOver && session.identity?.ledgerId === context.identity?.ledgerId) {
      session.abandon?.();
      const own = <T>(promise: Promise<T>): Promise<T> => context.own(promise);
      try {
        const last = await readToSeal({ session, position: left.position, own }, (commit) => this.#metLeft(commit));
        // Of an incarnation that is still the present one, the end is as far as anybody has come.
        isOver = last === "over" || (last === "end" && session.identity?.nonce === context.identity?.nonce);
      } catch (error) {
        cause = error;
      }
    }
    this.#left = undefined;
    left.source.unpin();
    if (isOver) ownCommits.tryAgain(round.error);
    else ownCommits.giveUp(`What became of the commit in ${ledger.name} cannot be told any more`, cause);
  }

  #metLeft(commit: LedgerCommit): void {
    const { queue, ledger, resolves } = this.#context;
    const { ownCommits } = this.#parts;
    const own = ownCommits.find(commit);
    // It is there, and without a state only what can do one thing alone tells what it did; or its author has found out before.
    if (own !== undefined && (resolves || isPlain(own.commit)))
      return ownCommits.settle(own, "applied", commit.version);
    if (own === undefined) return;
    queue.inFlight.delete(own.counter);
    queue.reject([own], unknownOutcome(`What the commit did in ${ledger.name} cannot be told any more`));
  }

  // --- a state built anew ------------------------------------------------------------------------------------------

  /** Builds the state anew from whatever is at the ledger's place now. Until that is done, reads see the old state. */
  async #reload(options: { readonly load: boolean } = { load: true }): Promise<void> {
    const context = this.#context;
    const { ledger, environment } = context;
    const { ownCommits, applier } = this.#parts;
    const old = context.state;
    const opening = ledger.open({
      createIfMissing: false,
      readOnly: context.options.readOnly,
      allowNetworkFileSystem: context.options.allowNetworkFileSystem,
      environment,
      ...keepingBytes(context.options.cache),
    });
    const session = await context.own(opening);
    const sameLedger = session.identity?.ledgerId === old.source.session.identity?.ledgerId;
    applier.startAnew({ countedTo: sameLedger ? old.replica.version : undefined });
    const met: Met[] = [];
    let state: EngineState | undefined;
    let from = Infinity;
    try {
      state = await context.own(EngineState.begin(session, context.stateOptions, options));
      from = state.position;
      await this.#build(state, met);
    } catch (error) {
      if (state === undefined) await session.close();
      else state.retire();
      if (error instanceof IndexDamaged && options.load) return this.#reload({ load: false });
      throw error;
    }
    if (!sameLedger) {
      const message = `${ledger.name} was replaced by another ledger`;
      context.queue.rejectWaiting(new KVError("LedgerMissing", message, { outcome: "not committed" }));
    }
    const before = old.freeze();
    context.state = state;
    applier.endAnew();
    context.sealWait?.over();
    context.counts.reloads++;
    for (const { own, verdict, version } of met) ownCommits.settle(own, verdict, version);
    this.#leave(old, from);
    old.retire();
    try {
      await context.own(context.listener.reloaded(before, sameLedger));
    } finally {
      before.release();
    }
  }

  /** What is in flight was appended there, and was not met in what came next, if that begins `from` further on. Noted together with the state that takes its place. */
  #leave({ source, position }: EngineState, from: Position): void {
    const { queue, identity } = this.#context;
    const isMet = source.session.identity?.nonce === identity?.nonce && from <= position;
    if (queue.inFlight.size === 0 || this.#left !== undefined || isMet) return;
    source.pin();
    this.#left = { source, position };
  }

  /** Reads a state's session to its present end; or to where nobody can read on, which is what an open would begin with: following says what is wrong. */
  async #build(state: EngineState, met: Met[]): Promise<void> {
    try {
      await this.#readToEnd(state, met);
    } catch (error) {
      const { resolves, stopped } = this.#context;
      if (!resolves || stopped !== undefined || !hasCode(error, "LedgerDamaged")) throw error;
    }
  }

  async #readToEnd(state: EngineState, met: Met[]): Promise<void> {
    const context = this.#context;
    const meet = async (commits: readonly LedgerCommit[]): Promise<boolean> => {
      await this.#parts.applier.meetEach(state, commits, met);
      return true;
    };
    for (;;) {
      const result = await readOn(context, this.#parts, state, { bytes: context.readBytes.size, verify: false, meet });
      if (result?.status !== "more") return;
      if (context.pacer.due()) await context.own(context.pacer.rest());
    }
  }
}
