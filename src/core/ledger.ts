import type { BytesAt } from "./bytes-at.ts";
import type { Environment, MaybePromise } from "./environment.ts";
import type { AddressRange, KVError } from "./errors.ts";
import type { VacuumProgress } from "./options.ts";

/**
 * The contract between the engine and what stores a ledger. docs/ADAPTERS.md tells how to implement it, and the conformance
 * suite in `foliokv/testing` decides whether an implementation is right. All of it is in this file, long as that is: whoever implements it reads it from
 * top to bottom.
 */

/**
 * A place in the ledger where a read starts. Opaque outside the adapter that made it; the engine only keeps it and hands it back.
 */
export type Position = number;

/**
 * A commit's logical place in the order: a safe integer above 0 that grows from commit to commit, is not dense, is never reused
 * and survives a vacuum. Version 0 is the empty database.
 */
export type Version = number;

/**
 * Where the bytes of a value lie, for `readValue`. Opaque, but additive: when a commit's payload lies at `place`, byte `n` of the
 * payload lies at `place + n`.
 */
export type Place = number;

/** A ledger, described and not yet opened. Holds no resources; two databases may share one. */
export interface Ledger {
  /** For messages: a path, a bucket prefix. */
  readonly name: string;
  /**
   * Who decides what a commit does. `"append"`: anybody may append at any time, every replica resolves each commit when it
   * reaches it. `"compare-and-swap"`: an append succeeds only directly behind what its author has read; the author resolves.
   */
  readonly ordering: "append" | "compare-and-swap";
  /**
   * Opens, and creates where `createIfMissing` says so (only here; nothing else ever creates). Rejects with a `KVError`:
   * `LedgerMissing`, `NotALedger`, `UnsupportedFormat`, `LedgerDamaged` (nothing of it is readable), `AccessDenied`, `InputOutput`, ...
   * A failed open leaves no resource behind.
   */
  open(options: LedgerOpenOptions): Promise<LedgerSession>;
  /**
   * Creates the ledger, which must not exist yet, with a state to begin with, and closes it again. Others find all of it or nothing, and what somebody else has
   * put there meanwhile stays: `TargetExists`. Resolves with the bytes written once they are durable. What a failure leaves behind is never taken for a ledger, and
   * keeps nobody from calling this again; so is what remains of a process that is killed. Left out where that cannot be done.
   */
  createFrom?(request: CopyRequest): Promise<{ readonly bytes: number }>;
}

/** What the engine asks for when it opens a ledger. */
export interface LedgerOpenOptions {
  readonly createIfMissing: boolean;
  /** Never writes: no creation, no repair, no help. Works on what may only be read. */
  readonly readOnly: boolean;
  /** Where so much is damaged that nothing can be opened, do what can be done about that first, keeping the damaged original as a copy. */
  readonly repair?: boolean;
  /** See `OpenOptions.allowNetworkFileSystem`; adapters that have no file ignore it. */
  readonly allowNetworkFileSystem: boolean;
  readonly environment: Environment;
  /** Makes room for what the session wants to keep of what it reads; `dropped` is told what is kept no longer. Left out where it has to do without. */
  readonly cache?: (dropped: (bytes: Uint8Array) => void) => ByteCache;
}

/** A part of the memory that an instance keeps for what was read (`cacheBytesMax`). Keys are integers from 0. */
export interface ByteCache {
  get(key: number): Uint8Array | undefined;
  /** Keeps `bytes` as long as there is room. `size`: the memory that it takes, in bytes. */
  set(key: number, bytes: Uint8Array, size: number): void;
  /** False if keeping so much would only push out something else; asked a second time soon, it is true. */
  admits(key: number, size: number): boolean;
  /** A buffer of at least `length` bytes. Memory that was dropped is used again: views of it show something else then. */
  buffer(length: number): Uint8Array;
  /** Lets go of everything. */
  clear(): void;
}

