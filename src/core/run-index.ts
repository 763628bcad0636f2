import { type ByteWriter, MalformedBytes, readU32, toBinaryString } from "./bytes.ts";
import type { EncodedKey } from "./key.ts";
import { commonPrefix } from "./run-entry.ts";
import { beginPiece, type Crc32, endPiece, PIECE_HEAD_BYTES, PIECE_TAIL_BYTES, type PiecePlace } from "./run-format.ts";

/**
 * The sparse index of a run: for every block a key that separates it from the one before. Up to some blocks it is one node, beyond that there
 * are leaves of a fixed number of blocks each and one node above them. docs/FORMAT.md gives the layout. Nodes are searched as they lie in
 * the run: nothing of them is decoded beforehand.
 */

/** Blocks of a leaf, when there are leaves. A block's number tells its leaf. */
export const LEAF_BLOCKS = 128;
/** Up to so many blocks the index is one node, which is read with the footer. */
export const TOP_BLOCKS_MAX = 1024;

const HEAD_BYTES = 1 + 4 + 2;
const NODE_RECORD_BYTES = 7 + 4 + 3;
const LEAF_RECORD_BYTES = NODE_RECORD_BYTES + 2 + 7 + 7;
const LENGTH_AT = 7;
const KEY_END_AT = 11;
/** What leaves say of a block besides: point lookups ask for it. */
export const PREFIX_AT = 14;
export const VERSION_AT = 16;
export const TIMESTAMP_AT = 23;
/** In the field of a block's prefix: its entries can be read as they lie in the run. */
export const PLAIN = 0x8000;

/** What the index says of a node's child: a block or a leaf. */
export interface IndexEntry extends PiecePlace {
  /** Above all keys before the child, at or below its first. At least as long as the prefix of a block. */
  readonly key: EncodedKey;
}

export interface LeafEntry extends IndexEntry {
  readonly prefixLength: number;
  /** Neither masked nor in another codec. */
  readonly plain: boolean;
  readonly highestVersion: number;
  readonly lowestTimestamp: number;
}

export function writeLeaf(writer: ByteWriter, entries: readonly LeafEntry[], crc32: Crc32): void {
  writeNode(writer, entries, crc32, (entry) => {
    writer.u16(entry.prefixLength | (entry.plain ? PLAIN : 0));
    writeU56(writer, entry.highestVersion);
    writeU56(writer, entry.lowestTimestamp);
  });
}

export function writeTop(writer: ByteWriter, entries: readonly IndexEntry[], crc32: Crc32): void {
  writeNode(writer, entries, crc32, undefined);
}

function writeNode<E extends IndexEntry>(
  writer: ByteWriter,
  entries: readonly E[],
  crc32: Crc32,
  writeMore: ((entry: E) => void) | undefined,
): void {
  const start = beginPiece(writer);
  const prefixLength = entries.length === 0 ? 0 : commonPrefix(entries[0].key, entries[entries.length - 1].key);
  writer.u8(writeMore === undefined ? 1 : 0);
  writer.u32(entries.length);
  writer.u16(prefixLength);
  if (prefixLength > 0) writer.binaryString(entries[0].key.slice(0, prefixLength));
  let keyEnd = 0;
  for (const entry of entries) {
    keyEnd += entry.key.length - prefixLength;
    writeU56(writer, entry.place);
    writer.u32(entry.length);
    writer.u16(keyEnd & 0xffff);
    writer.u8(keyEnd >>> 16);
    writeMore?.(entry);
  }
  for (const { key } of entries) writer.binaryString(key.slice(prefixLength));
  endPiece(writer, start, crc32);
}

/** A node that was checked, as it lies in the run. */
export class IndexNode {
  readonly isLeaf: boolean;
  readonly count: number;
  /** The whole piece, and what all keys begin with. */
  readonly bytes: Uint8Array;
  readonly prefix: string;
  readonly #records: number;
  readonly #recordBytes: number;
  readonly #keys: number;

  constructor(piece: Uint8Array) {
    this.bytes = piece;
    const at = PIECE_HEAD_BYTES;
    this.isLeaf = piece[at] === 0;
    this.count = readU32(piece, at + 1);
    const prefixLength = piece[at + 5] | (piece[at + 6] << 8);
    this.#records = at + HEAD_BYTES + prefixLength;
    this.prefix = toBinaryString(piece, at + HEAD_BYTES, this.#records);
    this.#recordBytes = this.isLeaf ? LEAF_RECORD_BYTES : NODE_RECORD_BYTES;
    this.#keys = this.#records + this.count * this.#recordBytes;
    if (this.#keys + this.#keyEnd(this.count - 1) !== piece.length - PIECE_TAIL_BYTES)
      throw new MalformedBytes("an index node of another length than it says");
  }

  get memoryBytes(): number {
    return this.bytes.length + 200;
  }

  /** The last child whose key is not above `key`; -1 if there is none. */
  find(key: EncodedKey): number {
    const prefix = this.prefix;
    if (!key.startsWith(prefix)) return key < prefix ? -1 : this.count - 1;
    let low = 0;
    let high = this.count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#compare(middle, key) <= 0) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  place(child: number): number {
    return this.u56(child, 0);
  }

  /** Of the child's piece, in bytes. */
  length(child: number): number {
    return readU32(this.bytes, this.field(child, LENGTH_AT));
  }

  /** Compares a child's key with one that has the node's prefix. */
  #compare(child: number, key: EncodedKey): number {
    const bytes = this.bytes;
    const { length } = key;
    const end = this.#keys + this.#keyEnd(child);
    let at = this.prefix.length;
    for (let i = this.keyFrom(child); i < end; i++, at++) {
      if (at >= length) return 1;
      const difference = bytes[i] - key.charCodeAt(at);
      if (difference !== 0) return difference;
    }
    return at - length;
  }

  #keyEnd(child: number): number {
    if (child < 0) return 0;
    const at = this.field(child, KEY_END_AT);
    return this.bytes[at] | (this.bytes[at + 1] << 8) | (this.bytes[at + 2] << 16);
  }

  /** Where a child's key begins in the bytes, without the prefix. */
  keyFrom(child: number): number {
    return this.#keys + this.#keyEnd(child - 1);
  }

  /** Where a field of a child's record lies in the bytes. */
  field(child: number, field: number): number {
    return this.#records + child * this.#recordBytes + field;
  }

  /** A field of seven bytes. */
  u56(child: number, field: number): number {
    const at = this.field(child, field);
    const bytes = this.bytes;
    return readU32(bytes, at) + (bytes[at + 4] | (bytes[at + 5] << 8) | (bytes[at + 6] << 16)) * 0x100000000;
  }
}

/** A safe integer from 0. */
function writeU56(writer: ByteWriter, value: number): void {
  const high = Math.floor(value / 2 ** 32);
  writer.u32(value % 2 ** 32);
  writer.u16(high & 0xffff);
  writer.u8(high >>> 16);
}
