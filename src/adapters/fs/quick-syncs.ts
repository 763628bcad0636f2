/** A sync that takes no longer than this is worth no detour: waiting for it in another thread costs about a tenth of it. */
const QUICK_MS = 1;
/** So many quick ones in a row, and the next one is expected to be quick as well. */
const IN_A_ROW = 16;

/**
 * Tells from what syncs have taken whether the next one may be made on the event loop. On a disk with a memory of its own that loses nothing a sync takes
 * a tenth of a millisecond; going through a thread for it would cost as much again. One slow sync, and all are waited for elsewhere until many
 * in a row were quick.
 */
export class QuickSyncs {
  #inARow = 0;

  get isExpected(): boolean {
    return this.#inARow >= IN_A_ROW;
  }

  /** The last one has taken so long, whichever way it was made. */
  took(ms: number): void {
    this.#inARow = ms > QUICK_MS ? 0 : this.#inARow + 1;
  }
}