/** An immutable run, stored: see docs/FORMAT.md, "Runs". */
export interface StoredRun extends BytesAt {
  /** Unique among all runs that a process may ever hold. */
  readonly id: string;
  /** Bytes of the whole. */
  readonly length: number;
  /** True if all of it takes up memory. */
  readonly isInMemory?: boolean;
  /** Where what is read first begins, if that is known: the top of the index, the footer, and what else of the end is of use. */
  readonly openFrom?: number;
  /** Versions of the commits whose changes it holds, where the ledger tells. */
  readonly covers?: AddressRange;
  /** What was read of it was wrong: what is kept of that is let go, so that it is read once more. */
  readAnew?(): void;
  /** The same run for whoever reads all of it, once and in order: in parts of so many bytes, two of which are kept. Left out where reading costs the same. */
  passed?(partBytes: number): StoredRun;
  /** No more reads follow. */
  close(): void;
}

/** A run being written. */
export interface RunSink {
  write(bytes: Uint8Array): void;
  /** The run as it was written, durable. */
  finish(): Promise<StoredRun>;
  /** Instead of `finish`: leaves nothing behind, and nothing under way once it has resolved. */
  abandon(): MaybePromise<void>;
}

/** The state that a ledger starts with, because what led to it is no longer there. */
export interface LedgerSnapshot {
  readonly run: StoredRun;
  /** The run holds exactly what the commits with versions below this have left. */
  readonly below: Version;
}

/** The state at a position, so that reading can begin there. */
export interface Checkpoint {
  readonly position: Position;
  /** Version of the last commit before it. */
  readonly version: Version;
  /** Newest first: what the commits since the ledger's snapshot, or from the beginning, have changed. */
  readonly runs: readonly StoredRun[];
}

/** Why there is no checkpoint to begin with. `cut`: there is one, and it covers more than the ledger has. */
export type CheckpointAbsence = "missing" | "stale" | "damaged" | "cut";

/** `superseded`: another process had published as much; its checkpoint is to be had from `load`. */
export type PublishResult = "published" | "superseded";

/** Where checkpoints are kept that spare the next `open` the reading of what they cover. */
export interface CheckpointStore {
  /** The newest one published, its runs opened. */
  load(): MaybePromise<Checkpoint | CheckpointAbsence>;
  createRun(): RunSink;
  /**
   * Publishes a checkpoint whose runs came from `load` or `createRun`. Sees to it first that what it covers is durable: no index may reach
   * beyond its ledger.
   */
  publish(checkpoint: Checkpoint): Promise<PublishResult>;
  /** True if somebody else seems to be about to publish. Left out where that cannot be told. */
  isBusy?(): boolean;
  /** What is published cannot be read: it is not to be offered again. */
  invalidate(): void;
  /** Removes runs made here that were never published. */
  discard(runs: readonly StoredRun[]): void;
}

/** What the engine hands to a vacuum. */
export interface VacuumRequest {
  /** The commits before this are replaced by the snapshot. */
  readonly position: Position;
  /** The next generation is not the same history: whoever follows reads it anew. */
  readonly reload: boolean;
  /** Hands over the bytes of the snapshot run, in order. `extra` goes into its footer. Resolves with their CRC-32. */
  writeRun(write: (bytes: Uint8Array) => void, extra: Uint8Array): Promise<{ readonly checksum: number }>;
  progress(progress: VacuumProgress): void;
  /** Gives the event loop its turn when that is due. */
  rest(): MaybePromise<void>;
  /** Throws if the vacuum is to be given up. */
  check(): void;
}

/** A vacuum that was asked for; whether it counts has yet to be read. */
export interface VacuumAttempt {
  /** True once `read` has come to the seal that names what was written here, whatever may have followed that since. */
  wins(): boolean;
  /** Set if nobody can tell without reading whether everybody was asked. If `read` finds no seal up to the end, this is what kept it from being done. */
  readonly error?: unknown;
}

