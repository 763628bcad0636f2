import type { EncodedKey } from "./key.ts";
import { type KeyOrder, OrderCursor } from "./key-order.ts";
import type { OrderedCursor } from "./ordered-view.ts";
import type { Row } from "./resolve.ts";

/** Walks through keys in order, past those of which a state has no row: they came after it. */
export class VisibleCursor implements OrderedCursor<Row> {
  readonly #cursor: OrderCursor;
  readonly #isSeen: (id: number) => boolean;
  readonly #rowOf: (id: number) => Row;
  /** That of the key, once somebody has asked for it. */
  #row: Row | undefined;

  /** By the number of a key: whether the state has a row of it, and which. */
  constructor(order: KeyOrder, isSeen: (id: number) => boolean, rowOf: (id: number) => Row) {
    this.#cursor = new OrderCursor(order);
    this.#isSeen = isSeen;
    this.#rowOf = rowOf;
  }

  get key(): EncodedKey {
    return this.#cursor.key;
  }

  get value(): Row {
    return (this.#row ??= this.#rowOf(this.#cursor.id));
  }

  seek(key: EncodedKey): boolean {
    return this.#forward(this.#cursor.seek(key));
  }

  seekBefore(key: EncodedKey | undefined): boolean {
    return this.#backward(this.#cursor.seekBefore(key));
  }

  next(): boolean {
    return this.#forward(this.#cursor.next());
  }

  previous(): boolean {
    return this.#backward(this.#cursor.previous());
  }

  #forward(found: boolean): boolean {
    this.#row = undefined;
    let ok = found;
    while (ok && !this.#isSeen(this.#cursor.id)) ok = this.#cursor.next();
    return ok;
  }

  #backward(found: boolean): boolean {
    this.#row = undefined;
    let ok = found;
    while (ok && !this.#isSeen(this.#cursor.id)) ok = this.#cursor.previous();
    return ok;
  }
}
