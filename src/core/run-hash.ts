import type { EncodedKey } from "./key.ts";

/**
 * Hashes of keys, for the sections of a run that answer point lookups. Part of the format: FNV-1a over the key's bytes, then the finalizer of
 * MurmurHash3, because pages go by the highest bits. Unsigned, 32 bits.
 */
export function hashKey(key: EncodedKey): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < key.length; i++) hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193);
  return mix(hash);
}

/** Spreads every bit over all bits. Unsigned. */
export function mix(bits: number): number {
  let hash = bits;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

const PARTITION_BITS = 12;
const PARTITIONS = 1 << PARTITION_BITS;
const LOW_BITS = 32 - PARTITION_BITS;
/** What remains of a safe integer beside the low bits of a hash. */
export const LOCATION_BITS_MAX = 53 - LOW_BITS;
const LOCATIONS = 2 ** LOCATION_BITS_MAX;

/** Slots of a chunk: the first one links to the partition's chunk before. */
const CHUNK = 32;
const SEGMENT = 8192;

/** A hash and where its key lies. */
export interface Hashed {
  hash: number;
  location: number;
}

/**
 * Collects hashes with locations and gives them out in the order of the hashes, in eight bytes each and a little: the highest bits tell the
 * partition, the rest and the location are one safe integer. Partitions are chains of chunks, and are sorted one by one when it comes to them.
 */
export class HashCollector {
  readonly #segments: Float64Array[] = [];
  /** Where each partition goes on; a multiple of the chunk if it has no room left. */
  readonly #heads = new Int32Array(PARTITIONS);
  #used = 0;
  #scratch = new Float64Array(CHUNK);
  size = 0;

  /** `location` is below 2^33. */
  add(hash: number, location: number): void {
    const partition = hash >>> LOW_BITS;
    let at = this.#heads[partition];
    if (at % CHUNK === 0) {
      const chunk = this.#newChunk();
      // Chunks are told by their end, which is never 0.
      this.#write(chunk, at);
      at = chunk + 1;
    }
    this.#write(at, (hash & ((1 << LOW_BITS) - 1)) * LOCATIONS + location);
    this.#heads[partition] = at + 1;
    this.size++;
  }

  /** All of them in order, in one object that changes. Yields undefined after some work, where the caller may pause. */
  *sorted(): Generator<Hashed | undefined> {
    const hashed: Hashed = { hash: 0, location: 0 };
    for (let partition = 0; partition < PARTITIONS; partition++) {
      const values = this.#collect(partition).sort();
      for (const value of values) {
        const low = Math.floor(value / LOCATIONS);
        hashed.hash = ((partition << LOW_BITS) | low) >>> 0;
        hashed.location = value - low * LOCATIONS;
        yield hashed;
      }
      yield undefined;
    }
  }

  #collect(partition: number): Float64Array {
    let count = 0;
    for (let end = this.#heads[partition]; end !== 0;) {
      const chunk = Math.floor((end - 1) / CHUNK) * CHUNK;
      if (count + CHUNK > this.#scratch.length) {
        const larger = new Float64Array(this.#scratch.length * 2);
        larger.set(this.#scratch);
        this.#scratch = larger;
      }
      const segment = this.#segments[Math.floor(chunk / SEGMENT)];
      const from = chunk % SEGMENT;
      for (let i = 1; i < end - chunk; i++) this.#scratch[count++] = segment[from + i];
      end = segment[from];
    }
    return this.#scratch.subarray(0, count);
  }

  #newChunk(): number {
    const chunk = this.#used;
    if (chunk % SEGMENT === 0) this.#segments.push(new Float64Array(SEGMENT));
    this.#used += CHUNK;
    return chunk;
  }

  #write(at: number, value: number): void {
    this.#segments[Math.floor(at / SEGMENT)][at % SEGMENT] = value;
  }
}
