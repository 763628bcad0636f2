import type { CacheSpace } from "./block-cache.ts";
import { MalformedBytes } from "./bytes.ts";
import { type BytesAt, NotLoaded } from "./bytes-at.ts";
import type { EncodedKey } from "./key.ts";
import type { Row, ValueHome } from "./resolve.ts";
import { RunBlock } from "./run-block.ts";
import { RunCursor } from "./run-cursor.ts";
import { type BlockBase, EntryKind, EntryView } from "./run-entry.ts";
import { Filter } from "./run-filter.ts";
import {
  contentOf,
  type Footer,
  type PiecePlace,
  readFooter,
  readTail,
  RUN_FORMAT,
  type RunInfo,
  SectionId,
  TAIL_BYTES,
} from "./run-format.ts";
import { runHash } from "./run-hash.ts";
import { IndexNode, LEAF_BLOCKS } from "./run-index.ts";
import { type RunOptions, RunPieces } from "./run-pieces.ts";
import type { PointReads } from "./run-points.ts";
import { StoredShapes } from "./run-shapes.ts";
import { decodeValue } from "./value.ts";

/** The end of a run is read at once, a part of its length within these bounds: footer and top of the index fit as a rule. */
const OPEN_PART = 1 / 32;
const OPEN_BYTES_MIN = 8 * 1024;
const OPEN_BYTES_MAX = 64 * 1024;
/** Larger values are read from their records every time. */
const RECORD_CACHED_MAX = 256 * 1024;
/** Read ahead in a scan. */
const WINDOW_BYTES = 64 * 1024;

const NO_BYTES: Uint8Array = new Uint8Array(0);

/** What a scan has read ahead: into a buffer of its own, with the blocks that were opened in it. */
export class RunWindow {
  place = 0;
  bytes: Uint8Array = NO_BYTES;
  buffer: Uint8Array | undefined;
  readonly blocks: RunBlock[] = [];
}

/**
 * An immutable sorted image of part of the state, read on demand: `get` by way of the sections for point lookups, `cursor` by way of the sparse
 * index. Opening reads the footer and the top of the index, whatever the size.
 *
 * Everything here is synchronous and throws `NotLoaded` for bytes that have yet to arrive; the same call, made again later, goes on
 * (`whenLoaded`). Bytes that fail a check are `LedgerDamaged`, with the range of places within the run; what is read of other parts stays right.
 */
export class Run implements ValueHome {
  readonly info: RunInfo;
  /** How many blocks the entries lie in. */
  readonly blocks: number;
  readonly #pieces: RunPieces;
  readonly #footer: Footer;
  readonly #top: IndexNode;
  readonly #blockCache: CacheSpace<RunBlock>;
  readonly #leafCache: CacheSpace<IndexNode>;
  readonly #filterCache: CacheSpace<Uint8Array>;
  readonly #recordCache: CacheSpace<Uint8Array>;
  #filter: Filter | undefined;
  /** Where the run has point lookups, and somebody has brought what reads them. */
  readonly #lookups: PointReads | undefined;
  readonly #filterPlace: PiecePlace | undefined;
  readonly #shapes: StoredShapes;
  readonly #entry = new EntryView();
  /** The block in which a row was found last: its value is asked for next. */
  #recent: RunBlock | undefined;
  /** @internal Where the value begins in what `bytesOf` has returned. */
  valueFrom = 0;

