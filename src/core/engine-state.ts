import type { BlockCache } from "./block-cache.ts";
import type { Checkpointer } from "./checkpointer.ts";
import type { FileWork } from "./file-work.ts";
import { type Environment, isPromise, type MaybePromise } from "./environment.ts";
import { type AddressRange, KVError } from "./errors.ts";
import { type HeldRun, openRuns } from "./held-run.ts";
import { openKeptOrLost } from "./lost-run.ts";
import type { Checkpoint, CheckpointStore, LedgerSession, Position, StoredRun } from "./ledger.ts";
import { openBase } from "./opened-runs.ts";
import type { Pacer } from "./pacer.ts";
import { Replica, type ReplicaBase } from "./replica.ts";
import type { PointReads } from "./run-points.ts";
import { type Snapshot, Source } from "./source.ts";
import { StateKeeper } from "./state-keeper.ts";

export interface EngineStateOptions {
  readonly environment: Environment;
  readonly pacer: Pacer;
  readonly cache: BlockCache;
  /** Of the ledger, for messages. */
  readonly name: string;
  /** False: no state is kept, only its version. */
  readonly index: boolean;
  /** Whether the state is saved beside the ledger, and begun with. */
  readonly sideIndex: boolean;
  /** Left out where ledgers have no side index: what lies in memory stays there as it is. */
  readonly saved: Pick<FileWork, "loadSaved" | "saver"> | undefined;
  /** See `RunOptions`: only runs of files have such lookups. */
  readonly Lookups: typeof PointReads | undefined;
  /** See `KVOptions.compaction` and `waitUntil`, of ledgers that keep states themselves. */
  readonly compaction: boolean;
  readonly waitUntil: ((promise: Promise<unknown>) => void) | undefined;
  /** Whether a state may be saved at present, if it is not damaged. */
  readonly saves: () => boolean;
  readonly problem: (error: KVError) => void;
  /** A run of the saved index cannot be read: the state has to be built anew. */
  readonly indexDamaged: () => void;
}

/** What was opened, and what was made of it so far: the session, the state at a position, and who saves it. */
export class EngineState {
  readonly source: Source;
  readonly replica: Replica;
  position: Position;
  /** Commits up to this version were applied, though they lie behind the position: reading them had to be broken off. */
  metTo = 0;
  /** What was found damaged on the way here. Behind it the state may differ from that of others. */
  readonly damage: AddressRange[] = [];
  /** A power failure has left something out on the way here: a generation that was begun before may hold it. */
  hasLost = false;
  readonly checkpointer: Checkpointer | undefined;
  /** Where the ledger keeps the state itself. */
  readonly keeper: StateKeeper | undefined;
  readonly #options: EngineStateOptions;
  #store: CheckpointStore | undefined;

  /** For those who begin with something else than `begin` does. */
  constructor(
    session: LedgerSession,
    options: EngineStateOptions,
    base: ReplicaBase | undefined,
    begin: {
      readonly store?: CheckpointStore | undefined;
      readonly checkpoint?: Checkpoint | undefined;
      readonly runs?: readonly HeldRun[];
      /** True where the ledger keeps the state itself. */
      readonly isKept?: boolean;
    },
  ) {
    const { environment, name, index } = options;
    this.#options = options;
    this.#store = begin.store;
    this.source = new Source(session, name, environment);
    this.position = begin.checkpoint?.position ?? session.start;
    const { runs = [] } = begin;
    const version = begin.checkpoint?.version ?? base?.run.run.info.upto ?? 0;
    this.replica = new Replica({ base: index ? base : undefined, runs, version }, environment.random() * 2 ** 31);
    if (!index) {
      base?.run.release();
      return;
    }
    if (begin.isKept === true) {
      this.keeper = this.#makeKeeper(session);
      return;
    }
    this.checkpointer = options.saved?.saver(this, options);
  }

