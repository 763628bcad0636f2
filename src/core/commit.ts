import { ByteReader, type ByteWriter, MalformedBytes } from "./bytes.ts";
import { checksumWithin } from "./crc32.ts";
import { KVError } from "./errors.ts";
import type { EncodedKey } from "./key.ts";
import { decodeNumeric, encodeNumeric } from "./value.ts";

/**
 * What a commit is: checks, then operations, as bytes and decoded. The layout of the bytes is in docs/FORMAT.md ("Commit payload").
 *
 * A payload is a sequence of items up to its end. An item begins with a byte that holds its kind in the low four bits and flags in
 * the high ones. Unknown kinds and flags are `UnsupportedFormat`: whoever does not know an item cannot tell what the commit does.
 */

/** Kinds of items, as they stand in the ledger. */
export const ItemKind = { check: 1, set: 2, delete: 3, sum: 4, min: 5, max: 6, purge: 7 } as const;

export type CombineKind = typeof ItemKind.sum | typeof ItemKind.min | typeof ItemKind.max;

const KIND_MASK = 0x0f;
const FLAG_EXPIRES = 0x10;
/** The time at which the entry expires itself: of outcomes, which keep what an entry had before. */
const FLAG_EXPIRES_AT = 0x20;

/** Bytes of the checksum that stands before each value. */
export const VALUE_HEADER_BYTES = 4;

/** A condition: the entry of `key` has this version; 0 stands for absent. */
export interface Check {
  readonly key: EncodedKey;
  readonly version: number;
}

/** One thing that a commit does. One shape for all kinds, so that the hot paths see one hidden class. */
export class Operation {
  readonly kind: number;
  readonly key: EncodedKey;
  /** ms after the commit's timestamp at which the entry expires; 0 for never. */
  readonly expireIn: number;
  /** `set` in an outcome: ms since the epoch at which the entry expires; 0 for never, or if `expireIn` says. */
  readonly expiresAt: number;
  /** `set`: offset of the value's checksum within the payload. */
  readonly valueOffset: number;
  /** `set`: bytes of the value, without its checksum. */
  readonly valueLength: number;
  /** `set`: the value, if it is a number or bigint. `sum`, `min`, `max`: the operand. */
  readonly numeric: number | bigint | undefined;
  /** `purge` only. */
  readonly purge: Purge | undefined;

  constructor(
    kind: number,
    key: EncodedKey,
    expireIn: number,
    valueOffset: number,
    valueLength: number,
    numeric: number | bigint | undefined,
    purge?: Purge,
    expiresAt = 0,
  ) {
    this.kind = kind;
    this.key = key;
    this.expireIn = expireIn;
    this.expiresAt = expiresAt;
    this.valueOffset = valueOffset;
    this.valueLength = valueLength;
    this.numeric = numeric;
    this.purge = purge;
  }
}

/** Removes those of `entries` that still have the version listed and expired more than `afterMs` before the commit's timestamp. */
export interface Purge {
  readonly afterMs: number;
  readonly entries: readonly Check[];
}

export interface Commit {
  readonly checks: readonly Check[];
  readonly operations: readonly Operation[];
}

export const NO_CHECKS: readonly Check[] = [];

type Crc32 = (bytes: Uint8Array, seed?: number) => number;

/** Appends a check to a payload. Checks come before all operations. */
export function writeCheck(writer: ByteWriter, check: Check): void {
  writer.u8(ItemKind.check);
  writeKey(writer, check.key);
  writer.varint(check.version);
}

/** Appends a set and returns it as an operation. `value` is copied. */
export function writeSet(
  writer: ByteWriter,
  crc32: Crc32,
  key: EncodedKey,
  value: Uint8Array,
  expireIn: number,
  numeric: number | bigint | undefined,
): Operation {
  const valueOffset = writeItem(writer, crc32, key, value, expireIn === 0 ? 0 : FLAG_EXPIRES, expireIn);
  return new Operation(ItemKind.set, key, expireIn, valueOffset, value.length, numeric);
}

