import type { EncodedKey } from "./key.ts";
import { runHash, type SomeHashes } from "./run-hash.ts";

/** What a location may have at most. */
export const LOCATION_BITS_MAX = 33;
const LOCATIONS = 2 ** LOCATION_BITS_MAX;
/** A hash's bits below those of its partition, and a location, are one safe integer. */
const PACKED_BITS = 53;
/** Partitions grow in number with what is in them, and at the latest when locations leave less room for the rest of a hash. */
const PARTITION_BITS = { first: 4, step: 4, last: 12 } as const;
const PER_PARTITION = 256;

/** Slots of a chunk: the first one links to the partition's chunk before. */
const CHUNK = 32;
const SEGMENT = 8192;

/** Some hashes, in order, and where their keys lie. Overwritten by the next ones. */
export class SortedHashes implements SomeHashes {
  count = 0;
  hashes: Uint32Array = new Uint32Array(2 * PER_PARTITION);
  locations: Float64Array = new Float64Array(2 * PER_PARTITION);

  reserve(count: number): void {
    if (count <= this.hashes.length) return;
    this.hashes = new Uint32Array(2 * count);
    this.locations = new Float64Array(2 * count);
  }
}

/**
 * Collects hashes with locations and gives them out in the order of the hashes, in eight bytes each and a little: the highest bits tell the
 * partition, the rest and the location are one safe integer. Partitions are chains of chunks, and are sorted one by one when it comes to them.
 */
export class HashCollector {
  #partitionBits: number;
  #segments: Float64Array[] = [];
  /** Where each partition goes on; a multiple of the chunk if it has no room left. */
  #heads: Int32Array;
  #used = 0;
  #scratch = new Float64Array(CHUNK);
  #locationsEnd: number;
  #size = 0;

  /** A location is the number of a block times this, plus the offset in it. */
  readonly #offsets: number;
  #locationMax = 0;

  /** `expected`: about how many there will be, if that is known. Then they are divided once. */
  constructor(offsetBits: number, expected = 0) {
    const { first, last } = PARTITION_BITS;
    this.#offsets = 2 ** offsetBits;
    this.#partitionBits = Math.max(first, Math.min(last, 32 - Math.clz32(expected / PER_PARTITION)));
    this.#heads = new Int32Array(1 << this.#partitionBits);
    this.#locationsEnd = 2 ** (PACKED_BITS - 32 + this.#partitionBits);
  }

  /** Of the keys that were added last. Beyond 2^33 what is collected does not tell where they lie. */
  get locationMax(): number {
    return this.#locationMax;
  }

  /** Adds the hashes of the first `count` of these keys, which are at least one, and lie in this block, at these offsets. */
  addAll(keys: readonly EncodedKey[], count: number, block: number, offsets: ArrayLike<number>): void {
    this.#size += count;
    this.#locationMax = block * this.#offsets + offsets[count - 1];
    const location = (block * this.#offsets) % LOCATIONS;
    const last = location + offsets[count - 1];
    while (this.#partitionBits < PARTITION_BITS.last && (this.#isCrowded || last >= this.#locationsEnd)) this.#divide();
    for (let i = 0; i < count; i++) this.#put(runHash(keys[i]), location + offsets[i]);
  }

  get #isCrowded(): boolean {
    return this.#size >> this.#partitionBits > PER_PARTITION;
  }

  #put(hash: number, location: number): void {
    const lowBits = 32 - this.#partitionBits;
    const partition = hash >>> lowBits;
    let at = this.#heads[partition];
    if (at % CHUNK === 0) {
      const chunk = this.#newChunk();
      // Chunks are told by their end, which is never 0.
      this.#write(chunk, at);
      at = chunk + 1;
    }
    this.#write(at, (hash & ((1 << lowBits) - 1)) * this.#locationsEnd + location);
    this.#heads[partition] = at + 1;
  }

  /** More partitions. */
  #divide(): void {
    const before = new HashCollector(0);
    before.#partitionBits = this.#partitionBits;
    before.#segments = this.#segments;
    before.#heads = this.#heads;
    before.#locationsEnd = this.#locationsEnd;
    const step = Math.min(PARTITION_BITS.step, PARTITION_BITS.last - this.#partitionBits);
    this.#partitionBits += step;
    this.#segments = [];
    this.#heads = new Int32Array(1 << this.#partitionBits);
    this.#used = 0;
    this.#locationsEnd *= 2 ** step;
    const some = new SortedHashes();
    for (let partition = 0; partition < before.#heads.length; partition++) {
      before.#unpack(partition, before.#collect(partition), some);
      for (let i = 0; i < some.count; i++) this.#put(some.hashes[i], some.locations[i]);
    }
  }

  /** All of them in order, those of a partition at a time, in one object that changes. */
  *collected(): Generator<SortedHashes> {
    const sorted = new SortedHashes();
    for (let partition = 0; partition < this.#heads.length; partition++) {
      this.#unpack(partition, this.#collect(partition).sort(), sorted);
      yield sorted;
    }
  }

  #unpack(partition: number, packed: Float64Array, into: SortedHashes): void {
    const end = this.#locationsEnd;
    const high = partition << (32 - this.#partitionBits);
    into.reserve(packed.length);
    into.count = packed.length;
    const { hashes, locations } = into;
    for (let i = 0; i < packed.length; i++) {
      const low = Math.floor(packed[i] / end);
      hashes[i] = high | low;
      locations[i] = packed[i] - low * end;
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
