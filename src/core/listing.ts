import { type CursorPlace, type EntryOrder, writtenAt } from "./entry.ts";
import type { EncodedKey } from "./key.ts";
import type { Cursor, OrderedView } from "./ordered-map.ts";
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

export function listRows(rows: OrderedView<Row>, query: CompiledQuery, options: ListingOptions): Listing {
  if (options.order === "key") return new KeyListing(rows, query, options);
  return new VersionListing(rows, query, options);
}

/** In key order, by seeking: what cannot match is skipped, never visited. */
class KeyListing implements Listing {
  readonly #cursor: Cursor<Row>;
  readonly #query: CompiledQuery;
  readonly #reverse: boolean;
  readonly #now: number;
  readonly #lower: EncodedKey;
  readonly #upper: EncodedKey | undefined;
  #remaining: number;
  #started = false;
  key: EncodedKey = "";

  constructor(rows: OrderedView<Row>, query: CompiledQuery, options: ListingOptions) {
    this.#cursor = rows.cursor();
    this.#query = query;
    this.#reverse = options.reverse;
    this.#now = options.now;
    this.#remaining = options.limit;
    const after = options.after?.order === "key" ? options.after.key : undefined;
    this.#lower = query.lower;
    this.#upper = query.upper;
    if (after === undefined) return;
    if (options.reverse) {
      if (this.#upper === undefined || after < this.#upper) this.#upper = after;
    } else {
      const next = `${after}\0`;
      if (next > this.#lower) this.#lower = next;
    }
  }

  get row(): Row {
    return this.#cursor.value;
  }

  next(): boolean {
    if (this.#remaining <= 0) return false;
    const found = this.#reverse ? this.#backward() : this.#forward();
    if (found) this.#remaining--;
    else this.#remaining = 0;
    return found;
  }

  #forward(): boolean {
    const cursor = this.#cursor;
    let ok = this.#started ? cursor.next() : cursor.seek(this.#lower);
    this.#started = true;
    while (ok) {
      const key = cursor.key;
      if (this.#upper !== undefined && key >= this.#upper) return false;
      const target = this.#query.singlePrefix === undefined ? this.#query.seekForward(key) : true;
      if (target === undefined) return false;
      if (target !== true) {
        ok = cursor.seek(target);
      } else if (live(cursor.value, this.#now) === undefined) {
        ok = cursor.next();
      } else {
        this.key = key;
        return true;
      }
    }
    return false;
  }

  #backward(): boolean {
    const cursor = this.#cursor;
    let ok = this.#started ? cursor.previous() : cursor.seekBefore(this.#upper);
    this.#started = true;
    while (ok) {
      const key = cursor.key;
      if (key < this.#lower) return false;
      const target = this.#query.singlePrefix === undefined ? this.#query.seekBackward(key) : true;
      if (target === undefined) return false;
      if (target !== true) {
        ok = cursor.seekBefore(target);
      } else if (live(cursor.value, this.#now) === undefined) {
        ok = cursor.previous();
      } else {
        this.key = key;
        return true;
      }
    }
    return false;
  }
}

interface Ranked {
  readonly key: EncodedKey;
  readonly row: Row;
}

/** In the order of the last write. Visits every match, and keeps the first `limit` of them in a heap. */
class VersionListing implements Listing {
  readonly #ranked: readonly Ranked[];
  #at = -1;

  constructor(rows: OrderedView<Row>, query: CompiledQuery, options: ListingOptions) {
    const sign = options.reverse ? -1 : 1;
    const compare = (a: Row, b: Row): number => sign * (writtenAt(a) - writtenAt(b) || a.order - b.order);
    const after = options.after?.order === "version" ? options.after : undefined;
    const all = new KeyListing(rows, query, { ...options, reverse: false, limit: Infinity, after: undefined });
    const heap: Ranked[] = [];
    while (all.next()) {
      const row = all.row;
      if (after !== undefined && sign * (writtenAt(row) - after.version || row.order - after.place) <= 0) continue;
      if (heap.length < options.limit) heapPush(heap, { key: all.key, row }, compare);
      else if (heap.length > 0 && compare(row, heap[0].row) < 0) heapReplaceTop(heap, { key: all.key, row }, compare);
    }
    this.#ranked = heap.sort((a, b) => compare(a.row, b.row));
  }

  get key(): EncodedKey {
    return this.#ranked[this.#at].key;
  }

  get row(): Row {
    return this.#ranked[this.#at].row;
  }

  next(): boolean {
    this.#at++;
    return this.#at < this.#ranked.length;
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
