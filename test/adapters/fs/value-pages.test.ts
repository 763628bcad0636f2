import { describe, expect, it } from "vitest";
import type { FileHandle } from "../../../src/adapters/fs/file.ts";
import { ValuePages } from "../../../src/adapters/fs/value-pages.ts";
import { BlockCache, keepingBytes } from "../../../src/core/block-cache.ts";
import { BufferPool } from "../../../src/core/buffer-pool.ts";
import { Draw } from "../../support/random.ts";

const SIZE = 200_000;
const LENGTH = 150;

/** A file in memory that counts what is read of it. */
class CountingFile implements Pick<FileHandle, "read"> {
  readonly bytes: Uint8Array;
  reads = 0;
  bytesRead = 0;

  constructor(size: number) {
    const random = new Draw(size);
    this.bytes = new Uint8Array(size).map(() => random.below(256));
  }

  read(target: Uint8Array, position: number): number {
    const part = this.bytes.subarray(position, position + target.length);
    target.set(part);
    this.reads++;
    this.bytesRead += part.length;
    return part.length;
  }
}

function pagesOf(
  cacheBytes: number | undefined,
  file = new CountingFile(SIZE),
): { file: CountingFile; pages: ValuePages } {
  const cache = cacheBytes === undefined ? undefined : new BlockCache(cacheBytes, BufferPool);
  const pages = new ValuePages(file, cache && keepingBytes(cache).cache);
  return { file, pages };
}

