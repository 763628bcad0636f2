import { ByteWriter, MalformedBytes, readU32 } from "./bytes.ts";
import {
  beginPiece,
  contentOf,
  type Crc32,
  endPiece,
  PIECE_HEAD_BYTES,
  PIECE_TAIL_BYTES,
  type PiecePlace,
} from "./run-format.ts";
import { HashCollector, LOCATION_BITS_MAX, type SortedHashes } from "./hash-collector.ts";

/**
 * The point lookup of a run: from the hash of a key straight to the offset of its entry. All hashes in order, cut into pages; within a page
 * 16 bits of each and its location. Since hashes are spread evenly, where one stands can be guessed closely: in the directory of the pages as
 * in the page. A key that the run does not hold is told in most cases by the page alone (it matches one of a hundred by chance).
 */

const PAGE_BYTES = 4096;
const PAGE_HEAD_BYTES = 4 + 1 + 2;
const HASH_BYTES = 2;
const HASH_BITS = 16;
/** Of a page, in the directory. */
const FIRST_BYTES = 4;

/** Of a page that was not looked at yet. */
const UNKNOWN = 0xff;

/** More equal hashes than that are left to the index. */
export const CANDIDATES_MAX = 8;

/** Hashes handled between two pauses. */
const PAUSE_HASHES = 4096;

/** What writes point lookups: it collects hashes with the places of their entries, while blocks come. */
export class PointLookups extends HashCollector {
  readonly #offsetBits: number;

  constructor(offsetBits: number, expected: number | undefined) {
    super(offsetBits, expected);
    this.#offsetBits = offsetBits;
  }

  /** False for a run that is so large that the index has to do. */
  get isComplete(): boolean {
    return this.locationMax < 2 ** LOCATION_BITS_MAX;
  }

  /** Writes the lookup, in bounded pieces of work, and returns the length of its directory, which comes last. `place`: where the first page will lie. */
  *write(
    writer: ByteWriter,
    { crc32, place }: { readonly crc32: Crc32; readonly place: number },
  ): Generator<undefined, number> {
    const options = { crc32, place, locationMax: this.locationMax, offsetBits: this.#offsetBits };
    const lookup = new LookupWriter(writer, options);
    let work = 0;
    for (const hashes of this.collected()) {
      lookup.addAll(hashes);
      work += hashes.count;
      if (work < PAUSE_HASHES) continue;
      work = 0;
      yield;
    }
    return lookup.end();
  }
}

/** Writes pages while hashes come in order, then the directory. */
class LookupWriter {
  readonly #writer: ByteWriter;
  readonly #crc32: Crc32;
  readonly #locationBytes: number;
  readonly #offsetBits: number;
  readonly #perPage: number;
  readonly #firstPage: number;
  /** Of the page in the making. */
  readonly #hashes: Uint32Array;
  readonly #locations: Float64Array;
  #count = 0;
  /** The first hash of each page. */
  readonly #firsts = new ByteWriter();
  #pageBytes = 0;
  #entries = 0;

  /** `place` is where the first page will lie; a location is a block's number shifted by `offsetBits` plus the offset in it. */
  constructor(writer: ByteWriter, options: LookupOptions) {
    this.#writer = writer;
    this.#crc32 = options.crc32;
    this.#locationBytes = options.locationMax < 2 ** 32 ? 4 : 5;
    this.#offsetBits = options.offsetBits;
    this.#firstPage = options.place;
    const room = PAGE_BYTES - PIECE_HEAD_BYTES - PIECE_TAIL_BYTES - PAGE_HEAD_BYTES;
    this.#perPage = Math.floor(room / (HASH_BYTES + this.#locationBytes));
    this.#hashes = new Uint32Array(this.#perPage);
    this.#locations = new Float64Array(this.#perPage);
  }

