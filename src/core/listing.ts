import { NotLoaded } from "./bytes-at.ts";
import { type CursorPlace, type EntryOrder, writtenAt } from "./entry.ts";
import type { EncodedKey } from "./key.ts";
import type { Layer } from "./layers.ts";
import type { OrderedCursor } from "./ordered-view.ts";
import type { CompiledQuery } from "./query.ts";
import { live, type Row } from "./resolve.ts";

export interface ListingOptions {
  readonly reverse: boolean;
  readonly limit: number;
  readonly order: EntryOrder;
  readonly after: CursorPlace | undefined;
  /** The reader's clock: what expired by then is left out. */
  readonly now: number;
}

/** Steps through the rows that a query matches. `key` and `row` are meaningful after a `next` that returned true. */
export interface Listing {
  readonly key: EncodedKey;
  readonly row: Row;
  next(): boolean;
}

export function listRows(rows: Layer, query: CompiledQuery, options: ListingOptions): Listing {
  if (options.order === "key") return new KeyListing(rows, query, options);
  return new VersionListing(rows, query, options);
}

/** In key order, by seeking: what cannot match is skipped, never visited. */
class KeyListing implements Listing {
  readonly #cursor: OrderedCursor<Row>;
  readonly #query: CompiledQuery;
  readonly #reverse: boolean;
  readonly #now: number;
  readonly #lower: EncodedKey;
  readonly #upper: EncodedKey | undefined;
  #remaining: number;
  /** Where to go instead of one step further; kept until that has succeeded, so that `next` can be called again where bytes had to arrive. */
  #goal: EncodedKey | undefined;
  #started = false;
  /** The cursor stands where it was sent, and what is there was not looked at yet. */
  #moved = false;
  key: EncodedKey = "";
  #row: Row | undefined;

  constructor(rows: Layer, query: CompiledQuery, options: ListingOptions) {
    this.#query = query;
    this.#reverse = options.reverse;
    this.#now = options.now;
    this.#remaining = options.limit;
    const after = options.after?.order === "key" ? options.after.key : undefined;
    this.#lower = query.lower;
    this.#upper = query.upper;
    if (after !== undefined && options.reverse) {
      if (this.#upper === undefined || after < this.#upper) this.#upper = after;
    } else if (after !== undefined) {
      const next = `${after}\0`;
      if (next > this.#lower) this.#lower = next;
    }
    this.#goal = options.reverse ? this.#upper : this.#lower;
    this.#cursor = rows.cursor({ lower: this.#lower, upper: this.#upper });
  }

  get row(): Row {
    return this.#row as Row;
  }

  next(): boolean {
    if (this.#remaining <= 0) return false;
    const found = this.#advance();
    if (found) this.#remaining--;
    else this.#remaining = 0;
    return found;
  }

  #advance(): boolean {
    const cursor = this.#cursor;
    const reverse = this.#reverse;
    while (this.#moved || this.#move(cursor, reverse)) {
      this.#moved = true;
      this.#started = true;
      this.#goal = undefined;
      const key = cursor.key;
      if (reverse ? key < this.#lower : this.#upper !== undefined && key >= this.#upper) return false;
      const target = this.#query.isInterval || this.#query.seek(key, reverse);
      const row = target === true ? live(cursor.value, this.#now) : undefined;
      this.#moved = false;
      if (target !== true) {
        this.#goal = target;
      } else if (row !== undefined) {
        this.key = key;
        this.#row = row;
        return true;
      }
    }
    return false;
  }

  #move(cursor: OrderedCursor<Row>, reverse: boolean): boolean {
    const goal = this.#goal;
    if (goal === undefined && this.#started) return reverse ? cursor.previous() : cursor.next();
    return reverse ? cursor.seekBefore(goal) : cursor.seek(goal as EncodedKey);
  }
}

interface Ranked {
  readonly key: EncodedKey;
  readonly row: Row;
}

/** In the order of the last write. Visits every match, and keeps the first `limit` of them in a heap. */
class VersionListing implements Listing {
  readonly #all: KeyListing;
  readonly #limit: number;
  readonly #compare: Compare;
  readonly #isBehind: (row: Row) => boolean;
  #ranked: Ranked[] = [];
  #visitedAll = false;
  #at = -1;

  constructor(rows: Layer, query: CompiledQuery, options: ListingOptions) {
    const sign = options.reverse ? -1 : 1;
    const after = options.after?.order === "version" ? options.after : undefined;
    this.#limit = options.limit;
    this.#compare = (a, b) => sign * (writtenAt(a) - writtenAt(b) || a.order - b.order);
    this.#isBehind = (row) =>
      after === undefined || sign * (writtenAt(row) - after.version || row.order - after.place) > 0;
    this.#all = new KeyListing(rows, query, { ...options, reverse: false, limit: Infinity, after: undefined });
  }

  get key(): EncodedKey {
    return this.#ranked[this.#at].key;
  }

  get row(): Row {
    return this.#ranked[this.#at].row;
  }

  next(): boolean {
    if (!this.#visitedAll) this.#visitAll();
    this.#at++;
    return this.#at < this.#ranked.length;
  }

  #visitAll(): void {
    const heap = this.#ranked;
    const compare = this.#compare;
    for (let visited = 0; this.#visitNext(visited); visited++) {
      const { key, row } = this.#all;
      if (!this.#isBehind(row)) continue;
      if (heap.length < this.#limit) heapPush(heap, { key, row }, compare);
      else if (heap.length > 0 && compare(row, heap[0].row) < 0) heapReplaceTop(heap, { key, row }, compare);
    }
    heap.sort((a, b) => compare(a.row, b.row));
    this.#visitedAll = true;
  }

  /** Nobody is to hold everything that is visited, however much it is. */
  #visitNext(visited: number): boolean {
    try {
      return this.#all.next();
    } catch (error) {
      if (error instanceof NotLoaded) error.isFurther = visited > 0;
      throw error;
    }
  }
}

type Compare = (a: Row, b: Row) => number;

/** A binary heap with the last-ranked row on top. */
function heapPush(heap: Ranked[], item: Ranked, compare: Compare): void {
  let at = heap.length;
  heap.push(item);
  while (at > 0) {
    const parent = (at - 1) >>> 1;
    if (compare(heap[parent].row, item.row) >= 0) break;
    heap[at] = heap[parent];
    at = parent;
  }
  heap[at] = item;
}

function heapReplaceTop(heap: Ranked[], item: Ranked, compare: Compare): void {
  let at = 0;
  for (;;) {
    let child = 2 * at + 1;
    if (child >= heap.length) break;
    if (child + 1 < heap.length && compare(heap[child + 1].row, heap[child].row) > 0) child++;
    if (compare(heap[child].row, item.row) <= 0) break;
    heap[at] = heap[child];
    at = child;
  }
  heap[at] = item;
}
