import type { ByteWriter } from "./bytes.ts";
import { checksumWithin } from "./crc32.ts";
import type { EncodedKey } from "./key.ts";
import type { Row } from "./resolve.ts";
import {
  commonPrefix,
  COMPACT_BYTES_MAX,
  EntryFlag,
  EntryKind,
  LENGTH_FOLLOWS,
  putCompact,
  TIME_DELTA_MAX,
  ZEROS_MAX,
} from "./run-entry.ts";
import { beginPiece, type Crc32, endPiece, PIECE_TAIL_BYTES } from "./run-format.ts";

/**
 * Writing the blocks of a run. A save passes through here with every row, as a rule in a program that has just begun: rows are numbers in one
 * array rather than objects, and few functions do all of it.
 */

/** Sharing with another entry costs two bytes or three, and the quick way of a point lookup. */
const SHARED_BYTES_MIN = 8;
const CAPACITY_MIN = 256;
/** What an entry takes at most besides its key and its value: two bytes, nine integers and doubles, and two checksums. */
const ENTRY_BYTES_MAX = 2 + 9 * COMPACT_BYTES_MAX + 8;

/**
 * Numbers of an entry, and where they stand. `PLACE` is that of its value: in the ledger, in the run, or among the bytes that are staged. `DETAIL` is the
 * checksum of a value in a record, the number of the shape of a value without it. They are no object's properties: where an application is bundled, V8
 * compiled what reads those again and again (docs/decisions/0056).
 */
const FIELDS = 8;
const VERSION = 0;
const TIMESTAMP = 1;
const EXPIRES_AT = 2;
const ORDER = 3;
const KIND = 4;
const VALUE_LENGTH = 5;
const PLACE = 6;
const DETAIL = 7;

/** The entries of the block in the making. */
export class BlockContents {
  keys: EncodedKey[] = [];
  numbers: Float64Array = new Float64Array(0);
  /** Where the entries begin in the block that was written with them. */
  starts: Uint32Array = new Uint32Array(0);
  count = 0;
  /** What `sumUp` found: characters of all keys, and bytes of the values and numbers that stand in the entries. */
  keyBytes = 0;
  inlineBytes = 0;
  highestVersion = 0;
  /** Of those that are safe integers from 0; 0 if there are none. */
  lowestTimestamp = 0;

  add(key: EncodedKey, row: Row, kind: number, valueLength: number, place: number, detail = 0): void {
    if (this.count === this.keys.length) this.#grow();
    const { numbers } = this;
    this.keys[this.count] = key;
    const at = this.count++ * FIELDS;
    numbers[at + VERSION] = row.version;
    numbers[at + TIMESTAMP] = row.timestamp;
    numbers[at + EXPIRES_AT] = row.expiresAt;
    numbers[at + ORDER] = row.order;
    numbers[at + KIND] = kind;
    numbers[at + VALUE_LENGTH] = valueLength;
    numbers[at + PLACE] = place;
    numbers[at + DETAIL] = detail;
  }

  sumUp(): void {
    const { keys, numbers, count } = this;
    let keyBytes = 0;
    let inlineBytes = 0;
    let highestVersion = 0;
    let lowestTimestamp = Infinity;
    for (let i = 0, at = 0; i < count; i++, at += FIELDS) {
      keyBytes += keys[i].length;
      if (isInline(numbers[at + KIND])) inlineBytes += numbers[at + VALUE_LENGTH];
      const version = numbers[at + VERSION];
      if (version > highestVersion) highestVersion = version;
      const timestamp = numbers[at + TIMESTAMP];
      if (timestamp < lowestTimestamp && timestamp >= 0 && Number.isSafeInteger(timestamp)) lowestTimestamp = timestamp;
    }
    this.keyBytes = keyBytes;
    this.inlineBytes = inlineBytes;
    this.highestVersion = highestVersion;
    this.lowestTimestamp = lowestTimestamp === Infinity ? 0 : lowestTimestamp;
  }

  /** Some of the entries, by themselves. */
  part(from: number, to: number): BlockContents {
    const part = new BlockContents();
    part.keys = this.keys.slice(from, to);
    part.numbers = this.numbers.slice(from * FIELDS, to * FIELDS);
    part.starts = new Uint32Array(to - from);
    part.count = to - from;
    return part;
  }

  clear(): void {
    this.count = 0;
  }

  #grow(): void {
    const capacity = Math.max(CAPACITY_MIN, 2 * this.count);
    const keys = new Array<EncodedKey>(capacity).fill("");
    for (let i = 0; i < this.count; i++) keys[i] = this.keys[i];
    const numbers = new Float64Array(capacity * FIELDS);
    numbers.set(this.numbers);
    this.keys = keys;
    this.numbers = numbers;
    this.starts = new Uint32Array(capacity);
  }
}

/** What a block's entry in the index says. */
export interface WrittenBlock {
  readonly length: number;
  readonly prefixLength: number;
  readonly masked: boolean;
}