  #makeKeeper(session: LedgerSession): StateKeeper {
    const { source, replica } = this;
    const position = (): Position => this.position;
    const saves = (): boolean => this.#options.saves() && this.damage.length === 0;
    const host = {
      ...this.#options,
      session,
      source,
      replica,
      saves,
      get position() {
        return position();
      },
    };
    return new StateKeeper(host, this.position);
  }

  /** Before anything is known: what a session starts with has yet to be loaded. */
  static blank(session: LedgerSession, options: EngineStateOptions): EngineState {
    return new EngineState(session, options, undefined, {});
  }

  /**
   * The state that the session's snapshot or, with `load`, a saved checkpoint gives. What came after it has yet to be read. Without `load`
   * what was saved is not offered to others any more either, where it may be changed.
   */
  static async begin(
    session: LedgerSession,
    options: EngineStateOptions,
    { load }: { readonly load: boolean } = { load: true },
  ): Promise<EngineState> {
    if (session.openState !== undefined) return EngineState.#beginKept(session, session.openState(), options);
    const base = await openBase(session, options);
    const saved = options.index ? await options.saved?.loadSaved(session, options, { load }) : undefined;
    return new EngineState(session, options, base, saved ?? {});
  }

  /** The state that a ledger keeps itself. */
  static async #beginKept(
    session: LedgerSession,
    state: MaybePromise<Checkpoint | undefined>,
    options: EngineStateOptions,
  ): Promise<EngineState> {
    const checkpoint = isPromise(state) ? await state : state;
    let runs: HeldRun[] = [];
    const lost: KVError[] = [];
    const open = (stored: StoredRun): Promise<HeldRun> =>
      openKeptOrLost(stored, options, (error) => void lost.push(error));
    if (checkpoint !== undefined && !options.index) for (const stored of checkpoint.runs) stored.close();
    else if (checkpoint !== undefined) ({ runs } = await openRuns(checkpoint.runs, [], open));
    const begun = new EngineState(session, options, undefined, { checkpoint, runs, isKept: true });
    for (const error of lost) {
      begun.damage.push(...(error.ranges ?? []));
      options.problem(error);
    }
    return begun;
  }

  /** Where the state may be saved beside the ledger now; undefined if nowhere. */
  get store(): CheckpointStore | undefined {
    return this.#options.saves() && this.damage.length === 0 ? this.#store : undefined;
  }

  /** Takes over a newer state that the ledger keeps, of a version that was applied here. The runs become its own. */
  async adopt(checkpoint: Checkpoint): Promise<void> {
    if (this.keeper !== undefined) return this.keeper.adopt(checkpoint);
    for (const stored of checkpoint.runs) stored.close();
  }

  /** The beginning of what can still be read, without a state: for whoever only wants the commits. */
  static withoutState(session: LedgerSession, options: EngineStateOptions): EngineState {
    return new EngineState(session, options, undefined, { isKept: true });
  }

  /** The ledger goes on in its next generation, at the same position and with the same state. */
  continued(position: Position): MaybePromise<void> {
    const base = this.#options.index ? openBase(this.source.session, this.#options) : undefined;
    // At once where that can be: what lies below the snapshot is not to be had from the session any more.
    return isPromise(base)
      ? base.then((opened) => this.#continueOn(opened, position))
      : this.#continueOn(base, position);
  }

  #continueOn(base: ReplicaBase | undefined, position: Position): void {
    this.position = position;
    if (!this.#options.index) return;
    this.#store = this.#options.sideIndex ? this.source.session.openCheckpoints?.() : undefined;
    if (base !== undefined) this.replica.rebase(base);
    this.checkpointer?.rebased();
  }

  freeze(): Snapshot {
    const { source, replica } = this;
    const rows = replica.freeze();
    const unpin = source.session.pin?.();
    source.pin();
    let holds = 1;
    const letGo = (): void => {
      if (--holds > 0) return;
      rows.release();
      unpin?.();
      source.unpin();
    };
    const once = (): (() => void) => {
      let done = false;
      return () => {
        if (!done) letGo();
        done = true;
      };
    };
    return {
      version: replica.version,
      rows,
      source,
      takenAt: this.#options.environment.monotonic(),
      hold: () => {
        if (holds === 0) throw new KVError("SnapshotExpired", "It was let go of");
        holds++;
        return once();
      },
      release: once(),
    };
  }

  /** Nobody applies anything to it any more. What was frozen of it stays readable. */
  retire(): void {
    this.checkpointer?.abandon();
    this.keeper?.abandon();
    this.replica.release();
    this.source.retire();
  }
}
