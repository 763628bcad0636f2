import type { EncodedKey } from "./key.ts";

/**
 * Hashes of keys, for the sections of a run that answer point lookups. Part of the format: FNV-1a over the key's bytes, then the finalizer of
 * MurmurHash3, because pages go by the highest bits. Unsigned, 32 bits.
 */
export function runHash(key: EncodedKey): number {
  return hashKey(key, 0x811c9dc5) >>> 0;
}

/** The same from another seed: a hash of 32 bits, with a sign, whose high and low bits both depend on all characters. */
export function hashKey(key: EncodedKey, seed: number): number {
  let hash = seed;
  for (let i = 0; i < key.length; i++) hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193);
  return mix(hash);
}

/** Spreads every bit over all bits. With a sign. */
export function mix(bits: number): number {
  let hash = bits;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return hash ^ (hash >>> 16);
}

/** Some hashes of keys: the first `count` of these. */
export interface SomeHashes {
  readonly count: number;
  readonly hashes: Uint32Array;
}

/** Collects the hashes of a run's keys, block by block, for a filter, to which their order means nothing. */
export class KeyHashes {
  readonly #parts: SomeHashes[] = [];

  /** Adds those of the first `count` of these keys. */
  addAll(keys: readonly EncodedKey[], count: number): void {
    const hashes = new Uint32Array(count);
    for (let i = 0; i < count; i++) hashes[i] = runHash(keys[i]);
    this.#parts.push({ count, hashes });
  }

  /** All of them, some at a time. */
  collected(): Iterable<SomeHashes> {
    return this.#parts;
  }
}
