import { whenLoaded } from "./bytes-at.ts";
import type { MaybePromise } from "./environment.ts";
import type { OrderedCursor } from "./ordered-view.ts";
import type { Row } from "./resolve.ts";
import type { RunBuilder } from "./run-builder.ts";

/** So many rows are copied at once. */
const ROWS = 16;

/**
 * Copies rows into a run as they lie: deleted ones too, and those of other runs with the values that they hold. Rows pass through here by the
 * thousand, as a rule in a program that has just begun: in a loop of few steps.
 */
export class RowCopy {
  readonly #cursor: OrderedCursor<Row>;
  readonly #builder: RunBuilder;
  readonly #below: number;
  #began = false;
  /** The cursor stands on a row that was not copied yet. */
  #moved = false;

  /** Leaves out rows of versions below `below`. */
  constructor(cursor: OrderedCursor<Row>, builder: RunBuilder, below: number) {
    this.#cursor = cursor;
    this.#builder = builder;
    this.#below = below;
  }

  /** Copies some rows more. False at the end. */
  some(): MaybePromise<boolean> {
    return whenLoaded(this.#some);
  }

  readonly #some = (): boolean => {
    const cursor = this.#cursor;
    for (let count = 0; count < ROWS; count++) {
      if (!this.#moved) {
        if (!(this.#began ? cursor.next() : cursor.seek(""))) return false;
        this.#began = true;
        this.#moved = true;
      }
      const row = cursor.value;
      // Of a value that has yet to arrive nothing has been done: the row is come back to.
      if (row.version >= this.#below) this.#builder.add(cursor.key, row, row.home?.valueBytes(row));
      this.#moved = false;
    }
    return true;
  };
}
