import { beginText, codes, endText, MalformedBytes, readF64, readU32, textMax, toBinaryString } from "./bytes.ts";
import type { EncodedKey } from "./key.ts";
import { Row, type ValueHome } from "./resolve.ts";
import { decodeNumeric } from "./value.ts";

/**
 * Entries of a run's blocks. docs/FORMAT.md gives the layout. Each can be read by itself, if one knows what its block's entries have in common,
 * and has its own checksum: a point lookup reads it and nothing else. `run-block-writer.ts` writes them.
 */

export const EntryKind = { tombstone: 0, value: 1, numeric: 2, reference: 3, record: 4, shaped: 5 } as const;

const KIND_MASK = 0x07;
/** `time`: the timestamp stands as it is, because it is no integer from the block's lowest on. `shared`: the key begins like that of an entry before. */
export const EntryFlag = { expires: 0x08, order: 0x10, time: 0x20, shared: 0x40 } as const;

/** The length of a key's stored part in the low five bits, or this and the length behind it; trailing zeros in the high three. */
export const LENGTH_FOLLOWS = 31;
export const ZEROS_MAX = 7;
const ZEROS: readonly string[] = Array.from({ length: ZEROS_MAX + 1 }, (_, count) => "\0".repeat(count));

const CHECKSUM_BYTES = 4;
/** Timestamps further from the block's lowest are not told from it. */
export const TIME_DELTA_MAX = 2 ** 48;

// --- integers --------------------------------------------------------------------------------------------------------

/** First bytes: below the first bound the integer itself, below the second its high bits, from there on how many bytes follow. */
const ONE_BYTE = 192;
const TWO_BYTES = 248;
const TWO_BYTES_MAX = ((TWO_BYTES - ONE_BYTE) << 8) + ONE_BYTE;

/** So many bytes are the longest one, and a double. */
export const COMPACT_BYTES_MAX = 8;

/** Writes a safe integer from 0, in as few bytes as what is common needs: one below 192, two below 14,528. Returns where it ends. */
export function putCompact(target: Uint8Array, at: number, value: number): number {
  if (value < ONE_BYTE) {
    target[at] = value;
    return at + 1;
  }
  if (value < TWO_BYTES_MAX) {
    const rest = value - ONE_BYTE;
    target[at] = ONE_BYTE + (rest >>> 8);
    target[at + 1] = rest;
    return at + 2;
  }
  let bytes = 2;
  for (let limit = 0x10000; value >= limit; limit *= 0x100) bytes++;
  target[at++] = TWO_BYTES - 1 + bytes;
  for (let rest = value; bytes > 0; bytes--) {
    target[at++] = rest % 0x100;
    rest = Math.floor(rest / 0x100);
  }
  return at;
}

/** Where `readCompact` stopped. NaN, or beyond the end, if it ran out of bytes. */
export let next = 0;

export function readCompact(bytes: Uint8Array, at: number): number {
  const first = bytes[at];
  if (first < ONE_BYTE) {
    next = at + 1;
    return first;
  }
  if (first < TWO_BYTES) {
    next = at + 2;
    return (((first - ONE_BYTE) << 8) | bytes[at + 1]) + ONE_BYTE;
  }
  const length = first - TWO_BYTES + 1;
  let value = 0;
  for (let i = length; i > 0; i--) value = value * 0x100 + bytes[at + i];
  next = at + 1 + length;
  return value;
}

// --- entries ---------------------------------------------------------------------------------------------------------

/** From what the versions and timestamps of a block's entries are told. */
export interface BlockBase {
  readonly highestVersion: number;
  readonly lowestTimestamp: number;
}

/** Where the parts of one entry lie. Reused for one after the other. */
export class EntryView {
  start = 0;
  /** Behind the checksum. */
  end = 0;
  flags = 0;
  suffixFrom = 0;
  suffixLength = 0;
  zeros = 0;
  sharedFrom = 0;
  shared = 0;
  versionDelta = 0;
  order = 0;
  timeDelta = 0;
  timeFrom = 0;
  expiresFrom = 0;
  valueLength = 0;
  /** Of a value, with its shape or without, or number that stands in the entry. */
  valueFrom = 0;
  /** Of a reference or record; the number of the shape of a value without. */
  place = 0;
  checksumFrom = 0;

  /**
   * Reads the entry at `at`. Looks at no byte behind `limit` that decides anything: false if the entry reaches beyond it. An entry that shares a
   * part of its key needs the bytes before it as well.
   */
  read(bytes: Uint8Array, at: number, limit: number): boolean {
    this.start = at;
    const flags = bytes[at];
    this.flags = flags;
    const lengths = bytes[at + 1];
    this.zeros = lengths >>> 5;
    let length = lengths & LENGTH_FOLLOWS;
    at += 2;
    if (length === LENGTH_FOLLOWS) {
      length = readCompact(bytes, at);
      at = next;
    }
    if ((flags & EntryFlag.shared) !== 0) at = this.#readShared(bytes, at);
    else this.shared = 0;
    this.suffixFrom = at;
    this.suffixLength = length;
    this.versionDelta = readCompact(bytes, at + length);
    if ((flags & EntryFlag.order) !== 0) this.order = readCompact(bytes, next);
    else this.order = 0;
    if ((flags & EntryFlag.time) === 0) {
      this.timeDelta = readCompact(bytes, next);
      at = next;
    } else {
      this.timeFrom = next;
      at = next + 8;
    }
    if ((flags & EntryFlag.expires) !== 0) {
      this.expiresFrom = at;
      at += 8;
    }
    return this.#readValue(bytes, at, limit);
  }

