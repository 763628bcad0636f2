import { BUFFER_BYTES } from "./block-cache.ts";
import { type ByteWriter, MalformedBytes, toBinaryString } from "./bytes.ts";
import type { EncodedKey } from "./key.ts";
import {
  type BlockBase,
  type BlockEntry,
  commonPrefix,
  EntryView,
  next,
  readCompact,
  type SharedKey,
  writeCompact,
  writeEntryHead,
  writeEntryValue,
} from "./run-entry.ts";
import { beginPiece, type Crc32, endPiece, PIECE_HEAD_BYTES, PIECE_TAIL_BYTES } from "./run-format.ts";

/**
 * Blocks of a run: some entries in key order. docs/FORMAT.md gives the layout. What all keys of a block have in common stands once, and so do
 * the highest version and the lowest timestamp, from which those of the entries are told.
 */

const NO_BYTES = new Uint8Array(0);

/** A block that was checked, as it lies in the run: decoded as far as somebody asks. */
export class RunBlock implements BlockBase {
  readonly number: number;
  /** Not there any more once the block was dropped. */
  bytes: Uint8Array;
  readonly prefix: string;
  readonly count: number;
  readonly highestVersion: number;
  readonly lowestTimestamp: number;
  readonly entriesFrom: number;
  readonly entriesTo: number;
  #starts: Uint32Array | Uint16Array | undefined;

  /** Reads the head of an opened piece. */
  constructor(number: number, piece: Uint8Array) {
    this.number = number;
    this.bytes = piece;
    this.entriesTo = piece.length - PIECE_TAIL_BYTES;
    this.count = readCompact(piece, PIECE_HEAD_BYTES);
    const prefixLength = readCompact(piece, next);
    const prefixFrom = next;
    this.prefix = toBinaryString(piece, prefixFrom, prefixFrom + prefixLength);
    this.highestVersion = readCompact(piece, prefixFrom + prefixLength);
    this.lowestTimestamp = readCompact(piece, next);
    this.entriesFrom = next;
    if (!(this.entriesFrom < this.entriesTo) || this.count === 0) throw new MalformedBytes("a block without entries");
  }

  /** True when the memory of its bytes was given to something else: whoever held on to the block loads it again. */
  get isDropped(): boolean {
    return this.bytes.length === 0;
  }

  drop(): void {
    this.bytes = NO_BYTES;
  }

  /** What it takes in memory, with all that may be decoded of it. */
  get memoryBytes(): number {
    return Math.max(this.bytes.length, BUFFER_BYTES) + this.count * 2 + 400;
  }

  /** Reads the entry with this place in the order. */
  readEntry(index: number, entry: EntryView): void {
    this.readEntryAt(this.#entryStarts()[index], entry);
  }

  /** The offset at which an entry begins. */
  entryStart(index: number): number {
    return this.#entryStarts()[index];
  }

  /** Reads the entry that begins at this offset. */
  readEntryAt(at: number, entry: EntryView): void {
    if (!entry.read(this.bytes, at, this.entriesTo)) throw new MalformedBytes("an entry beyond its block");
  }

  /** The place of the first entry whose key is not below `key`, or `count`. `entry` is used for looking. */
  search(key: EncodedKey, entry: EntryView): number {
    const { prefix, bytes } = this;
    if (!key.startsWith(prefix)) return key < prefix ? 0 : this.count;
    const starts = this.#entryStarts();
    let low = 0;
    let high = this.count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      this.readEntryAt(starts[middle], entry);
      if (entry.compare(bytes, key, prefix.length) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Found by walking through the block once. */
  #entryStarts(): Uint32Array | Uint16Array {
    if (this.#starts !== undefined) return this.#starts;
    const starts = this.bytes.length <= 0xffff ? new Uint16Array(this.count) : new Uint32Array(this.count);
    const entry = new EntryView();
    let at = this.entriesFrom;
    for (let i = 0; i < this.count; i++) {
      starts[i] = at;
      this.readEntryAt(at, entry);
      at = entry.end;
    }
    this.#starts = starts;
    return starts;
  }
}

/** What a block's entry in the index says, and where its entries begin. */
export interface WrittenBlock extends BlockBase {
  readonly prefixLength: number;
  readonly masked: boolean;
  /** Offsets in the piece. */
  readonly starts: readonly number[];
}

/** Writes a block with these entries, which are at least one and in order. `staged` holds their values. */
export function writeBlock(
  writer: ByteWriter,
  entries: readonly BlockEntry[],
  staged: Uint8Array,
  crc32: Crc32,
): WrittenBlock {
  const start = beginPiece(writer);
  const first = entries[0].key;
  const prefixLength = commonPrefix(first, entries[entries.length - 1].key);
  let highestVersion = 0;
  let lowestTimestamp = Infinity;
  for (const { row } of entries) {
    if (row.version > highestVersion) highestVersion = row.version;
    if (row.timestamp < lowestTimestamp && Number.isSafeInteger(row.timestamp) && row.timestamp >= 0)
      lowestTimestamp = row.timestamp;
  }
  if (lowestTimestamp === Infinity) lowestTimestamp = 0;
  writeCompact(writer, entries.length);
  writeCompact(writer, prefixLength);
  writer.binaryString(first.slice(0, prefixLength));
  writeCompact(writer, highestVersion);
  writeCompact(writer, lowestTimestamp);
  const starts: number[] = [];
  let shared: SharedKey | undefined;
  for (const entry of entries) {
    const at = writer.length - start;
    starts.push(at);
    const before = writer.length;
    const sharing = writeEntryHead(writer, entry, at, prefixLength, shared, highestVersion, lowestTimestamp);
    if (sharing !== undefined) shared = sharing;
    writeEntryValue(writer, entry, staged);
    writer.u32(crc32(writer.view(before)));
  }
  const masked = endPiece(writer, start, crc32);
  return { prefixLength, highestVersion, lowestTimestamp, masked, starts };
}
