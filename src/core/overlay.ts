import { ItemKind, type Operation } from "./commit.ts";
import type { EncodedKey } from "./key.ts";
import { KeyOrder } from "./key-order.ts";
import { KeyTable } from "./key-table.ts";
import type { OrderedCursor, OrderedView } from "./ordered-view.ts";
import type { CommitPlace, Row } from "./resolve.ts";
import { RowSlab, SLAB_ENTRY_BYTES } from "./row-slab.ts";
import { hashKey } from "./run-hash.ts";
import type { SortedRows } from "./sorted-rows.ts";
import { VisibleCursor } from "./visible-cursor.ts";

/**
 * The newest rows, in memory: found by key through a hash table, in order through a tree that learns of new keys only when somebody asks
 * for an order. Frozen in O(1) by version number.
 *
 * A key has one record, its newest row, which is written over: a deleted one too, which hides what lies underneath. Only while somebody
 * holds a frozen version that sees the row is it put aside first, into the chain of the key's older rows. What no frozen version needs any
 * more is dropped when versions are released, so that a key written ten million times takes up one record.
 */

/** New keys that are put in order at once. Where order is asked for, no more of them wait for that: one write in so many takes as long. */
const PORTION = 1024;
/** Older rows kept before the first search for those that nobody needs. */
const SWEEP_MIN = 4096;

/** A row that a frozen version may see: written at `row.version`, replaced at `until`. */
interface OlderRow {
  readonly row: Row;
  readonly until: number;
  older: OlderRow | undefined;
}

export interface OverlayOptions {
  /** Any number; a different one for each overlay. */
  readonly seed: number;
  /** About how many keys there will be, if that is known. */
  readonly expected?: number | undefined;
  /** True if somebody will ask for an order, by all appearances: then new keys are put in order as they come. */
  readonly isReadInOrder?: boolean | undefined;
}

export class Overlay implements OrderedView<Row> {
  readonly #seed: number;
  readonly #slab = new RowSlab();
  readonly #table: KeyTable;
  readonly #order = new KeyOrder();
  /** Numbers of keys that are not in order yet. */
  #unordered: number[] = [];
  #older = new Map<number, OlderRow>();
  #olderRows = 0;
  #sweepAt = SWEEP_MIN;
  /** The versions that are frozen, ascending, and how often each. */
  readonly #frozen: { readonly version: number; count: number }[] = [];
  #newestFrozen = -Infinity;
  #version = 0;
  #entries = 0;
  #size = 0;
  #keyBytes = 0;
  /** Somebody has asked for an order, and may again: new keys are put in order as they come. */
  isReadInOrder: boolean;

  constructor(options: OverlayOptions) {
    this.#table = new KeyTable((id) => this.#slab.key(id), options.expected);
    this.isReadInOrder = options.isReadInOrder === true;
    this.#seed = options.seed | 0;
  }

  /** Keys that are not deleted. */
  get size(): number {
    return this.#size;
  }

  /** Rows, deleted and older ones included. */
  get rows(): number {
    return this.#entries + this.#olderRows;
  }

  /** About how many bytes of memory it takes. */
  get bytes(): number {
    return this.#keyBytes + this.#entries * ENTRY_BYTES + this.#olderRows * OLDER_ROW_BYTES + this.#table.bytes;
  }

  /** About how many of them are older rows, kept for frozen versions. */
  get olderBytes(): number {
    return this.#olderRows * OLDER_ROW_BYTES;
  }

  /** True if it has no rows, deleted ones included. */
  get isEmpty(): boolean {
    return this.#entries === 0;
  }

  /** The newest row; a deleted one, too. */
  get(key: EncodedKey): Row | undefined {
    const id = this.#find(key);
    return id < 0 ? undefined : this.#slab.read(id);
  }

  /** @internal The newest row of a version up to this one. */
  getAt(key: EncodedKey, version: number): Row | undefined {
    const id = this.#find(key);
    return id < 0 ? undefined : this.#rowAt(id, version);
  }

