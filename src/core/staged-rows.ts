import type { EncodedKey } from "./key.ts";
import { KeyOrder } from "./key-order.ts";
import type { OrderedCursor, OrderedView } from "./ordered-view.ts";
import type { Row } from "./resolve.ts";
import { VisibleCursor } from "./visible-cursor.ts";

/** A row that was replaced, which a frozen state may see. */
interface OlderRow {
  /** How many states had been frozen before it was written. */
  readonly since: number;
  readonly row: Row;
  readonly older: OlderRow | undefined;
}

/**
 * What a transaction has changed, in order. Frozen in O(1): a row that a frozen state may see is kept behind the one that replaces it, as long as the
 * transaction lasts.
 */
export class StagedRows implements OrderedView<Row> {
  readonly #order = new KeyOrder();
  /** The last keys, which nobody has asked for in order yet: sorted at once, many take a part of the time. */
  #unordered: EncodedKey[] = [];
  readonly #numbers = new Map<EncodedKey, number>();
  /** By the number of the key: whether its state depends on nothing that was there before, its newest row, and how many states had been frozen before that. */
  readonly #overwritten: boolean[] = [];
  readonly #rows: Row[] = [];
  readonly #since: number[] = [];
  readonly #older = new Map<number, OlderRow>();
  #frozen = 0;

  get(key: EncodedKey): Row | undefined {
    return this.#at(key, this.#frozen);
  }

  /** Takes no notice of what is written while it is in use, beyond that it may come upon it. */
  cursor(): OrderedCursor<Row> {
    return this.#cursorAt(this.#frozen);
  }

  /** `overwrites`: it does not depend on what was there before. */
  set(key: EncodedKey, row: Row, overwrites = false): void {
    let number = this.#numbers.get(key);
    if (number === undefined) {
      number = this.#rows.length;
      this.#unordered.push(key);
      this.#numbers.set(key, number);
      this.#overwritten.push(overwrites);
    } else if (this.#since[number] < this.#frozen) {
      this.#older.set(number, { since: this.#since[number], row: this.#rows[number], older: this.#older.get(number) });
    }
    this.#rows[number] = row;
    this.#since[number] = this.#frozen;
    if (overwrites) this.#overwritten[number] = true;
  }

  /** True if the state of this key has once not depended on what was there before. */
  overwrote(key: EncodedKey): boolean {
    const number = this.#numbers.get(key);
    return number !== undefined && this.#overwritten[number];
  }

  /** The present rows, for ever. */
  freeze(): Pick<OrderedView<Row>, "get" | "cursor"> {
    const state = this.#frozen++;
    return { get: (key) => this.#at(key, state), cursor: () => this.#cursorAt(state) };
  }

  #at(key: EncodedKey, state: number): Row | undefined {
    const number = this.#numbers.get(key);
    return number === undefined ? undefined : this.#rowOf(number, state);
  }

  /** The row that a state has, which is frozen or the present one. */
  #rowOf(number: number, state: number): Row | undefined {
    if (this.#since[number] <= state) return this.#rows[number];
    let older = this.#older.get(number);
    while (older !== undefined && older.since > state) older = older.older;
    return older?.row;
  }

  #cursorAt(state: number): OrderedCursor<Row> {
    const keys = this.#unordered;
    if (keys.length > 0) {
      const first = this.#rows.length - keys.length;
      this.#unordered = [];
      this.#order.addAll(
        keys,
        keys.map((_, place) => first + place),
      );
    }
    return new VisibleCursor(
      this.#order,
      (number) => this.#rowOf(number, state) !== undefined,
      (number) => this.#rowOf(number, state) as Row,
    );
  }
}
