import type { ByteCache, LedgerOpenOptions } from "../../core/ledger.ts";
import { type FileHandle, readAt } from "./file.ts";

const PAGE_BYTES = 4096;
/** Behind a page's bytes lie marks, one bit for each four of them, and how many bytes it has, in two. */
const MARKS_AT = PAGE_BYTES;
const LENGTH_AT = MARKS_AT + PAGE_BYTES / 4 / 8;
const KEPT_BYTES = LENGTH_AT + 2;
const NOTHING = new Uint8Array(0);
/** From so many pages in a row on, reading is a scan: what is not worth being kept is read so much at once. */
const SCAN_PAGES = 8;
const AHEAD_BYTES = 64 * 1024;

/**
 * Reads values of one file by pages, which stay in the engine's cache as long as there is room: what was written together is often read
 * together, and a page costs hardly more to read than a value. Where keeping a page would only push out another one, the value is read alone.
 *
 * Bytes are kept only up to an offset that the caller names, up to which the file does not change any more. A page also knows which of its values
 * were found whole since it was read: each is marked where it begins, which no other value does within four bytes.
 */
export class ValuePages {
  readonly #file: Pick<FileHandle, "read">;
  readonly #cache: ByteCache | undefined;
  /** The page used last: its number, its bytes with what lies behind them, and how many they are. */
  #recent = -1;
  #page: Uint8Array = NOTHING;
  #length = 0;
  /** Where in this page what was read last begins; -1 if it does not lie in it as a whole. */
  #given = -1;
  /** The page that was asked for last, and how many came in a row. */
  #asked = -1;
  #inRow = 0;
  /** What a scan has read ahead, and where it lies. */
  #ahead: Uint8Array = NOTHING;
  #aheadAt = 0;
  /** Values that lie in two pages are put together here. */
  readonly #joined: Uint8Array;

  /** `cache`: left out, nothing is kept. */
  constructor(file: Pick<FileHandle, "read">, cache: LedgerOpenOptions["cache"]) {
    this.#file = file;
    this.#cache = cache?.((dropped) => {
      if (dropped === this.#page) this.#letGo();
    });
    this.#joined = cache === undefined ? NOTHING : new Uint8Array(PAGE_BYTES);
  }

  /** `length` bytes at `offset`, fewer if the file ends before. Not to be changed, and valid until the next call. */
  read(offset: number, length: number, settledUpTo: number): Uint8Array {
    const number = Math.floor(offset / PAGE_BYTES);
    const from = offset - number * PAGE_BYTES;
    const to = from + length;
    this.#given = -1;
    if (number !== this.#recent || to > this.#length) {
      if (length > PAGE_BYTES || offset + length > settledUpTo) return readAt(this.#file, offset, length);
      if (to > PAGE_BYTES) return this.#across(number, from, to, settledUpTo) ?? readAt(this.#file, offset, length);
      if (!this.#turnTo(number, to, settledUpTo)) return readAt(this.#file, offset, length);
    }
    // What was read ahead has no room for marks: a scan does not come again.
    if (this.#page.length > PAGE_BYTES) this.#given = from;
    return this.#page.subarray(from, to);
  }

  /** True if what was read last was marked, and is kept since. */
  get isMarked(): boolean {
    const given = this.#given;
    return given >= 0 && (this.#page[MARKS_AT + (given >>> 5)] & (1 << ((given >>> 2) & 7))) !== 0;
  }

  /** Marks what was read last. */
  mark(): void {
    const given = this.#given;
    if (given >= 0) this.#page[MARKS_AT + (given >>> 5)] |= 1 << ((given >>> 2) & 7);
  }

  /** What lies in two pages. */
  #across(number: number, from: number, to: number, settledUpTo: number): Uint8Array | undefined {
    if (!this.#turnTo(number, PAGE_BYTES, settledUpTo)) return undefined;
    const joined = this.#joined;
    joined.set(this.#page.subarray(from, PAGE_BYTES));
    // The other page may push this one out.
    if (!this.#turnTo(number + 1, to - PAGE_BYTES, settledUpTo)) return undefined;
    joined.set(this.#page.subarray(0, to - PAGE_BYTES), PAGE_BYTES - from);
    return joined.subarray(0, to - from);
  }

  /** Makes a page that reaches at least up to `to` the recent one; false if it is not worth being kept, or the file was cut. */
  #turnTo(number: number, to: number, settledUpTo: number): boolean {
    const cache = this.#cache;
    if (cache === undefined) return false;
    if (number !== this.#asked) {
      this.#inRow = number === this.#asked + 1 ? this.#inRow + 1 : 0;
      this.#asked = number;
    }
    if (this.#turnAhead(number, to)) return true;
    let page = cache.get(number);
    let length = page === undefined ? 0 : page[LENGTH_AT] | (page[LENGTH_AT + 1] << 8);
    if (page === undefined || length < to) {
      if (page === undefined && !cache.admits(number, PAGE_BYTES)) {
        if (this.#inRow < SCAN_PAGES) return false;
        this.#readAhead(number, settledUpTo);
        return this.#turnAhead(number, to);
      }
      const begin = number * PAGE_BYTES;
      page = cache.buffer(KEPT_BYTES);
      length = readAt(this.#file, begin, Math.min(PAGE_BYTES, settledUpTo - begin), page).length;
      page.fill(0, MARKS_AT);
      page[LENGTH_AT] = length;
      page[LENGTH_AT + 1] = length >>> 8;
      cache.set(number, page, KEPT_BYTES);
      if (length < to) return false;
    }
    this.#recent = number;
    this.#page = page;
    this.#length = length;
    return true;
  }

  /** Reads what begins with this page, for a scan. The cache is left to those who come again. */
  #readAhead(number: number, settledUpTo: number): void {
    const buffer = this.#ahead.length === 0 ? new ArrayBuffer(AHEAD_BYTES) : this.#ahead.buffer;
    // The recent page may lie there.
    this.#letGo();
    this.#ahead = NOTHING;
    this.#aheadAt = number * PAGE_BYTES;
    const length = Math.min(AHEAD_BYTES, settledUpTo - this.#aheadAt);
    this.#ahead = readAt(this.#file, this.#aheadAt, length, new Uint8Array(buffer));
  }

  /** Makes a page of what was read ahead the recent one, if it lies there. */
  #turnAhead(number: number, to: number): boolean {
    const from = number * PAGE_BYTES - this.#aheadAt;
    if (from < 0 || from + to > this.#ahead.length) return false;
    this.#recent = number;
    this.#page = this.#ahead.subarray(from, from + PAGE_BYTES);
    this.#length = this.#page.length;
    return true;
  }

  #letGo(): void {
    this.#recent = -1;
    this.#given = -1;
  }

  /** What was kept of these bytes is read anew when it is asked for. */
  forget(offset: number, length: number): void {
    this.#letGo();
    this.#ahead = NOTHING;
    for (let number = Math.floor(offset / PAGE_BYTES); number * PAGE_BYTES < offset + length; number++)
      if (this.#cache?.get(number) !== undefined) this.#cache.set(number, NOTHING, 0);
  }

  /** Lets go of everything. */
  release(): void {
    this.#cache?.clear();
    this.#letGo();
    this.#ahead = NOTHING;
  }
}
