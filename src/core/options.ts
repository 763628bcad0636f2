import { type CursorPlace, type EntryOrder, parseCursor } from "./entry.ts";
import { InvalidArgumentError } from "./errors.ts";
import { givenOptions, wrongOption } from "./given-options.ts";

/** Options of `new KV(...)`. */
export interface KVOptions {
  /**
   * Follow the ledger without being asked: on every interval, on notification, and before a read that may be stale. Default true.
   * Without it an instance sees other writers' commits when it writes and on `sync()`.
   */
  readonly autoSync?: boolean | undefined;
  /** ms between two polls of the ledger; in a Worker, where nothing polls, the age of a look from which on a read looks first. Default 1000. */
  readonly syncIntervalMs?: number | undefined;
  /** Keep no index: `set`, `delete` and `scan` work and cost no memory, keyed reads are `IndexDisabled`. Default false. */
  readonly disableIndex?: boolean | undefined;
  /** Bytes of commits that may wait to be written before `set` rejects with `QueueFull`. Default 256 MiB, without files 32 MiB. One commit always fits. */
  readonly pendingBytesMax?: number | undefined;
  /** Bytes that the cache of index blocks and values may take. Default 32 MiB. */
  readonly cacheBytesMax?: number | undefined;
  /**
   * Save the index beside the ledger's file, in `<path>.idx` and `<path>.idx-...`, so that opening need not read the ledger again. Default true.
   * What has been saved can be deleted at any time.
   */
  readonly sideIndex?: boolean | undefined;
  /** ms that must have passed since an entry expired before a vacuum removes it for everybody. Default 24 hours: clocks differ. */
  readonly purgeAfterMs?: number | undefined;
  /**
   * Vacuum a file without being asked, when it has grown to twice what it was after the last vacuum (and by 16 MiB), or by 1 MiB and that is a day ago.
   * The first look at that is 30 to 90 s, by chance, after the instance was made, and the next one as long after each vacuum. Default false. Needs `autoSync`.
   */
  readonly autoVacuum?: boolean | undefined;
  /**
   * On a bucket: merge large runs of the stored state too, in passing, so that `vacuum()` is needed less. For a process that stays and has the memory.
   * Default false.
   */
  readonly compaction?: boolean | undefined;
  /** Bytes that iterators may keep from being freed before the oldest of them ends with `SnapshotExpired`. No bound by default. */
  readonly pinnedBytesMax?: number | undefined;
  /**
   * Told of what goes on though nobody may await it: of each commit until its fate is known, of the state being written down. For Workers, whose requests end, and all that is under way
   * in them, with their answer: the `waitUntil` of `cloudflare:workers`. What it throws becomes an `error` event.
   */
  readonly waitUntil?: ((promise: Promise<unknown>) => void) | undefined;
}

/** Options of `db.open(...)`. */
export interface OpenOptions {
  /** Create the ledger, and its folder, where there is none. Default true. */
  readonly createIfMissing?: boolean | undefined;
  /** Never write anything. Works on a file or folder that may only be read. Default false. */
  readonly readOnly?: boolean | undefined;
  /** Open a file on a network or FUSE file system, where appends of several machines are not atomic. Default false. */
  readonly allowNetworkFileSystem?: boolean | undefined;
  /** For a path: see `FsLedgerOptions`. Refused beside a ledger, which knows its own. Default `"relaxed"`. */
  readonly durability?: "relaxed" | "strict" | undefined;
  /** If the ledger turns out to be damaged, let it begin anew with all that is whole: see `repair`. Default false. */
  readonly repair?: boolean | undefined;
}

/** `"strong"` follows the ledger to its end before reading. Default `"eventual"`. */
export type Consistency = "eventual" | "strong";

/** Options of reads. */
export interface ReadOptions {
  /** `"strong"` follows the ledger to its end before reading. Default `"eventual"`. */
  readonly consistency?: Consistency | undefined;
}

/** Options of `set`. */
export interface SetOptions {
  /** ms after which the entry is gone: positive and finite. Without it the entry stays. */
  readonly expireIn?: number | undefined;
}

