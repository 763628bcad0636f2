import { expiryOf, ItemKind, type Operation } from "./commit.ts";
import type { EncodedKey } from "./key.ts";
import { type CommitPlace, Row } from "./resolve.ts";

/**
 * Keys with one row each, by number, in pages of typed arrays: a row is a record of 64 bytes and no object that the garbage collector has to
 * follow.
 */

const PAGE_BITS = 9;
const PAGE_ROWS = 1 << PAGE_BITS;
const PAGE_MASK = PAGE_ROWS - 1;

/** A record, in doubles and in words of 32 bits. */
const RECORD_DOUBLES = 8;
const RECORD_WORDS = 16;
const Double = { version: 0, timestamp: 1, place: 2, expiresAt: 3, number: 4 } as const;
const Word = { order: 10, valueOffset: 11, valueLength: 12, flags: 13 } as const;
const Flag = { deleted: 1, number: 2, bigint: 4 } as const;

interface Page {
  readonly doubles: Float64Array;
  readonly words: Int32Array;
  readonly keys: EncodedKey[];
}

/** Bytes that an entry takes here besides its key. */
export const SLAB_ENTRY_BYTES = RECORD_WORDS * 4 + 8;

export class RowSlab {
  readonly #pages = [newPage()];
  readonly #bigints = new Map<number, bigint>();
  #next = 0;

  /** Takes a number for a key. What its record holds is not defined before `write`. */
  allocate(key: EncodedKey): number {
    const id = this.#next++;
    if (id >>> PAGE_BITS === this.#pages.length) this.#pages.push(newPage());
    this.#pages[id >>> PAGE_BITS].keys[id & PAGE_MASK] = key;
    return id;
  }

  key(id: number): EncodedKey {
    return this.#pages[id >>> PAGE_BITS].keys[id & PAGE_MASK];
  }

  version(id: number): number {
    return this.#pages[id >>> PAGE_BITS].doubles[(id & PAGE_MASK) * RECORD_DOUBLES + Double.version];
  }

  isDeleted(id: number): boolean {
    return (this.#pages[id >>> PAGE_BITS].words[(id & PAGE_MASK) * RECORD_WORDS + Word.flags] & Flag.deleted) !== 0;
  }

  write(id: number, row: Row): void {
    const { doubles, words } = this.#pages[id >>> PAGE_BITS];
    const d = (id & PAGE_MASK) * RECORD_DOUBLES;
    const w = (id & PAGE_MASK) * RECORD_WORDS;
    doubles[d + Double.version] = row.version;
    doubles[d + Double.timestamp] = row.timestamp;
    doubles[d + Double.place] = row.place;
    doubles[d + Double.expiresAt] = row.expiresAt;
    words[w + Word.order] = row.order;
    words[w + Word.valueOffset] = row.valueOffset;
    words[w + Word.valueLength] = row.valueLength;
    words[w + Word.flags] = this.#flagsFor(id, doubles, d, words[w + Word.flags], row.deleted, row.numeric);
  }

  /** Writes what `resolve` makes of a plain set or delete. */
  writePlain(id: number, operation: Operation, at: CommitPlace, order: number): void {
    const { doubles, words } = this.#pages[id >>> PAGE_BITS];
    const d = (id & PAGE_MASK) * RECORD_DOUBLES;
    const w = (id & PAGE_MASK) * RECORD_WORDS;
    const deleted = operation.kind === ItemKind.delete;
    doubles[d + Double.version] = at.version;
    doubles[d + Double.timestamp] = at.timestamp;
    doubles[d + Double.place] = at.place;
    doubles[d + Double.expiresAt] = expiryOf(operation, at.timestamp);
    words[w + Word.order] = order;
    words[w + Word.valueOffset] = deleted ? -1 : operation.valueOffset;
    words[w + Word.valueLength] = operation.valueLength;
    words[w + Word.flags] = this.#flagsFor(id, doubles, d, words[w + Word.flags], deleted, operation.numeric);
  }

  #flagsFor(
    id: number,
    doubles: Float64Array,
    at: number,
    before: number,
    deleted: boolean,
    numeric: number | bigint | undefined,
  ): number {
    let flags: number = deleted ? Flag.deleted : 0;
    if (typeof numeric === "number") {
      doubles[at + Double.number] = numeric;
      flags |= Flag.number;
    } else if (numeric !== undefined) {
      this.#bigints.set(id, numeric);
      flags |= Flag.bigint;
    }
    if ((before & Flag.bigint) !== 0 && (flags & Flag.bigint) === 0) this.#bigints.delete(id);
    return flags;
  }

  /** A row of its own for the receiver. */
  read(id: number): Row {
    const { doubles, words } = this.#pages[id >>> PAGE_BITS];
    const d = (id & PAGE_MASK) * RECORD_DOUBLES;
    const w = (id & PAGE_MASK) * RECORD_WORDS;
    const flags = words[w + Word.flags];
    return new Row(
      doubles[d + Double.version],
      words[w + Word.order],
      doubles[d + Double.timestamp],
      doubles[d + Double.expiresAt],
      (flags & Flag.deleted) !== 0,
      words[w + Word.valueOffset],
      words[w + Word.valueLength],
      doubles[d + Double.place],
      (flags & (Flag.number | Flag.bigint)) === 0
        ? undefined
        : (flags & Flag.number) !== 0
          ? doubles[d + Double.number]
          : this.#bigints.get(id),
    );
  }
}

function newPage(): Page {
  const buffer = new ArrayBuffer(PAGE_ROWS * RECORD_WORDS * 4);
  const keys = new Array<EncodedKey>(PAGE_ROWS).fill("");
  return { doubles: new Float64Array(buffer), words: new Int32Array(buffer), keys };
}
