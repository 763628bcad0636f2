import { ByteWriter } from "./bytes.ts";
import type { EncodedKey } from "./key.ts";
import type { Row } from "./resolve.ts";
import { BlockContents, isInline, writeBlock } from "./run-block-writer.ts";
import { commonPrefix, EntryKind } from "./run-entry.ts";
import { writeFilter } from "./run-filter.ts";
import {
  type Crc32,
  type PiecePlace,
  RUN_START,
  type Section,
  SectionId,
  writeFooter,
  writePiece,
  writeRecord,
} from "./run-format.ts";
import { KeyHashes } from "./run-hash.ts";
import { type IndexEntry, LEAF_BLOCKS, type LeafEntry, TOP_BLOCKS_MAX, writeLeaf, writeTop } from "./run-index.ts";
import type { PointLookups } from "./run-lookup.ts";
import { ShapeCollector } from "./run-shapes.ts";
import { encodeNumeric } from "./value.ts";

export interface RunBuilderOptions {
  readonly crc32: Crc32;
  /** Takes the run's bytes, in order, as they become ready. Each chunk is the receiver's to keep. */
  readonly sink: (chunk: Uint8Array) => void;
  /** About so many bytes are read at once: 4 KiB by default, for files; up to 64 KiB where each read is a round trip. */
  readonly blockBytes?: number;
  /** About how many there will be, if that is known. */
  readonly entries?: number;
  /** Larger values lie in records of their own, so that reading around them costs nothing; 4 KiB by default. */
  readonly inlineBytesMax?: number;
  /** Writes point lookups. Without it there are none. */
  readonly Lookups?: typeof PointLookups | undefined;
  /** Whether there is to be a point lookup (6 bytes an entry), if it can be written. By default in all but the smallest runs. */
  readonly lookup?: boolean;
  /** Whether there is to be a filter (10 bits an entry). By default where there is no lookup, or one too large to be kept in memory. */
  readonly filter?: boolean;
  /** No filter in a run with fewer bytes of entries than this, whatever else is said. */
  readonly filterBytesMin?: number;
  /** Up to so many blocks the index is one node, which is read when the run is opened. 1,024 by default. */
  readonly topBlocksMax?: number;
}

/** What a run covers, told at its end. */
export interface RunCoverage {
  /** See `RunInfo`. */
  readonly base: number;
  readonly upto: number;
  readonly extra?: Uint8Array;
}

const BLOCK_BYTES = 4096;
const BLOCK_BYTES_MAX = 64 * 1024;
const INLINE_BYTES_MAX = 4096;
const OFFSET_BITS_MIN = 12;
const NO_BYTES = new Uint8Array(0);
/** A chunk is handed out once it has so many bytes. */
const CHUNK_BYTES = 64 * 1024;
/** A smaller run is searched as quickly without any section. */
const SECTION_ENTRIES_MIN = 256;
/** The lookup of a larger run takes 24 MiB and more. */
const FILTER_ENTRIES_MIN = 4 * 1024 * 1024;
/** Entries' bytes beside key and value, until a block has told. */
const ENTRY_OVERHEAD = 16;
const BLOCK_OVERHEAD = 24;

/**
 * Builds a run from rows in the order of their keys, and hands its bytes out while they come. Synchronous: the caller paces. What it keeps in
 * memory: one block, some 40 bytes a finished block, up to 8 bytes an entry for the sections.
 */
export class RunBuilder {
  readonly #options: RunBuilderOptions;
  readonly #crc32: Crc32;
  readonly #blockBytes: number;
  readonly #inlineBytesMax: number;
  readonly #offsetBits: number;
  readonly #topBlocksMax: number;
  readonly #out = new ByteWriter(CHUNK_BYTES + CHUNK_BYTES / 4);
  #handedOut = 0;
  /** The block in the making. */
  readonly #contents = new BlockContents();
  readonly #staged = new ByteWriter(BLOCK_BYTES);
  readonly #shapes = new ShapeCollector();
  #keyBytes = 0;
  /** What its keys have in common. */
  #prefix = "";
  #entryOverhead = ENTRY_OVERHEAD;
  #lastKey: EncodedKey | undefined;
  #lastKeyOfBlock = "";
  #firstKey = "";
  /** What the index says of the finished blocks: those that are in no leaf yet, and the leaves, encoded. */
  #indexed: LeafEntry[] = [];
  readonly #leaves: { readonly key: EncodedKey; readonly bytes: Uint8Array }[] = [];
  readonly #leafWriter = new ByteWriter(BLOCK_BYTES);
  #blocks = 0;
  readonly #lookups: PointLookups | undefined;
  readonly #hashes: PointLookups | KeyHashes;
  #count = 0;
  #tombstones = 0;
  #highestVersion = 0;
  readonly #voids = new ByteWriter();
  #lastVoid = 0;