/** What a new ledger begins with: the state of another one at one version. Its runs are asked for one way or the other, and once. */
export interface CopyRequest {
  readonly environment: Environment;
  /** That of the ledger whose state it is, or a new one; hex. */
  readonly ledgerId: string;
  /** Where incarnations are counted: one more than that of the ledger whose state it is. */
  readonly generation: number;
  /** The state is what the commits up to this one have left. Those of the new ledger get higher ones. */
  readonly version: Version;
  /** About how many bytes the runs will have. */
  readonly expectedBytes: number;
  /** Hands over the bytes of one run that holds all of the state, in order: for places where small reads are quick. `extra` goes into its footer. Resolves with their CRC-32. */
  writeRun(write: (bytes: Uint8Array) => void, extra: Uint8Array): Promise<{ readonly checksum: number }>;
  /**
   * The state in runs that follow each other in the order of keys, each as a whole in memory: for places where each read is a round trip. At least one. All but the last have as many
   * bytes as that, or a little more; the next one is made when it is asked for.
   */
  buildRuns(partBytes: number): AsyncIterable<BuiltPart>;
  progress(progress: VacuumProgress): void;
  /** Throws if it is to be given up. */
  check(): void;
}

/** Who a ledger is, and which of its incarnations. */
export interface LedgerIdentity {
  /** The same for the life of the ledger, through every vacuum; hex. */
  readonly ledgerId: string;
  /** Which physical incarnation this is, counted from 1. */
  readonly generation: number;
  /** Random name of this incarnation; hex. */
  readonly nonce: string;
}

/** One commit as the engine hands it down. The payload's bytes mean nothing to the adapter. */
export interface CommitRecord {
  /** Random, 12 bytes, drawn by the author when it opened. */
  readonly writer: Uint8Array;
  /** Grows with each of this writer's commits; below 2^48. `writer` and `counter` identify a commit for ever. */
  readonly counter: number;
  /** The author's clock, ms since the epoch. Any finite number. */
  readonly timestamp: number;
  readonly payload: Uint8Array;
}

/** One commit as the ledger hands it up. */
export interface LedgerCommit extends CommitRecord {
  readonly version: Version;
  /** Place of the payload's first byte. */
  readonly place: Place;
  /** True if bytes of some values are left out of the payload, zeros in their stead: `readValue` has them, and `complete` gives the whole. */
  readonly isPartial?: boolean;
}

/** A commit that is passed while it is read. It holds for the call that it is handed to: the next commit is told by the same object. */
export interface PassedCommit {
  version: Version;
  place: Place;
  writer: Uint8Array;
  counter: number;
  timestamp: number;
  /** The payload lies from `from` to `to`. */
  bytes: Uint8Array;
  from: number;
  to: number;
}

/** How much one read may take, and how careful it has to be. */
export interface ReadBudget {
  /** About how many bytes of the ledger one call may go through. A call always makes progress: at least one whole commit fits. */
  readonly bytes: number;
  /**
   * True on polls and explicit syncs: before reading, make sure that this still is the ledger that the user named (the path leads
   * to the same file, nothing was cut or replaced). False right after an own append, where only new commits are asked for.
   */
  readonly verify: boolean;
  /**
   * May be asked, for each commit from the first on as long as it says true, and as long as no notice comes before: then the commit is taken, and is not among
   * those that are returned. A read that has handed over any does not fail: it returns up to where it came, and the next one says what is wrong. For ledgers whose commits lie in memory one behind the other, where an object for each is a good part of the work. May be ignored.
   */
  readonly take?: ((commit: PassedCommit) => boolean) | undefined;
  /** False: everything is read, however far ahead the state is that the ledger keeps. Otherwise such a read may say `moved`. */
  readonly passesOver?: false;
}

/** What lies behind a position. */
export interface ReadResult {
  /** Oldest first. The bytes are the receiver's own: the adapter never reuses or changes them. */
  readonly commits: readonly LedgerCommit[];
  /** Where to go on. */
  readonly next: Position;
  /**
   * `more`: there may be more right away. `end`: nothing further at the time of the call. `sealed`: `next` lies before a seal,
   * this generation has ended and the next one is not in place yet. `moved`: the generation changed, or what lay behind the
   * position is gone or was replaced: `reopen()` before the next read (the commits returned with `moved` are valid and come first).
   */
  readonly status: "more" | "end" | "sealed" | "moved";
  /** What was found between the commits. */
  readonly notices?: readonly LedgerNotice[];
  /**
   * A newer state at or before `next` than the one that reading began with, where the ledger keeps such states itself (`openState`): what it covers
   * is let go of and read from its runs. Its runs belong to the receiver.
   */
  readonly state?: Checkpoint;
}