describe("values of a file", () => {
  it.each([undefined, 0, 5000, 20_000, 80_000, 1e6])("are read right with %s bytes of cache", (cacheBytes) => {
    const { file, pages } = pagesOf(cacheBytes);
    const random = new Draw(3);
    for (let i = 0; i < 5000; i++) {
      const offset = random.below(SIZE);
      const length = random.from([1, 9, LENGTH, 4096, 9000]);
      const settledUpTo = random.from([SIZE, Infinity, random.below(SIZE)]);
      if (random.chance(0.05)) pages.forget(offset, length);
      expect(pages.read(offset, length, settledUpTo)).toEqual(file.bytes.slice(offset, offset + length));
    }
  });

  it("cost one read for each page, in order or not, and none the second time", () => {
    const { file, pages } = pagesOf(1e6);
    for (let offset = 0; offset + LENGTH <= SIZE; offset += LENGTH) pages.read(offset, LENGTH, SIZE);
    const readAll = { reads: Math.ceil(SIZE / 4096), bytesRead: SIZE };
    expect(file).toMatchObject(readAll);
    const random = new Draw(4);
    for (let i = 0; i < 1000; i++) pages.read(random.below(SIZE - LENGTH), LENGTH, SIZE);
    expect(file).toMatchObject(readAll);
  });

  it("are read alone where a page would only push out another one", () => {
    const file = new CountingFile(64 * SIZE);
    const { pages } = pagesOf(20_000, file);
    const random = new Draw(5);
    for (let i = 0; i < 1000; i++) pages.read(random.below(64 * SIZE - LENGTH), LENGTH, Infinity);
    expect(file.bytesRead).toBeLessThan(1000 * 1024);
  });

  it.each([undefined, 0, 20_000, 80_000, 1e6])(
    "are read right one behind the other with %s bytes of cache",
    (cacheBytes) => {
      const { file, pages } = pagesOf(cacheBytes);
      const random = new Draw(7);
      for (let walk = 0; walk < 20; walk++) {
        const settledUpTo = random.from([SIZE, Infinity, random.below(SIZE)]);
        for (let offset = random.below(SIZE), steps = random.below(800); offset < SIZE && steps > 0; steps--) {
          if (random.chance(0.003)) {
            file.bytes[offset] ^= 1;
            pages.forget(offset, LENGTH);
          }
          expect(pages.read(offset, LENGTH, settledUpTo)).toEqual(file.bytes.slice(offset, offset + LENGTH));
          if (random.chance(0.1)) pages.mark();
          offset += random.chance(0.1) ? LENGTH + random.below(5000) : LENGTH;
        }
      }
    },
  );

  it("are read ahead by a scan of what is not worth being kept, but not beyond where the file may still change", () => {
    const file = new CountingFile(16 * SIZE);
    const { pages } = pagesOf(20_000, file);
    const settledUpTo = 15 * SIZE;
    for (let offset = 0; offset + LENGTH <= settledUpTo; offset += LENGTH) {
      expect(pages.read(offset, LENGTH, settledUpTo)).toEqual(file.bytes.slice(offset, offset + LENGTH));
      // What is read ahead is never marked.
      pages.mark();
    }
    expect(file.reads).toBeLessThan(settledUpTo / 4096 / 10);
    expect(file.bytesRead).toBeLessThan(settledUpTo + 200_000);
    pages.read(settledUpTo - LENGTH, LENGTH, settledUpTo);
    expect(pages.isMarked).toBe(false);
    file.bytes.fill(0, settledUpTo);
    const last = 15 * SIZE - 10;
    expect(pages.read(last, LENGTH, 16 * SIZE)).toEqual(file.bytes.slice(last, last + LENGTH));
  });

  it("that were read ahead are not believed when a later read fails in their place", () => {
    const file = new CountingFile(16 * SIZE);
    const { pages } = pagesOf(20_000, file);
    let offset = 0;
    for (; offset < 400_000; offset += LENGTH) pages.read(offset, LENGTH, Infinity);
    const { reads } = file;
    const { read } = CountingFile.prototype;
    file.read = (target, position) => {
      read.call(file, target.fill(0), position + 1);
      throw new Error("a bad sector");
    };
    let failed = -1;
    for (let at = offset; failed < 0; at += LENGTH) {
      try {
        pages.read(at, LENGTH, Infinity);
      } catch {
        failed = at;
      }
    }
    file.read = read;
    expect(file.reads).toBe(reads + 1);
    for (let at = failed - LENGTH; at < failed + 100_000; at += LENGTH)
      expect(pages.read(at, LENGTH, Infinity)).toEqual(file.bytes.slice(at, at + LENGTH));
  });

  it("are not kept beyond where the file may still change", () => {
    const { file, pages } = pagesOf(1e6);
    const settledUpTo = 1000;
    pages.read(800, LENGTH, settledUpTo);
    file.bytes.fill(0, settledUpTo);
    expect(pages.read(950, LENGTH, settledUpTo)).toEqual(file.bytes.slice(950, 950 + LENGTH));
    expect(pages.read(950, LENGTH, SIZE)).toEqual(file.bytes.slice(950, 950 + LENGTH));
  });

  it("are read anew once they are to be forgotten", () => {
    const { file, pages } = pagesOf(1e6);
    pages.read(4000, LENGTH, SIZE);
    file.bytes.fill(0);
    pages.forget(4000, LENGTH);
    expect(pages.read(4000, LENGTH, SIZE)).toEqual(new Uint8Array(LENGTH));
  });

  it("that lie where the file was cut are short", () => {
    const { file, pages } = pagesOf(1e6);
    expect(pages.read(SIZE - 10, LENGTH, Infinity)).toEqual(file.bytes.slice(SIZE - 10));
  });

  it("are known by their marks as long as their page is kept", () => {
    const { pages } = pagesOf(1e6);
    pages.read(100, LENGTH, SIZE);
    expect(pages.isMarked).toBe(false);
    pages.mark();
    pages.read(100 + LENGTH, LENGTH, SIZE);
    expect(pages.isMarked).toBe(false);
    pages.read(5000, LENGTH, SIZE);
    pages.read(100, LENGTH, SIZE);
    expect(pages.isMarked).toBe(true);
    pages.forget(100, LENGTH);
    expect(pages.isMarked).toBe(false);
    pages.read(100, LENGTH, SIZE);
    expect(pages.isMarked).toBe(false);
  });

  it("are marked one by one", () => {
    const { pages } = pagesOf(1e6);
    const random = new Draw(6);
    const marked = new Set<number>();
    for (let i = 0; i < 5000; i++) {
      // Five bytes are the least that a value and its checksum take.
      const place = random.below(SIZE / 5);
      pages.read(place * 5, 5, SIZE);
      expect(pages.isMarked).toBe(marked.has(place));
      // What lies in two pages is never marked.
      if (random.chance(0.5) || (place * 5) % 4096 > 4091) continue;
      pages.mark();
      marked.add(place);
    }
  });

  it("are not known any more when their page was pushed out, or read anew because the file has grown", () => {
    const { pages } = pagesOf(20_000);
    pages.read(0, LENGTH, SIZE);
    pages.mark();
    for (let offset = 4096; offset < SIZE - LENGTH; offset += 1000) pages.read(offset, LENGTH, SIZE);
    pages.read(0, LENGTH, SIZE);
    expect(pages.isMarked).toBe(false);
    const grown = pagesOf(1e6).pages;
    grown.read(0, LENGTH, 1000);
    grown.mark();
    grown.read(1000, LENGTH, SIZE);
    grown.read(0, LENGTH, SIZE);
    expect(grown.isMarked).toBe(false);
  });

  it("that lie in two pages, or are read alone, are not marked", () => {
    for (const { pages, offset } of [
      { pages: pagesOf(1e6).pages, offset: 4000 },
      { pages: pagesOf(undefined).pages, offset: 0 },
    ]) {
      pages.read(offset, LENGTH, SIZE);
      pages.mark();
      pages.read(offset, LENGTH, SIZE);
      expect(pages.isMarked).toBe(false);
    }
  });
});