  constructor(options: RunBuilderOptions) {
    this.#options = options;
    this.#crc32 = options.crc32;
    this.#blockBytes = options.blockBytes ?? BLOCK_BYTES;
    this.#inlineBytesMax = options.inlineBytesMax ?? INLINE_BYTES_MAX;
    this.#topBlocksMax = options.topBlocksMax ?? TOP_BLOCKS_MAX;
    if (!(this.#blockBytes >= 256 && this.#blockBytes <= BLOCK_BYTES_MAX)) throw new RangeError("blockBytes");
    // An entry begins before twice the size at which a block is ended, or behind the longest key, which is a block's prefix then.
    this.#offsetBits = Math.max(OFFSET_BITS_MIN, 33 - Math.clz32(this.#blockBytes - 1));
    this.#lookups = options.Lookups && new options.Lookups(this.#offsetBits, options.entries);
    this.#hashes = this.#lookups ?? new KeyHashes();
    this.#out.u8(RUN_START);
  }

  /** Bytes of the run so far. */
  get length(): number {
    return this.#handedOut + this.#out.length;
  }

  /**
   * Adds the row of a key above all keys before. With `value`, its encoded value, already checked, is kept in the run (and copied at once); a row
   * without, that is neither deleted nor numeric, becomes a reference to where its value lies in the ledger.
   */
  add(key: EncodedKey, row: Row, value?: Uint8Array): void {
    const last = this.#lastKey;
    if (last !== undefined && key <= last) throw new RangeError("keys must come in ascending order");
    if (last === undefined) this.#firstKey = key;
    let kind = kindOf(row, value, this.#inlineBytesMax);
    const shape = kind === EntryKind.value ? this.#shapes.find(value as Uint8Array) : undefined;
    if (shape !== undefined) kind = EntryKind.shaped;
    if (this.#contents.count === 0) this.#prefix = key;
    else if (!this.#fits(key, isInline(kind) ? row.valueLength - (shape?.bytes.length ?? 0) : 0)) this.#endBlock(key);
    this.#keyBytes += key.length;
    switch (kind) {
      case EntryKind.tombstone:
        this.#contents.add(key, row, kind, 0, 0);
        this.#tombstones++;
        break;
      case EntryKind.reference:
        this.#contents.add(key, row, kind, row.valueLength, row.place + row.valueOffset);
        break;
      case EntryKind.record:
        this.#addRecord(key, row, value as Uint8Array);
        break;
      case EntryKind.shaped:
        this.#stage(key, row, kind, this.#shapes.rest, shape?.number);
        break;
      default:
        // Encoded here, where nothing else is done before it is copied: the sink, which may just have been called, is somebody else's.
        this.#stage(key, row, kind, kind === EntryKind.numeric ? encodeNumeric(row.numeric as number | bigint) : value);
    }
    this.#lastKey = key;
    this.#count++;
    if (row.version > this.#highestVersion) this.#highestVersion = row.version;
  }

  /** Adds a version that history leaves out. They come in ascending order. */
  addVoidVersion(version: number): void {
    if (version <= this.#lastVoid) throw new RangeError("void versions must come in ascending order");
    this.#voids.varint(version - this.#lastVoid);
    this.#lastVoid = version;
  }

  /**
   * Hands out the rest, and returns where to begin to read for who opens the run (`StoredRun.openFrom`). Every `next` does a bounded piece of work, so that the
   * caller may pause in between.
   */
  *finish({ base, upto, extra = new Uint8Array(0) }: RunCoverage): Generator<undefined, number> {
    if (this.#contents.count > 0) this.#endBlock();
    const blocksEnd = this.length;
    const sections: Section[] = [];
    yield* this.#writeSections(sections, blocksEnd);
    if (this.#voids.length > 0) sections.push({ id: SectionId.voidVersions, ...this.#piece(this.#voids.view()) });
    const shapes = this.#shapes.content();
    if (shapes.length > 0) sections.push({ id: SectionId.shapes, ...this.#piece(shapes) });
    const top = yield* this.#writeIndex();
    writeFooter(
      this.#out,
      {
        entries: this.#count,
        tombstones: this.#tombstones,
        smallestKey: this.#firstKey,
        largestKey: this.#lastKey ?? "",
        base,
        upto,
        highestVersion: this.#highestVersion,
        extra,
        blocks: this.#blocks,
        blocksEnd,
        top,
        sections,
      },
      this.#crc32,
    );
    this.#handOut();
    return openingPlace(sections, top);
  }

  // --- blocks ------------------------------------------------------------------------------------------------------

  /** Whether the block is not too large with one more entry. */
  #fits(key: EncodedKey, inlineBytes: number): boolean {
    if (!key.startsWith(this.#prefix)) this.#prefix = key.slice(0, commonPrefix(this.#prefix, key));
    const entries = this.#contents.count + 1;
    const keys = this.#keyBytes + key.length - (entries - 1) * this.#prefix.length;
    const size = keys + this.#staged.length + inlineBytes + entries * this.#entryOverhead + BLOCK_OVERHEAD;
    return size <= this.#blockBytes;
  }

  #stage(key: EncodedKey, row: Row, kind: number, value: Uint8Array = NO_BYTES, shape = 0): void {
    this.#contents.add(key, row, kind, value.length, this.#staged.length, shape);
    this.#staged.bytes(value);
  }

  #addRecord(key: EncodedKey, row: Row, value: Uint8Array): void {
    const checksum = this.#crc32(value);
    this.#contents.add(key, row, EntryKind.record, value.length, this.length, checksum);
    const record = writeRecord(value);
    this.#handOut();
    this.#give(record);
  }

  /** `nextKey`: with which another block begins. */
  #endBlock(nextKey = ""): void {
    this.#writeBlocks(this.#contents);
    this.#contents.clear();
    this.#staged.reset();
    this.#keyBytes = 0;
    this.#prefix = nextKey;
  }

  /** Writes entries as a block, or as two where they turn out larger than was thought. */
  #writeBlocks(contents: BlockContents): void {
    const place = this.length;
    const before = this.#out.length;
    const written = writeBlock(this.#out, contents, this.#staged.view(), this.#crc32);
    const { length, prefixLength } = written;
    const { keys, starts, count, highestVersion, lowestTimestamp } = contents;
    if (starts[count - 1] >= 2 ** this.#offsetBits) {
      this.#out.truncate(before);
      const middle = count >>> 1;
      this.#writeBlocks(contents.part(0, middle));
      this.#writeBlocks(contents.part(middle, count));
      return;
    }
    if (count >= 4) {
      const contentBytes = contents.keyBytes + contents.inlineBytes - count * prefixLength;
      this.#learnOverhead(contentBytes, length - prefixLength, count);
    }
    const number = this.#blocks++;
    this.#hashes.addAll(keys, count, number, starts);
    const first = keys[0];
    const separator = number === 0 ? 0 : commonPrefix(this.#lastKeyOfBlock, first) + 1;
    this.#lastKeyOfBlock = keys[count - 1];
    const key = first.slice(0, Math.max(separator, prefixLength));
    this.#index({ key, place, length, prefixLength, plain: !written.masked, highestVersion, lowestTimestamp });
    if (this.#out.length >= CHUNK_BYTES) this.#handOut();
  }

  /** Blocks are filled well if it is known what entries of this kind cost. */
  #learnOverhead(contentBytes: number, length: number, entries: number): void {
    const overhead = (length - contentBytes - BLOCK_OVERHEAD) / entries;
    this.#entryOverhead = this.#entryOverhead * 0.75 + overhead * 0.25;
  }

  // --- index and sections ------------------------------------------------------------------------------------------

  #index(entry: LeafEntry): void {
    this.#indexed.push(entry);
    const { length } = this.#indexed;
    // The first leaves are made once it is clear that one node will not do.
    if (this.#blocks <= this.#topBlocksMax || (this.#leaves.length > 0 && length < LEAF_BLOCKS)) return;
    let at = 0;
    for (; at + LEAF_BLOCKS <= length; at += LEAF_BLOCKS) this.#makeLeaf(this.#indexed.slice(at, at + LEAF_BLOCKS));
    this.#indexed = this.#indexed.slice(at);
  }

  #makeLeaf(entries: readonly LeafEntry[]): void {
    this.#leafWriter.reset();
    writeLeaf(this.#leafWriter, entries, this.#crc32);
    this.#leaves.push({ key: entries[0].key, bytes: this.#leafWriter.take() });
  }

  *#writeIndex(): Generator<undefined, PiecePlace> {
    const top: IndexEntry[] = [];
    if (this.#leaves.length > 0 && this.#indexed.length > 0) this.#makeLeaf(this.#indexed);
    for (const { key, bytes } of this.#leaves) {
      top.push({ key, place: this.length, length: bytes.length });
      this.#out.bytes(bytes);
      if (this.#out.length < CHUNK_BYTES) continue;
      this.#handOut();
      yield;
    }
    const place = this.length;
    if (this.#leaves.length > 0) writeTop(this.#out, top, this.#crc32);
    else writeLeaf(this.#out, this.#indexed, this.#crc32);
    return { place, length: this.length - place };
  }

  *#writeSections(sections: Section[], bytes: number): Generator<undefined> {
    const entries = this.#count;
    const { filterBytesMin = 0, filter, lookup } = this.#options;
    const isWorthwhile = entries >= SECTION_ENTRIES_MIN;
    const lookups = (lookup ?? isWorthwhile) && this.#lookups?.isComplete === true ? this.#lookups : undefined;
    const isFiltered = filter ?? (isWorthwhile && (lookups === undefined || entries >= FILTER_ENTRIES_MIN));
    const place = (): { readonly crc32: Crc32; readonly place: number } => ({ crc32: this.#crc32, place: this.length });
    if (lookups !== undefined) {
      sections.push(yield* this.#writeSection(SectionId.lookup, lookups.write(this.#out, place())));
    }
    if (isFiltered && bytes >= filterBytesMin) {
      const filterPieces = writeFilter(this.#out, this.#hashes.collected(), { ...place(), entries });
      sections.push(yield* this.#writeSection(SectionId.filter, filterPieces));
    }
  }

  /** `pieces`: of work, which come to the length of the section's head. */
  *#writeSection(id: number, pieces: Generator<undefined, number>): Generator<undefined, Section> {
    for (;;) {
      const step = pieces.next();
      if (step.done === true) return { id, place: this.length - step.value, length: step.value };
      if (this.#out.length >= CHUNK_BYTES) this.#handOut();
      yield;
    }
  }

  #piece(content: Uint8Array): PiecePlace {
    return { place: this.length, length: writePiece(this.#out, content, this.#crc32) };
  }

  #handOut(): void {
    if (this.#out.length === 0) return;
    const chunk = this.#out.take();
    this.#out.reset();
    this.#give(chunk);
  }

  #give(chunk: Uint8Array): void {
    this.#handedOut += chunk.length;
    this.#options.sink(chunk);
  }
}

function kindOf(row: Row, value: Uint8Array | undefined, inlineBytesMax: number): number {
  if (row.deleted) return EntryKind.tombstone;
  if (row.numeric !== undefined) return EntryKind.numeric;
  if (value !== undefined) return value.length <= inlineBytesMax ? EntryKind.value : EntryKind.record;
  if (row.home === undefined) return EntryKind.reference;
  throw new RangeError("a value that lies in another run has to come with its row");
}

/** Where the top of the index begins, or the first of the heads of sections that lie directly before it. */
function openingPlace(sections: readonly Section[], top: PiecePlace): number {
  return sections.reduceRight((from, { place, length }) => (place + length === from ? place : from), top.place);
}
