import type { ByteCache, LedgerOpenOptions } from "../../core/ledger.ts";
import { type FileHandle, readAt } from "./file.ts";

const PAGE_BYTES = 4096;
const NOTHING = new Uint8Array(0);

/**
 * Reads values of one file by pages, which stay in the engine's cache as long as there is room: what was written together is often read
 * together, and a page costs hardly more to read than a value. Where keeping a page would only push out another one, the value is read alone.
 *
 * Bytes are kept only up to an offset that the caller names, up to which the file does not change any more.
 */
export class ValuePages {
  readonly #file: Pick<FileHandle, "read">;
  readonly #cache: ByteCache | undefined;
  /** The page used last. */
  #recent = -1;
  #recentBytes: Uint8Array = NOTHING;

  /** `cache`: left out, nothing is kept. */
  constructor(file: Pick<FileHandle, "read">, cache: LedgerOpenOptions["cache"]) {
    this.#file = file;
    this.#cache = cache?.((dropped) => {
      if (dropped === this.#recentBytes) this.#recent = -1;
    });
  }

  /** `length` bytes at `offset`, fewer if the file ends before. Not to be changed, and valid until the next call. */
  read(offset: number, length: number, settledUpTo: number): Uint8Array {
    const number = Math.floor(offset / PAGE_BYTES);
    const from = offset - number * PAGE_BYTES;
    const to = from + length;
    if (number === this.#recent && to <= this.#recentBytes.length) return this.#recentBytes.subarray(from, to);
    if (length > PAGE_BYTES || offset + length > settledUpTo) return readAt(this.#file, offset, length);
    const kept =
      to <= PAGE_BYTES
        ? this.#page(number, to, settledUpTo)?.subarray(from, to)
        : this.#across(number, from, to, settledUpTo);
    return kept ?? readAt(this.#file, offset, length);
  }

  /** What lies in two pages. */
  #across(number: number, from: number, to: number, settledUpTo: number): Uint8Array | undefined {
    const first = this.#page(number, PAGE_BYTES, settledUpTo);
    if (first === undefined) return undefined;
    const bytes = new Uint8Array(to - from);
    // The other page may push this one out.
    bytes.set(first.subarray(from));
    const second = this.#page(number + 1, to - PAGE_BYTES, settledUpTo);
    if (second === undefined) return undefined;
    bytes.set(second.subarray(0, to - PAGE_BYTES), PAGE_BYTES - from);
    return bytes;
  }

  /** A page that reaches at least up to `to`; undefined if it is not worth being kept, or the file was cut. */
  #page(number: number, to: number, settledUpTo: number): Uint8Array | undefined {
    const cache = this.#cache;
    if (cache === undefined) return undefined;
    let page = cache.get(number);
    if (page === undefined || page.length < to) {
      if (page === undefined && !cache.admits(number, PAGE_BYTES)) return undefined;
      const begin = number * PAGE_BYTES;
      page = readAt(this.#file, begin, Math.min(PAGE_BYTES, settledUpTo - begin), cache.buffer(PAGE_BYTES));
      cache.set(number, page, PAGE_BYTES);
      if (page.length < to) return undefined;
    }
    this.#recent = number;
    this.#recentBytes = page;
    return page;
  }

  /** What was kept of these bytes is read anew when it is asked for. */
  forget(offset: number, length: number): void {
    this.#recent = -1;
    for (let number = Math.floor(offset / PAGE_BYTES); number * PAGE_BYTES < offset + length; number++)
      if (this.#cache?.get(number) !== undefined) this.#cache.set(number, NOTHING, 0);
  }

  /** Lets go of everything. */
  release(): void {
    this.#cache?.clear();
    this.#recent = -1;
  }
}
