import type { EncodedKey } from "./key.ts";
import type { OrderedCursor } from "./ordered-view.ts";
import type { Row } from "./resolve.ts";
import type { RowSlab } from "./row-slab.ts";
import { sortedPlaces } from "./sort-keys.ts";

/** Keys that are sorted at once; sorted portions are merged two by two. */
const PORTION = 1024;

/**
 * Rows in the order of their keys, for whoever passes through all of them once: a list of their numbers is sorted sooner than a tree is made of them.
 * None of them changes any more.
 */
export class SortedRows {
  readonly #slab: RowSlab;
  #ids: Int32Array;
  #merged: Int32Array;
  /** So many are in order together, beginning at each multiple of it; 0 until all portions are sorted. */
  #width = 0;
  /** Where the next step goes on. */
  #from = 0;

  constructor(slab: RowSlab, ids: readonly number[]) {
    this.#slab = slab;
    this.#ids = Int32Array.from(ids);
    this.#merged = new Int32Array(ids.length);
  }

  /** One step more. False if there is none left: before, there is no cursor. */
  sortSome(): boolean {
    const { length } = this.#ids;
    if (this.#width >= length) return false;
    if (this.#width === 0) {
      this.#sortPortion(this.#from, Math.min(this.#from + PORTION, length));
      this.#from += PORTION;
      if (this.#from >= length) this.#widen(PORTION);
    } else {
      const middle = Math.min(this.#from + this.#width, length);
      const end = Math.min(middle + this.#width, length);
      this.#merge(this.#from, middle, end);
      this.#from = end;
      if (end === length) {
        [this.#ids, this.#merged] = [this.#merged, this.#ids];
        this.#widen(2 * this.#width);
      }
    }
    return true;
  }

  #widen(width: number): void {
    this.#width = width;
    this.#from = 0;
  }

  #sortPortion(from: number, to: number): void {
    const ids = this.#ids.slice(from, to);
    const keys: EncodedKey[] = [];
    let isAscending = true;
    for (let i = 0; i < ids.length; i++) {
      const key = this.#slab.key(ids[i]);
      if (i > 0 && key < keys[i - 1]) isAscending = false;
      keys.push(key);
    }
    if (isAscending) return;
    const places = sortedPlaces(keys);
    for (let i = 0; i < ids.length; i++) this.#ids[from + i] = ids[places[i]];
  }

  #merge(from: number, middle: number, to: number): void {
    const ids = this.#ids;
    const merged = this.#merged;
    const slab = this.#slab;
    // As a rule where keys come in order; and nothing is to be merged with the last ones.
    if (middle === to || slab.key(ids[middle - 1]) < slab.key(ids[middle])) {
      merged.set(ids.subarray(from, to), from);
      return;
    }
    let left = from;
    let right = middle;
    let leftKey = slab.key(ids[left]);
    let rightKey = slab.key(ids[right]);
    for (let at = from; at < to; at++) {
      if (right === to || (left < middle && leftKey < rightKey)) {
        merged[at] = ids[left++];
        if (left < middle) leftKey = slab.key(ids[left]);
      } else {
        merged[at] = ids[right++];
        if (right < to) rightKey = slab.key(ids[right]);
      }
    }
  }

  cursor(): OrderedCursor<Row> {
    return new SortedCursor(this.#slab, this.#ids);
  }
}

class SortedCursor implements OrderedCursor<Row> {
  readonly #slab: RowSlab;
  readonly #ids: Int32Array;
  #at = -1;
  key: EncodedKey = "";

  constructor(slab: RowSlab, ids: Int32Array) {
    this.#slab = slab;
    this.#ids = ids;
  }

  get value(): Row {
    return this.#slab.read(this.#ids[this.#at]);
  }

  seek(key: EncodedKey): boolean {
    return this.#goTo(this.#lowerBound(key));
  }

  seekBefore(key: EncodedKey | undefined): boolean {
    return this.#goTo(key === undefined ? this.#ids.length - 1 : this.#lowerBound(key) - 1);
  }

  next(): boolean {
    return this.#goTo(this.#at + 1);
  }

  previous(): boolean {
    return this.#goTo(this.#at - 1);
  }

  #goTo(at: number): boolean {
    if (at < 0 || at >= this.#ids.length) return false;
    this.#at = at;
    this.key = this.#slab.key(this.#ids[at]);
    return true;
  }

  #lowerBound(key: EncodedKey): number {
    let low = 0;
    let high = this.#ids.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#slab.key(this.#ids[middle]) < key) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
