/** One follow round, told to listeners of the `sync` event. */
export interface SyncEvent {
  /**
   * `ready`: nothing new. `success`: new commits were applied. `ledgerInvalidated`: the ledger was vacuumed, replaced or cut; it was
   * reopened and is in step again. `error`: the round failed, see `error`; the next one tries again.
   */
  readonly result: "ready" | "success" | "ledgerInvalidated" | "error";
  /** Only with `result: "error"`. */
  readonly error?: unknown;
  /** How many commits took effect since the last `sync` event. */
  readonly applied: number;
  /** The version that reads see now. */
  readonly version: number;
}

/** The events of a database and what their listeners get. */
export interface KVEvents {
  /** After every follow round: with `autoSync` every batch of writes, every interval and every `sync()`; without it every `sync()`. */
  sync: (event: SyncEvent) => void;
  /** What belongs to no call: a watch callback that threw, bytes lost, damage. Once per cause. */
  error: (error: unknown) => void;
  /** `close()` was called; pending writes are about to be drained. */
  closing: () => void;
}

/** Listeners by event. A listener that throws disturbs nobody: it is reported as an `error` event. */
export class Emitter {
  readonly #listeners = new Map<keyof KVEvents, Set<(argument?: unknown) => void>>();
  readonly #once = new WeakMap<object, (argument?: unknown) => void>();

  on<E extends keyof KVEvents>(event: E, listener: KVEvents[E]): void {
    this.#of(event).add(listener as (argument?: unknown) => void);
  }

  once<E extends keyof KVEvents>(event: E, listener: KVEvents[E]): void {
    const wrapped = (argument?: unknown): void => {
      this.off(event, listener);
      (listener as (argument?: unknown) => void)(argument);
    };
    this.#once.set(listener, wrapped);
    this.#of(event).add(wrapped);
  }

  off<E extends keyof KVEvents>(event: E, listener: KVEvents[E]): void {
    const plain = listener as (argument?: unknown) => void;
    const listeners = this.#of(event);
    const wrapped = this.#once.get(listener);
    if (!listeners.delete(plain) && wrapped !== undefined) listeners.delete(wrapped);
  }

  count(event: keyof KVEvents): number {
    return this.#listeners.get(event)?.size ?? 0;
  }

  emit(event: "sync", argument: SyncEvent): void;
  emit(event: "error", argument: unknown): void;
  emit(event: "closing"): void;
  emit(event: keyof KVEvents, argument?: unknown): void {
    const listeners = this.#listeners.get(event);
    if (listeners === undefined) return;
    for (const listener of [...listeners]) {
      try {
        listener(argument);
      } catch (error) {
        // An error listener that throws has nobody left to tell but the runtime's handler of unhandled rejections.
        if (event === "error") void Promise.reject(error);
        else this.emit("error", error);
      }
    }
  }

  #of(event: keyof KVEvents): Set<(argument?: unknown) => void> {
    let listeners = this.#listeners.get(event);
    if (listeners === undefined) {
      listeners = new Set();
      this.#listeners.set(event, listeners);
    }
    return listeners;
  }
}
