/**
 * Every code an error of this library can carry. Codes are stable; messages are for people and may change.
 *
 * | code | what happened | what to do; is a retry safe? |
 * |---|---|---|
 * | `InvalidKey`, `InvalidValue`, `InvalidQuery`, `InvalidOption`, `InvalidArgument` | the caller passed something that cannot be used; nothing was done | fix the call |
 * | `NotOpen` | the database was not opened yet, or opening it failed | `open()` first |
 * | `AlreadyOpen` | `open()` on an instance that is open or opening | use another instance |
 * | `Closed` | the instance was closed | use another instance |
 * | `ReadOnly` | a write on an instance opened with `readOnly` | open it for writing |
 * | `UnsupportedTarget` | `open(string)` in a bundle without the file adapter; a repair of a bucket in a Worker | pass a ledger; repair it from a process |
 * | `LedgerMissing` | the ledger, or its bucket, does not exist (any more), and is not created here | restore it, or open with `createIfMissing` |
 * | `LedgerDamaged` | bytes of the ledger failed their checksum; the message gives the addresses | read what is whole, then repair |
 * | `LedgerSealed` | a vacuum has ended this generation and nobody has finished it; not committed | retry later |
 * | `VacuumRefused` | the file cannot be replaced where it lies (hard links, a mount point, a sticky directory, no right to create a file beside it) | move it, or go without vacuums |
 * | `TargetExists` | there is something already where a backup was to be written; nothing was done to it | choose another path |
 * | `NotALedger` | the file is something else; nothing was written to it | check the path |
 * | `UnsupportedFormat` | written by a newer version of the library | update the library |
 * | `AccessDenied` | the operating system refuses access; a bucket refuses the credential, or there is none | check permissions; look at `cause` |
 * | `NoSpace` | no room (disk full, quota, file size limit); see `outcome` | make room, then retry what was not committed |
 * | `InputOutput` | another failure of the operating system, or a store that does not answer as it should; see `outcome` | look at `cause`; a store may answer later |
 * | `NetworkFileSystem` | the file lies on a network or FUSE file system, where appends are not atomic | move it, or insist with `allowNetworkFileSystem` |
 * | `CommitOutcomeUnknown` | whether the commit is in the ledger cannot be known | read before you write again |
 * | `CommitTooLarge` | the commit exceeds what one frame can hold; not committed | split it |
 * | `QueueFull` | more than `pendingBytesMax` of commits are pending; not committed | await earlier writes |
 * | `TypeMismatch` | a `sum`, `min` or `max` met a value of another type; the whole commit is void | fix the operand or the stored value |
 * | `Contention` | other writers were always faster; not committed | retry later |
 * | `TransactionOpen`, `NoTransaction` | `beginTransaction` twice; `endTransaction` or `abortTransaction` without one | fix the order of calls |
 * | `TransactionConflict` | `transaction(fn)` met conflicts until its time ran out; not committed | retry later |
 * | `TransactionTooLarge` | a transaction read more entries than it can check | read less |
 * | `IndexDisabled` | a keyed read on an instance opened with `disableIndex` | open it with an index |
 * | `WatchOverflow` | the consumer of a watch iterator was too slow | iterate faster, or raise the bound |
 * | `SnapshotExpired` | a frozen version that was read is no longer kept | read again |
 * | `StoreUnsuitable` | an object store does not do what several writers need; the message names the property | use another store, or one writer |
 * | `StoreInconsistent` | an object store contradicted itself, or answered from a cache | let no cache stand in between; retrying may help |
 * | `NeedsListPermission` | an object store says "denied" of objects that are not there | let the credential list the prefix |
 * | `SecondWriterDetected` | somebody else writes to a ledger whose store allows one writer only; see `outcome` | stop one of the two, then read before you write again |
 * | `CheckpointOverdue` | nobody was allowed to write a checkpoint for long, or it lies in too many runs; commits go on (an `error` event) | let one writer's credential replace the root; `vacuum()` merges the runs |
 */