  addAll({ count, hashes, locations }: SortedHashes): void {
    for (let i = 0; i < count; i++) {
      this.#hashes[this.#count] = hashes[i];
      this.#locations[this.#count] = locations[i];
      if (++this.#count === this.#perPage) this.#endPage();
    }
    this.#entries += count;
  }

  #endPage(): void {
    const count = this.#count;
    if (count === 0) return;
    const writer = this.#writer;
    const hashes = this.#hashes;
    const first = hashes[0];
    const shift = Math.max(0, 32 - Math.clz32(hashes[count - 1] - first) - HASH_BITS);
    const start = beginPiece(writer);
    writer.u32(first);
    writer.u8(shift);
    writer.u16(count);
    const room = writer.room(count * (HASH_BYTES + this.#locationBytes));
    let at = 0;
    for (let i = 0; i < count; i++) {
      const part = (hashes[i] - first) >>> shift;
      room[at++] = part;
      room[at++] = part >>> 8;
    }
    for (let i = 0; i < count; i++) {
      const location = this.#locations[i];
      room[at++] = location;
      room[at++] = location >>> 8;
      room[at++] = location >>> 16;
      room[at++] = location >>> 24;
      if (this.#locationBytes === 5) room[at++] = Math.floor(location / 2 ** 32);
    }
    writer.advance(at);
    endPiece(writer, start, this.#crc32);
    if (this.#firsts.length === 0) this.#pageBytes = writer.length - start;
    this.#firsts.u32(first);
    this.#count = 0;
  }

  /** Writes the directory and returns its length. */
  end(): number {
    this.#endPage();
    const writer = this.#writer;
    const start = beginPiece(writer);
    writer.varint(this.#entries);
    writer.varint(this.#perPage);
    writer.varint(this.#locationBytes);
    writer.varint(this.#offsetBits);
    writer.varint(this.#firstPage);
    writer.varint(this.#pageBytes);
    writer.varint(this.#firsts.length / FIRST_BYTES);
    writer.bytes(this.#firsts.view());
    endPiece(writer, start, this.#crc32);
    return writer.length - start;
  }
}

interface LookupOptions {
  readonly crc32: Crc32;
  readonly place: number;
  readonly locationMax: number;
  readonly offsetBits: number;
}

/** Looks hashes up. `loadPage` gives an opened page by its number. */
export class Lookup {
  /** A location is a block's number times this, plus the offset in it. */
  readonly offsets: number;
  readonly #loadPage: (page: number) => Uint8Array;
  readonly #entries: number;
  readonly #perPage: number;
  readonly #locationBytes: number;
  readonly #firstPage: number;
  readonly #pageBytes: number;
  readonly #firsts: Uint32Array;
  /** By how much the hashes of each page are shifted, of those that were looked at. */
  readonly #shifts: Uint8Array;
  /** What `find` has found. */
  readonly candidates: Float64Array = new Float64Array(CANDIDATES_MAX);

  constructor(directory: Uint8Array, loadPage: (page: number) => Uint8Array) {
    const reader = contentOf(directory);
    this.#loadPage = loadPage;
    this.#entries = reader.varint();
    this.#perPage = reader.varint();
    this.#locationBytes = reader.varint();
    this.offsets = 2 ** reader.varint();
    this.#firstPage = reader.varint();
    this.#pageBytes = reader.varint();
    const pages = reader.varint();
    if (reader.remaining !== pages * FIRST_BYTES)
      throw new MalformedBytes("a directory of another length than it says");
    this.#firsts = new Uint32Array(pages);
    for (let i = 0; i < pages; i++) this.#firsts[i] = reader.u32();
    this.#shifts = new Uint8Array(pages).fill(UNKNOWN);
  }

  get pages(): number {
    return this.#firsts.length;
  }

  pagePlace(page: number): PiecePlace {
    const place = this.#firstPage + page * this.#pageBytes;
    const last = this.#firsts.length - 1;
    if (page < last) return { place, length: this.#pageBytes };
    const rest = this.#entries - last * this.#perPage;
    const overhead = PIECE_HEAD_BYTES + PIECE_TAIL_BYTES + PAGE_HEAD_BYTES;
    return { place, length: overhead + rest * (HASH_BYTES + this.#locationBytes) };
  }

  /**
   * Puts the locations of all entries whose keys may have this hash into `candidates` and returns how many there are; -1 if they are too
   * many.
   */
  find(hash: number): number {
    const firsts = this.#firsts;
    const pages = firsts.length;
    if (pages === 0 || hash < firsts[0]) return 0;
    // The first page in which the hash can stand: it begins below it, or is the first one.
    let page = Math.floor((hash / 2 ** 32) * pages);
    while (page > 0 && firsts[page] >= hash) page--;
    while (page + 1 < pages && firsts[page + 1] < hash) page++;
    let found = this.#findInPage(page, hash, 0);
    // Equal hashes may go on in the next page, or begin there.
    while (found >= 0 && page + 1 < pages && firsts[page + 1] === hash) found = this.#findInPage(++page, hash, found);
    return found;
  }

  /**
   * Of the page, as a rule only the place where the hash stands is looked at, and its location: each other place would be one more that is in no
   * cache of the processor.
   */
  #findInPage(number: number, hash: number, before: number): number {
    const page = this.#loadPage(number);
    const from = PIECE_HEAD_BYTES + PAGE_HEAD_BYTES;
    const firsts = this.#firsts;
    const first = firsts[number];
    const isLast = number + 1 === firsts.length;
    const count = isLast ? this.#entries - number * this.#perPage : this.#perPage;
    if (this.#shifts[number] === UNKNOWN) this.#shifts[number] = page[PIECE_HEAD_BYTES + FIRST_BYTES];
    const wanted = (hash - first) >>> this.#shifts[number];
    const last = from + (count - 1) * HASH_BYTES;
    const part = (hash - first) / ((isLast ? 2 ** 32 : firsts[number + 1] + 1) - first);
    let at = from + Math.min(Math.floor(part * count), count - 1) * HASH_BYTES;
    while (at > from && (page[at - 2] | (page[at - 1] << 8)) >= wanted) at -= HASH_BYTES;
    while (at <= last && (page[at] | (page[at + 1] << 8)) < wanted) at += HASH_BYTES;
    let found = before;
    for (; at <= last && (page[at] | (page[at + 1] << 8)) === wanted; at += HASH_BYTES) {
      if (found === CANDIDATES_MAX) return -1;
      this.candidates[found++] = this.#location(page, from + count * HASH_BYTES, (at - from) >>> 1);
    }
    return found;
  }

  #location(page: Uint8Array, from: number, index: number): number {
    const at = from + index * this.#locationBytes;
    const low = readU32(page, at);
    return this.#locationBytes === 4 ? low : low + page[at + 4] * 2 ** 32;
  }
}
