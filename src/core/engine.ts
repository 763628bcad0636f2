import { type BlockCache, byteCache } from "./block-cache.ts";
import { CommitQueue, PendingCommit, type Verdict } from "./commit-queue.ts";
import { type Commit, decodeCommit, isPlain } from "./commit.ts";
import { EngineState, type EngineStateOptions } from "./engine-state.ts";
import { type Environment, isPromise, type MaybePromise } from "./environment.ts";
import { type AddressRange, hasCode, KVError } from "./errors.ts";
import { IndexDamaged } from "./held-run.ts";
import type { EncodedKey } from "./key.ts";
import type {
  AppendResult,
  CommitRecord,
  Ledger,
  LedgerCommit,
  LedgerIdentity,
  LedgerNotice,
  LedgerSession,
  VacuumAttempt,
  Position,
  RepairedState,
  RepairStateRequest,
  VacuumRequest,
} from "./ledger.ts";
import { type Outcome, resolveBatch } from "./outcomes.ts";
import { readToSeal } from "./left-behind.ts";
import type { Pacer } from "./pacer.ts";
import { Portion } from "./portion.ts";
import type { Replica } from "./replica.ts";
import type { Change, CommitPlace, Resolution } from "./resolve.ts";
import { resolveLoaded } from "./resolve-loaded.ts";
import type { DamageNotes } from "./salvage.ts";
import type { FileWork } from "./file-work.ts";
import type { Snapshot, Source } from "./source.ts";
import type { CompactOptions } from "./state-keeper.ts";
import { Turn } from "./turn.ts";
import { type Step, Waits } from "./waits.ts";

/**
 * The one loop of an instance: takes commits from the queue, appends them, follows the ledger, applies what it finds, and tells each
 * author the fate of its commit.
 *
 * Only one step is under way at any time (`#running`). A step is a flush (append a batch, read up to it), a round (read to the
 * end) or a sync of what was read. Everything that steps change - position, replica, in-flight commits - is changed by them alone, so that
 * the awaits inside a step are safe; what others may do meanwhile is add to the queue and ask for rounds.
 */

/** Payload bytes of one batch. A single larger commit goes alone. */
const BATCH_BYTES_MAX = 16 * 1024 * 1024;
/** Commits of one batch, as many as are appended and applied in a few milliseconds. */
const BATCH_COMMITS = { first: 1024, min: 16, max: 16 * 1024 } as const;
/** Of a batch that is resolved before it is appended: it may be taken in part only, and resolved again and again. */
const RESOLVED_BATCH = { bytesMax: 8 * 1024 * 1024, countMax: 4096 } as const;
/** How much of the ledger is applied between two looks at the clock: likewise. */
const READ_BYTES = { first: 16 * 1024, min: 512, max: 512 * 1024 } as const;
/** Microtask turns that a flush waits while more commits keep arriving in the same macrotask. */
const GATHER_TURNS_MAX = 16;
/** How much of the ledger is read by a round that may leave the rest: that takes about a millisecond. */
const GLANCE_BYTES = 64 * 1024;
/** As often in a row something may be left; then all of it is followed, so that whoever reads at last does not have to catch up with hours. */
const LEFT_BEHIND_MAX = 3;
/** Writing down the state takes longer than what one request to a store does. */
const KEEP_MS = 5000;
/** A look at the ledger's end that is younger serves a read. */
const LOOK_MS = 1;
const OWN_VERSIONS = 4096;
/** Commits that a place in the queue can be kept for. */
export const PLACE_COMMITS_MAX = 65_536;
const NO_BYTES = new Uint8Array(0);

/** What a follow round found. */
export interface Round {
  /** The ledger was replaced by its next generation or by something else. */
  readonly invalidated: boolean;
}

/** Whom the engine tells what happens. None of these may throw. */
export interface EngineListener {
  /** True if nobody wants to know at present what commits do: then `applied` need not be called. */
  isIdle(): boolean;
  /** False if it is enough to know what a row of commits has left, and nobody counts them. */
  needsEach(): boolean;
  /** A commit took effect and is visible. `payload` is valid as long as anybody holds it. */
  applied(record: CommitRecord, version: number, changes: readonly Change[]): void;
  /** The state was built anew. `before` is the old one; versions can be compared if `sameLedger`. */
  reloaded(before: Snapshot, sameLedger: boolean): Promise<void>;
  /** A batch of own commits was appended and followed, or what follows a seal was found. */
  flushed(round: Round): void;
  /** Something to report that belongs to no call: bytes lost, damage. */
  problem(error: KVError): void;
}

export interface EngineOptions {
  readonly readOnly: boolean;
  readonly createIfMissing: boolean;
  readonly allowNetworkFileSystem: boolean;
  readonly index: boolean;
  readonly pendingBytesMax: number;
  /** Of the instance, for all that is read on demand; the session was given it too. */
  readonly cache: BlockCache;
  readonly sideIndex: boolean;
  readonly compaction: boolean;
  readonly waitUntil: ((promise: Promise<unknown>) => void) | undefined;
  /** Left out by entries that know no files. */
  readonly fileWork: FileWork | undefined;
}

/**
 * How a round may be shorter than the ledger's end is far. `skip`: what another process has published as its state may be taken instead of the commits
 * that have led to it. `leave`: moreover, what lies far ahead may be left for later.
 */
export type Haste = "skip" | "leave";

interface RoundRequest {
  readonly verify: boolean;
  readonly haste: Haste | undefined;
  readonly resolve: (round: Round) => void;
  readonly reject: (error: unknown) => void;
}

interface DurableRequest {
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

interface FollowState {
  invalidated: boolean;
  /** Until it has been made use of. */
  haste?: Haste | undefined;
  /** What kept some of the commits in flight from being appended: those not met are not tried again. */
  readonly error?: unknown;
}

/** An own commit met in a state that is not in use yet. */
interface Met {
  readonly own: PendingCommit;
  readonly verdict: Verdict;
  readonly version: number;
}

const microtask = Promise.resolve();

export class Engine {
  readonly queue = new CommitQueue();
  /** Where several requests share the instance: how each of them waits, and does steps meanwhile. */
  readonly waits: Waits | undefined;
  /** Likewise: whose step is under way. */
  readonly #turn: Turn | undefined;
  readonly #ledger: Ledger;
  readonly #environment: Environment;
  readonly #options: EngineOptions;
  readonly #listener: EngineListener;
  readonly #pacer: Pacer;
  readonly #writer: Uint8Array;
  #counter = 0;
  #state: EngineState;
  readonly #stateOptions: EngineStateOptions;
  #rounds: RoundRequest[] = [];
  #durables: DurableRequest[] = [];
  /** Those that the step under way is for. */
  #served: RoundRequest[] = [];
  #running = false;
  /** What was appended is known to nobody yet, because another request has taken over. */
  #unsettled = false;
  #scheduled = false;
  #gathered = 0;
  #turns = 0;
  readonly #batchCommits = new Portion(BATCH_COMMITS);
  readonly #readBytes = new Portion(READ_BYTES);
  #flushedLast = false;
  #idle: (() => void)[] = [];
  /** Notices that were counted or told of, so that a state built anew does not do it again. */
  readonly #noted = new Set<string>();
  /** Commits up to this version that a state being built anew meets were counted before. */
  #countedTo = 0;
  #stopped: KVError | undefined;
  /** What was read is not, or no longer, what lies at the ledger's place: nothing is read or written before it was reopened. */
  #moved = false;
  /** A repair of this instance looks for a seal, to which the way leads through what is damaged. */
  #passesSeal = false;
  /** A run of the saved index could not be read: the state is to be built anew before anything else. */
  #indexDamaged = false;
  /** The last attempt to follow failed: nothing is written before one succeeds. */
  #astray = false;
  readonly #sealWait: InstanceType<FileWork["SealWait"]> | undefined;
  /** A vacuum of this instance is under way: its seal is not left for others to act on. */
  #vacuuming = false;
  /** The latest own commits, for transactions to know to whom they lost. */
  /** The outcomes, void or empty, of commits that stand before one in flight and are settled with it. */
  readonly #before = new Map<PendingCommit, readonly Outcome[]>();
  readonly #ownVersions = new Float64Array(OWN_VERSIONS);
  #ownCount = 0;
  /** monotonic() of the last time the end of the ledger was looked at. */
  #lastLook = -Infinity;
  /** Hasty rounds in a row that have left something. */
  #leftBehind = 0;
  readonly counts = {
    stumps: 0,
    lostBytes: 0,
    commits: 0,
    voidCommits: 0,
    batches: 0,
    /** Batches that had to be resolved again, because somebody else was first. */
    lost: 0,
    rounds: 0,
    reloads: 0,
    rebuilds: 0,
    /** Times that another process's state was taken over instead of following the commits up to it. */
    skips: 0,
  };

