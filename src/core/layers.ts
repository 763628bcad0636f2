import type { EncodedKey } from "./key.ts";
import type { OrderedCursor, OrderedView } from "./ordered-view.ts";
import type { Row } from "./resolve.ts";

/**
 * A part of the state: the changes of some span of commits, or everything below a version. All calls are synchronous; where bytes have
 * to be waited for they throw `NotLoaded` and have changed nothing: the same call is made again later.
 */
export interface Layer extends Pick<OrderedView<Row>, "get"> {
  /** A cursor that stands before the first key. What lies outside of `bounds` it may show or leave out. */
  cursor(bounds?: KeyBounds): OrderedCursor<Row>;
  /** True if there is nothing in it, not even what hides something else. */
  readonly isEmpty?: boolean;
  /** False if there is nothing in it within these bounds. Left out where that is not known. */
  reaches?(bounds: KeyBounds): boolean;
}

/** Keys from `lower` on and below `upper`; undefined: there is no upper bound. */
export interface KeyBounds {
  readonly lower: EncodedKey;
  readonly upper: EncodedKey | undefined;
}

/**
 * Layers as one: of a key's rows the one in the newest layer counts. With a base that holds everything below a version, rows below that version
 * in other layers are not seen: the base has them, or has what became of them.
 */
export class LayeredView implements Layer {
  readonly #layers: readonly Layer[];
  readonly #base: Layer | undefined;
  readonly #baseBelow: number;

  /** `layers`: newest first, without the base. */
  constructor(layers: readonly Layer[], base: { readonly layer: Layer; readonly below: number } | undefined) {
    this.#layers = layers;
    this.#base = base?.layer;
    this.#baseBelow = base?.below ?? 0;
  }

  get(key: EncodedKey): Row | undefined {
    const layers = this.#layers;
    // Without an iterator: asked for every get, which is over before it would be made to cost nothing.
    for (let i = 0; i < layers.length; i++) {
      const row = layers[i].get(key);
      if (row === undefined) continue;
      if (row.version >= this.#baseBelow) return row;
      break;
    }
    return this.#base?.get(key);
  }

  cursor(bounds?: KeyBounds): OrderedCursor<Row> {
    const cursors: OrderedCursor<Row>[] = [];
    for (const layer of this.#layers) {
      if (layer.isEmpty === true || (bounds !== undefined && layer.reaches?.(bounds) === false)) continue;
      cursors.push(layer.cursor(bounds));
    }
    if (this.#base !== undefined) cursors.push(this.#base.cursor(bounds));
    // Without any layer there is nothing to be seen, which the first one can tell.
    if (cursors.length === 0) return this.#layers[0].cursor(bounds);
    return cursors.length === 1 ? cursors[0] : new MergedCursor(cursors, this.#baseBelow);
  }
}

/** One cursor through all of these, newest first. */
export function mergedCursor(layers: readonly { cursor(): OrderedCursor<Row> }[]): OrderedCursor<Row> {
  const cursors = layers.map((layer) => layer.cursor());
  return cursors.length === 1 ? cursors[0] : new MergedCursor(cursors, 0);
}

/**
 * Several cursors, newest first, walked as one. Each call may be made again after it has thrown: what it has moved by then it finds
 * moved, and `key` stays what it was until the call succeeds.
 */
class MergedCursor implements OrderedCursor<Row> {
  readonly #cursors: readonly OrderedCursor<Row>[];
  /** Which of them stand on a row. */
  readonly #alive: boolean[];
  /** Rows below this version count only in the base, which is the last one. */
  readonly #floor: number;
  /** The cursor whose row counts at present. */
  #lead = 0;
  /** Where the nearest of the others stands, in the direction of the last call; undefined if there are none. */
  #bound: EncodedKey | undefined;
  #direction: 1 | -1 | 0 = 0;
  key: EncodedKey = "";

  constructor(cursors: readonly OrderedCursor<Row>[], floor: number) {
    this.#cursors = cursors;
    this.#alive = cursors.map(() => false);
    this.#floor = floor;
  }

  get value(): Row {
    return this.#cursors[this.#lead].value;
  }

  seek(key: EncodedKey): boolean {
    for (let i = 0; i < this.#cursors.length; i++) this.#alive[i] = this.#cursors[i].seek(key);
    return this.#settle(1);
  }

  seekBefore(key: EncodedKey | undefined): boolean {
    for (let i = 0; i < this.#cursors.length; i++) this.#alive[i] = this.#cursors[i].seekBefore(key);
    return this.#settle(-1);
  }

  next(): boolean {
    return this.#step(1);
  }

  previous(): boolean {
    return this.#step(-1);
  }

  #step(direction: 1 | -1): boolean {
    if (this.#onlyLeadMoves(direction)) return true;
    for (let i = 0; i < this.#cursors.length; i++) {
      if (!this.#alive[i]) continue;
      const { key } = this.#cursors[i];
      if (direction === 1 ? key <= this.key : key >= this.key) this.#move(i, direction);
    }
    return this.#settle(direction);
  }

  /** Moves one of the cursors on, which stands on a row. */
  #move(i: number, direction: 1 | -1): void {
    const cursor = this.#cursors[i];
    this.#alive[i] = direction === 1 ? cursor.next() : cursor.previous();
  }

  /** One step, where all others stand further away: as a rule neighbouring keys lie in one layer. False if there is more to be done. */
  #onlyLeadMoves(direction: 1 | -1): boolean {
    const lead = this.#lead;
    const cursor = this.#cursors[lead];
    // A call that is made again has moved it already.
    if (direction !== this.#direction || !this.#alive[lead] || cursor.key !== this.key) return false;
    this.#alive[lead] = direction === 1 ? cursor.next() : cursor.previous();
    if (!this.#alive[lead]) return false;
    const { key } = cursor;
    const bound = this.#bound;
    if (bound !== undefined && (direction === 1 ? key >= bound : key <= bound)) return false;
    if (this.#floor > 0 && lead < this.#cursors.length - 1 && cursor.value.version < this.#floor) return false;
    this.key = key;
    return true;
  }

  /** Passes rows that do not count and finds the cursor that leads. */
  #settle(direction: 1 | -1): boolean {
    let lead = -1;
    let key = "";
    let bound: EncodedKey | undefined;
    this.#direction = 0;
    const last = this.#cursors.length - 1;
    for (let i = 0; i <= last; i++) {
      const cursor = this.#cursors[i];
      if (this.#floor > 0 && i < last) this.#passOld(i, direction);
      if (!this.#alive[i]) continue;
      const own = cursor.key;
      // At equal keys the first one, which is the newest, stays in the lead.
      if (lead >= 0 && (direction === 1 ? own >= key : own <= key)) {
        if (bound === undefined || (direction === 1 ? own < bound : own > bound)) bound = own;
        continue;
      }
      if (lead >= 0) bound = key;
      lead = i;
      key = own;
    }
    if (lead < 0) return false;
    this.#lead = lead;
    this.#bound = bound;
    this.#direction = direction;
    this.key = key;
    return true;
  }

  #passOld(i: number, direction: 1 | -1): void {
    const cursor = this.#cursors[i];
    while (this.#alive[i] && cursor.value.version < this.#floor) this.#move(i, direction);
  }
}
