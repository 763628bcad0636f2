/**
 * A net under those who should let go of what they hold and may be dropped instead, without a word: an iterator that nobody walks to its end. What
 * they hold is released when the garbage collector has found out, which may be much later or never.
 */
export class DroppedNet<T> {
  readonly #registry: FinalizationRegistry<T> | undefined;

  /** `release` is told what a dropped holder held. Must bear with what was released already. */
  constructor(release: (held: T) => void) {
    // Some runtimes have none; then only those who let go do.
    this.#registry = typeof FinalizationRegistry === "undefined" ? undefined : new FinalizationRegistry(release);
  }

  /** `held` must not lead to `holder`. */
  watch(holder: object, held: T): void {
    this.#registry?.register(holder, held);
  }
}

/** Leads to an object as long as somebody else holds it. */
export interface WeakReference<T> {
  deref(): T | undefined;
}

export function weakly<T extends object>(target: T): WeakReference<T> {
  return typeof WeakRef === "undefined" ? { deref: () => target } : new WeakRef(target);
}
