import { BUFFER_BYTES } from "./block-cache.ts";
import { MalformedBytes, toBinaryString } from "./bytes.ts";
import type { EncodedKey } from "./key.ts";
import { type BlockBase, EntryView, next, readCompact } from "./run-entry.ts";
import { PIECE_HEAD_BYTES, PIECE_TAIL_BYTES } from "./run-format.ts";

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
