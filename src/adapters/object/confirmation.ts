import type { Told } from "./object-store.ts";
import type { FoundRoot, RootObject } from "./root-object.ts";

/** How much older than an answer a root may be that speaks for it, by the store's own clock. Slots are kept much longer than that. */
const SAVED_MS = 5 * 60_000;

/**
 * `final`: what was read or created is what everybody reads. `moved`: the slot may be gone, or the incarnation is over: whatever was answered
 * says nothing.
 */
export type Standing = "final" | "moved";

/**
 * Whether answers about slots count. An object store keeps what nobody needs any more no longer than it has to: who sleeps long enough may find an
 * empty place where a slot was, and even fill it. So an answer about a slot is final only once the root, asked after that answer has arrived, shows
 * the same incarnation and a floor that is not above the slot. Where the store tells the time, an earlier root that showed the same serves for five
 * minutes of that time. No other clock counts.
 */
export class Confirmation {
  readonly #rootObject: RootObject;
  readonly #nonce: string;
  readonly #seen: (found: FoundRoot) => void;
  #found: FoundRoot;

  /** Of the incarnation whose root was `found`. `seen` is told of every root that is read here. */
  constructor(rootObject: RootObject, found: FoundRoot, seen: (found: FoundRoot) => void) {
    this.#rootObject = rootObject;
    this.#nonce = found.root.nonce;
    this.#seen = seen;
    this.#found = found;
  }

  /** The root that was read last. */
  get found(): FoundRoot {
    return this.#found;
  }

  /** A root that somebody else has read or written, of the same ledger. */
  take(found: FoundRoot): void {
    this.#found = found;
  }

  /** Whether an answer about this slot is final. To be called when it has arrived. Throws where the root cannot be read, or is gone. */
  async of({ time }: Told, slot: number): Promise<Standing> {
    const earlier = this.#found;
    const isSaved = time !== undefined && earlier.time !== undefined && Math.abs(time - earlier.time) <= SAVED_MS;
    if (isSaved && this.#allows(slot)) return "final";
    return await this.ask(slot);
  }

  /** As `of`, by the root as it is now. */
  async ask(slot: number): Promise<Standing> {
    this.#found = await this.#rootObject.present();
    this.#seen(this.#found);
    return this.#allows(slot) ? "final" : "moved";
  }

  #allows(slot: number): boolean {
    const { root } = this.#found;
    return root.nonce === this.#nonce && root.floor <= slot;
  }
}
