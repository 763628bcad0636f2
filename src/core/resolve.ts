import { type Commit, expiryOf, ItemKind, type Operation } from "./commit.ts";
import type { EncodedKey } from "./key.ts";
import { encodeNumeric } from "./value.ts";

/**
 * What a commit does to the state: the one pure function on which every replica agrees. It knows the commit, its version and
 * timestamp, and the state before it, nothing else: no clock, no randomness, nothing of the runtime.
 */

/** Holds values outside the ledger: a run, for the rows that it gives out. */
export interface ValueHome {
  /** The decoded value, the receiver's own. Otherwise as `valueBytes`. */
  value(row: Row): unknown;
  /**
   * The encoded value of a row that names this home. A view, not to be changed, and valid until the next call: whoever keeps it copies it.
   * Throws `LedgerDamaged` where the bytes fail their checksum, `NotLoaded` where they have yet to arrive.
   */
  valueBytes(row: Row): Uint8Array;
}

/** One version of one key. Immutable. */
export class Row {
  /** Version of the commit that wrote it; 0 while staged in a transaction. */
  readonly version: number;
  /** Place of the key's last operation within that commit. */
  readonly order: number;
  readonly timestamp: number;
  /** ms since the epoch; 0 for never. */
  readonly expiresAt: number;
  readonly deleted: boolean;
  /** Offset of the value's checksum within the commit's payload; -1 if the value is not there. */
  readonly valueOffset: number;
  readonly valueLength: number;
  /** Place of the commit's payload in the ledger; of the value, where `home` says. */
  readonly place: number;
  /** The value, if it is a number or bigint: kept here, because sums need it at once. */
  readonly numeric: number | bigint | undefined;
  /** Who holds the value, if it is not the ledger. `place` and `valueOffset` are then this home's own. */
  readonly home: ValueHome | undefined;

  constructor(
    version: number,
    order: number,
    timestamp: number,
    expiresAt: number,
    deleted: boolean,
    valueOffset: number,
    valueLength: number,
    place: number,
    numeric: number | bigint | undefined,
    home?: ValueHome,
  ) {
    this.version = version;
    this.order = order;
    this.timestamp = timestamp;
    this.expiresAt = expiresAt;
    this.deleted = deleted;
    this.valueOffset = valueOffset;
    this.valueLength = valueLength;
    this.place = place;
    this.numeric = numeric;
    this.home = home;
  }
}

/** Where and when a commit stands. */
export interface CommitPlace {
  readonly version: number;
  readonly timestamp: number;
  /** Place of the payload. */
  readonly place: number;
}

/** The state before a commit. Tombstones and expired rows may be returned; `resolve` knows what they count as. */
export interface StateView {
  get(key: EncodedKey): Row | undefined;
}

export interface Change {
  readonly key: EncodedKey;
  /** The new row; `deleted` for a removal. */
  readonly row: Row;
}

export type Resolution =
  /** Changes in order. A key may come several times, and its last change counts: see `lastOfEachKey`. */
  | { readonly verdict: "applied"; readonly changes: readonly Change[] }
  /** A check failed: void for everyone, for ever. */
  | { readonly verdict: "conflict"; readonly key: EncodedKey }
  /** An operand did not fit what is stored: void likewise. */
  | { readonly verdict: "mismatch"; readonly key: EncodedKey };

/** Bigint results above this many bytes make the commit void. */
const BIGINT_BYTES_MAX = 256;
const BIGINT_LIMIT = 1n << BigInt(BIGINT_BYTES_MAX * 8);

