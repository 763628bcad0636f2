import { type BlockCache, BUFFER_BYTES, type CacheSpace } from "./block-cache.ts";
import { MalformedBytes } from "./bytes.ts";
import type { BytesAt } from "./bytes-at.ts";
import { KVError } from "./errors.ts";
import { type Crc32, isCodecKnown, openPiece, openRecord, type PiecePlace, RECORD_BYTES } from "./run-format.ts";
import type { PointReads } from "./run-points.ts";

export interface RunOptions {
  readonly crc32: Crc32;
  /** Shared with whoever else reads. */
  readonly cache: BlockCache;
  /** For messages. */
  readonly name: string;
  /** Of the run, in bytes. */
  readonly length: number;
  /** Where to begin to read; by default as far before the end as footer and top of the index take up as a rule. */
  readonly openFrom?: number | undefined;
  /** Reads point lookups. Runs are read without theirs where nobody brings it. */
  readonly Lookups?: typeof PointReads | undefined;
}

/** Reads the pieces of one run and checks them: what it returns is whole, what is not is `LedgerDamaged`. */
export class RunPieces {
  readonly bytes: BytesAt;
  readonly crc32: Crc32;
  /** What was read of the run already, as long as it is opened. */
  ahead: { readonly from: number; readonly bytes: Uint8Array } | undefined;
  readonly #cache: BlockCache;
  readonly #name: string;

  constructor(bytes: BytesAt, { crc32, cache, name }: RunOptions) {
    this.bytes = bytes;
    this.crc32 = crc32;
    this.#cache = cache;
    this.#name = name;
  }

  read(place: PiecePlace): Uint8Array {
    return this.check(this.#ahead(place) ?? this.bytes.read(place.place, place.length), place);
  }

  /** Copied out, so that what is kept does not keep all that was read. */
  #ahead({ place, length }: PiecePlace): Uint8Array | undefined {
    const { ahead } = this;
    if (ahead === undefined || place < ahead.from) return undefined;
    const at = place - ahead.from;
    return at + length <= ahead.bytes.length ? ahead.bytes.slice(at, at + length) : undefined;
  }

  /** A piece that goes into the cache: in one of the cache's buffers, in memory of its own, or in that of whoever has read it. */
  readForCache(place: PiecePlace): Uint8Array {
    const { buffers } = this.#cache;
    const buffer = buffers?.take(place.length);
    let piece: Uint8Array | undefined;
    try {
      piece = this.check(this.bytes.read(place.place, place.length, buffer), place);
      return piece;
    } finally {
      if (buffer !== undefined && piece?.buffer !== buffer.buffer) buffers?.recycle(buffer);
    }
  }

  /** A page of a section, which goes into its part of the cache. */
  page(cache: CacheSpace<Uint8Array>, number: number, place: PiecePlace): Uint8Array {
    const page = this.readForCache(place);
    cache.set(number, page, Math.max(page.length, BUFFER_BYTES));
    return page;
  }

  /** The value in a record. */
  readRecord(place: number, valueLength: number, checksum: number): Uint8Array {
    const whole = { place, length: valueLength + RECORD_BYTES };
    const raw = this.bytes.read(place, whole.length);
    const value = raw.length === whole.length ? openRecord(raw, checksum, this.crc32) : undefined;
    if (value === undefined) throw this.damage(whole);
    return value;
  }

  /** The piece that these bytes are, without its mask. */
  check(raw: Uint8Array, place: PiecePlace): Uint8Array {
    const piece = raw.length === place.length ? openPiece(raw, this.crc32) : undefined;
    if (piece === undefined) throw this.damage(place);
    if (!isCodecKnown(piece))
      throw new KVError("UnsupportedFormat", `${this.#name} is compressed in a way that this version does not know`);
    return piece;
  }

  /** Decodes the content of a piece: a checksum that holds over what cannot be is damage, too. */
  decode<T>(place: PiecePlace, decode: () => T): T {
    try {
      return decode();
    } catch (error) {
      throw error instanceof MalformedBytes ? this.damage(place, error) : error;
    }
  }

  damage({ place, length }: PiecePlace, cause?: unknown): KVError {
    return new KVError("LedgerDamaged", `${this.#name} is damaged within ${length} bytes at ${place}`, {
      cause,
      ranges: [{ from: place, to: place + length }],
    });
  }

  unsupported(format: number, known: number): KVError {
    const message = `${this.#name} has format ${format}; this version reads up to ${known}`;
    return new KVError("UnsupportedFormat", message);
  }
}
