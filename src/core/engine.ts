import { AfterAppend } from "./after-append.ts";
import { Applier } from "./applier.ts";
import type { CommitQueue, PendingCommit, Verdict } from "./commit-queue.ts";
import { type Commit, isPlain } from "./commit.ts";
import { EngineContext, type EngineListener, type EngineOptions } from "./engine-context.ts";
import { EngineLoop } from "./engine-loop.ts";
import { EngineState, type EngineStateOptions } from "./engine-state.ts";
import type { Environment } from "./environment.ts";
import { type AddressRange, KVError } from "./errors.ts";
import { FlushResolved } from "./flush-resolved.ts";
import { Flush } from "./flush.ts";
import { Follower } from "./follower.ts";
import type { Horizon } from "./horizon.ts";
import type { KeptPlaces } from "./kept-places.ts";
import type { Ledger, LedgerIdentity, LedgerNotice, LedgerSession } from "./ledger.ts";
import type { NextGeneration } from "./next-generation.ts";
import { Notices } from "./notices.ts";
import { OwnCommits } from "./own-commits.ts";
import { Reopening } from "./reopening.ts";
import type { Pacer } from "./pacer.ts";
import type { Replica } from "./replica.ts";
import type { Round, RoundWish } from "./round.ts";
import { Saving } from "./saving.ts";
import type { Snapshot, Source } from "./source.ts";
import type { CompactOptions } from "./state-keeper.ts";
import type { Waits } from "./waits.ts";

/**
 * What writes and follows the ledger for an instance: takes commits into the queue, appends them, follows the ledger, applies what it finds, and tells
 * each author the fate of its commit. This is its face; each part is a file of its own, and which of them does something when is said by the loop
 * (`engine-loop.ts`).
 */
export class Engine {
  readonly #context: EngineContext;
  readonly #loop: EngineLoop;
  readonly #ownCommits: OwnCommits;
  readonly #notices: Notices;
  readonly #follower: Follower;
  readonly #reopening: Reopening;
  readonly #nextGeneration: NextGeneration | undefined;
  /** Undefined where none can be kept. */
  readonly places: KeptPlaces | undefined;

  constructor(
    ledger: Ledger,
    session: LedgerSession,
    environment: Environment,
    options: EngineOptions,
    listener: EngineListener,
    pacer: Pacer,
  ) {
    const context = new EngineContext({ ledger, environment, options, listener, pacer }, session, {
      // A failure is met, and told of, by the next poll, and ends what waits for a seal.
      look: () => void this.#look().catch((error: unknown) => context.sealWait?.lookFailed(error)),
      rebuild: () => void this.rebuild().catch(() => undefined),
    });
    const notices = new Notices(context);
    const saving = new Saving(context);
    const ownCommits = new OwnCommits(context);
    const applier = new Applier(context, ownCommits);
    const reopening = new Reopening(context, { ownCommits, applier, notices, saving });
    const follower = new Follower(context, { applier, notices, saving, reopening });
    const afterAppend = new AfterAppend(context, { ownCommits, saving, follower });
    const parts = { ownCommits, applier, reopening, afterAppend, saving };
    const flusher = context.resolves ? new FlushResolved(context, parts) : new Flush(context, parts);
    const loop = new EngineLoop(context, { ownCommits, follower, flusher });
    this.#context = context;
    this.#loop = loop;
    this.#ownCommits = ownCommits;
    this.#notices = notices;
    this.#follower = follower;
    this.#reopening = reopening;
    const { fileWork } = options;
    if (fileWork === undefined) return;
    this.#nextGeneration = new fileWork.NextGeneration(context, { follower, reopening, loop });
    if (context.waits === undefined) this.places = new fileWork.KeptPlaces(context, ownCommits, loop);
  }

  // --- what there is -----------------------------------------------------------------------------------------------

  get queue(): CommitQueue {
    return this.#context.queue;
  }

  /** Where several requests share the instance: how each of them waits, and does steps meanwhile. */
  get waits(): Waits | undefined {
    return this.#context.waits;
  }