/** Options of listings. */
export interface ListOptions extends ReadOptions {
  /** At most so many entries. No limit by default. */
  readonly limit?: number | undefined;
  /** From the end to the beginning. Default false. */
  readonly reverse?: boolean | undefined;
  /** Go on behind the entry that this cursor was taken from, in a listing with the same query and order. */
  readonly cursor?: string | undefined;
  /** By key, or by least recently written first. Default `"key"`. */
  readonly order?: EntryOrder | undefined;
}

/** As much of `AbortSignal` as is used here. */
export interface AbortSignalLike {
  readonly aborted: boolean;
  readonly reason?: unknown;
  addEventListener(type: "abort", listener: () => void): void;
  removeEventListener(type: "abort", listener: () => void): void;
}

/** Options of `watch` with a callback. */
export interface WatchOptions {
  /** Ends the watch: a callback is called no more, an iterator is done. */
  readonly signal?: AbortSignalLike | undefined;
  /** With false the watch does not keep the process alive. Default true. */
  readonly ref?: boolean | undefined;
}

/** Options of `watch` without a callback. */
export interface WatchIteratorOptions extends WatchOptions {
  /** Entries that may wait for the consumer before the watch ends with `WatchOverflow`. Default 1024. */
  readonly bufferMax?: number | undefined;
}

/** Options of `sync`. */
export interface SyncOptions {
  /** Ends the wait: `sync` rejects with the signal's reason. */
  readonly signal?: AbortSignalLike | undefined;
}

/** Options of `transaction(fn)`. */
export interface TransactionOptions {
  /** ms after which conflicts are not retried any more. Default 10,000. The function itself is not interrupted. */
  readonly timeoutMs?: number | undefined;
  /** Ends whatever the transaction waits for, until its commit is on its way: `transaction` rejects with the signal's reason. */
  readonly signal?: AbortSignalLike | undefined;
}

/** Options of `deleteAll`. */
export interface DeleteAllOptions {
  /** With false a large number of keys is deleted in several commits instead of failing with `CommitTooLarge`. Default true. */
  readonly atomic?: boolean | undefined;
}

/** Options of `close`. */
export interface CloseOptions {
  /** ms to wait for pending commits. Without it, as long as it takes. */
  readonly timeoutMs?: number | undefined;
}

/** Options of `scan` and `history`. */
export interface HistoryOptions {
  /** With false, entries of the snapshot that the ledger starts with are left out. Default true. */
  readonly snapshot?: boolean | undefined;
}

/** How much of the past a vacuum keeps beside the present state. */
export type KeepHistory =
  /** Everything behind the newest commit that is older than this, in ms. */
  | { readonly forMs: number; readonly commits?: undefined }
  /** So many of the newest commits, void ones counted. */
  | { readonly commits: number; readonly forMs?: undefined };

/** How far a vacuum has come. */
export interface VacuumProgress {
  /** Bytes written to the next generation so far. */
  readonly doneBytes: number;
  /** About how many there will be. */
  readonly ofBytes: number;
}

/** Options of `vacuum`. */
export interface VacuumOptions {
  /** Called now and then. What it throws ends the vacuum, which rejects with it. */
  readonly onProgress?: ((progress: VacuumProgress) => void) | undefined;
  /** Commits that `scan` and `history` still tell of afterwards. None by default. */
  readonly keepHistory?: KeepHistory | undefined;
  /** Gives the vacuum up, as long as that is possible: it rejects with the signal's reason. */
  readonly signal?: AbortSignalLike | undefined;
}

/** Options of `backup`. */
export interface BackupOptions {
  /** Called now and then. What it throws ends the backup, which rejects with it. */
  readonly onProgress?: ((progress: VacuumProgress) => void) | undefined;
  /** With true the copy is a ledger of its own. Default false: it is the same one at an earlier time, to be put back in its place. */
  readonly newLedgerId?: boolean | undefined;
  /** Gives the backup up: it rejects with the signal's reason, and leaves nothing behind. */
  readonly signal?: AbortSignalLike | undefined;
}