  private constructor(
    pieces: RunPieces,
    { cache, Lookups }: RunOptions,
    { footer, top }: { readonly footer: Footer; readonly top: IndexNode },
  ) {
    this.info = footer;
    this.blocks = footer.blocks;
    this.#pieces = pieces;
    this.#footer = footer;
    this.#top = top;
    this.#blockCache = cache.space({
      keys: footer.blocks,
      dropped: (block) => {
        cache.buffers?.recycle(block.bytes);
        block.drop();
      },
    });
    this.#leafCache = cache.space({ keys: top.count });
    this.#filterCache = cache.space({ dropped: (page) => cache.buffers?.recycle(page) });
    this.#recordCache = cache.space();
    this.#filterPlace = this.#section(SectionId.filter);
    const lookup = this.#section(SectionId.lookup);
    if (lookup !== undefined && Lookups !== undefined) {
      this.#lookups = new Lookups(lookup, {
        run: this,
        pieces,
        cache,
        top,
        blocks: this.#blockCache,
        entry: this.#entry,
        blocksEnd: footer.blocksEnd,
        leaf: (number) => this.#leaf(number),
        row: (bytes, base, number, shift) => this.#row(bytes, this.#entry, base, number, shift),
      });
    }
    this.#shapes = new StoredShapes(this, pieces, this.#section(SectionId.shapes));
  }

  /** Reads the footer and the top of the index. Throws `LedgerDamaged`, also for what is no run; `UnsupportedFormat` for a newer one. */
  static open(bytes: BytesAt, options: RunOptions): Run {
    const { length } = options;
    const pieces = new RunPieces(bytes, options);
    const openBytes = Math.min(Math.max(length * OPEN_PART, OPEN_BYTES_MIN), OPEN_BYTES_MAX);
    const from = options.openFrom ?? Math.max(0, Math.floor(length - openBytes));
    const end = bytes.read(from, length - from);
    const tailFrom = length - TAIL_BYTES;
    const isWhole = tailFrom >= 0 && end.length === length - from;
    const footerBytes = isWhole ? readTail(end.subarray(tailFrom - from)) : undefined;
    if (footerBytes === undefined || footerBytes > tailFrom)
      throw pieces.damage({ place: from, length: length - from });
    pieces.ahead = { from, bytes: end };
    const footerPlace = { place: tailFrom - footerBytes, length: footerBytes };
    const footerPiece = pieces.read(footerPlace);
    const footer = pieces.decode(footerPlace, () => readFooter(footerPiece));
    if (typeof footer === "number") throw pieces.unsupported(footer, RUN_FORMAT);
    const topPiece = pieces.read(footer.top);
    const top = pieces.decode(footer.top, () => new IndexNode(topPiece));
    const run = new Run(pieces, options, { footer, top });
    const filter = run.#filterPlace;
    // Read already: where each read is a round trip, asking for it later would be one more.
    if (filter !== undefined && options.openFrom !== undefined && filter.place >= from) {
      run.#openFilter(filter);
    }
    run.#shapes.openAhead();
    pieces.ahead = undefined;
    return run;
  }

  // --- reading -----------------------------------------------------------------------------------------------------

  /** The row of a key, a tombstone too; undefined if the run has none. */
  get(key: EncodedKey): Row | undefined {
    try {
      return this.#get(key);
    } catch (error) {
      throw this.failure(error);
    }
  }

  #get(key: EncodedKey): Row | undefined {
    const { info } = this;
    if (info.entries === 0 || key < info.smallestKey || key > info.largestKey) return undefined;
    const lookups = this.#lookups;
    if (this.#filterPlace !== undefined || lookups !== undefined) {
      const hash = runHash(key);
      if (this.#filterPlace !== undefined && !this.#mayHave(this.#filterPlace, key, hash)) return undefined;
      const found = lookups === undefined ? null : lookups.get(key, hash);
      if (found !== null) return found;
    }
    return this.#getByIndex(key);
  }

  /** A cursor before the first key. `told`: what its errors are told as. */
  cursor(told?: (error: unknown) => unknown): RunCursor {
    return new RunCursor(this, told);
  }

  /** See `ValueHome`: for rows that name this run. */
  value(row: Row): unknown {
    const bytes = this.bytesOf(row, row.valueLength);
    return decodeValue(bytes, this.valueFrom, this.valueFrom + row.valueLength);
  }

  /** See `ValueHome`: for rows that name this run. */
  valueBytes(row: Row): Uint8Array {
    const bytes = this.bytesOf(row, row.valueLength);
    return bytes.subarray(this.valueFrom, this.valueFrom + row.valueLength);
  }

  /** @internal The bytes among which a value lies, from `valueFrom` on, so many as are kept of it: an entry read by itself last, or a block. */
  bytesOf({ place: number, valueOffset }: Row, length: number): Uint8Array {
    const alone = this.#lookups?.alone;
    if (alone !== undefined && number === alone.block) {
      const from = valueOffset - alone.offset;
      if (from >= 0 && from + length <= alone.length) {
        this.valueFrom = from;
        return alone.bytes;
      }
    }
    this.valueFrom = valueOffset;
    const recent = this.#recent;
    const block = recent !== undefined && recent.number === number && !recent.isDropped ? recent : this.block(number);
    return block.bytes;
  }

  /** Versions of commits that were void, ascending. */
  voidVersions(): number[] {
    const section = this.#section(SectionId.voidVersions);
    if (section === undefined) return [];
    const piece = this.#pieces.read(section);
    return this.#pieces.decode(section, () => {
      const reader = contentOf(piece);
      const versions: number[] = [];
      let version = 0;
      while (reader.remaining > 0) versions.push((version += reader.varint()));
      return versions;
    });
  }

  /** Lets go of what the cache holds of this run. Rows that were given out must not be asked for values any more. */
  release(): void {
    this.#blockCache.clear();
    this.#leafCache.clear();
    this.#filterCache.clear();
    this.#recordCache.clear();
    this.#recent = undefined;
    this.#lookups?.release();
  }

  // --- for cursors -------------------------------------------------------------------------------------------------

  /** @internal The number of the last block whose separator is not above `key`; -1 if there is none. */
  findBlock(key: EncodedKey): number {
    const top = this.#top;
    const child = top.find(key);
    if (top.isLeaf || child < 0) return child;
    return child * LEAF_BLOCKS + this.#leaf(child).find(key);
  }

  /** @internal A block, from the cache or for it. */
  block(number: number): RunBlock {
    const cached = this.#blockCache.get(number);
    if (cached !== undefined) return cached;
    const place = this.#blockPlace(number);
    const piece = this.#pieces.readForCache(place);
    const block = this.#pieces.decode(place, () => new RunBlock(number, piece));
    this.#blockCache.set(number, block, block.memoryBytes);
    return block;
  }

  /**
   * @internal A block for a scan: from the cache, or from the window if it lies there; undefined if a window has to be read for it. Leaves the
   * cache to those who come again.
   */
  blockWithin(number: number, window: RunWindow): RunBlock | undefined {
    const cached = this.#blockCache.get(number);
    if (cached !== undefined) return cached;
    const piece = this.#blockPlace(number);
    const at = piece.place - window.place;
    if (at < 0 || at + piece.length > window.bytes.length) return undefined;
    const raw = window.bytes.subarray(at, at + piece.length);
    const content = this.#pieces.check(raw, piece);
    const block = this.#pieces.decode(piece, () => new RunBlock(number, content));
    window.blocks.push(block);
    return block;
  }

  /** @internal Reads a window that begins with this block. What was opened in it before is dropped. */
  readWindow(number: number, window: RunWindow): void {
    const { place, length } = this.#blockPlace(number);
    const wanted = Math.max(length, Math.min(WINDOW_BYTES, this.#footer.blocksEnd - place));
    if (window.buffer === undefined || window.buffer.length < wanted) window.buffer = new Uint8Array(wanted);
    for (const block of window.blocks) block.drop();
    window.blocks.length = 0;
    window.bytes = NO_BYTES;
    window.bytes = this.#pieces.bytes.read(place, wanted, window.buffer);
    window.place = place;
  }

  /** @internal The row of an entry in a block. */
  rowOf(block: RunBlock, entry: EntryView): Row {
    this.#recent = block;
    return this.#row(block.bytes, entry, block, block.number, 0);
  }

  #row(bytes: Uint8Array, entry: EntryView, base: BlockBase, number: number, shift: number): Row {
    const { kind } = entry;
    if (kind === EntryKind.shaped) {
      const shape = this.#shapes.get(entry.place);
      return entry.row(bytes, base, shape, number, shift, shape.bytes.length);
    }
    const home = kind === EntryKind.record ? new Record(this, entry.checksum(bytes)) : this;
    return entry.row(bytes, base, home, number, shift, 0);
  }

  #section(id: number): PiecePlace | undefined {
    return this.#footer.sections.find((section) => section.id === id);
  }

  /** @internal What an error thrown while reading means: checksums that hold over content that cannot be are damage, too. */
  failure(error: unknown): unknown {
    if (!(error instanceof MalformedBytes)) return error;
    return this.#pieces.damage({ place: 0, length: this.#footer.blocksEnd }, error);
  }

  // --- single keys ------------------------------------------------------------------------------------------------

  /** False if the filter says so. Where that has yet to arrive, the block that may hold the key is asked for as well: both take no longer than one. */
  #mayHave(filter: PiecePlace, key: EncodedKey, hash: number): boolean {
    try {
      return this.#openFilter(filter).mayHave(hash);
    } catch (error) {
      if (!(error instanceof NotLoaded) || this.#lookups !== undefined) throw error;
      throw this.#askForBlock(key, error);
    }
  }

  #askForBlock(key: EncodedKey, missing: NotLoaded): NotLoaded {
    try {
      this.#getByIndex(key);
      return missing;
    } catch (error) {
      // Whatever is wrong with the block is told when it is needed.
      return error instanceof NotLoaded ? missing.and(error) : missing;
    }
  }

  #getByIndex(key: EncodedKey): Row | undefined {
    const number = this.findBlock(key);
    if (number < 0) return undefined;
    const block = this.block(number);
    const { prefix, bytes } = block;
    if (!key.startsWith(prefix)) return undefined;
    const entry = this.#entry;
    const index = block.search(key, entry);
    if (index === block.count) return undefined;
    block.readEntry(index, entry);
    return entry.compare(bytes, key, prefix.length) === 0 ? this.rowOf(block, entry) : undefined;
  }

  #openFilter(place: PiecePlace): Filter {
    if (this.#filter !== undefined) return this.#filter;
    const head = this.#pieces.read(place);
    const cache = this.#filterCache;
    const filter: Filter = this.#pieces.decode(
      place,
      () => new Filter(head, (page) => cache.get(page) ?? this.#pieces.page(cache, page, filter.pagePlace(page))),
    );
    return (this.#filter = filter);
  }

  // --- bytes -------------------------------------------------------------------------------------------------------

  #blockPlace(number: number): PiecePlace {
    const top = this.#top;
    if (top.isLeaf) return { place: top.place(number), length: top.length(number) };
    const leaf = this.#leaf(Math.floor(number / LEAF_BLOCKS));
    const child = number % LEAF_BLOCKS;
    return { place: leaf.place(child), length: leaf.length(child) };
  }

  #leaf(number: number): IndexNode {
    const cached = this.#leafCache.get(number);
    if (cached !== undefined) return cached;
    const place = { place: this.#top.place(number), length: this.#top.length(number) };
    const piece = this.#pieces.read(place);
    const leaf = this.#pieces.decode(place, () => new IndexNode(piece));
    this.#leafCache.set(number, leaf, leaf.memoryBytes);
    return leaf;
  }

  /** @internal For rows whose value lies in a record. */
  recordBytes(row: Row, checksum: number): Uint8Array {
    const cached = this.#recordCache.get(row.place);
    if (cached !== undefined) return cached;
    const value = this.#pieces.readRecord(row.place, row.valueLength, checksum);
    if (value.length <= RECORD_CACHED_MAX) this.#recordCache.set(row.place, value, value.length + 200);
    return value;
  }
}

/** The home of a value in a record of its own: its row's entry has the checksum. */
class Record implements ValueHome {
  readonly #run: Run;
  readonly #checksum: number;

  constructor(run: Run, checksum: number) {
    this.#run = run;
    this.#checksum = checksum;
  }

  value(row: Row): unknown {
    return decodeValue(this.valueBytes(row));
  }

  valueBytes(row: Row): Uint8Array {
    return this.#run.recordBytes(row, this.#checksum);
  }
}
