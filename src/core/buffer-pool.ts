import { BUFFER_BYTES } from "./block-cache.ts";

const SLAB_BUFFERS = 32;

/**
 * Buffers for what is about as large as a block are used again and again, so that memory stays where it is, whatever comes and goes: the runtime
 * would free them long after. They are cut from slabs.
 */
export class BufferPool {
  readonly #buffers: Uint8Array[] = [];
  readonly #slabs = new Set<ArrayBufferLike>();

  /**
   * A buffer for `length` bytes, or undefined if it would not be one of those that are used again. Whoever takes it keeps something in it in the
   * cache, or recycles it, or a view of its beginning, when nobody looks at it any more.
   */
  take(length: number): Uint8Array | undefined {
    if (length > BUFFER_BYTES) return undefined;
    if (this.#buffers.length === 0) {
      const slab = new ArrayBuffer(SLAB_BUFFERS * BUFFER_BYTES);
      this.#slabs.add(slab);
      for (let i = 0; i < SLAB_BUFFERS; i++) this.#buffers.push(new Uint8Array(slab, i * BUFFER_BYTES, BUFFER_BYTES));
    }
    return this.#buffers.pop();
  }

  /** Takes a buffer back. Bytes that lie elsewhere are nobody's business here. */
  recycle({ buffer, byteOffset }: Uint8Array): void {
    if (this.#slabs.has(buffer)) this.#buffers.push(new Uint8Array(buffer, byteOffset, BUFFER_BYTES));
  }
}