/**
 * Bytes that hold no commit. `stump`: left by a writer that died, nobody was told that it was in. `lost`: taken by a power failure.
 * `damage`: bytes that failed a check; what lies behind is still delivered, but the state may differ from that of others, so that
 * the engine refuses to commit from then on. `copy`: one of two copies of the same is damaged, and the other serves.
 */
export interface LedgerNotice extends AddressRange {
  readonly kind: "stump" | "lost" | "damage" | "copy";
}

/** What a session answers to an append: whatever it says is certain. */
export type AppendResult =
  /**
   * In the ledger, in order, directly behind `position`, acknowledged as the durability demands. `versions` and `places` (of
   * the payloads) go with the commits handed in. A compare-and-swap ledger may take only the first of them, as many as there are versions;
   * handed none, it says `appended` if nothing lies behind `position`, asked after the call was made.
   */
  | {
      readonly status: "appended";
      readonly versions: readonly Version[];
      readonly places: readonly Place[];
      readonly next: Position;
    }
  /**
   * In the ledger as a whole or in part, or not at all; somebody else's commits may lie between. The engine reads on to
   * the end: those of the batch that it meets are committed, in order; if `error` is set the others are not, and reject with it
   * (outcome "not committed"). Without `error` all of them will be met.
   */
  | { readonly status: "read-on"; readonly error?: unknown }
  /** Compare-and-swap only: somebody else was first, nothing was appended. Follow, resolve again, try again. */
  | { readonly status: "behind" };

/** A run that is whole in memory, to be stored. */
export interface BuiltState {
  readonly bytes: Uint8Array;
  /** From here to the end is what opening it reads: see `StoredRun.openFrom`. */
  readonly openFrom: number;
}

/** One of several runs that hold a state together. */
export interface BuiltPart extends BuiltState {
  readonly isLast: boolean;
}

/** What the engine hands to a ledger that keeps states itself. Runs are made from a frozen state, values inline. */
export interface StateRequest {
  /** Where the engine has read to, with everything before it applied. */
  readonly position: Position;
  readonly version: Version;
  /** Large merges are worth their while here: the process was opened to do them. */
  readonly compaction: boolean;
  /** The run of what the commits with versions above `since`, up to `version`, have changed. `since` is that of the newest state, or of a newer one. */
  buildDelta(since: Version): Promise<BuiltState>;
  /** One run instead of several neighbouring ones, newest first. `lowest`: nothing is older, so that tombstones may be left out. The runs are closed in any case. */
  buildMerged(runs: readonly StoredRun[], options: MergeOptions): Promise<BuiltState>;
  /** These runs, newest first, are the state now: the same as `ReadResult.state`, at once. */
  adopt(state: Checkpoint): void;
  /** Something to report that belongs to no call. */
  problem(error: KVError): void;
  /** Gives the event loop its turn when that is due. */
  rest(): MaybePromise<void>;
  /** Throws if the work is to be given up. */
  check(): void;
}

export interface MergeOptions {
  readonly lowest: boolean;
  /** Told how many bytes of the new run there are so far. */
  readonly progress?: (bytes: number) => void;
}

/** What the engine hands over when a ledger that keeps its state itself is repaired. */
export interface RepairStateRequest {
  /** Behind the last commit that was reached, and its version. */
  readonly position: Position;
  readonly version: Version;
  /** All that is whole of the state there; undefined if that is nothing. */
  readonly built: BuiltState | undefined;
  /** Reads on to what is the end by now; undefined if the ledger has begun anew. `built`: what has changed since the last of these; undefined if that is nothing. */
  readOn(): Promise<Pick<RepairStateRequest, "position" | "version" | "built"> | undefined>;
  rest(): MaybePromise<void>;
  /** Throws if the work is to be given up. */
  check(): void;
}

/** A ledger that has begun anew. */
export interface RepairedState {
  /** What was damaged stays as it was, under this name. */
  readonly left: string;
  /** The versions of what lay behind the position, as half-open ranges: to be asked for in any case, and answered when nobody adds to it any more. */
  behind(): Promise<readonly AddressRange[]>;
}

