import type { Environment } from "./environment.ts";

/**
 * A net under those who should let go of what they hold and may be dropped instead, without a word: an iterator that nobody walks to its end. What
 * they hold is released when the garbage collector has found out, which may be much later or never.
 */
export class DroppedNet<T> {
  readonly #registry: { register(holder: object, held: T): void } | undefined;

  /** `release` is told what a dropped holder held. */
  constructor(environment: Environment, release: (held: T) => void) {
    this.#registry = environment.dropped?.(release);
  }

  /** `held` must not lead to `holder`. */
  watch(holder: object, held: T): void {
    this.#registry?.register(holder, held);
  }

  /** Leads to a holder without keeping it. */
  refer<H extends object>(holder: H): Reference<H> {
    // Without a registry nobody may be dropped: close() would not find them.
    return this.#registry === undefined ? { deref: () => holder } : new WeakRef(holder);
  }
}

/** Leads to an object, as long as that is there. */
export interface Reference<T> {
  deref(): T | undefined;
}
