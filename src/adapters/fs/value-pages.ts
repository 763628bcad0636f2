import type { ByteCache } from "../../core/ledger.ts";
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
  constructor(file: Pick<FileHandle, "read">, cache: ByteCache | undefined) {
    this.#file = file;
    this.#cache = cache;
  }

  /** `length` bytes at `offset`, fewer if the file ends before. Not to be changed. */
  read(offset: number, length: number, settledUpTo: number): Uint8Array {
    const number = Math.floor(offset / PAGE_BYTES);
    const from = offset - number * PAGE_BYTES;
    const to = from + length;
    if (number === this.#recent && to <= this.#recentBytes.length) return this.#recentBytes.subarray(from, to);
    if (length <= PAGE_BYTES && offset + length <= settledUpTo) {
      const first = this.#page(number, Math.min(to, PAGE_BYTES), settledUpTo);
      if (to <= PAGE_BYTES && first !== undefined) return first.subarray(from, to);
      const second = to <= PAGE_BYTES ? undefined : this.#page(number + 1, to - PAGE_BYTES, settledUpTo);
      if (first !== undefined && second !== undefined) {
        const bytes = new Uint8Array(length);
        bytes.set(first.subarray(from));
        bytes.set(second.subarray(0, to - PAGE_BYTES), PAGE_BYTES - from);
        return bytes;
      }
    }
    return readAt(this.#file, offset, length);
  }

  /** A page that reaches at least up to `to`; undefined if it is not worth being kept, or the file was cut. */
  #page(number: number, to: number, settledUpTo: number): Uint8Array | undefined {
    const cache = this.#cache;
    if (cache === undefined) return undefined;
    let page = cache.get(number);
    if (page === undefined || page.length < to) {
      if (page === undefined && !cache.admits(number, PAGE_BYTES)) return undefined;
      const begin = number * PAGE_BYTES;
      page = readAt(this.#file, begin, Math.min(PAGE_BYTES, settledUpTo - begin));
      if (page.length < to) return undefined;
      cache.set(number, page, PAGE_BYTES);
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