/** Writes entries, which are at least one and in order, as a block. `staged` holds their values. */
export function writeBlock(
  writer: ByteWriter,
  contents: BlockContents,
  staged: Uint8Array,
  crc32: Crc32,
): WrittenBlock {
  contents.sumUp();
  const { keys, count, highestVersion, lowestTimestamp, keyBytes, inlineBytes } = contents;
  const prefixLength = commonPrefix(keys[0], keys[count - 1]);
  const start = beginPiece(writer);
  const room = writer.room(keyBytes + inlineBytes + (count + 1) * ENTRY_BYTES_MAX + PIECE_TAIL_BYTES);
  let at = putCompact(room, 0, count);
  at = putCompact(room, at, prefixLength);
  for (let i = 0; i < prefixLength; i++) room[at++] = keys[0].charCodeAt(i);
  at = putCompact(room, at, highestVersion);
  at = putCompact(room, at, lowestTimestamp);
  const head = writer.length - start;
  at = writeEntries(room, at, head, contents, staged, crc32, prefixLength);
  writer.advance(at);
  const masked = endPiece(writer, start, crc32);
  return { length: writer.length - start, prefixLength, masked };
}

/** Whether the value stands in the entry. */
export function isInline(kind: number): boolean {
  return kind === EntryKind.value || kind === EntryKind.numeric || kind === EntryKind.shaped;
}

/** `head`: what lies in the block before `room`. Returns where they end. */
function writeEntries(
  room: Uint8Array,
  at: number,
  head: number,
  { keys, numbers, starts, count, highestVersion, lowestTimestamp }: BlockContents,
  staged: Uint8Array,
  crc32: Crc32,
  prefixLength: number,
): number {
  // The last entry that shares nothing: what later ones may begin with, up to where its key is stored.
  let other = "";
  let otherEnd = 0;
  let otherStart = 0;
  for (let i = 0, n = 0; i < count; i++, n += FIELDS) {
    const key = keys[i];
    const start = at;
    starts[i] = head + at;
    let shared =
      otherEnd - prefixLength < SHARED_BYTES_MIN ? 0 : Math.min(commonPrefix(other, key), otherEnd) - prefixLength;
    if (shared < SHARED_BYTES_MIN) shared = 0;
    const suffix = prefixLength + shared;
    let end = key.length;
    while (end > suffix && key.length - end < ZEROS_MAX && key.charCodeAt(end - 1) === 0) end--;
    const kind = numbers[n + KIND];
    const order = numbers[n + ORDER];
    const timestamp = numbers[n + TIMESTAMP];
    const expiresAt = numbers[n + EXPIRES_AT];
    const timeDelta = timestamp - lowestTimestamp;
    const exactTime = timeDelta >= 0 && timeDelta < TIME_DELTA_MAX && Number.isSafeInteger(timestamp);
    room[at] =
      kind |
      (expiresAt === 0 ? 0 : EntryFlag.expires) |
      (order === 0 ? 0 : EntryFlag.order) |
      (exactTime ? 0 : EntryFlag.time) |
      (shared === 0 ? 0 : EntryFlag.shared);
    room[at + 1] = ((key.length - end) << 5) | Math.min(end - suffix, LENGTH_FOLLOWS);
    at += 2;
    if (end - suffix >= LENGTH_FOLLOWS) at = putCompact(room, at, end - suffix);
    if (shared > 0) {
      at = putCompact(room, at, start - otherStart);
      at = putCompact(room, at, shared);
    } else {
      other = key;
      otherEnd = end;
      otherStart = start;
    }
    for (let c = suffix; c < end; c++) room[at++] = key.charCodeAt(c);
    at = putCompact(room, at, highestVersion - numbers[n + VERSION]);
    if (order !== 0) at = putCompact(room, at, order);
    at = exactTime ? putCompact(room, at, timeDelta) : putF64(room, at, timestamp);
    if (expiresAt !== 0) at = putF64(room, at, expiresAt);
    if (kind !== EntryKind.tombstone) {
      const length = numbers[n + VALUE_LENGTH];
      const place = numbers[n + PLACE];
      if (kind === EntryKind.shaped) at = putCompact(room, at, numbers[n + DETAIL]);
      else if (kind >= EntryKind.reference) at = putCompact(room, at, place);
      at = putCompact(room, at, length);
      if (kind === EntryKind.record) {
        at = putU32(room, at, numbers[n + DETAIL]);
      } else if (kind !== EntryKind.reference) {
        room.set(staged.subarray(place, place + length), at);
        at += length;
      }
    }
    at = putU32(room, at, checksumWithin(crc32, room, start, at));
  }
  return at;
}

const float = new DataView(new ArrayBuffer(8));

function putF64(bytes: Uint8Array, at: number, value: number): number {
  float.setFloat64(0, value, true);
  for (let i = 0; i < 8; i++) bytes[at + i] = float.getUint8(i);
  return at + 8;
}

function putU32(bytes: Uint8Array, at: number, value: number): number {
  bytes[at] = value;
  bytes[at + 1] = value >>> 8;
  bytes[at + 2] = value >>> 16;
  bytes[at + 3] = value >>> 24;
  return at + 4;
}
