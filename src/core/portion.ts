/** How long one portion of work should take: well below the time after which others get their turn. */
const AIM_MS = 4;

/**
 * How much of a long piece of work is done in one go, between two points at which it may pause. What a unit of it costs is not known beforehand - a
 * commit may call a watch that computes for a millisecond - so that each portion is measured and the next one made larger or smaller.
 */
export class Portion {
  readonly #bounds: { readonly first: number; readonly min: number; readonly max: number };
  #size: number;

  constructor(bounds: { readonly first: number; readonly min: number; readonly max: number }) {
    this.#bounds = bounds;
    this.#size = bounds.first;
  }

  /** For the next one. */
  get size(): number {
    return this.#size;
  }

  /** What was measured so far may no longer hold. */
  startAnew(): void {
    this.#size = Math.min(this.#size, this.#bounds.first);
  }

  /** The last one has taken so long. */
  took(ms: number): void {
    if (ms > AIM_MS) this.#size = Math.max(this.#bounds.min, Math.floor((this.#size * AIM_MS) / ms));
    else if (ms < AIM_MS / 2) this.#size = Math.min(this.#bounds.max, this.#size * 2);
  }
}
