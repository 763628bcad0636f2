import type { EncodedKey } from "./key.ts";

/**
 * Finds the number of a key: open addressing with linear probing over typed arrays, in segments that grow one by one, so that no
 * insertion waits for the whole table to be rebuilt.
 */

const SEGMENT_BITS = 8;
const SEGMENTS = 1 << SEGMENT_BITS;
const SEGMENT_SLOTS_MIN = 16;
/** A slot: the key's hash, and its number plus one; 0 for an empty slot. */
const NOTHING = new Int32Array(2);

export class KeyTable {
  readonly #keyOf: (id: number) => EncodedKey;
  readonly #segments: Int32Array[] = new Array<Int32Array>(SEGMENTS).fill(NOTHING);
  readonly #counts = new Int32Array(SEGMENTS);

  readonly #slotsMin: number;

  /** `keyOf` tells the key that a number stands for. `expected`: about how many there will be, if that is known; then segments need not grow. */
  constructor(keyOf: (id: number) => EncodedKey, expected = 0) {
    this.#keyOf = keyOf;
    let slots = SEGMENT_SLOTS_MIN;
    while (slots * SEGMENTS < expected * 1.5) slots *= 2;
    this.#slotsMin = slots;
  }

  /** Memory in bytes. */
  get bytes(): number {
    return this.#segments.reduce((sum, slots) => (slots === NOTHING ? sum : sum + slots.byteLength), 0);
  }

  /** The number of a key, or -1. `hash` is `hashKey` of it, from a seed of this table's own, so that keys chosen to collide in one do not collide in all. */
  find(key: EncodedKey, hash: number): number {
    const slots = this.#segments[hash >>> (32 - SEGMENT_BITS)];
    const mask = slots.length - 1;
    for (let at = (hash << 1) & mask; ; at = (at + 2) & mask) {
      const id = slots[at + 1] - 1;
      if (id < 0) return -1;
      if (slots[at] === hash && this.#keyOf(id) === key) return id;
    }
  }

  /** Adds a key that is not there. */
  add(hash: number, id: number): void {
    const segment = hash >>> (32 - SEGMENT_BITS);
    let slots = this.#segments[segment];
    const count = ++this.#counts[segment];
    // At most two slots of three are taken.
    if (count * 3 > slots.length) {
      this.#segments[segment] = slots = grown(slots, this.#slotsMin);
    }
    place(slots, hash, id + 1);
  }
}

function place(slots: Int32Array, hash: number, entry: number): void {
  const mask = slots.length - 1;
  let at = (hash << 1) & mask;
  while (slots[at + 1] !== 0) at = (at + 2) & mask;
  slots[at] = hash;
  slots[at + 1] = entry;
}

function grown(slots: Int32Array, slotsMin: number): Int32Array {
  const larger = new Int32Array(Math.max(slots.length * 2, slotsMin * 2));
  for (let at = 0; at < slots.length; at += 2) {
    if (slots[at + 1] !== 0) place(larger, slots[at], slots[at + 1]);
  }
  return larger;
}