/** Work on the state that is under way. */
export interface StateWork {
  /** Never rejects. */
  readonly done: Promise<void>;
  /** True while commits are to wait for it; may become so in its course. */
  readonly commitsWait: boolean;
}

/** What a reopened session says. */
export type ReopenResult =
  /** The next generation of the same history: state and versions stay, reading goes on at `position`. */
  | { readonly status: "continued"; readonly position: Position }
  /**
   * Something else, or the same cut: the engine opens the ledger anew, builds its state from the start, and closes this session once
   * nobody reads from it any more; until then `readValue` goes on. `ownCommits` tells what became of commits that were appended here
   * and not met: `"unknown"`, or `"not committed"` when certain: if it is the same ledger still, they are appended again.
   */
  | { readonly status: "replaced"; readonly ownCommits: "unknown" | "not committed" };

/**
 * An opened ledger: owns descriptors and caches. The engine never has two of `read`, `append`, `reopen` and `makeDurable` under way at once;
 * `readValue`, `hasNews`, `isUnchanged` and `stats` may come at any time, `close` once.
 */
export interface LedgerSession {
  /** Current identity; changes with `reopen`. `undefined` while a read-only session waits for an empty ledger to be created. */
  readonly identity: LedgerIdentity | undefined;
  /**
   * Set if `repair` had to do something for the ledger to be opened: the name of the copy, if there was anything to copy, and whether it is the same ledger
   * still. Left out where that never is.
   */
  readonly restored?: { readonly copy: string | undefined; readonly isSame: boolean } | undefined;
  /** Position before the first commit that is not part of the snapshot. */
  readonly start: Position;
  /** The state at `start`, undefined where that is empty. Another one after `reopen` has said `continued`. */
  openSnapshot?(): LedgerSnapshot | undefined;
  /** Where checkpoints of the present generation are kept; undefined if nowhere. */
  openCheckpoints?(): CheckpointStore | undefined;
  /**
   * The state that the ledger itself keeps, in runs of its own, at a position: reading begins there, and `start` is the oldest position that can
   * still be read from. Undefined where that state is empty. Left out where a ledger keeps none.
   */
  openState?(): MaybePromise<Checkpoint | undefined>;
  /**
   * Called after each own append and each round, when the engine has applied everything up to `request.position`. Where it is this session's turn to
   * write down the state it does so, and removes what nobody needs; what fails of it tells `request.problem`. Undefined if there is nothing to do.
   * Never called again before the last call's work has ended, or was given up with the request that it was of.
   */
  keepState?(request: StateRequest): StateWork | undefined;
  /** Writes down the state whether it is due or not, and merges all of its runs into one. Left out where `vacuum` does that. */
  compactState?(request: StateRequest, progress: (progress: VacuumProgress) => void): Promise<void>;
  /**
   * Lets the ledger begin anew, with a state that is what can be saved of it, for everybody; no version is used twice. Undefined if something else has
   * come first. Left out where `vacuum` does that.
   */
  repairState?(request: RepairStateRequest): Promise<RepairedState | undefined>;
  /** The whole payload of a commit that was handed up `isPartial`. Throws as `readValue` does. */
  complete?(commit: LedgerCommit): MaybePromise<Uint8Array>;
  /** The largest payload that `append` accepts for one commit, in bytes. */
  readonly payloadBytesMax: number;
  /** The same of a commit that only deletes. Left out where it is no less. */
  readonly deletesBytesMax?: number;
  /**
   * Why a commit would not be accepted although it is not larger than that; undefined for one that is fine. Asked before a commit is queued. Left out
   * where the size alone decides.
   */
  refuses?(payload: Uint8Array): KVError | undefined;

  /**
   * The commits behind `position`. May throw or reject with a `KVError` (`LedgerMissing`, `AccessDenied`, `InputOutput`, ...): nothing is lost, the
   * engine asks again at the next round.
   */
  read(position: Position, budget: ReadBudget): MaybePromise<ReadResult>;