  #rowAt(id: number, version: number): Row | undefined {
    return this.#slab.version(id) <= version ? this.#slab.read(id) : this.#olderAt(id, version);
  }

  #find(key: EncodedKey): number {
    return this.#entries === 0 ? -1 : this.#table.find(key, hashKey(key, this.#seed));
  }

  /** A cursor over the newest rows. They must not change while it is in use. */
  cursor(): OrderedCursor<Row> {
    return this.cursorAt(Infinity);
  }

  /** @internal A cursor over the rows that `getAt` gives. */
  cursorAt(version: number): OrderedCursor<Row> {
    this.isReadInOrder = true;
    while (this.sortSome());
    let older: Row | undefined;
    const isSeen = (id: number): boolean => {
      const isNewestSeen = this.#slab.version(id) <= version;
      older = isNewestSeen ? undefined : this.#olderAt(id, version);
      return isNewestSeen || older !== undefined;
    };
    // What it stands on may be written over before anybody asks for it.
    return new VisibleCursor(this.#order, isSeen, (id) => older ?? (this.#rowAt(id, version) as Row));
  }

  /** Writes the row of a key. Versions never fall; what has the same version becomes visible together. */
  put(key: EncodedKey, row: Row): void {
    this.#slab.write(this.#take(key, row.version, row.deleted), row);
  }

  /** The same for a plain set or delete, the operation number `order` of its commit: the row that `resolve` would make of it. */
  putPlain(operation: Operation, at: CommitPlace, order: number): void {
    const id = this.#take(operation.key, at.version, operation.kind === ItemKind.delete);
    this.#slab.writePlain(id, operation, at, order);
  }

  /** Makes way for a new row of a key and returns the number to write it under. */
  #take(key: EncodedKey, version: number, deleted: boolean): number {
    this.#version = version;
    const hash = hashKey(key, this.#seed);
    const id = this.#table.find(key, hash);
    if (id < 0) return this.#add(key, hash, deleted);
    if (!this.#slab.isDeleted(id)) this.#size--;
    if (!deleted) this.#size++;
    if (this.#newestFrozen >= this.#slab.version(id)) this.#putAside(id, version);
    return id;
  }

  /** The state as it is now, until released. O(1). */
  freeze(): FrozenOverlay {
    const version = this.#version;
    const last = this.#frozen[this.#frozen.length - 1];
    if (last?.version === version) last.count++;
    else this.#frozen.push({ version, count: 1 });
    this.#newestFrozen = version;
    return new FrozenOverlay(this, version);
  }

  #add(key: EncodedKey, hash: number, deleted: boolean): number {
    if (this.isReadInOrder && this.#unordered.length >= PORTION) this.sortSome();
    const id = this.#slab.allocate(key);
    this.#table.add(hash, id);
    this.#entries++;
    this.#keyBytes += key.length;
    if (!deleted) this.#size++;
    this.#unordered.push(id);
    return id;
  }

  /**
   * The newest rows, in which nothing changes any more, for whoever passes through all of them once, and brings what sorts them. There is a cursor when
   * `sortSome` has said false.
   */
  toBeSorted(Sorted: typeof SortedRows): { sortSome(): boolean; cursor(): OrderedCursor<Row> } {
    // Nobody has read in order, and nobody has to learn of it.
    if (!this.isReadInOrder && this.#unordered.length === this.#entries) return new Sorted(this.#slab, this.#unordered);
    return { sortSome: () => this.sortSome(), cursor: () => this.cursor() };
  }

  /** Puts new keys in order, a portion of them. False if there are none left: then a cursor is made at once. */
  sortSome(): boolean {
    if (this.#unordered.length === 0) return false;
    const ids = this.#unordered.splice(0, PORTION);
    this.#order.addAll(
      ids.map((id) => this.#slab.key(id)),
      ids,
    );
    return true;
  }

  // --- frozen versions ---------------------------------------------------------------------------------------------

  #olderAt(id: number, version: number): Row | undefined {
    let older = this.#older.get(id);
    while (older !== undefined && older.row.version > version) older = older.older;
    return older?.row;
  }

  #putAside(id: number, until: number): void {
    this.#older.set(id, { row: this.#slab.read(id), until, older: this.#older.get(id) });
    if (++this.#olderRows >= this.#sweepAt) this.#sweep();
  }

  /** @internal Nobody reads one of the frozen states of this version any more. */
  release(version: number): void {
    const frozen = this.#frozen;
    const at = this.#frozenFrom(version);
    if (--frozen[at].count > 0) return;
    frozen.splice(at, 1);
    this.#newestFrozen = frozen[frozen.length - 1]?.version ?? -Infinity;
    if (frozen.length > 0 || this.#olderRows === 0) return;
    this.#older = new Map();
    this.#olderRows = 0;
    this.#sweepAt = SWEEP_MIN;
  }

  /** Drops older rows that no frozen version sees. Comes again when there are twice as many as it left. */
  #sweep(): void {
    this.#olderRows = 0;
    for (const [id, chain] of this.#older) {
      let newest: OlderRow | undefined;
      let last: OlderRow | undefined;
      for (let each: OlderRow | undefined = chain; each !== undefined; each = each.older) {
        const from = this.#frozen[this.#frozenFrom(each.row.version)];
        if (from === undefined || from.version >= each.until) continue;
        if (last === undefined) newest = each;
        else last.older = each;
        last = each;
        this.#olderRows++;
      }
      if (last === undefined || newest === undefined) {
        this.#older.delete(id);
        continue;
      }
      last.older = undefined;
      if (newest !== chain) this.#older.set(id, newest);
    }
    this.#sweepAt = Math.max(SWEEP_MIN, 2 * this.#olderRows);
  }

  /** Place of the first frozen version >= `version`. */
  #frozenFrom(version: number): number {
    let low = 0;
    let high = this.#frozen.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#frozen[middle].version < version) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** One state of an overlay, unchangeable until it is released. */
export class FrozenOverlay implements OrderedView<Row> {
  readonly isEmpty: boolean;
  readonly #overlay: Overlay;
  readonly #version: number;
  #released = false;

  constructor(overlay: Overlay, version: number) {
    this.isEmpty = overlay.isEmpty;
    this.#overlay = overlay;
    this.#version = version;
  }

  get(key: EncodedKey): Row | undefined {
    return this.#overlay.getAt(key, this.#version);
  }

  cursor(): OrderedCursor<Row> {
    return this.#overlay.cursorAt(this.#version);
  }

  /** Nobody reads from it any more. Idempotent. */
  release(): void {
    if (this.#released) return;
    this.#released = true;
    this.#overlay.release(this.#version);
  }
}

/** Record, key's pointer and string header, and place in the order; measured (see docs/decisions). */
const ENTRY_BYTES = SLAB_ENTRY_BYTES + 16 + 20;
const OLDER_ROW_BYTES = 220;
