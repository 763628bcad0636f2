import type { BufferPool } from "./buffer-pool.ts";
import type { LedgerOpenOptions } from "./ledger.ts";

/**
 * One bounded cache for everything that is read on demand: blocks and pages of all runs, and values. Each user has a space of its own, so
 * that keys of different users never meet; all of them share the bytes.
 *
 * Eviction is SIEVE (Zhang and others, NSDI 2024): entries stand in the order of their arrival, a hit only marks its entry, and a hand that moves
 * from the oldest to the newest takes the mark off or evicts. A hit costs no reordering, and a scan passes through without taking all.
 */

interface Slot<V> {
  readonly space: CacheSpace<V>;
  readonly key: number;
  readonly value: V;
  readonly bytes: number;
  visited: boolean;
  newer: AnySlot | undefined;
  older: AnySlot | undefined;
}

type AnySlot = Slot<unknown>;

/** What is about as large as a block lies in buffers of this size, where there are any: see `BufferPool`. */
export const BUFFER_BYTES = 4352;
const BUFFERS_FROM_BYTES = 64 * 1024;

/** How many things that were not admitted are remembered: about as many as may be asked for between two reads of a thing worth keeping. */
const REFUSED = 1024;
/** What an entry costs besides the bytes that its owner counts: slot, map entry, object headers. */
const SLOT_BYTES = 200;

export interface SpaceOptions<V> {
  /** All keys are below this: makes the space quicker. */
  readonly keys?: number;
  /** Told of values that are not kept any more. */
  readonly dropped?: (value: V) => void;
}

export interface CacheStats {
  readonly bytes: number;
  readonly bytesMax: number;
  readonly entries: number;
  readonly hits: number;
  readonly misses: number;
}

export class BlockCache {
  readonly #bytesMax: number;
  readonly #refused = new Float64Array(REFUSED).fill(-1);
  /** Where things that are kept may lie. A small cache may keep nothing of what lies in them, and nobody would give them back. */
  readonly buffers: BufferPool | undefined;
  #bytes = 0;
  #entries = 0;
  #newest: AnySlot | undefined;
  #oldest: AnySlot | undefined;
  #hand: AnySlot | undefined;
  #spaces = 0;
  /** Counted by the spaces. */
  hits = 0;
  misses = 0;

  /** `Pool`: where buffers are read into, as files are. */
  constructor(bytesMax: number, Pool?: typeof BufferPool) {
    this.#bytesMax = bytesMax;
    this.buffers = Pool === undefined || bytesMax < BUFFERS_FROM_BYTES ? undefined : new Pool();
  }