/** Appends a set that expires at a time, 0 for never, rather than after one. Otherwise as `writeSet`. */
export function writeOutcomeSet(
  writer: ByteWriter,
  crc32: Crc32,
  key: EncodedKey,
  value: Uint8Array,
  expiresAt: number,
  numeric: number | bigint | undefined,
): Operation {
  const valueOffset = writeItem(writer, crc32, key, value, expiresAt === 0 ? 0 : FLAG_EXPIRES_AT, expiresAt);
  return new Operation(ItemKind.set, key, 0, valueOffset, value.length, numeric, undefined, expiresAt);
}

/** Returns where the value's checksum begins. */
function writeItem(
  writer: ByteWriter,
  crc32: Crc32,
  key: EncodedKey,
  value: Uint8Array,
  flag: number,
  expiry: number,
): number {
  writer.u8(ItemKind.set | flag);
  writeKey(writer, key);
  if (flag !== 0) writer.f64(expiry);
  writer.varint(value.length);
  const valueOffset = writer.length;
  writer.u32(checksumWithin(crc32, value, 0, value.length));
  writer.bytes(value);
  return valueOffset;
}

/** When the entry that a set, sum, min or max leaves expires, ms since the epoch; 0 for never. */
export function expiryOf({ expireIn, expiresAt }: Operation, timestamp: number): number {
  return expireIn === 0 ? expiresAt : timestamp + expireIn;
}

/** True if a commit does the same whatever the state: it has no conditions, and only sets and deletes. */
export function isPlain({ checks, operations }: Commit): boolean {
  if (checks.length > 0) return false;
  for (const { kind } of operations) if (kind !== ItemKind.set && kind !== ItemKind.delete) return false;
  return true;
}

export function writeDelete(writer: ByteWriter, key: EncodedKey): Operation {
  writer.u8(ItemKind.delete);
  writeKey(writer, key);
  return new Operation(ItemKind.delete, key, 0, 0, 0, undefined);
}

/** Appends a sum, min or max and returns it as an operation. */
export function writeCombine(
  writer: ByteWriter,
  kind: CombineKind,
  key: EncodedKey,
  operand: number | bigint,
  expireIn: number,
): Operation {
  writer.u8(expireIn === 0 ? kind : kind | FLAG_EXPIRES);
  writeKey(writer, key);
  if (expireIn !== 0) writer.f64(expireIn);
  const bytes = encodeNumeric(operand);
  writer.varint(bytes.length);
  writer.bytes(bytes);
  return new Operation(kind, key, expireIn, 0, 0, operand);
}

export function writePurge(writer: ByteWriter, purge: Purge): Operation {
  writer.u8(ItemKind.purge);
  writer.f64(purge.afterMs);
  writer.varint(purge.entries.length);
  for (const entry of purge.entries) {
    writeKey(writer, entry.key);
    writer.varint(entry.version);
  }
  return new Operation(ItemKind.purge, "", 0, 0, 0, undefined, purge);
}

/**
 * Decodes a payload. Throws `UnsupportedFormat` for what this version does not know, `LedgerDamaged` for bytes that are no payload
 * (the adapter's checksum held, so whoever wrote them is to blame).
 */
export function decodeCommit(payload: Uint8Array): Commit {
  try {
    return decodeItems(payload, new ByteReader(payload));
  } catch (error) {
    if (error instanceof MalformedBytes) {
      throw new KVError("LedgerDamaged", `A commit's payload is malformed: ${error.message}`, { cause: error });
    }
    throw error;
  }
}

/**
 * The only operation of a payload that lies in `bytes`, if it is a set or a delete and there is nothing else: as a rule a commit is that. Undefined for
 * whatever else there may be, malformed bytes included, which `decodeCommit` tells.
 */
