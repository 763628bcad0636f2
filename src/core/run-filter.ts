import { type ByteWriter, MalformedBytes } from "./bytes.ts";
import {
  beginPiece,
  contentOf,
  type Crc32,
  endPiece,
  PIECE_HEAD_BYTES,
  PIECE_TAIL_BYTES,
  type PiecePlace,
} from "./run-format.ts";
import { mix, type SortedHashes } from "./run-hash.ts";

/**
 * The filter of a run: a blocked Bloom filter (Putze, Sanders, Singler 2007). A hash decides on one block of 64 bytes by its highest bits,
 * and on some bits within it. Blocks are kept in pages, in order, so that asking reads one page, and writing goes along with sorted hashes.
 */

const BLOCK_BYTES = 64;
const BLOCK_BITS_LOG2 = 9;
const BITS_PER_KEY = 10;
const PROBES = 6;
const PAGE_BLOCKS = 63;

export class FilterWriter {
  readonly #writer: ByteWriter;
  readonly #crc32: Crc32;
  readonly #blocks: number;
  readonly #firstPage: number;
  readonly #page = new Uint8Array(PAGE_BLOCKS * BLOCK_BYTES);
  #pages = 0;

  constructor(
    writer: ByteWriter,
    options: { readonly crc32: Crc32; readonly place: number; readonly entries: number },
  ) {
    this.#writer = writer;
    this.#crc32 = options.crc32;
    this.#firstPage = options.place;
    this.#blocks = Math.max(1, Math.ceil((options.entries * BITS_PER_KEY) / (BLOCK_BYTES * 8)));
  }

  /** Hashes come in order. */
  addAll({ count, hashes }: SortedHashes): void {
    for (let i = 0; i < count; i++) this.#add(hashes[i]);
  }

  #add(hash: number): void {
    const block = blockOf(hash, this.#blocks);
    while (block >= (this.#pages + 1) * PAGE_BLOCKS) this.#endPage();
    const from = (block - this.#pages * PAGE_BLOCKS) * BLOCK_BYTES;
    let bits = mix(hash ^ SALT);
    for (let i = 0; i < PROBES; i++) {
      if (i === PROBES / 2) bits = mix(bits);
      const bit = (bits >>> ((i % (PROBES / 2)) * BLOCK_BITS_LOG2)) & (BLOCK_BYTES * 8 - 1);
      this.#page[from + (bit >>> 3)] |= 1 << (bit & 7);
    }
  }

  #endPage(): void {
    const blocks = Math.min(PAGE_BLOCKS, this.#blocks - this.#pages * PAGE_BLOCKS);
    const start = beginPiece(this.#writer);
    this.#writer.bytes(this.#page.subarray(0, blocks * BLOCK_BYTES));
    endPiece(this.#writer, start, this.#crc32);
    this.#page.fill(0);
    this.#pages++;
  }

  /** Writes the last pages and the head, and returns the head's length. */
  end(): number {
    while (this.#pages * PAGE_BLOCKS < this.#blocks) this.#endPage();
    const start = beginPiece(this.#writer);
    this.#writer.varint(this.#blocks);
    this.#writer.varint(this.#firstPage);
    endPiece(this.#writer, start, this.#crc32);
    return this.#writer.length - start;
  }
}

/** Asks a filter. `loadPage` gives an opened page by its number. */
export class Filter {
  readonly #loadPage: (page: number) => Uint8Array;
  readonly #blocks: number;
  readonly #firstPage: number;

  constructor(head: Uint8Array, loadPage: (page: number) => Uint8Array) {
    const reader = contentOf(head);
    this.#loadPage = loadPage;
    this.#blocks = reader.varint();
    this.#firstPage = reader.varint();
    if (reader.remaining !== 0 || this.#blocks === 0) throw new MalformedBytes("a filter without blocks");
  }

  pagePlace(page: number): PiecePlace {
    const overhead = PIECE_HEAD_BYTES + PIECE_TAIL_BYTES;
    const place = this.#firstPage + page * (PAGE_BLOCKS * BLOCK_BYTES + overhead);
    return { place, length: Math.min(PAGE_BLOCKS, this.#blocks - page * PAGE_BLOCKS) * BLOCK_BYTES + overhead };
  }

  /** False if the run certainly has no key of this hash. */
  mayHave(hash: number): boolean {
    const block = blockOf(hash, this.#blocks);
    const number = Math.floor(block / PAGE_BLOCKS);
    const page = this.#loadPage(number);
    const from = PIECE_HEAD_BYTES + (block - number * PAGE_BLOCKS) * BLOCK_BYTES;
    let bits = mix(hash ^ SALT);
    for (let i = 0; i < PROBES; i++) {
      if (i === PROBES / 2) bits = mix(bits);
      const bit = (bits >>> ((i % (PROBES / 2)) * BLOCK_BITS_LOG2)) & (BLOCK_BYTES * 8 - 1);
      if ((page[from + (bit >>> 3)] & (1 << (bit & 7))) === 0) return false;
    }
    return true;
  }
}

/** Any number: the bits within a block are to be others than those that chose it. */
const SALT = 0x5bd1e995;

function blockOf(hash: number, blocks: number): number {
  return Math.floor((hash / 2 ** 32) * blocks);
}