  constructor(
    ledger: Ledger,
    session: LedgerSession,
    environment: Environment,
    options: EngineOptions,
    listener: EngineListener,
    pacer: Pacer,
  ) {
    this.#ledger = ledger;
    this.#environment = environment;
    this.#options = options;
    this.#listener = listener;
    this.#pacer = pacer;
    this.#writer = environment.randomBytes(12);
    this.#stateOptions = {
      environment,
      pacer,
      cache: options.cache,
      name: ledger.name,
      index: options.index,
      sideIndex: options.sideIndex,
      Checkpointer: options.fileWork?.Checkpointer,
      compaction: options.compaction,
      waitUntil: options.waitUntil,
      saves: () => !options.readOnly && this.#stopped === undefined,
      problem: (error) => listener.problem(error),
      // A failure is met, and told of, by the next poll.
      indexDamaged: () => void this.rebuild().catch(() => undefined),
    };
    this.#state = EngineState.blank(session, this.#stateOptions);
    if (environment.isolated === true) {
      this.#turn = new Turn(environment);
      this.waits = new Waits(environment);
      this.waits.drive = () => this.#drive();
    }
    const queue = this.queue;
    if (options.fileWork === undefined) return;
    this.#sealWait = new options.fileWork.SealWait(environment, ledger.name, {
      get waiting() {
        return queue.waiting;
      },
      // A failed look is reported by the next poll.
      look: () => void this.#look().catch(() => undefined),
      help: options.readOnly || session.help === undefined ? undefined : () => this.#help(),
      expired: (error) => queue.rejectWaiting(error),
    });
  }

  get session(): LedgerSession {
    return this.#state.source.session;
  }

  get source(): Source {
    return this.#state.source;
  }

  get replica(): Replica {
    return this.#state.replica;
  }

  /** The state at the visible version, until released. */
  freeze(): Snapshot {
    return this.#state.freeze();
  }

  get identity(): LedgerIdentity | undefined {
    return this.session.identity;
  }

  get damage(): readonly AddressRange[] {
    return this.#state.damage;
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
    const refusal = this.refusal();
    if (refusal !== undefined) throw refusal;
    // Otherwise it is what the commit comes to that must not be larger.
    const goesAsItIs = !this.#resolves || isPlain(commit);
    if (goesAsItIs && payload.length > this.session.payloadBytesMax) {
      throw new KVError(
        "CommitTooLarge",
        `The commit has ${payload.length} bytes; ${this.#ledger.name} takes at most ${this.session.payloadBytesMax} in one commit`,
        { outcome: "not committed" },
      );
    }
    const refused = this.session.refuses?.(payload);
    if (refused !== undefined) throw refused;
    if (this.queue.count > 0 && this.queue.bytes + payload.length > this.#options.pendingBytesMax) {
      throw new KVError(
        "QueueFull",
        `${this.queue.bytes} bytes of commits are pending, and pendingBytesMax is ${this.#options.pendingBytesMax}`,
        { outcome: "not committed" },
      );
    }
    const pending = new PendingCommit(this.#record(++this.#counter, payload), commit, settled, rejected);
    this.queue.add(pending);
    this.#sealWait?.commitsWait();
    this.#schedule();
    return pending;
  }

  #record(counter: number, payload: Uint8Array): CommitRecord {
    return { writer: this.#writer, counter, timestamp: this.#environment.now(), payload };
  }

  /**
   * Keeps a place in the queue for commits that touch these keys and are not known yet. Whatever comes of them, `fill` has to follow. Throws as
   * `enqueue` does.
   */
  keepPlace(keeps: (key: EncodedKey) => boolean, rejected: (error: unknown) => void): PendingCommit {
    const refusal = this.refusal();
    if (refusal !== undefined) throw refusal;
    const place = new PendingCommit(
      this.#record(++this.#counter, NO_BYTES),
      { checks: [], operations: [] },
      () => undefined,
      rejected,
    );
    place.keeps = keeps;
    this.#counter += PLACE_COMMITS_MAX;
    this.queue.keepPlace(place);
    return place;
  }

  /** The commits that a place was kept for, at most `PLACE_COMMITS_MAX` of them. Reads that wait for the place wait until `settled` is called. */
  fill(
    place: PendingCommit,
    commits: readonly {
      readonly payload: Uint8Array;
      readonly commit: Commit;
      readonly settled: (verdict: Verdict, version: number) => void;
      readonly rejected: (error: unknown) => void;
    }[],
  ): { settled(): void } {
    const { counter } = place.record;
    const pending = commits.map(
      ({ payload, commit, settled, rejected }, i) =>
        new PendingCommit(this.#record(counter + 1 + i, payload), commit, settled, rejected),
    );
    const isFilled = this.queue.fill(place, pending);
    this.#run();
    return {
      settled: () => {
        if (!isFilled) return;
        this.queue.release(place);
        place.settle("applied", this.replica.version);
      },
    };
  }

  /** Why nothing can be written now, if so. */
  refusal(): KVError | undefined {
    if (this.#options.readOnly) {
      return new KVError("ReadOnly", `${this.#ledger.name} was opened with readOnly`, { outcome: "not committed" });
    }
    const { damage } = this;
    if (damage.length > 0) {
      return new KVError(
        "LedgerDamaged",
        `${this.#ledger.name} is damaged at ${describe(damage)}; it can be read, not written`,
        {
          outcome: "not committed",
          ranges: damage,
        },
      );
    }
    if (this.#stopped !== undefined) {
      return new KVError(this.#stopped.code, this.#stopped.message, { cause: this.#stopped, outcome: "not committed" });
    }
    return undefined;
  }

  /** Commits may cost more from now on than they did: somebody watches them. */
  measureAnew(): void {
    this.#batchCommits.startAnew();
    this.#readBytes.startAnew();
  }

  // --- following ---------------------------------------------------------------------------------------------------

  /** True if the commit with this version was made here, as far as is remembered. */
  isOwn(version: number): boolean {
    return this.#ownVersions.includes(version);
  }

  /** Follows to the end of the ledger. `verify`: makes sure first that it still is the ledger that was named. */
  round({ verify, haste }: { readonly verify: boolean; readonly haste?: Haste }): Promise<Round> {
    return this.promise((resolve, reject) => {
      this.#rounds.push({ verify, haste, resolve, reject });
      this.#run();
    });
  }

  /** As `new Promise(begin)`, for what a step settles, in whatever request. */
  promise<T>(begin: (resolve: (value: T) => void, reject: (error: unknown) => void) => void): Promise<T> {
    return this.waits === undefined ? new Promise(begin) : this.waits.promise(begin);
  }

  /** Resolves once the fate of a commit is known, whatever it is. */
  whenDone(pending: PendingCommit): Promise<void> {
    return this.waits === undefined ? pending.whenDone() : this.waits.until(() => pending.done);
  }

  /** A round that nobody asked for. */
  async #look(): Promise<void> {
    const round = await this.round({ verify: true });
    if (round.invalidated) this.#listener.flushed(round);
  }

  /**
   * True if a read should follow first. Where a look is cheap: when the last one is older than `LOOK_MS` and there is something new. Elsewhere
   * that is left to the poll or, where there may be none, due when the last one is older than `intervalMs`.
   */
  isBehind(now: number, intervalMs: number): boolean {
    const age = now - this.#lastLook;
    const session = this.session;
    // Where timers may die, no poll can be relied upon.
    if (session.hasNews === undefined) return this.#environment.isolated === true && age >= intervalMs;
    if (age < LOOK_MS) return false;
    this.#lastLook = now;
    return session.hasNews(this.#state.position);
  }

  /** Makes durable what was followed so far, where the ledger was asked for that. Waits for its turn, as everything that uses the session. */
  makeDurable(): Promise<void> {
    return this.promise((resolve, reject) => {
      this.#durables.push({ resolve, reject });
      this.#run();
    });
  }

  // --- the next generation -----------------------------------------------------------------------------------------

  /** Where the commits end that have been applied. */
  get position(): number {
    return this.#state.position;
  }

  /**
   * Lets the session begin its next generation with a snapshot of the present one, `nonce`, and waits until it is in place. False if somebody else's
   * is.
   */
  async vacuum(request: Omit<VacuumRequest, "rest">, nonce: string | undefined): Promise<boolean> {
    const before = nonce;
    // The snapshot's place need not be in the next generation, and nothing of it in another ledger.
    if (this.identity?.nonce !== before) return false;
    this.#vacuuming = true;
    try {
      const rest = (): MaybePromise<void> => (this.#pacer.due() ? this.#pacer.rest() : undefined);
      let attempt: VacuumAttempt | undefined;
      try {
        attempt = await this.session.vacuum?.({ ...request, rest });
      } catch (error) {
        // If another one came first, it is its result that counts.
        const isFirst = !hasCode(error, "LedgerSealed") && !this.#isSealed;
        if (isFirst && this.identity?.nonce === before) throw error;
      }
      while (this.identity?.nonce === before) {
        await this.round({ verify: true });
        // Void: another seal came first, or somebody took this vacuum for abandoned.
        if (!this.#isSealed) break;
        await this.#sealWait?.whenOver();
      }
      if (attempt?.error !== undefined && this.identity?.nonce === before) throw attempt.error;
      return attempt?.wins() === true;
    } finally {
      this.#vacuuming = false;
    }
  }

  get isReadOnly(): boolean {
    return this.#options.readOnly;
  }

  /** The state that another session of the same ledger starts with, as far as it is whole. */
  async salvage(session: LedgerSession, notes: DamageNotes): Promise<EngineState> {
    return EngineState.salvage(session, { ...this.#stateOptions, index: true, sideIndex: false }, notes);
  }

  /**
   * Goes on to the next generation if this one is sealed, through whatever is damaged on the way there. False if what the seal names cannot take its
   * place any more.
   */
  async passSeal(): Promise<boolean> {
    this.#passesSeal = true;
    try {
      await this.round({ verify: true });
      return true;
    } catch (error) {
      if (!hasCode(error, "LedgerDamaged")) throw error;
      this.#passesSeal = false;
      return false;
    }
  }

  /**
   * Like `vacuum`, of a ledger that is damaged: what lies between here and the seal is not followed, the state is read anew. False if somebody else's
   * generation is in place.
   */
  async repair(request: Omit<VacuumRequest, "rest">, nonce: string | undefined): Promise<boolean> {
    if (this.identity?.nonce !== nonce)
      throw new KVError("LedgerSealed", `Somebody else has repaired ${this.#ledger.name} meanwhile`);
    const rest = (): MaybePromise<void> => (this.#pacer.due() ? this.#pacer.rest() : undefined);
    const attempt = await this.session.vacuum?.({ ...request, rest });
    this.#passesSeal = true;
    await this.round({ verify: true });
    if (attempt?.error !== undefined && this.identity?.nonce === nonce) throw attempt.error;
    return attempt?.wins() === true;
  }

  async #help(): Promise<void> {
    // Behind damage nobody can be sure that the seal which was read is the one that counts.
    if (this.damage.length === 0) await this.session.help?.();
  }

  /** Goes to the seal and beyond it, and applies nothing on the way. */
  async #passSeal(state: FollowState): Promise<void> {
    for (let { position } = this.#state; ;) {
      const read = this.session.read(position, { bytes: this.#readBytes.size, verify: true });
      const result = isPromise(read) ? await this.#own(read) : read;
      position = result.next;
      if (result.status === "moved") break;
      // Void: somebody else's seal came first, or there is none.
      if (result.status === "end") return;
      if (result.status === "sealed") await this.session.help?.();
    }
    await this.#move(state);
    this.#stopped = undefined;
  }

  /** The state that another session of the same ledger starts with, to be built up by the caller. */
  begin(session: LedgerSession): Promise<EngineState> {
    const options = { ...this.#stateOptions, index: true, sideIndex: false };
    // What came before the oldest commit that is retained is nowhere to be had.
    if (session.openState !== undefined) return Promise.resolve(EngineState.withoutState(session, options));
    return EngineState.begin(session, options);
  }

  /** Reads the ledger from the beginning to its present end. Used once, by open. */
  async catchUp(): Promise<void> {
    this.#state = await EngineState.begin(this.session, this.#stateOptions);
    await this.round({ verify: false });
  }

  /** See `LedgerSession.repairState`. */
  async repairState(request: RepairStateRequest): Promise<RepairedState | undefined> {
    const repaired = await this.session.repairState?.(request);
    try {
      await this.round({ verify: true });
    } catch (error) {
      // What somebody else has begun with may be damaged as well.
      if (repaired !== undefined || !hasCode(error, "LedgerDamaged")) throw error;
    }
    return repaired;
  }

  /** Writes the state down, and merges what it lies in, where the ledger keeps it itself. Throws what keeps it from being done. */
  async compact(options: Omit<CompactOptions, "follow">): Promise<void> {
    await this.#state.keeper?.compact({ ...options, follow: () => this.round({ verify: true }) });
  }

  /** Resolves when nothing is queued or under way. */
  async drained(): Promise<void> {
    while (this.queue.last !== undefined) await this.whenDone(this.queue.last);
  }

  /**
   * Lets the step under way end and releases the session. Pending commits are rejected. Without `patient` it does not wait for the step: the
   * session is released whenever that ends.
   */
  async stop(options: { readonly patient: boolean } = { patient: true }): Promise<void> {
    if (options.patient) await this.#state.checkpointer?.stop();
    if (options.patient) await this.#state.keeper?.stop();
    this.#stopped ??= new KVError("Closed", "The database was closed", { outcome: "not committed" });
    this.queue.rejectWaiting(this.#stopped);
    this.#sealWait?.stop();
    const released = this.#whenIdle().then(() => this.#state.retire());
    if (options.patient) await released;
    else released.catch(() => undefined);
  }

  #whenIdle(): Promise<void> {
    if (this.waits !== undefined) return this.waits.until(() => !this.#running);
    return this.#running ? new Promise((resolve) => this.#idle.push(resolve)) : microtask;
  }

  /** Gives up waiting for appended commits whose fate is not known. */
  abandon(): void {
    const error = new KVError("CommitOutcomeUnknown", "The database was closed before the commit was settled", {
      outcome: "unknown",
    });
    this.queue.reject(this.queue.takeInFlight(), error);
    this.#stopped ??= new KVError("Closed", "The database was closed", { outcome: "not committed" });
  }

  // --- the loop ----------------------------------------------------------------------------------------------------

  /** Flushes once the calls of this macrotask that follow each other without a gap have been made. */
  #schedule(): void {
    if (this.#running || this.#scheduled || this.waits !== undefined) return;
    this.#scheduled = true;
    this.#gathered = this.queue.waiting;
    this.#turns = 0;
    void microtask.then(this.#gather);
  }

  readonly #gather = (): void => {
    const waiting = this.queue.waiting;
    if (waiting !== this.#gathered && ++this.#turns < GATHER_TURNS_MAX) {
      this.#gathered = waiting;
      void microtask.then(this.#gather);
      return;
    }
    this.#scheduled = false;
    this.#run();
  };

  #run(): void {
    // Where there are several requests, those who wait drive it.
    if (this.#running || this.waits !== undefined) return;
    this.#running = true;
    try {
      while (this.#hasWork) {
        const step = !this.#isGlance && this.#pacer.due() ? this.#pacer.rest() : this.#step();
        if (isPromise(step)) {
          void step.then(this.#resume, this.#crash);
          return;
        }
      }
    } catch (error) {
      return this.#crash(error);
    }
    this.#running = false;
    this.#becomeIdle();
  }

  readonly #resume = (): void => {
    this.#running = false;
    this.#run();
  };

  get #hasWork(): boolean {
    return this.#unsettled || this.#rounds.length > 0 || this.#durables.length > 0 || this.#mayFlush();
  }

  /** All there is to do is a poll that may leave what is far ahead. A macrotask after it would be another turn of an idle program's event loop. */
  get #isGlance(): boolean {
    if (this.#rounds.length !== 1 || this.#rounds[0].haste !== "leave") return false;
    return !this.#unsettled && this.#durables.length === 0 && !this.#mayFlush();
  }

  /** As `#run`, one step in the request of the one who calls, unless another one is at it and makes progress. */
  #drive(): Step | undefined {
    const turn = this.#turn as Turn;
    if (this.#running) {
      if (!turn.isStalled) return undefined;
      this.#takeOver(turn);
    }
    this.#running = true;
    const number = turn.begin();
    try {
      while (this.#hasWork) {
        const step = this.#pacer.due() ? this.#pacer.rest() : this.#step();
        if (!isPromise(step)) continue;
        let isOver = false;
        const ended = turn
          .own(step)
          .catch(this.#crash)
          .then(() => {
            isOver = true;
            this.#running = false;
            turn.end();
          });
        return { ended, isOver: () => isOver || !turn.isOf(number) };
      }
    } catch (error) {
      this.#crash(error);
    }
    this.#running = false;
    return undefined;
  }

  /** What a step awaits. When another request has taken over, it never goes on: every `await` within a step goes through this, or through something that does. */
  #own<T>(promise: Promise<T>): Promise<T> {
    return this.#turn === undefined ? promise : this.#turn.own(promise);
  }

  /** The request whose step is under way is gone, by all appearances: another one goes on from what is known. */
  #takeOver(turn: Turn): void {
    turn.takeOver();
    this.session.abandon?.();
    this.#rounds.unshift(...this.#served.splice(0));
    this.#state.metTo = this.#state.replica.version;
    this.#unsettled = this.queue.inFlight.size > 0;
  }

  /**
   * The first step after what was appended has been taken over: the session settles what it may have sent, and following finds it. What is not met is
   * not in the ledger.
   */
  async #settleTakenOver(): Promise<void> {
    const state: FollowState = { invalidated: false };
    try {
      // Nobody could settle it: what the other one has sent may still arrive.
      if (this.session.abandon === undefined) throw new Error("the request that had sent it is gone");
      // Whatever it says to that: nothing is on its way any more, and following meets what has arrived.
      const appended = this.session.append([], this.#state.position);
      if (isPromise(appended)) await this.#own(appended);
      await this.#follow(false, state);
      this.#unsettled = false;
      this.#before.clear();
      this.queue.putBack(this.queue.takeInFlight());
    } catch (cause) {
      this.#before.clear();
      this.#unsettled = false;
      const message = `What became of a commit to ${this.#ledger.name} could not be found out: ${String(cause)}`;
      this.queue.reject(this.queue.takeInFlight(), unknownOutcome(message, cause));
      this.queue.rejectWaiting(asKVError(cause));
    }
    this.#listener.flushed(state);
  }

  /** A step failed in a way that it should have handled: nobody may wait for ever because of it. */
  readonly #crash = (cause: unknown): void => {
    const message = `${this.#ledger.name} cannot be followed any more: ${String(cause)}`;
    this.#stopped ??= new KVError("InputOutput", message, { cause });
    this.#listener.problem(this.#stopped);
    this.queue.reject(this.queue.takeInFlight(), unknownOutcome(message, cause));
    this.queue.rejectWaiting(this.#stopped);
    for (const request of this.#rounds.splice(0)) request.reject(this.#stopped);
    for (const request of this.#durables.splice(0)) request.reject(this.#stopped);
    this.#running = false;
    this.#becomeIdle();
  };

  #becomeIdle(): void {
    for (const resolve of this.#idle.splice(0)) resolve();
  }

  /** True between the seal of one generation and the next one. */
  get #isSealed(): boolean {
    return this.#sealWait?.isWaiting === true;
  }

  #mayFlush(): boolean {
    return this.queue.canTake && !this.#isSealed;
  }

  /** Flushes and rounds take turns, so that neither starves the other. */
  #step(): MaybePromise<void> {
    if (this.#unsettled) return this.#settleTakenOver();
    if (this.#durables.length > 0) return this.#beDurable();
    if (this.#mayFlush() && (this.#rounds.length === 0 || !this.#flushedLast)) {
      this.#flushedLast = true;
      return this.#flush();
    }
    this.#flushedLast = false;
    return this.#followRound();
  }

  // --- flush -------------------------------------------------------------------------------------------------------

  #flush(): MaybePromise<void> {
    const refusal = this.refusal();
    if (refusal !== undefined) return this.queue.rejectWaiting(refusal);
    if (this.#astray) return this.#followFirst();
    if (this.#resolves) return this.#flushResolved();
    const batch = this.queue.take({ bytesMax: BATCH_BYTES_MAX, countMax: this.#batchCommits.size });
    const isFull = batch.length === this.#batchCommits.size;
    const began = isFull ? this.#environment.monotonic() : 0;
    let result: MaybePromise<AppendResult>;
    try {
      result = this.session.append(
        batch.map((pending) => pending.record),
        this.#state.position,
      );
    } catch (error) {
      return this.#appendFailed(batch, error);
    }
    this.counts.batches++;
    if (!isPromise(result)) {
      const applied = this.#appended(batch, result);
      if (isFull && !isPromise(applied)) this.#batchCommits.took(this.#environment.monotonic() - began);
      return applied;
    }
    for (const pending of batch) this.queue.inFlight.set(pending.record.counter, pending);
    return this.#own(result).then(
      (settled) => this.#appended(this.queue.takeInFlight(), settled),
      (error: unknown) => this.#appendFailed(this.queue.takeInFlight(), error),
    );
  }

  /** Nothing is written to a ledger that could not be followed: nobody could tell what became of it. */
  async #followFirst(): Promise<void> {
    const state: FollowState = { invalidated: false };
    try {
      await this.#follow(true, state);
    } catch (error) {
      this.queue.rejectWaiting(asKVError(error));
    }
    if (state.invalidated) this.#listener.flushed(state);
  }

  #appended(batch: readonly PendingCommit[], result: AppendResult): MaybePromise<void> {
    // Given up meanwhile: nobody asks any more.
    if (batch.length === 0) return undefined;
    if (result.status === "read-on") return this.#readOn(batch, result.error);
    if (result.status === "behind") return this.#behind(batch);
    const state = this.#state;
    for (let i = 0; i < batch.length; i++) {
      const pending = batch[i];
      const version = result.versions[i];
      try {
        const commit = this.#options.index ? pending.commit : undefined;
        const verdict = this.#apply(state, pending.record, commit, version, result.places[i]);
        if (isPromise(verdict)) return this.#appendedLate(batch.slice(i), result, verdict, i);
        this.#settle(pending, verdict, version);
      } catch (error) {
        if (!(error instanceof IndexDamaged)) return this.#stopAt(batch.slice(i), error);
        this.#indexDamaged = true;
        return this.#readOn(batch.slice(i), undefined);
      }
    }
    return this.#endAppend(state, result);
  }

  /** Somebody else was first: what was taken is resolved again, before everything that waits, against what they have done. */
  async #behind(batch: readonly PendingCommit[]): Promise<void> {
    this.queue.putBack(batch);
    this.counts.lost++;
    const state: FollowState = { invalidated: false };
    try {
      await this.#follow(false, state);
    } catch (error) {
      this.queue.rejectWaiting(asKVError(error));
    }
    this.#listener.flushed(state);
  }

  // --- flush, where authors resolve --------------------------------------------------------------------------------

  /** Commits are resolved here, against the state that the append goes behind; nobody is told anything before that has succeeded. */
  get #resolves(): boolean {
    return this.#ledger.ordering === "compare-and-swap";
  }

  async #flushResolved(): Promise<void> {
    const { queue } = this;
    const kept = this.#keepsFirst ? this.#keepState() : undefined;
    if (isPromise(kept)) {
      this.#turn?.allow(KEEP_MS);
      await this.#own(kept);
      this.#turn?.end();
    }
    const state = this.#state;
    for (const pending of queue.take(RESOLVED_BATCH)) queue.inFlight.set(pending.record.counter, pending);
    let outcomes: Outcome[];
    let result: AppendResult;
    try {
      const { payloadBytesMax } = this.session;
      const { crc32 } = this.#environment;
      const resolved = resolveBatch([...queue.inFlight.values()], state.replica, { crc32, payloadBytesMax });
      outcomes = isPromise(resolved) ? await this.#own(resolved) : resolved;
      // Given up meanwhile.
      if (queue.inFlight.size === 0) return;
      this.#noteUnwritten(outcomes);
      const written = outcomes.flatMap((outcome) => outcome.written?.record ?? []);
      if (written.length > 0) this.counts.batches++;
      const appended = this.session.append(written, state.position);
      result = isPromise(appended) ? await this.#own(appended) : appended;
    } catch (error) {
      this.#before.clear();
      if (!(error instanceof IndexDamaged)) return this.#appendFailed(queue.takeInFlight(), error);
      this.#indexDamaged = true;
      return this.#behind(queue.takeInFlight());
    }
    const batch = queue.takeInFlight();
    if (batch.length > 0 && result.status === "read-on") return this.#readOnResolved(outcomes, result.error);
    this.#before.clear();
    if (batch.length === 0) return;
    if (result.status === "appended") await this.#appendedResolved(outcomes, result);
    else await this.#behind(batch);
  }

  /**
   * If a commit is met in the ledger, its batch was appended directly behind the position: then what was found still holds, also of those before it
   * that come to nothing.
   */
  #noteUnwritten(outcomes: readonly Outcome[]): void {
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

  /** Settles what was appended, and what comes to nothing before the last of it. The rest is resolved again. */
  #appendedResolved(
    outcomes: readonly Outcome[],
    { versions, places, next }: Extract<AppendResult, { status: "appended" }>,
  ): MaybePromise<void> {
    const state = this.#state;
    const written = outcomes.flatMap((outcome, i) => (outcome.written === undefined ? [] : i));
    if (written.length > 0 && versions.length === 0) {
      const message = `${this.#ledger.name} took nothing and was not behind`;
      const batch = outcomes.map(({ pending }) => pending);
      return this.#appendFailed(batch, new KVError("InputOutput", message));
    }
    const settled = written.length === 0 ? outcomes.length : written[versions.length - 1] + 1;
    // Before anybody is told anything: what is called in answer comes behind these.
    this.queue.putBack(outcomes.slice(settled).map(({ pending }) => pending));
    let at = 0;
    for (const outcome of outcomes.slice(0, settled)) {
      if (outcome.written === undefined) {
        this.#settleUnwritten(outcome);
      } else {
        const commit = this.#options.index ? outcome.written.commit : undefined;
        // What is plain needs nothing that would have to arrive.
        void this.#apply(state, outcome.written.record, commit, versions[at], places[at]);
        this.#settle(outcome.pending, "applied", versions[at++]);
      }
    }
    return this.#endAppend(state, { next });
  }

  #settleUnwritten({ pending, verdict, failure }: Outcome): void {
    this.queue.inFlight.delete(pending.record.counter);
    this.queue.release(pending);
    if (failure === undefined) pending.settle(verdict, this.replica.version);
    else pending.reject(failure);
  }

  async #readOnResolved(outcomes: readonly Outcome[], error: unknown): Promise<void> {
    const written = outcomes.filter((outcome) => outcome.written !== undefined);
    const unwritten = outcomes.filter((outcome) => outcome.written === undefined).map(({ pending }) => pending);
    await this.#readOn(
      written.map(({ pending }) => pending),
      error,
    );
    this.#before.clear();
    this.queue.putBack(unwritten.filter(({ released }) => !released));
  }

  // -----------------------------------------------------------------------------------------------------------------

  /** What the first of these commits does depends on what has yet to arrive. */
  async #appendedLate(
    batch: readonly PendingCommit[],
    { versions, places, next }: Extract<AppendResult, { status: "appended" }>,
    first: Promise<Verdict>,
    offset: number,
  ): Promise<void> {
    const state = this.#state;
    let i = 0;
    try {
      for (; i < batch.length; i++) {
        const { record, commit } = batch[i];
        const version = versions[offset + i];
        // It was the index that had to be waited for.
        const verdict = i === 0 ? first : this.#apply(state, record, commit, version, places[offset + i]);
        this.#settle(batch[i], isPromise(verdict) ? await verdict : verdict, version);
      }
    } catch (error) {
      // Nothing is known yet of those that are left: following finds them again.
      if (error instanceof IndexDamaged) this.#indexDamaged = true;
      else state.metTo = state.replica.version;
      return this.#readOn(batch.slice(i), undefined);
    }
    await this.#endAppend(state, { next });
  }

  #endAppend(state: EngineState, { next }: { readonly next: Position }): MaybePromise<void> {
    state.position = next;
    this.#listener.flushed({ invalidated: false });
    const kept = this.#keepsFirst ? undefined : this.#keepState();
    return isPromise(kept) ? this.#own(kept) : this.#checkpoint(state);
  }

  /**
   * Nothing goes on in the background of a request that ends with its answer, where there is no `waitUntil`: the state is written down before the
   * next commit, whose author waits.
   */
  get #keepsFirst(): boolean {
    return this.waits !== undefined && this.#stateOptions.waitUntil === undefined;
  }

  /** Where the ledger keeps the state itself: it may be this session's turn. A promise if commits have to wait for that. */
  #keepState(): MaybePromise<void> {
    const { keeper } = this.#state;
    if (keeper === undefined || this.refusal() !== undefined) return undefined;
    return keeper.keep();
  }

  /** Sees to it that what lies in memory is saved; a promise if so much waits for it that commits have to wait too. */
  #checkpoint({ checkpointer }: EngineState): MaybePromise<void> {
    if (checkpointer === undefined) return undefined;
    checkpointer.check();
    // Who saves may be of a request that is gone: there nobody waits for it.
    return checkpointer.isOverdue && this.waits === undefined ? checkpointer.whenRelieved() : undefined;
  }

  /** These commits are in the ledger, and nobody here can tell what the first of them does. */
  #stopAt(batch: readonly PendingCommit[], cause: unknown): void {
    this.#stopped = asKVError(cause);
    this.queue.reject(batch, unknownOutcome(this.#stopped.message, cause));
    this.queue.rejectWaiting(this.#stopped);
    this.#listener.problem(this.#stopped);
  }

  /** Nothing of the batch was appended, or nobody can know. What waits behind it goes with it, so that order holds. */
  #appendFailed(batch: readonly PendingCommit[], cause: unknown): void {
    const outcome = cause instanceof KVError && cause.outcome === "unknown" ? "unknown" : "not committed";
    const code = cause instanceof KVError ? cause.code : "InputOutput";
    const message = cause instanceof Error ? cause.message : String(cause);
    const error =
      outcome === "unknown" ? unknownOutcome(message, cause) : new KVError(code, message, { cause, outcome });
    this.queue.reject(batch, error);
    this.queue.rejectWaiting(error);
  }

  /** Finds an appended batch by reading to the end; then everything about it is known. */
  async #readOn(batch: readonly PendingCommit[], error: unknown): Promise<void> {
    for (const pending of batch) this.queue.inFlight.set(pending.record.counter, pending);
    const state: FollowState = { invalidated: false, error };
    try {
      await this.#follow(false, state);
      if (this.queue.inFlight.size > 0 && !this.#isSealed && error === undefined) await this.#follow(true, state);
      this.#settleUnmet(error);
    } catch (cause) {
      const message = `Reading ${this.#ledger.name} failed before the commit was found: ${String(cause)}`;
      this.queue.reject(this.queue.takeInFlight(), unknownOutcome(message, cause));
      this.queue.rejectWaiting(asKVError(cause));
    }
    this.#listener.flushed(state);
  }

  #settleUnmet(error: unknown): void {
    const unmet = this.queue.takeInFlight();
    if (error !== undefined) {
      if (unmet.length > 0) this.#appendFailed(unmet, error);
    } else if (unmet.length > 0) {
      if (this.#isSealed) {
        this.queue.putBack(unmet);
        this.#sealWait?.commitsWait();
      } else
        this.queue.reject(
          unmet,
          unknownOutcome(`The commit was written to ${this.#ledger.name} and is not to be found there`),
        );
    }
  }

  // --- follow ------------------------------------------------------------------------------------------------------

  async #followRound(): Promise<void> {
    const requests = this.#rounds;
    this.#served = requests;
    this.#rounds = [];
    this.counts.rounds++;
    const state: FollowState = { invalidated: false, haste: commonHaste(requests) };
    try {
      await this.#follow(
        requests.some((request) => request.verify),
        state,
      );
      for (const request of requests) request.resolve(state);
    } catch (error) {
      for (const request of requests) request.reject(error);
    }
    this.#served = [];
  }

  async #beDurable(): Promise<void> {
    const requests = this.#durables;
    this.#durables = [];
    try {
      if (this.#stopped !== undefined) throw this.#stopped;
      const durable = this.session.makeDurable?.();
      if (isPromise(durable)) await this.#own(durable);
      for (const request of requests) request.resolve();
    } catch (error) {
      for (const request of requests) request.reject(error);
    }
  }

  /** Applies everything up to the present end of the ledger. */
  async #follow(verify: boolean, state: FollowState): Promise<void> {
    try {
      await this.#followToEnd(verify, state);
      this.#astray = false;
    } catch (error) {
      this.#astray = true;
      throw error;
    }
  }

  async #followToEnd(verify: boolean, state: FollowState): Promise<void> {
    if (this.#passesSeal) {
      await this.#passSeal(state);
      this.#passesSeal = false;
    }
    if (this.#stopped !== undefined) throw this.#stopped;
    if (this.#moved) await this.#move(state);
    for (let check = verify; ; check = false) {
      if (this.#indexDamaged) await this.#rebuild(state);
      const now = this.#state;
      let began = this.#environment.monotonic();
      const bytes = state.haste === "leave" ? GLANCE_BYTES : this.#readBytes.size;
      const read = this.session.read(now.position, { bytes, verify: check });
      const result = isPromise(read) ? await this.#own(read) : read;
      if (isPromise(read)) began = this.#environment.monotonic();
      if (result.notices !== undefined) this.note(now, result.notices);
      const met = this.#meetAll(now, result.commits);
      if (!(isPromise(met) ? await met : met)) continue;
      now.position = result.next;
      if (result.state !== undefined) await this.#own(now.adopt(result.state));
      if (result.status === "more" && bytes === this.#readBytes.size)
        this.#readBytes.took(this.#environment.monotonic() - began);
      const relief = this.#checkpoint(now);
      if (relief !== undefined) await relief;
      if (result.status === "moved") await this.#move(state);
      else if (result.status === "sealed")
        // Reads go on, commits wait.
        return this.#sealed();
      else if (result.status === "end") break;
      else if (state.haste !== undefined && (await this.#shorten(now, state))) return;
      if (this.#pacer.due()) await this.#own(this.#pacer.rest());
    }
    this.#leftBehind = 0;
    this.#lastLook = this.#environment.monotonic();
    // Commits that have to wait for it find that out themselves.
    if (!this.#keepsFirst || this.#state.keeper?.isWanted === true) void this.#keepState();
  }

  /** There is more to follow, and haste: true if the round may end here. */
  async #shorten(now: EngineState, state: FollowState): Promise<boolean> {
    const { haste } = state;
    state.haste = undefined;
    const maySkip = (): boolean => this.queue.inFlight.size === 0 && !this.#listener.needsEach();
    // Where another request may take this one's place, nothing is to be exchanged by the one that was given up.
    if (this.#turn !== undefined || this.#ledger.ordering !== "append" || !maySkip()) return false;
    const skipped = await now.checkpointer?.skipAhead(maySkip);
    if (skipped !== undefined) {
      now.position = skipped;
      this.counts.skips++;
      this.#leftBehind = 0;
      return haste === "leave";
    }
    return haste === "leave" && ++this.#leftBehind < LEFT_BEHIND_MAX;
  }

  #sealed(): void {
    if (this.#sealWait === undefined)
      throw new KVError("UnsupportedTarget", `${this.#ledger.name} is sealed, which this entry knows nothing of`);
    this.#sealWait.sealed({ helpAtOnce: this.#vacuuming });
  }

  /** False if the saved index turned out to be damaged: then the state is not to be used any more. */
  #meetAll(state: EngineState, commits: readonly LedgerCommit[]): MaybePromise<boolean> {
    const failed = (error: unknown): boolean => {
      // A value of one of them is kept no longer: the session says so, and there is a newer state to go on with.
      if (hasCode(error, "SnapshotExpired")) return false;
      if (!(error instanceof IndexDamaged)) throw error;
      this.#indexDamaged = true;
      return false;
    };
    try {
      const met = this.#meetEach(state, commits);
      return isPromise(met) ? met.then(() => true, failed) : true;
    } catch (error) {
      return failed(error);
    }
  }

  #meetEach(state: EngineState, commits: readonly LedgerCommit[], met?: Met[]): MaybePromise<void> {
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

  /** `met`: takes own commits, whose fate is told once the state is the one in use. */
  #meet(state: EngineState, commit: LedgerCommit, met?: Met[]): MaybePromise<void> {
    if (commit.version <= state.metTo) return undefined;
    const own = this.#ownCommit(commit);
    const told = (verdict: Verdict): void => {
      if (own === undefined) return;
      if (met === undefined) this.#settle(own, verdict, commit.version);
      else met.push({ own, verdict, version: commit.version });
    };
    try {
      // What an author has resolved is another commit than the one that was asked for.
      const known = this.#resolves ? undefined : own?.commit;
      const decoded = this.#options.index ? (known ?? decodeCommit(commit.payload)) : undefined;
      const whole = commit.isPartial === true && !this.#listener.isIdle() ? this.#complete(state, commit) : commit;
      const verdict = isPromise(whole)
        ? this.#own(whole).then((record) => this.#apply(state, record, decoded, commit.version, commit.place))
        : this.#apply(state, whole, decoded, commit.version, commit.place);
      return isPromise(verdict) ? verdict.then(told) : told(verdict);
    } catch (error) {
      if (error instanceof IndexDamaged) throw error;
      // Whoever cannot tell what a commit does stops before it for good, and never guesses.
      this.#stopped = asKVError(error);
      throw this.#stopped;
    }
  }

  /** The commit with all its values: whoever watches is told them. */
  async #complete({ source }: EngineState, commit: LedgerCommit): Promise<LedgerCommit> {
    return { ...commit, payload: (await source.session.complete?.(commit)) ?? commit.payload };
  }

  #ownCommit(commit: LedgerCommit): PendingCommit | undefined {
    if (this.queue.inFlight.size === 0) return undefined;
    const own = this.queue.inFlight.get(commit.counter);
    if (own === undefined || !equalBytes(commit.writer, this.#writer)) return undefined;
    return own;
  }

  #apply(
    state: EngineState,
    record: CommitRecord,
    commit: Commit | undefined,
    version: number,
    place: number,
  ): MaybePromise<Verdict> {
    const { replica, checkpointer } = state;
    if (commit === undefined) {
      if (this.#counts(state, version)) this.counts.commits++;
      replica.version = version;
      return "applied";
    }
    const at = { version, timestamp: record.timestamp, place };
    // As a rule there is nothing to resolve, and nobody to tell of it.
    if (this.#listener.isIdle() && replica.applyPlain(commit, at)) {
      if (this.#counts(state, version)) this.counts.commits++;
      checkpointer?.count(commit.operations.length, record.payload.length);
      return "applied";
    }
    const resolution = resolveLoaded(commit, at, replica);
    return isPromise(resolution)
      ? this.#own(resolution).then((arrived) => this.#take(state, record, commit, at, arrived))
      : this.#take(state, record, commit, at, resolution);
  }

  /** Whether a commit is to be counted: once, however often the state is built anew. */
  #counts(state: EngineState, version: number): boolean {
    if (state === this.#state) return true;
    if (version <= this.#countedTo) return false;
    this.#countedTo = version;
    return true;
  }

  #take(state: EngineState, record: CommitRecord, commit: Commit, at: CommitPlace, resolution: Resolution): Verdict {
    const { replica, checkpointer } = state;
    const counts = this.#counts(state, at.version);
    if (counts) this.counts.commits++;
    checkpointer?.count(commit.operations.length, record.payload.length);
    if (resolution.verdict === "applied") {
      replica.apply(at.version, resolution.changes);
      if (state === this.#state) this.#listener.applied(record, at.version, resolution.changes);
    } else {
      if (counts) this.counts.voidCommits++;
      replica.version = at.version;
      replica.voidVersions.add(at.version);
    }
    return resolution.verdict;
  }

  #settle(own: PendingCommit, verdict: Verdict, version: number): void {
    for (const outcome of this.#before.get(own) ?? []) this.#settleUnwritten(outcome);
    this.queue.inFlight.delete(own.record.counter);
    this.queue.release(own);
    this.#remember(version);
    const { damage } = this;
    if (damage.some(({ from }) => from < version))
      own.reject(unknownOutcome(`The commit lies behind damage in ${this.#ledger.name}`));
    else own.settle(verdict, version);
  }

  #remember(version: number): void {
    this.#ownVersions[this.#ownCount++ % OWN_VERSIONS] = version;
  }

  /** Counts, or tells of, what was found between the commits: each once, whoever finds it. */
  note(state: EngineState, notices: readonly LedgerNotice[]): void {
    const damaged: AddressRange[] = [];
    const ledgerId = state.source.session.identity?.ledgerId;
    for (const { kind, from, to } of notices) {
      if (kind === "damage") state.damage.push({ from, to });
      const name = `${ledgerId} ${kind} ${from} ${to}`;
      if (this.#noted.has(name)) continue;
      this.#noted.add(name);
      if (kind === "stump") {
        this.counts.stumps++;
      } else if (kind === "lost") {
        this.counts.lostBytes += to - from;
        const message = `${to - from} bytes at addresses ${from} to ${to} of ${this.#ledger.name} were lost in a power failure`;
        this.#listener.problem(new KVError("LedgerDamaged", message, { ranges: [{ from, to }] }));
      } else if (kind === "copy") {
        const message = `One copy of the header of ${this.#ledger.name}, at addresses ${from} to ${to}, is damaged; the other one serves`;
        this.#listener.problem(new KVError("LedgerDamaged", message, { ranges: [{ from, to }] }));
      } else {
        damaged.push({ from, to });
      }
    }
    if (damaged.length === 0) return;
    const message = `${this.#ledger.name} is damaged at ${describe(damaged)}; what is whole can be read, nothing can be written`;
    this.#listener.problem(new KVError("LedgerDamaged", message, { ranges: damaged }));
  }

  // --- seals and replaced ledgers ----------------------------------------------------------------------------------

  async #move(state: FollowState): Promise<void> {
    this.#moved = true;
    // Reads go on from the old state until there is another.
    const unpin = this.session.pin?.();
    try {
      await this.#moveOn(state);
    } finally {
      unpin?.();
    }
  }

  async #moveOn(state: FollowState): Promise<void> {
    const reopened = this.session.reopen(this.#state.position);
    const result = isPromise(reopened) ? await this.#own(reopened) : reopened;
    state.invalidated = true;
    if (result.status === "continued" && this.damage.length === 0) {
      const continued = this.#state.continued(result.position);
      if (isPromise(continued)) await this.#own(continued);
      this.#sealWait?.over();
      this.#moved = false;
      this.#tryAgain(state);
      return;
    }
    // Behind damage the state may not be what the others go on with: the snapshot says what that is.
    if (result.status === "continued" || result.ownCommits === "not committed") this.#tryAgain(state);
    else
      this.queue.reject(
        this.queue.takeInFlight(),
        unknownOutcome(`${this.#ledger.name} was replaced by something else`),
      );
    await this.#reload();
    this.#moved = false;
  }

  /** What was appended, not met, and is certain not to be in what was read, is appended again, before everything that waits. */
  #tryAgain({ error }: FollowState): void {
    const unmet = this.queue.takeInFlight();
    if (error === undefined) this.queue.putBack(unmet);
    else if (unmet.length > 0) this.#appendFailed(unmet, error);
  }

  /** Builds the state anew because the saved index is damaged. */
  async rebuild(): Promise<void> {
    this.#indexDamaged = true;
    await this.round({ verify: false });
  }

  async #rebuild(state: FollowState): Promise<void> {
    const nonce = this.identity?.nonce;
    // Nothing of it is to be published any more.
    this.#state.checkpointer?.abandon();
    this.#state.keeper?.abandon();
    const { source, position } = this.#state;
    source.pin();
    try {
      await this.#reload({ load: false });
      this.#indexDamaged = false;
      this.counts.rebuilds++;
      // Where the ledger keeps the state, what was kept before is gone.
      if (this.session.openState !== undefined) state.invalidated = true;
      if (this.identity?.nonce === nonce) return;
      state.invalidated = true;
      await this.#settleLeftBehind(source.session, position, state);
    } finally {
      source.unpin();
    }
  }

  /** The state built anew begins in a later generation: what it has not met of own commits is looked for in the one that was left. */
  async #settleLeftBehind(session: LedgerSession, position: Position, state: FollowState): Promise<void> {
    if (this.queue.inFlight.size === 0 || session.identity?.ledgerId !== this.identity?.ledgerId) return;
    const isOver = await readToSeal(session, position, (commit) => {
      const own = this.#ownCommit(commit);
      // It is there, and only what can do one thing alone tells without a state what it did.
      if (own !== undefined && isPlain(own.commit)) return this.#settle(own, "applied", commit.version);
      if (own === undefined) return;
      this.queue.inFlight.delete(own.record.counter);
      this.queue.reject([own], unknownOutcome(`What the commit did in ${this.#ledger.name} cannot be told any more`));
    });
    if (isOver) this.#tryAgain(state);
  }

  /** Builds the state anew from whatever is at the ledger's place now. Until that is done, reads see the old state. */
  async #reload(options: { readonly load: boolean } = { load: true }): Promise<void> {
    const old = this.#state;
    const opening = this.#ledger.open({
      createIfMissing: false,
      readOnly: this.#options.readOnly,
      allowNetworkFileSystem: this.#options.allowNetworkFileSystem,
      environment: this.#environment,
      cache: (dropped) => byteCache(this.#options.cache, dropped),
    });
    const session = await this.#own(opening);
    const sameLedger = session.identity?.ledgerId === old.source.session.identity?.ledgerId;
    this.#countedTo = sameLedger ? Math.max(this.#countedTo, old.replica.version) : 0;
    const met: Met[] = [];
    let state: EngineState | undefined;
    try {
      state = await this.#own(EngineState.begin(session, this.#stateOptions, options));
      await this.#build(state, met);
    } catch (error) {
      if (state === undefined) await session.close();
      else state.retire();
      if (error instanceof IndexDamaged && options.load) return this.#reload({ load: false });
      throw error;
    }
    if (!sameLedger) {
      const message = `${this.#ledger.name} was replaced by another ledger`;
      this.queue.rejectWaiting(new KVError("LedgerMissing", message, { outcome: "not committed" }));
    }
    const before = old.freeze();
    this.#state = state;
    this.#countedTo = 0;
    this.#sealWait?.over();
    this.counts.reloads++;
    old.retire();
    for (const { own, verdict, version } of met) this.#settle(own, verdict, version);
    try {
      await this.#own(this.#listener.reloaded(before, sameLedger));
    } finally {
      before.release();
    }
  }

  /** Reads a state's session to its present end. */
  async #build(state: EngineState, met: Met[]): Promise<void> {
    for (;;) {
      const read = state.source.session.read(state.position, { bytes: this.#readBytes.size, verify: false });
      const result = isPromise(read) ? await this.#own(read) : read;
      if (result.notices !== undefined) this.note(state, result.notices);
      const meeting = this.#meetEach(state, result.commits, met);
      if (isPromise(meeting)) await meeting;
      state.position = result.next;
      if (result.state !== undefined) await this.#own(state.adopt(result.state));
      const relief = this.#checkpoint(state);
      if (relief !== undefined) await relief;
      if (result.status !== "more") return;
      if (this.#pacer.due()) await this.#own(this.#pacer.rest());
    }
  }
}

/** What all of them agree to. */
function commonHaste(requests: readonly RoundRequest[]): Haste | undefined {
  if (requests.every(({ haste }) => haste === "leave")) return "leave";
  return requests.every(({ haste }) => haste !== undefined) ? "skip" : undefined;
}

function unknownOutcome(message: string, cause?: unknown): KVError {
  return new KVError("CommitOutcomeUnknown", message, { cause, outcome: "unknown" });
}

function asKVError(error: unknown): KVError {
  return error instanceof KVError ? error : new KVError("InputOutput", String(error), { cause: error });
}

function describe(ranges: readonly AddressRange[]): string {
  return ranges.map(({ from, to }) => `addresses ${from} to ${to}`).join(", ");
}

function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