export function decodeSingle(bytes: Uint8Array, from: number, to: number): Operation | undefined {
  const item = from < to ? bytes[from] : 0;
  const kind = item & KIND_MASK;
  const expires = item - kind;
  if (kind === ItemKind.set ? expires !== 0 && expires !== FLAG_EXPIRES : item !== ItemKind.delete) return undefined;
  try {
    const reader = new ByteReader(bytes, from + 1, to);
    const operation = readOperation(bytes, reader, kind, expires, from);
    return reader.remaining === 0 ? operation : undefined;
  } catch {
    return undefined;
  }
}

function decodeItems(payload: Uint8Array, reader: ByteReader): Commit {
  let checks: Check[] | undefined;
  const operations: Operation[] = [];
  while (reader.remaining > 0) {
    const item = reader.u8();
    const kind = item & KIND_MASK;
    const expires = item & (FLAG_EXPIRES | FLAG_EXPIRES_AT);
    if (
      (item & ~(KIND_MASK | flagsOf(kind))) !== 0 ||
      expires === (FLAG_EXPIRES | FLAG_EXPIRES_AT) ||
      kind < ItemKind.check ||
      kind > ItemKind.purge
    ) {
      throw new KVError("UnsupportedFormat", `A commit holds an operation of unknown kind ${item}`);
    }
    if (kind === ItemKind.check) {
      if (operations.length > 0) throw new MalformedBytes("a check behind an operation");
      (checks ??= []).push({ key: readKey(reader), version: reader.varint() });
    } else {
      operations.push(readOperation(payload, reader, kind, expires, 0));
    }
  }
  return { checks: checks ?? NO_CHECKS, operations };
}

function flagsOf(kind: number): number {
  if (kind === ItemKind.set) return FLAG_EXPIRES | FLAG_EXPIRES_AT;
  return kind === ItemKind.sum || kind === ItemKind.min || kind === ItemKind.max ? FLAG_EXPIRES : 0;
}

/** `start`: where the payload begins among the bytes. */
function readOperation(bytes: Uint8Array, reader: ByteReader, kind: number, expires: number, start: number): Operation {
  if (kind === ItemKind.purge) return new Operation(kind, "", 0, 0, 0, undefined, readPurge(reader));
  const key = readKey(reader);
  if (kind === ItemKind.delete) return new Operation(kind, key, 0, 0, 0, undefined);
  const expireIn = expires === FLAG_EXPIRES ? reader.f64() : 0;
  if (expires === FLAG_EXPIRES && !(expireIn > 0 && expireIn < Infinity))
    throw new MalformedBytes("a time to live that is not positive and finite");
  const expiresAt = expires === FLAG_EXPIRES_AT ? reader.f64() : 0;
  if (expires === FLAG_EXPIRES_AT && (expiresAt === 0 || !Number.isFinite(expiresAt)))
    throw new MalformedBytes("a time of expiry that is none");
  const length = reader.varint();
  if (kind === ItemKind.set) {
    const valueOffset = reader.skip(VALUE_HEADER_BYTES) - start;
    const from = reader.skip(length);
    const numeric = decodeNumeric(bytes, from, from + length);
    return new Operation(kind, key, expireIn, valueOffset, length, numeric, undefined, expiresAt);
  }
  const from = reader.skip(length);
  const operand = decodeNumeric(bytes, from, from + length);
  if (operand === undefined || operand !== operand) throw new MalformedBytes("an operand that is no number");
  return new Operation(kind, key, expireIn, 0, 0, operand);
}

function readPurge(reader: ByteReader): Purge {
  const afterMs = reader.f64();
  const count = reader.varint();
  const entries: Check[] = [];
  for (let i = 0; i < count; i++) entries.push({ key: readKey(reader), version: reader.varint() });
  return { afterMs, entries };
}

function writeKey(writer: ByteWriter, key: EncodedKey): void {
  writer.varint(key.length);
  writer.binaryString(key);
}

function readKey(reader: ByteReader): EncodedKey {
  return reader.binaryString(reader.varint());
}