  get counts(): Readonly<EngineContext["counts"]> {
    return this.#context.counts;
  }

  get session(): LedgerSession {
    return this.#context.session;
  }

  get source(): Source {
    return this.#context.state.source;
  }

  get replica(): Replica {
    return this.#context.state.replica;
  }

  /** The state at the visible version, until released. */
  freeze(): Snapshot {
    return this.#context.state.freeze();
  }

  /** Of a read that is called now and has to wait. */
  horizon(): Horizon {
    return this.#ownCommits.horizon();
  }

  get identity(): LedgerIdentity | undefined {
    return this.#context.identity;
  }

  /** What was found damaged so far, and what keeps the rest from being followed. */
  get damage(): readonly AddressRange[] {
    return [...this.#context.damage, ...this.#follower.damagedAhead];
  }

  /** Where the commits end that have been applied. */
  get position(): number {
    return this.#context.state.position;
  }

  get isReadOnly(): boolean {
    return this.#context.options.readOnly;
  }

  /** True if the commit with this version was made here, as far as is remembered. */
  isOwn(version: number): boolean {
    return this.#ownCommits.isOwn(version);
  }

  /** Why nothing can be written now, if so. */
  refusal(): KVError | undefined {
    return this.#context.refusal();
  }

  // --- writing -----------------------------------------------------------------------------------------------------

  /**
   * Takes a commit into the queue. Throws what keeps it from being written (not committed). The payload must not change any more.
   */
  enqueue(
    payload: Uint8Array,
    commit: Commit,
    settled: (verdict: Verdict, version: number) => void,
    rejected: (error: unknown) => void,
  ): PendingCommit {
    const { queue, session, options, ledger, resolves, sealWait } = this.#context;
    const refusal = this.refusal();
    if (refusal !== undefined) throw refusal;
    // Otherwise it is what the commit comes to that must not be larger.
    const goesAsItIs = !resolves || isPlain(commit);
    if (goesAsItIs && payload.length > session.payloadBytesMax) {
      throw new KVError(
        "CommitTooLarge",
        `The commit has ${payload.length} bytes; ${ledger.name} takes at most ${session.payloadBytesMax} in one commit`,
        { outcome: "not committed" },
      );
    }
    const refused = session.refuses?.(payload);
    if (refused !== undefined) throw refused;
    if (queue.count > 0 && queue.bytes + payload.length > options.pendingBytesMax) {
      throw new KVError(
        "QueueFull",
        `${queue.bytes} bytes of commits are pending, and pendingBytesMax is ${options.pendingBytesMax}`,
        { outcome: "not committed" },
      );
    }
    const pending = this.#ownCommits.begin(this.#ownCommits.nextNumber(), payload, commit, settled, rejected);
    queue.add(pending);
    sealWait?.commitsWait();
    this.#loop.schedule();
    return pending;
  }

  /** Commits may cost more from now on than they did: somebody watches them. */
  measureAnew(): void {
    this.#context.batchCommits.startAnew();
    this.#context.readBytes.startAnew();
  }

  /** As `new Promise(begin)`, for what a step settles, in whatever request. */
  promise<T>(begin: (resolve: (value: T) => void, reject: (error: unknown) => void) => void): Promise<T> {
    return this.#context.promise(begin);
  }

  /** Resolves once the fate of a commit is known, whatever it is. */
  whenDone(pending: PendingCommit): Promise<void> {
    return this.#context.whenDone(pending);
  }

  /** Makes durable what was followed so far, where the ledger was asked for that. Waits for its turn, as everything that uses the session. */
  makeDurable(): Promise<void> {
    return this.#loop.makeDurable();
  }

  // --- following ---------------------------------------------------------------------------------------------------

  /** Reads the ledger from the beginning to its present end, or to where nobody can read on. Used once, by open. */
  async catchUp(): Promise<void> {
    this.#context.state = await EngineState.begin(this.session, this.#context.stateOptions);
    try {
      await this.round({ verify: false });
    } catch (error) {
      // What lies before the damage is whole, and can be read: writing, and following further, say again what is wrong.
      if (this.#follower.damagedAhead.length === 0) throw error;
      this.#context.listener.problem(error as KVError);
    }
  }

  /** Follows to the end of the ledger. */
  round(wish: RoundWish): Promise<Round> {
    return this.#loop.round(wish);
  }

  /** What a round that verifies finds, if that is nothing and was seen at once; undefined if it takes a round. */
  glance(): Round | undefined {
    const { options, counts } = this.#context;
    if (!this.#loop.isIdle || options.fileWork?.isAtEnd(this.#context, this.#follower, this.#reopening) !== true)
      return undefined;
    counts.rounds++;
    return { invalidated: false };
  }

  /** A round that nobody asked for. */
  async #look(): Promise<void> {
    const round = await this.round({ verify: true });
    if (round.invalidated) this.#context.listener.flushed(round);
  }

  /**
   * True if a read should follow first. Where a look is cheap: when the last one is older than a moment and there is something new. Elsewhere
   * that is left to the poll or, where there may be none, due when the last one is older than `intervalMs`.
   */
  isBehind(now: number, intervalMs: number): boolean {
    return this.#follower.isBehind(now, intervalMs);
  }

  /** Builds the state anew because the saved index is damaged. */
  async rebuild(): Promise<void> {
    this.#reopening.indexDamaged();
    await this.round({ verify: false });
  }

  // --- other sessions of the same ledger ---------------------------------------------------------------------------

  /** The state that another session of the same ledger starts with, to be built up by the caller. */
  begin(session: LedgerSession): Promise<EngineState> {
    // What came before the oldest commit that is retained is nowhere to be had.
    if (session.openState !== undefined)
      return Promise.resolve(EngineState.withoutState(session, this.optionsOfOthers));
    return EngineState.begin(session, this.optionsOfOthers);
  }

  /** Counts, or tells of, what was found between the commits: each once, whoever finds it. */
  note(state: EngineState, notices: readonly LedgerNotice[]): void {
    this.#notices.note(state, notices);
  }

  get optionsOfOthers(): EngineStateOptions {
    return { ...this.#context.stateOptions, index: true, sideIndex: false };
  }

  // --- upkeep ------------------------------------------------------------------------------------------------------

  /** Who begins the next generation of a ledger, or goes on to it: asked by the work on files, without which there is nobody. */
  get nextGeneration(): NextGeneration {
    return this.#nextGeneration as NextGeneration;
  }

  /** Writes the state down, and merges what it lies in, where the ledger keeps it itself. Throws what keeps it from being done. */
  async compact(options: Omit<CompactOptions, "follow">): Promise<void> {
    await this.#context.state.keeper?.compact({ ...options, follow: () => this.round({ verify: true }) });
  }

  // --- the end -----------------------------------------------------------------------------------------------------

  /** Resolves when nothing is queued or under way. */
  async drained(): Promise<void> {
    while (this.queue.last !== undefined) await this.whenDone(this.queue.last);
  }

  /**
   * Lets the step under way end and releases the session. Pending commits are rejected. Without `patient` it does not wait for the step: the
   * session is released whenever that ends.
   */
  async stop(options: { readonly patient: boolean } = { patient: true }): Promise<void> {
    const context = this.#context;
    if (options.patient) await context.state.checkpointer?.stop();
    if (options.patient) await context.state.keeper?.stop();
    context.stopped ??= new KVError("Closed", "The database was closed", { outcome: "not committed" });
    context.queue.rejectWaiting(context.stopped);
    context.sealWait?.stop();
    const released = this.#loop.whenIdle().then(() => context.state.retire());
    if (options.patient) await released;
    else released.catch(() => undefined);
  }

  /** Gives up waiting for appended commits whose fate is not known. */
  abandon(): void {
    this.#ownCommits.giveUp("The database was closed before the commit was settled");
    this.#context.stopped ??= new KVError("Closed", "The database was closed", { outcome: "not committed" });
  }
}