  #readShared(bytes: Uint8Array, at: number): number {
    const other = this.start - readCompact(bytes, at);
    this.shared = readCompact(bytes, next);
    at = next;
    this.sharedFrom = other + 2;
    if ((bytes[other + 1] & LENGTH_FOLLOWS) === LENGTH_FOLLOWS) {
      readCompact(bytes, other + 2);
      this.sharedFrom = next;
    }
    return at;
  }

  #readValue(bytes: Uint8Array, at: number, limit: number): boolean {
    const kind = this.flags & KIND_MASK;
    if (kind === EntryKind.tombstone) {
      this.valueLength = 0;
    } else {
      if (kind >= EntryKind.reference) {
        this.place = readCompact(bytes, at);
        at = next;
      }
      this.valueLength = readCompact(bytes, at);
      at = next;
      if (kind === EntryKind.record) {
        this.checksumFrom = at;
        at += CHECKSUM_BYTES;
      } else if (kind !== EntryKind.reference) {
        this.valueFrom = at;
        at += this.valueLength;
      }
    }
    this.end = at + CHECKSUM_BYTES;
    return this.end <= limit;
  }

  get kind(): number {
    return this.flags & KIND_MASK;
  }

  /** Of the value of a record. */
  checksum(bytes: Uint8Array): number {
    return readU32(bytes, this.checksumFrom);
  }

  /**
   * Compares the entry's key with another, which agrees with it in the first `from` characters, those of the block: below 0 if the entry's is the
   * lower one.
   */
  compare(bytes: Uint8Array, key: EncodedKey, from: number): number {
    const { length } = key;
    let at = from;
    if (this.shared > 0) {
      for (let i = this.sharedFrom, end = i + this.shared; i < end; i++, at++) {
        if (at >= length) return 1;
        const difference = bytes[i] - key.charCodeAt(at);
        if (difference !== 0) return difference;
      }
    }
    for (let i = this.suffixFrom, end = i + this.suffixLength; i < end; i++, at++) {
      if (at >= length) return 1;
      const difference = bytes[i] - key.charCodeAt(at);
      if (difference !== 0) return difference;
    }
    for (let i = 0; i < this.zeros; i++, at++) {
      if (at >= length) return 1;
      if (key.charCodeAt(at) !== 0) return -1;
    }
    return at - length;
  }

  /** The entry's key. `prefix` is the block's. */
  key(bytes: Uint8Array, prefix: string): EncodedKey {
    const { shared, sharedFrom, suffixFrom, suffixLength, zeros } = this;
    const length = prefix.length + shared + suffixLength + zeros;
    if (length > textMax) {
      const text = prefix + toBinaryString(bytes, sharedFrom, sharedFrom + shared);
      return text + toBinaryString(bytes, suffixFrom, suffixFrom + suffixLength) + ZEROS[zeros];
    }
    let at = beginText(prefix);
    for (let i = 0; i < shared; i++) codes[at++] = bytes[sharedFrom + i];
    for (let i = 0; i < suffixLength; i++) codes[at++] = bytes[suffixFrom + i];
    while (at < length) codes[at++] = 0;
    return endText(length);
  }

  version(base: BlockBase): number {
    return base.highestVersion - this.versionDelta;
  }

  /**
   * The entry as a row. `place` is what the row's home knows the value by, `shift` is added to where it lies in `bytes`, `omitted` to its length,
   * where the home has to add as much to it.
   */
  row(bytes: Uint8Array, base: BlockBase, home: ValueHome, place: number, shift: number, omitted: number): Row {
    const { flags, valueLength } = this;
    const version = base.highestVersion - this.versionDelta;
    const timestamp =
      (flags & EntryFlag.time) === 0 ? base.lowestTimestamp + this.timeDelta : readF64(bytes, this.timeFrom);
    const expiresAt = (flags & EntryFlag.expires) === 0 ? 0 : readF64(bytes, this.expiresFrom);
    switch (flags & KIND_MASK) {
      case EntryKind.value:
      case EntryKind.shaped:
        return new Row(
          version,
          this.order,
          timestamp,
          expiresAt,
          false,
          this.valueFrom + shift,
          valueLength + omitted,
          place,
          undefined,
          home,
        );
      case EntryKind.numeric: {
        const numeric = decodeNumeric(bytes, this.valueFrom, this.valueFrom + valueLength);
        if (numeric === undefined) throw new MalformedBytes("a number that is none");
        return new Row(version, this.order, timestamp, expiresAt, false, -1, valueLength, -1, numeric);
      }
      case EntryKind.reference:
        return new Row(version, this.order, timestamp, expiresAt, false, 0, valueLength, this.place, undefined);
      case EntryKind.record:
        return new Row(version, this.order, timestamp, expiresAt, false, 0, valueLength, this.place, undefined, home);
      case EntryKind.tombstone:
        return new Row(version, this.order, timestamp, expiresAt, true, -1, 0, -1, undefined);
      default:
        throw new MalformedBytes(`an entry of unknown kind ${flags}`);
    }
  }
}

/** How many characters two keys have in common at their beginning. */
export function commonPrefix(a: EncodedKey, b: EncodedKey): number {
  const length = Math.min(a.length, b.length);
  let at = 0;
  while (at < length && a.charCodeAt(at) === b.charCodeAt(at)) at++;
  return at;
}
