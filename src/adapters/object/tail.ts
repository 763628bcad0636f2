/** What is remembered of a slot that was read or written. */
export interface SlotFacts {
  readonly slot: number;
  /** SHA-256 of its object. */
  readonly hash: Uint8Array;
  readonly batchId: Uint8Array;
  readonly author: Uint8Array;
  /** Of its object. */
  readonly bytes: number;
  /** Of its last commit. */
  readonly lastVersion: number;
  /** By the store's clock; undefined where that is not told. */
  readonly lastModified: number | undefined;
}

/** Slots remembered at most: more than this nobody looks up. */
const SLOTS_MAX = 65_536;

/** The slots behind the checkpoint, and that of the checkpoint itself, in order and without a gap. */
export class Tail {
  readonly #facts = new Map<number, SlotFacts>();

  /** The next slot was read, or written. */
  add(facts: SlotFacts): void {
    this.#facts.set(facts.slot, facts);
    if (this.#facts.size <= SLOTS_MAX) return;
    for (const oldest of this.#facts.keys()) {
      this.#facts.delete(oldest);
      break;
    }
  }

  get(slot: number): SlotFacts | undefined {
    return this.#facts.get(slot);
  }
}
