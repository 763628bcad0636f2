import type { BlockCache, CacheSpace } from "./block-cache.ts";
import { MalformedBytes, readU32 } from "./bytes.ts";
import type { EncodedKey } from "./key.ts";
import type { Row } from "./resolve.ts";
import type { RunBlock } from "./run-block.ts";
import type { BlockBase, EntryView } from "./run-entry.ts";
import { PIECE_TAIL_BYTES, type PiecePlace } from "./run-format.ts";
import { type IndexNode, LEAF_BLOCKS, PLAIN, PREFIX_AT, TIMESTAMP_AT, VERSION_AT } from "./run-index.ts";
import { Lookup } from "./run-lookup.ts";
import type { RunPieces } from "./run-pieces.ts";
import type { Run } from "./run.ts";

/** An entry read by itself is asked for with so much behind it as entries have on average, times two, within these bounds. */
const ENTRY_BYTES_MIN = 256;
const ENTRY_BYTES_MAX = 2048;

/** What a run is, seen from inside. */
export interface RunParts {
  readonly run: Run;
  readonly pieces: RunPieces;
  readonly cache: BlockCache;
  readonly top: IndexNode;
  readonly blocks: CacheSpace<RunBlock>;
  /** Shows the entry that was read last. */
  readonly entry: EntryView;
  /** The length of all blocks. */
  readonly blocksEnd: number;
  leaf(number: number): IndexNode;
  /** The row of the entry that is shown, which lies in these bytes, `shift` before where it lies in its block. */
  row(bytes: Uint8Array, base: BlockBase, number: number, shift: number): Row;
}

/** Reads keys of a run one by one, by its point lookups: of a file an entry and nothing else of its block, where that is enough. */
export class PointReads {
  readonly #parts: RunParts;
  readonly #place: PiecePlace;
  readonly #smallReads: boolean;
  readonly #scratch: Uint8Array;
  #lookup: Lookup | undefined;
  #pages: CacheSpace<Uint8Array> | undefined;
  /** An entry that was read by itself: its block, its offset there, and its bytes, which the next one overwrites. */
  readonly alone: { block: number; offset: number; length: number; bytes: Uint8Array };

  constructor(place: PiecePlace, parts: RunParts) {
    this.#parts = parts;
    this.#place = place;
    this.#smallReads = parts.pieces.bytes.smallReads === true;
    const { entries } = parts.run.info;
    const average = entries === 0 ? 0 : parts.blocksEnd / entries;
    this.#scratch = new Uint8Array(Math.round(Math.min(Math.max(2 * average, ENTRY_BYTES_MIN), ENTRY_BYTES_MAX)));
    this.alone = { block: -1, offset: 0, length: 0, bytes: this.#scratch };
  }

  /** The row of a key with this hash, undefined if the run has none; null where the index has to do. */
  get(key: EncodedKey, hash: number): Row | undefined | null {
    const lookup = (this.#lookup ??= this.#open());
    const found = lookup.find(hash);
    if (found < 0) return null;
    const { candidates, offsets } = lookup;
    for (let i = 0; i < found; i++) {
      const number = Math.floor(candidates[i] / offsets);
      const row = this.#getAt(key, number, candidates[i] - number * offsets);
      if (row !== undefined) return row;
    }
    return undefined;
  }

  /** See `Run.release`. */
  release(): void {
    this.#pages?.clear();
    this.alone.block = -1;
  }

  /** The row of the entry at this offset of this block, if it is that of the key. */
  #getAt(key: EncodedKey, number: number, offset: number): Row | undefined {
    const { run, blocks, top, leaf: leafOf } = this.#parts;
    const cached = blocks.get(number);
    if (cached !== undefined) return this.#getInBlock(key, cached, offset);
    if (number >= run.blocks) throw new MalformedBytes("a location beyond the last block");
    const leaf = top.isLeaf ? top : leafOf(Math.floor(number / LEAF_BLOCKS));
    const child = top.isLeaf ? number : number % LEAF_BLOCKS;
    if (!hasPrefix(leaf, child, key)) return undefined;
    if (this.#smallReads && (prefixField(leaf, child) & PLAIN) !== 0 && !blocks.admits(number, leaf.length(child))) {
      const row = this.#getAlone(key, number, offset, leaf, child);
      if (row !== null) return row;
    }
    return this.#getInBlock(key, run.block(number), offset);
  }

  #getInBlock(key: EncodedKey, block: RunBlock, offset: number): Row | undefined {
    const { run, entry } = this.#parts;
    const { prefix, bytes } = block;
    if (!key.startsWith(prefix)) return undefined;
    block.readEntryAt(offset, entry);
    return entry.compare(bytes, key, prefix.length) === 0 ? run.rowOf(block, entry) : undefined;
  }

  /** Reads the entry and nothing else of its block; null if that is not enough to tell. */
  #getAlone(key: EncodedKey, number: number, offset: number, leaf: IndexNode, child: number): Row | undefined | null {
    const { pieces, entry } = this.#parts;
    const asked = Math.min(this.#scratch.length, leaf.length(child) - PIECE_TAIL_BYTES - offset);
    const { alone } = this;
    // What lies there is overwritten now.
    alone.block = -1;
    const bytes = pieces.bytes.read(leaf.place(child) + offset, asked, this.#scratch);
    // Whatever is wrong with it, reading the whole block will tell.
    if (bytes.length < asked || !entry.read(bytes, 0, asked) || entry.shared > 0) return null;
    const checksumFrom = entry.end - 4;
    if (pieces.crc32(bytes.subarray(0, checksumFrom)) !== readU32(bytes, checksumFrom)) return null;
    if (entry.compare(bytes, key, prefixField(leaf, child) & ~PLAIN) !== 0) return undefined;
    alone.block = number;
    alone.offset = offset;
    alone.length = checksumFrom;
    alone.bytes = bytes;
    const base = { highestVersion: leaf.u56(child, VERSION_AT), lowestTimestamp: leaf.u56(child, TIMESTAMP_AT) };
    return this.#parts.row(bytes, base, number, offset);
  }

  #open(): Lookup {
    const { pieces, cache } = this.#parts;
    const piece = pieces.read(this.#place);
    const lookup: Lookup = pieces.decode(
      this.#place,
      () => new Lookup(piece, (page) => pages.get(page) ?? pieces.page(pages, page, lookup.pagePlace(page))),
    );
    const pages = cache.space<Uint8Array>({ keys: lookup.pages, dropped: (page) => cache.buffers?.recycle(page) });
    this.#pages = pages;
    return lookup;
  }
}

/** How long the prefix of a block is, and whether it is plain. */
function prefixField(leaf: IndexNode, block: number): number {
  const at = leaf.field(block, PREFIX_AT);
  return leaf.bytes[at] | (leaf.bytes[at + 1] << 8);
}

/** True if `key` begins like all keys of the block. */
function hasPrefix(leaf: IndexNode, block: number, key: EncodedKey): boolean {
  const length = prefixField(leaf, block) & ~PLAIN;
  const { bytes, prefix } = leaf;
  if (key.length < length) return false;
  if (length <= prefix.length) return prefix.startsWith(key.slice(0, length));
  if (!key.startsWith(prefix)) return false;
  let at = leaf.keyFrom(block);
  for (let i = prefix.length; i < length; i++) if (bytes[at++] !== key.charCodeAt(i)) return false;
  return true;
}