/** Options of `repair`. */
export interface RepairOptions {
  /** Called now and then. What it throws ends the repair, which rejects with it. */
  readonly onProgress?: ((progress: VacuumProgress) => void) | undefined;
  /** Gives the repair up, as long as that is possible: it rejects with the signal's reason. */
  readonly signal?: AbortSignalLike | undefined;
}

type Rule<T> = (value: unknown) => T | undefined;

interface OptionSpec<T> {
  readonly rule: Rule<T>;
  readonly says: string;
  readonly fallback: T;
}

const boolean = (fallback: boolean): OptionSpec<boolean> => ({
  rule: (value) => (typeof value === "boolean" ? value : undefined),
  says: "true or false",
  fallback,
});

const number = <T>(fallback: T, says: string, holds: (value: number) => boolean): OptionSpec<number | T> => ({
  rule: (value) => (typeof value === "number" && holds(value) ? value : undefined),
  says,
  fallback,
});

const oneOf = <T extends string>(fallback: T, ...allowed: readonly T[]): OptionSpec<T> => ({
  rule: (value) => allowed.find((each) => each === value),
  says: allowed.map((each) => JSON.stringify(each)).join(" or "),
  fallback,
});

const signal: OptionSpec<AbortSignalLike | undefined> = {
  rule: (value) =>
    typeof value === "object" && value !== null && "aborted" in value && "addEventListener" in value
      ? (value as AbortSignalLike)
      : undefined,
  says: "an AbortSignal",
  fallback: undefined,
};

function keepHistory(value: unknown): KeepHistory | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const entries = Object.entries(value).filter(([, amount]) => amount !== undefined);
  if (entries.length !== 1) return undefined;
  const [name, amount] = entries[0] as [string, unknown];
  if (typeof amount !== "number" || !(amount >= 0)) return undefined;
  if (name === "forMs") return { forMs: amount };
  return name === "commits" && Number.isSafeInteger(amount) ? { commits: amount } : undefined;
}

const callback = <A>(): OptionSpec<((argument: A) => void) | undefined> => ({
  rule: (value) => (typeof value === "function" ? (value as (argument: A) => void) : undefined),
  says: "a function",
  fallback: undefined,
});

const onProgress = callback<VacuumProgress>();

const positive = (value: number): boolean => value > 0 && value < Infinity;
const count = (value: number): boolean => Number.isSafeInteger(value) && value >= 0;
const MIB = 1024 * 1024;

const watchSpecs = { signal, ref: boolean(true) };
const readSpecs = { consistency: oneOf("eventual", "eventual", "strong") };

const SPECS = {
  kv: {
    autoSync: boolean(true),
    syncIntervalMs: number(1000, "a number of milliseconds from 1 to 2 ** 31 - 1", (v) => v >= 1 && v <= 2 ** 31 - 1),
    disableIndex: boolean(false),
    pendingBytesMax: number(undefined, "a positive, finite number of bytes", positive),
    cacheBytesMax: number(32 * MIB, "a number of bytes from 0", (v) => v >= 0),
    sideIndex: boolean(true),
    autoVacuum: boolean(false),
    compaction: boolean(false),
    pinnedBytesMax: number(Infinity, "a number of bytes from 0", (v) => v >= 0),
    waitUntil: callback<Promise<unknown>>(),
    purgeAfterMs: number(24 * 60 * 60 * 1000, "a finite number of milliseconds from 0", (v) => v >= 0 && v < Infinity),
  },
  open: {
    createIfMissing: boolean(true),
    readOnly: boolean(false),
    allowNetworkFileSystem: boolean(false),
    repair: boolean(false),
    durability: { ...oneOf("relaxed", "relaxed", "strict"), fallback: undefined as "relaxed" | "strict" | undefined },
  },
  read: readSpecs,
  list: {
    ...readSpecs,
    limit: number(Infinity, "a whole number of entries, or Infinity", (v) => count(v) || v === Infinity),
    reverse: boolean(false),
    cursor: {
      rule: (value: unknown): CursorPlace | undefined => (typeof value === "string" ? parseCursor(value) : undefined),
      says: "the cursor of an entry",
      fallback: undefined as CursorPlace | undefined,
    },
    order: oneOf<EntryOrder>("key", "key", "version"),
  },
  set: { expireIn: number(0, "a positive, finite number of milliseconds", positive) },
  watch: watchSpecs,
  watchIterator: { ...watchSpecs, bufferMax: number(1024, "a positive whole number", (v) => count(v) && v > 0) },
  sync: { signal },
  transaction: { timeoutMs: number(10_000, "a positive, finite number of milliseconds", positive), signal },
  deleteAll: { atomic: boolean(true) },
  close: { timeoutMs: number(Infinity, "a number of milliseconds from 0, or Infinity", (v) => v >= 0) },
  history: { snapshot: boolean(true) },
  repair: { signal, onProgress },
  backup: { signal, onProgress, newLedgerId: boolean(false) },
  vacuum: {
    signal,
    onProgress,
    keepHistory: {
      rule: keepHistory,
      says: "{ forMs } or { commits }, a number from 0",
      fallback: undefined as KeepHistory | undefined,
    },
  },
} as const;