  /**
   * Appends the commits in order, each all or none. `position` is where the engine has read to. On a compare-and-swap ledger they are plain sets and
   * deletes, the outcomes of what their authors asked for. Throws only when it is certain that nothing was or ever will be appended (outcome "not committed"), or when nobody can know (a `KVError` with outcome "unknown").
   * May be asked to append the same commits again after `reopen` said `continued` and they were not met.
   */
  append(commits: readonly CommitRecord[], position: Position): MaybePromise<AppendResult>;

  /**
   * `length` bytes at `place`, which lie in the commit with this version. Throws `LedgerDamaged` when they cannot be had whole.
   * The bytes are the receiver's own; of a session that was given a `cache` they may be part of what that keeps: the receiver does not change
   * them, and they are valid until the next call. Contents are checked by the engine, which keeps a checksum with each value. With `again`, what the last
   * call gave has failed: nothing kept is to be believed any more.
   */
  readValue(
    version: Version,
    place: Place,
    length: number,
    options?: { readonly again: true },
  ): MaybePromise<Uint8Array>;
  /**
   * For sessions whose `readValue` answers at once out of memory that they keep: `noteWhole` says that what the last call gave has passed its check,
   * and `isKnownWhole` is true when the last call has given such bytes again, which were not read anew since. Left out, each value is checked each time.
   */
  noteWhole?(): void;
  readonly isKnownWhole?: boolean;

  /** After `read` said `moved`. Throws as `open` does; may be called again. Never creates. */
  reopen(position: Position): MaybePromise<ReopenResult>;

  /**
   * Keeps everything readable that `readValue` can read now, whatever `reopen` moves on to, until the returned function is called. Left out
   * where that is always so.
   */
  pin?(): () => void;

  /** How large the ledger is, how large it was when its generation began, and when that was (ms since the epoch). */
  growth?(): { readonly bytes: number; readonly bytesAtStart: number; readonly startedAt: number };

  /**
   * Writes the next generation, which begins with a snapshot, and asks everybody to go on there. Resolves once that is asked: `read` then says
   * `sealed`. Left out where a ledger cannot shrink. Throws `LedgerSealed` if another vacuum came first, `VacuumRefused`, `NoSpace`, ...: then
   * nothing has happened.
   */
  vacuum?(request: VacuumRequest): Promise<VacuumAttempt>;

  /** Keeps a copy of the ledger as it is, damaged, beside it, and resolves with its name. Left out where there is nothing to repair. */
  keepCopy?(request: Pick<VacuumRequest, "rest" | "check">): Promise<string>;

  /**
   * After `read` said `sealed`: does what there is to do for the next generation to take its place. Several may do so at once. Throws what keeps
   * it from being done; it may be tried again.
   */
  help?(): Promise<void>;

  /**
   * Makes durable what was read so far, as far as the durability asked for says so. Left out where appending does all there is to do.
   */
  makeDurable?(): MaybePromise<void>;

  /** A cheap look without reading: false if there is certainly nothing behind `position`. Synchronous. Left out where looking costs as much as reading. */
  hasNews?(position: Position): boolean;

  /** True if a read that verifies would find all as it was, and nothing behind `position`. Synchronous, never throws. Left out where a read costs no more. */
  isUnchanged?(position: Position): boolean;

  /**
   * Calls `listener` when there may be news, until the returned function is called. A hint: never relied upon, may be spurious,
   * late or missing. Left out where there is none.
   */
  subscribe?(listener: () => void): () => void;

  /** Plain facts for `db.stats().ledger`: names with units, values that survive JSON. */
  stats?(): Readonly<Record<string, number | string | boolean>>;

  /**
   * The calls under way (`read`, `append`, `reopen`, `keepState`) are over: the request that made them is gone, or so slow that another one takes
   * over. Only where `environment.isolated`; left out where calls answer at once. None of them may change the session or write anything any more,
   * whatever arrives for it later: as a rule what it awaits never settles. An append that may have been sent is kept as plain data, and the next
   * `append`, of no commits, settles it before anything else, by sending the identical bytes to the same place. If it turns out to be in the ledger,
   * the engine meets its commits there.
   */
  abandon?(): void;

  /** Releases everything. Idempotent. */
  close(): MaybePromise<void>;
}