  space<V>(options: SpaceOptions<V> = {}): CacheSpace<V> {
    return new CacheSpace<V>(this, this.#spaces++, options);
  }

  stats(): CacheStats {
    return {
      bytes: this.#bytes,
      bytesMax: this.#bytesMax,
      entries: this.#entries,
      hits: this.hits,
      misses: this.misses,
    };
  }

  /** @internal For spaces: whether something of this size is worth its place: there is room, or it was asked for a short while ago. */
  admits(space: number, key: number, bytes: number): boolean {
    if (this.#bytes + bytes + SLOT_BYTES <= this.#bytesMax) return true;
    if (bytes + SLOT_BYTES > this.#bytesMax) return false;
    const name = key * 4096 + (space & 4095);
    const place = Math.imul(key ^ (space << 20), 0x9e3779b1) >>> 22;
    if (this.#refused[place] === name) {
      this.#refused[place] = -1;
      return true;
    }
    this.#refused[place] = name;
    return false;
  }

  /** @internal For spaces. False if the slot is too large to be kept at all. */
  insert(slot: AnySlot): boolean {
    if (slot.bytes > this.#bytesMax) return false;
    while (this.#bytes + slot.bytes > this.#bytesMax) this.#evict();
    this.#bytes += slot.bytes;
    this.#entries++;
    slot.older = this.#newest;
    if (this.#newest !== undefined) this.#newest.newer = slot;
    this.#newest = slot;
    this.#oldest ??= slot;
    return true;
  }

  /** @internal For spaces. */
  remove(slot: AnySlot): void {
    this.#bytes -= slot.bytes;
    this.#entries--;
    if (this.#hand === slot) this.#hand = slot.newer;
    if (slot.newer === undefined) this.#newest = slot.older;
    else slot.newer.older = slot.older;
    if (slot.older === undefined) this.#oldest = slot.newer;
    else slot.older.newer = slot.newer;
    slot.newer = undefined;
    slot.older = undefined;
  }

  #evict(): void {
    let slot = (this.#hand ?? this.#oldest) as AnySlot;
    while (slot.visited) {
      slot.visited = false;
      slot = (slot.newer ?? this.#oldest) as AnySlot;
    }
    this.#hand = slot.newer;
    slot.space.drop(slot);
  }
}

/** Lets a session keep bytes in the cache, in buffers that are used again where there are any, and know nothing else of it. */
export function keepingBytes(cache: BlockCache): Required<Pick<LedgerOpenOptions, "cache">> {
  return {
    cache: (dropped) => {
      const space = cache.space<Uint8Array>({
        dropped: (bytes) => {
          dropped(bytes);
          cache.buffers?.recycle(bytes);
        },
      });
      return {
        get: (key) => space.get(key),
        set: (key, bytes, size) => space.set(key, bytes, size),
        admits: (key, size) => space.admits(key, size),
        buffer: (length) => cache.buffers?.take(length) ?? new Uint8Array(length),
        clear: () => space.clear(),
      };
    },
  };
}

/** The part of a cache that belongs to one user. Keys are integers from 0. */
export class CacheSpace<V> {
  readonly #cache: BlockCache;
  readonly #number: number;
  readonly #keys: number | undefined;
  readonly #dropped: ((value: V) => void) | undefined;
  /** By key: an array, once there is something in it, where the keys are known beforehand. */
  #listed: (Slot<V> | undefined)[] | undefined;
  readonly #mapped = new Map<number, Slot<V>>();

  /** Made by `BlockCache.space`. */
  constructor(cache: BlockCache, number: number, options: SpaceOptions<V>) {
    this.#cache = cache;
    this.#number = number;
    this.#keys = options.keys;
    this.#dropped = options.dropped;
  }

  get(key: number): V | undefined {
    const slot = this.#find(key);
    if (slot === undefined) {
      this.#cache.misses++;
      return undefined;
    }
    slot.visited = true;
    this.#cache.hits++;
    return slot.value;
  }

  /** Keeps a value, which takes about so many bytes, as long as there is room. */
  set(key: number, value: V, bytes: number): void {
    const before = this.#find(key);
    if (before !== undefined) this.drop(before);
    const slot: Slot<V> = {
      space: this,
      key,
      value,
      bytes: bytes + SLOT_BYTES,
      visited: false,
      newer: undefined,
      older: undefined,
    };
    if (!this.#cache.insert(slot as AnySlot)) return;
    if (this.#keys === undefined) this.#mapped.set(key, slot);
    else (this.#listed ??= new Array<Slot<V> | undefined>(this.#keys))[key] = slot;
  }

  /**
   * For users who can do without the whole thing: false if keeping it would only push out something else. Asked a second time soon, the answer
   * is true.
   */
  admits(key: number, bytes: number): boolean {
    return this.#cache.admits(this.#number, key, bytes);
  }

  /** Lets go of everything, when the user ends. */
  clear(): void {
    for (const slot of this.#listed ?? [...this.#mapped.values()]) if (slot !== undefined) this.drop(slot);
  }

  /** @internal For the cache. */
  drop(slot: Slot<V>): void {
    if (this.#listed === undefined) this.#mapped.delete(slot.key);
    else this.#listed[slot.key] = undefined;
    this.#cache.remove(slot as AnySlot);
    this.#dropped?.(slot.value);
  }

  #find(key: number): Slot<V> | undefined {
    return this.#listed === undefined ? this.#mapped.get(key) : this.#listed[key];
  }
}