type Specs = typeof SPECS;
type Parsed<S> = { readonly [K in keyof S]: S[K] extends OptionSpec<infer T> ? T : never };

/** Names that people coming from elsewhere try, and what they are called here. */
const RENAMED: Readonly<Record<string, string>> = {
  ledgerCacheSize: "cacheBytesMax (in bytes; ledgerCacheSize counted megabytes)",
  enableIndexCache: "sideIndex",
  expiresIn: "expireIn (in milliseconds)",
  ttl: "expireIn (in milliseconds)",
  syncInterval: "syncIntervalMs",
};

/**
 * Checks options at the door and fills in the defaults. Throws `InvalidOption` for unknown names and wrong values, naming option,
 * rule and what was received. `context` is the call, for the message.
 */
export function parseOptions<K extends keyof Specs>(kind: K, context: string, given: unknown): Parsed<Specs[K]> {
  const specs = SPECS[kind] as Readonly<Record<string, OptionSpec<unknown>>>;
  const parsed: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(givenOptions(given, Object.keys(specs), context))) {
    const spec = Object.hasOwn(specs, name) ? specs[name] : undefined;
    if (spec === undefined) throw unknownOption(name, Object.keys(specs), context);
    if (value === undefined) continue;
    const accepted = spec.rule(value);
    if (accepted === undefined) throw wrongOption(context, name, spec.says, value);
    parsed[name] = accepted;
  }
  for (const name of Object.keys(specs)) {
    if (!Object.hasOwn(parsed, name)) parsed[name] = specs[name].fallback;
  }
  return parsed as Parsed<Specs[K]>;
}

/** As `parseOptions` does, the options of a listing; a cursor of a listing in the other order is none of them. */
export function parseListOptions(context: string, given: unknown): Parsed<Specs["list"]> {
  const parsed = parseOptions("list", context, given);
  if (parsed.cursor === undefined || parsed.cursor.order === parsed.order) return parsed;
  throw new InvalidArgumentError(
    "InvalidOption",
    `${context}: the cursor is of a listing in the other order than ${parsed.order}`,
  );
}

/** Parts options of `new KV` from those of `open`, where both are given at once. */
export function splitOptions(given: unknown, context = "KV.open"): [KVOptions, OpenOptions] {
  const known = [...Object.keys(SPECS.kv), ...Object.keys(SPECS.open)];
  const own: Record<string, unknown> = {};
  const opening: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(givenOptions(given, known, context))) {
    if (!known.includes(name)) throw unknownOption(name, known, context);
    (Object.hasOwn(SPECS.open, name) ? opening : own)[name] = value;
  }
  return [own, opening];
}

function unknownOption(name: string, known: readonly string[], context: string): InvalidArgumentError {
  const renamed = Object.hasOwn(RENAMED, name) ? `here it is ${RENAMED[name]}` : undefined;
  const elsewhere = Object.hasOwn(SPECS.open, name)
    ? "it is one of open"
    : Object.hasOwn(SPECS.kv, name)
      ? "it is one of new KV"
      : undefined;
  const hint = renamed ?? elsewhere ?? `known are ${known.join(", ")}`;
  return new InvalidArgumentError("InvalidOption", `${context}: there is no option ${name}; ${hint}`);
}