export type KVErrorCode =
  | "InvalidKey"
  | "InvalidValue"
  | "InvalidQuery"
  | "InvalidOption"
  | "InvalidArgument"
  | "NotOpen"
  | "AlreadyOpen"
  | "Closed"
  | "ReadOnly"
  | "UnsupportedTarget"
  | "LedgerMissing"
  | "LedgerDamaged"
  | "LedgerSealed"
  | "VacuumRefused"
  | "TargetExists"
  | "NotALedger"
  | "UnsupportedFormat"
  | "AccessDenied"
  | "NoSpace"
  | "InputOutput"
  | "NetworkFileSystem"
  | "CommitOutcomeUnknown"
  | "CommitTooLarge"
  | "QueueFull"
  | "TypeMismatch"
  | "Contention"
  | "TransactionOpen"
  | "NoTransaction"
  | "TransactionConflict"
  | "TransactionTooLarge"
  | "IndexDisabled"
  | "WatchOverflow"
  | "SnapshotExpired"
  | "StoreUnsuitable"
  | "StoreInconsistent"
  | "NeedsListPermission"
  | "SecondWriterDetected"
  | "CheckpointOverdue";

/** What became of the commit that an error rejects. Which of the two it is, is certain. */
export type CommitOutcome = "not committed" | "unknown";

export interface KVErrorOptions {
  /** The failure underneath. */
  readonly cause?: unknown;
  /** Set on every error that rejects a commit. */
  readonly outcome?: CommitOutcome;
  /** Damaged or lost places, as half-open ranges of logical addresses. */
  readonly ranges?: readonly AddressRange[];
}

/** A half-open range of logical addresses in a ledger, in bytes. */
export interface AddressRange {
  readonly from: number;
  readonly to: number;
}

/** The error class of the library: a stable `code`, a `cause` where there is one, an `outcome` where a commit is concerned. */
export class KVError extends Error {
  override readonly name: string = "KVError";
  /** What happened, for programs. It stays the same, the message may change. */
  readonly code: KVErrorCode;
  /** What became of the commit: of every error that rejects a write. */
  declare readonly outcome?: CommitOutcome;
  /** Where the damage lies: of `LedgerDamaged`, as far as it is known. */
  declare readonly ranges?: readonly AddressRange[];

  constructor(code: KVErrorCode, message: string, options: KVErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    if (options.outcome !== undefined) this.outcome = options.outcome;
    if (options.ranges !== undefined) this.ranges = options.ranges;
  }
}

/** The caller passed something that cannot be used: a `TypeError` that carries a `code` as well. Nothing was done. */
export class InvalidArgumentError extends TypeError {
  override readonly name: string = "InvalidArgumentError";
  readonly code: "InvalidKey" | "InvalidValue" | "InvalidQuery" | "InvalidOption" | "InvalidArgument";
  /** Always: what was refused at the door never reached the ledger. */
  readonly outcome: CommitOutcome = "not committed";

  constructor(code: InvalidArgumentError["code"], message: string, options: { readonly cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
  }
}

/** What a getter or a Proxy throws while an argument is read. What is wrong with the argument itself was said already. */
export function thrownByArgument(
  code: InvalidArgumentError["code"],
  what: string,
  error: unknown,
): InvalidArgumentError {
  if (error instanceof InvalidArgumentError) return error;
  const message = `${what}: reading it throws ${error instanceof Error ? error.message : typeof error}`;
  return new InvalidArgumentError(code, message, { cause: error });
}

/** True if `error` is one of this library's errors with the given code (across copies of the library and realms too). */
export function hasCode(error: unknown, code: KVErrorCode): boolean {
  return typeof error === "object" && error !== null && (error as { code?: unknown }).code === code;
}

/** What kept a commit from being appended, with its outcome. */
export function notCommitted(error: unknown): unknown {
  if (!(error instanceof KVError) || error.outcome !== undefined) return error;
  return new KVError(error.code, error.message, { cause: error, outcome: "not committed" });
}

/** The error itself, or one that says what else was thrown by what is underneath. */
export function asKVError(error: unknown): KVError {
  return error instanceof KVError ? error : new KVError("InputOutput", String(error), { cause: error });
}

/** Nobody can tell what became of a commit. */
export function unknownOutcome(message: string, cause?: unknown): KVError {
  return new KVError("CommitOutcomeUnknown", message, { cause, outcome: "unknown" });
}

/** For messages. */
export function describeRanges(ranges: readonly AddressRange[]): string {
  return ranges.map(({ from, to }) => `addresses ${from} to ${to}`).join(", ");
}
