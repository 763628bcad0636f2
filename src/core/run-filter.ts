import { ByteWriter, MalformedBytes } from "./bytes.ts";
import {
  contentOf,
  type Crc32,
  PIECE_HEAD_BYTES,
  PIECE_TAIL_BYTES,
  type PiecePlace,
  writePiece,
} from "./run-format.ts";
import { mix, type SomeHashes } from "./run-hash.ts";

/**
 * The filter of a run: a blocked Bloom filter (Putze, Sanders, Singler 2007). A hash decides on one block of 64 bytes by its highest bits,
 * and on some bits within it. Blocks are kept in pages, in order, so that asking reads one page.
 */

const BLOCK_BYTES = 64;
const BLOCK_BITS_LOG2 = 9;
const BITS_PER_KEY = 10;
const PROBES = 6;
const PAGE_BLOCKS = 63;

const PAGE_BYTES = PAGE_BLOCKS * BLOCK_BYTES;
/** Hashes handled between two pauses. */
const PAUSE_HASHES = 4096;

export interface FilterOptions {
  readonly crc32: Crc32;
  /** Where the first page will lie. */
  readonly place: number;
  readonly entries: number;
}

/** Writes a filter of so many hashes, in bounded pieces of work, and returns the length of its head, which comes last. */
export function* writeFilter(
  writer: ByteWriter,
  collected: Iterable<SomeHashes>,
  { crc32, place, entries }: FilterOptions,
): Generator<undefined, number> {
  const blocks = Math.max(1, Math.ceil((entries * BITS_PER_KEY) / (BLOCK_BYTES * 8)));
  const bytes = new Uint8Array(blocks * BLOCK_BYTES);
  let work = 0;
  for (const { count, hashes } of collected) {
    for (let i = 0; i < count; i++) add(bytes, hashes[i], blocks);
    work += count;
    if (work < PAUSE_HASHES) continue;
    work = 0;
    yield;
  }
  for (let from = 0; from < bytes.length; from += PAGE_BYTES) {
    writePiece(writer, bytes.subarray(from, from + PAGE_BYTES), crc32);
    yield;
  }
  const head = new ByteWriter();
  head.varint(blocks);
  head.varint(place);
  return writePiece(writer, head.view(), crc32);
}

function add(bytes: Uint8Array, hash: number, blocks: number): void {
  const from = blockOf(hash, blocks) * BLOCK_BYTES;
  let bits = mix(hash ^ SALT);
  for (let i = 0; i < PROBES; i++) {
    if (i === PROBES / 2) bits = mix(bits);
    const bit = (bits >>> ((i % (PROBES / 2)) * BLOCK_BITS_LOG2)) & (BLOCK_BYTES * 8 - 1);
    bytes[from + (bit >>> 3)] |= 1 << (bit & 7);
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
    const place = this.#firstPage + page * (PAGE_BYTES + overhead);
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
