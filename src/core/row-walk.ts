import { whenLoaded } from "./bytes-at.ts";
import type { MaybePromise } from "./environment.ts";
import type { EncodedKey } from "./key.ts";
import type { Layer } from "./layers.ts";
import type { OrderedCursor } from "./ordered-view.ts";
import type { Pacer } from "./pacer.ts";
import type { FrozenReplica } from "./replica.ts";
import type { Row } from "./resolve.ts";

/** Walks through all rows of a layer in key order, deleted ones too, and waits for those that have yet to arrive. Nothing in the layer may change. */
export class RowWalk {
  readonly #cursor: OrderedCursor<Row>;
  #began = false;
  /** The cursor stands on a row that was not read yet. */
  #moved = false;
  #row: Row | undefined;
  key: EncodedKey = "";

  constructor(rows: Pick<Layer, "cursor">) {
    this.#cursor = rows.cursor();
  }

  /** Of the key. Meaningful after a `next` that gave true. */
  get row(): Row {
    return this.#row as Row;
  }

  /** Moves on. False at the end. */
  next(): MaybePromise<boolean> {
    return whenLoaded(this.#step);
  }

  readonly #step = (): boolean => {
    const cursor = this.#cursor;
    if (!this.#moved) {
      if (!(this.#began ? cursor.next() : cursor.seek(""))) return false;
      this.#began = true;
      this.#moved = true;
    }
    this.#row = cursor.value;
    this.key = cursor.key;
    this.#moved = false;
    return true;
  };
}

/**
 * Puts what came last in order, a little at a time, for a walk through all of it while others write. `check` throws if there is no sense in going on. `view`: the same rows, read
 * in another way.
 */
export async function walkThrough(
  rows: FrozenReplica,
  { pacer, check }: { readonly pacer: Pacer; readonly check: () => void },
  view: Pick<Layer, "cursor"> = { cursor: () => passing(rows) },
): Promise<RowWalk> {
  while (rows.overlays.some((overlay) => overlay.sortSome())) {
    if (!pacer.dueInBackground()) continue;
    await pacer.restInBackground();
    check();
  }
  return new RowWalk(view);
}

/**
 * Whoever asks for an order otherwise will do so again, by all appearances, and has all later keys put in order as they come: a vacuum would leave that behind,
 * for every write of its author.
 */
function passing(rows: FrozenReplica): OrderedCursor<Row> {
  const [newest] = rows.overlays;
  const { isReadInOrder } = newest;
  const cursor = rows.cursor();
  newest.isReadInOrder = isReadInOrder;
  return cursor;
}
