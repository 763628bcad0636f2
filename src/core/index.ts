/** What every entry of the package exports beside `KV` itself. */
export type { Atomic, AtomicResult, VersionCheck } from "./atomic.ts";
export type { Entry, EntryOrder } from "./entry.ts";
export type { EntryIterator } from "./entry-iterator.ts";
export type { Environment, MaybePromise, Timer } from "./environment.ts";
export {
  type AddressRange,
  type CommitOutcome,
  hasCode,
  InvalidArgumentError,
  KVError,
  type KVErrorCode,
} from "./errors.ts";
export type { KVEvents, SyncEvent } from "./events.ts";
export type { HistoryEntry } from "./history.ts";
export type { Key, KeyPart } from "./key.ts";
export type { CommitResult } from "./commit-sender.ts";
export type { FileUrl, OpenTarget } from "./open-target.ts";
export type { KVStats } from "./stats.ts";
export type { BytesAt } from "./bytes-at.ts";
export type {
  AppendResult,
  BuiltPart,
  BuiltState,
  ByteCache,
  Checkpoint,
  CheckpointAbsence,
  CheckpointStore,
  CommitRecord,
  CopyRequest,
  Ledger,
  LedgerCommit,
  LedgerIdentity,
  LedgerNotice,
  LedgerOpenOptions,
  LedgerSession,
  LedgerSnapshot,
  PassedCommit,
  Place,
  Position,
  PublishResult,
  ReadBudget,
  ReadResult,
  ReopenResult,
  RunSink,
  StoredRun,
  VacuumAttempt,
  VacuumRequest,
  Version,
} from "./ledger.ts";
export type {
  AbortSignalLike,
  BackupOptions,
  CloseOptions,
  Consistency,
  DeleteAllOptions,
  HistoryOptions,
  KeepHistory,
  KVOptions,
  ListOptions,
  OpenOptions,
  ReadOptions,
  RepairOptions,
  SetOptions,
  SyncOptions,
  TransactionOptions,
  VacuumOptions,
  VacuumProgress,
  WatchIteratorOptions,
  WatchOptions,
} from "./options.ts";
export type { BackupResult, VacuumStats } from "./maintenance.ts";
export type { KeyRange, Query } from "./query.ts";
export type { RepairReport } from "./repair.ts";
export type { Dropped } from "./salvage.ts";
export type { Transaction } from "./transaction.ts";
export type { VacuumResult } from "./vacuum.ts";
export type { WatchCallback, WatchEntry, WatchReset } from "./watch.ts";