/** `firstOrder` is the place of the first operation, where others of the same commit were resolved before. */
export function resolve(commit: Commit, at: CommitPlace, state: StateView, firstOrder = 0): Resolution {
  for (const check of commit.checks) {
    const row = live(state.get(check.key), at.timestamp);
    if ((row === undefined ? 0 : row.version) !== check.version) return { verdict: "conflict", key: check.key };
  }
  const changes: Change[] = [];
  // Made when somebody asks for the first time: most commits only set and delete.
  let changed: Map<EncodedKey, Row> | undefined;
  const put = (key: EncodedKey, row: Row): void => {
    changes.push({ key, row });
    changed?.set(key, row);
  };
  const present = (key: EncodedKey): Row | undefined => {
    changed ??= new Map(changes.map((change) => [change.key, change.row]));
    return changed.get(key) ?? state.get(key);
  };
  for (let i = 0; i < commit.operations.length; i++) {
    const operation = commit.operations[i];
    const { kind, purge } = operation;
    const order = firstOrder + i;
    if (kind === ItemKind.set || kind === ItemKind.delete) {
      put(operation.key, plainRow(operation, at, order));
    } else if (purge !== undefined) {
      for (const { key, version } of purge.entries) {
        const row = present(key);
        if (row === undefined || row.deleted || row.version !== version || row.expiresAt === 0) continue;
        if (row.expiresAt + purge.afterMs < at.timestamp) put(key, tombstone(at, order));
      }
    } else {
      const row = combinedRow(operation, at, order, present(operation.key));
      if (row === undefined) return { verdict: "mismatch", key: operation.key };
      put(operation.key, row);
    }
  }
  return { verdict: "applied", changes };
}

/** One change a key, the last one, in the order of these. */
export function lastOfEachKey(changes: readonly Change[]): readonly Change[] {
  if (changes.length < 2) return changes;
  const last = new Map<EncodedKey, Change>();
  for (const change of changes) {
    // A key's place is that of its last change: taken out first, it goes to the end.
    last.delete(change.key);
    last.set(change.key, change);
  }
  return last.size === changes.length ? changes : [...last.values()];
}

/** A row that counts at `time`: neither absent, deleted nor expired. */
export function live(row: Row | undefined, time: number): Row | undefined {
  if (row === undefined || row.deleted || (row.expiresAt !== 0 && row.expiresAt <= time)) return undefined;
  return row;
}

function plainRow(operation: Operation, at: CommitPlace, order: number): Row {
  if (operation.kind === ItemKind.delete) return tombstone(at, order);
  const expiresAt = expiryOf(operation, at.timestamp);
  return new Row(
    at.version,
    order,
    at.timestamp,
    expiresAt,
    false,
    operation.valueOffset,
    operation.valueLength,
    at.place,
    operation.numeric,
  );
}

function tombstone(at: CommitPlace, order: number): Row {
  return new Row(at.version, order, at.timestamp, 0, true, -1, 0, at.place, undefined);
}

/** The row that a sum, min or max leaves, or undefined where the operand does not fit. */
function combinedRow(operation: Operation, at: CommitPlace, order: number, stored: Row | undefined): Row | undefined {
  const base = live(stored, at.timestamp);
  const operand = operation.numeric as number | bigint;
  let result: number | bigint | undefined = operand;
  let expiresAt = expiryOf(operation, at.timestamp);
  if (base !== undefined) {
    if (base.numeric === undefined) return undefined;
    result = combine(operation.kind, base.numeric, operand);
    expiresAt = base.expiresAt;
  }
  if (result === undefined || !fits(result)) return undefined;
  // Positive and negative zero are one result.
  if (result === 0) result = 0;
  return new Row(at.version, order, at.timestamp, expiresAt, false, -1, encodeNumeric(result).length, at.place, result);
}

function combine(kind: number, base: number | bigint, operand: number | bigint): number | bigint | undefined {
  if (typeof base === "bigint" && typeof operand === "bigint") {
    if (kind === ItemKind.sum) return base + operand;
    if (kind === ItemKind.min) return operand < base ? operand : base;
    return operand > base ? operand : base;
  }
  if (typeof base === "number" && typeof operand === "number") {
    if (kind === ItemKind.sum) return base + operand;
    // Math.min and Math.max are NaN when either is.
    return kind === ItemKind.min ? Math.min(base, operand) : Math.max(base, operand);
  }
  return undefined;
}

function fits(result: number | bigint): boolean {
  if (typeof result === "number") return result === result;
  return result < BIGINT_LIMIT && result > -BIGINT_LIMIT;
}
