import type { BlockCache } from "./block-cache.ts";
import { CommitQueue, type PendingCommit } from "./commit-queue.ts";
import { EngineState, type EngineStateOptions } from "./engine-state.ts";
import type { Environment } from "./environment.ts";
import { type AddressRange, describeRanges, KVError } from "./errors.ts";
import type { FileWork } from "./file-work.ts";
import type { CommitRecord, Ledger, LedgerIdentity, LedgerSession } from "./ledger.ts";
import type { Pacer } from "./pacer.ts";
import { Portion } from "./portion.ts";
import type { Change } from "./resolve.ts";
import type { Round } from "./round.ts";
import type { Snapshot } from "./source.ts";
import { Turn } from "./turn.ts";
import { Waits } from "./waits.ts";

/** Commits of one batch, as many as are appended and applied in a few milliseconds. */
const BATCH_COMMITS = { first: 1024, min: 16, max: 16 * 1024 } as const;
/** How much of the ledger is applied between two looks at the clock: likewise. */
const READ_BYTES = { first: 16 * 1024, min: 512, max: 512 * 1024 } as const;

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

/** What an engine is given. */
export interface EngineSurroundings {
  readonly ledger: Ledger;
  readonly environment: Environment;
  readonly options: EngineOptions;
  readonly listener: EngineListener;
  readonly pacer: Pacer;
}

/** What calls from outside a step lead to. */
export interface EngineRequests {
  /** A round that nobody waits for. */
  readonly look: () => void;
  /** The saved index is damaged: builds the state anew. */
  readonly rebuild: () => void;
}

/**
 * What all parts of an engine share: what it was given, its queue, and the state in use.
 *
 * The state and its position are changed within a step alone, and of those one is under way at a time (`engine-loop.ts`): a part that is called by a
 * step finds them after an `await` as it has left them. `stopped` may be set at any time, and is looked at before each step does something new.
 */
export class EngineContext implements EngineSurroundings {
  readonly ledger: Ledger;
  readonly environment: Environment;
  readonly options: EngineOptions;
  readonly listener: EngineListener;
  readonly pacer: Pacer;
  readonly queue = new CommitQueue();
  /** Where several requests share the instance: how each of them waits, and does steps meanwhile. */
  readonly waits: Waits | undefined;
  /** Likewise: whose step is under way. */
  readonly turn: Turn | undefined;
  readonly sealWait: InstanceType<FileWork["SealWait"]> | undefined;
  readonly stateOptions: EngineStateOptions;
  /** The one in use. */
  state: EngineState;
  /** Why nothing is followed or written any more. */
  stopped: KVError | undefined;
  readonly batchCommits = new Portion(BATCH_COMMITS);
  readonly readBytes = new Portion(READ_BYTES);
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

  constructor(surroundings: EngineSurroundings, session: LedgerSession, { look, rebuild }: EngineRequests) {
    const { ledger, environment, options, listener, pacer } = surroundings;
    this.ledger = ledger;
    this.environment = environment;
    this.options = options;
    this.listener = listener;
    this.pacer = pacer;
    this.stateOptions = {
      environment,
      pacer,
      cache: options.cache,
      name: ledger.name,
      index: options.index,
      sideIndex: options.sideIndex,
      saved: options.fileWork,
      Lookups: options.fileWork?.PointReads,
      compaction: options.compaction,
      waitUntil: options.waitUntil,
      saves: () => !options.readOnly && this.stopped === undefined,
      problem: (error) => listener.problem(error),
      indexDamaged: rebuild,
    };
    this.state = EngineState.blank(session, this.stateOptions);
    if (environment.isolated === true) {
      this.turn = new Turn(environment);
      this.waits = new Waits(environment);
    }
    const { queue } = this;
    if (options.fileWork === undefined) return;
    this.sealWait = new options.fileWork.SealWait(environment, ledger.name, {
      get waiting() {
        return queue.waiting;
      },
      look,
      help: options.readOnly || session.help === undefined ? undefined : () => this.#help(),
      expired: (error) => queue.rejectWaiting(error),
    });
  }

  get session(): LedgerSession {
    return this.state.source.session;
  }

  get identity(): LedgerIdentity | undefined {
    return this.session.identity;
  }

  get damage(): readonly AddressRange[] {
    return this.state.damage;
  }

  /** Commits are resolved here, against the state that the append goes behind; nobody is told anything before that has succeeded. */
  get resolves(): boolean {
    return this.ledger.ordering === "compare-and-swap";
  }

  /** True between the seal of one generation and the next one. */
  get isSealed(): boolean {
    return this.sealWait?.isWaiting === true;
  }

  /** Why nothing can be written now, if so. */
  refusal(): KVError | undefined {
    const { ledger, damage, stopped } = this;
    if (this.options.readOnly) {
      return new KVError("ReadOnly", `${ledger.name} was opened with readOnly`, { outcome: "not committed" });
    }
    if (damage.length > 0) {
      const message = `${ledger.name} is damaged at ${describeRanges(damage)}; it can be read, not written`;
      return new KVError("LedgerDamaged", message, { outcome: "not committed", ranges: damage });
    }
    if (stopped !== undefined) {
      return new KVError(stopped.code, stopped.message, { cause: stopped, outcome: "not committed" });
    }
    return undefined;
  }

  /** What a step awaits. When another request has taken over, it never goes on: every `await` within a step goes through this, or through something that does. */
  own<T>(promise: Promise<T>): Promise<T> {
    return this.turn === undefined ? promise : this.turn.own(promise);
  }

  /** As `new Promise(begin)`, for what a step settles, in whatever request. */
  promise<T>(begin: (resolve: (value: T) => void, reject: (error: unknown) => void) => void): Promise<T> {
    return this.waits === undefined ? new Promise(begin) : this.waits.promise(begin);
  }

  /** Resolves once the fate of a commit is known, whatever it is. */
  whenDone(pending: PendingCommit): Promise<void> {
    return this.waits === undefined ? pending.whenDone() : this.waits.until(() => pending.done);
  }

  async #help(): Promise<void> {
    // Behind damage nobody can be sure that the seal which was read is the one that counts.
    if (this.damage.length === 0) await this.session.help?.();
  }
}
