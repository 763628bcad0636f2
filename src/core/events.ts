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
  /**
   * What belongs to no call: a watch callback that threw, bytes lost, damage. Once per cause. What comes while nobody listens, as from within `open`,
   * is kept for the first listener: up to 16 of them, and told soon after that one was added.
   */
  error: (error: unknown) => void;
  /** `close()` was called; pending writes are about to be drained. */
  closing: () => void;
}

interface Listener {
  readonly call: (argument?: unknown) => void;
  readonly once: boolean;
}

/** Errors kept until somebody listens. */
const UNHEARD_MAX = 16;

/** Listeners by event. A listener that throws disturbs nobody: it is reported as an `error` event. */
export class Emitter {
  readonly #listeners = new Map<keyof KVEvents, Listener[]>();
  #unheard: unknown[] = [];

  /** A listener that is there already is not added again. */
  on<E extends keyof KVEvents>(event: E, listener: KVEvents[E]): void {
    const call = listener as Listener["call"];
    if (this.#of(event).some((each) => each.call === call && !each.once)) return;
    this.#add(event, { call, once: false });
  }

  once<E extends keyof KVEvents>(event: E, listener: KVEvents[E]): void {
    this.#add(event, { call: listener as Listener["call"], once: true });
  }

  /** Removes a listener, however it was added. */
  off<E extends keyof KVEvents>(event: E, listener: KVEvents[E]): void {
    this.#remove(event, (each) => each.call === listener);
  }

  count(event: keyof KVEvents): number {
    return this.#of(event).length;
  }

  emit(event: "sync", argument: SyncEvent): void;
  emit(event: "error", argument: unknown): void;
  emit(event: "closing"): void;
  emit(event: keyof KVEvents, argument?: unknown): void {
    if (event === "error" && this.count("error") === 0 && this.#unheard.length < UNHEARD_MAX)
      this.#unheard.push(argument);
    // The list is replaced, never changed: whoever adds or removes while it is walked through changes the next event.
    for (const listener of this.#of(event)) {
      if (listener.once) this.#remove(event, (each) => each === listener);
      try {
        listener.call(argument);
      } catch (error) {
        // An error listener that throws has nobody left to tell but the runtime's handler of unhandled rejections.
        if (event === "error") void Promise.reject(error);
        else this.emit("error", error);
      }
    }
  }

  #add(event: keyof KVEvents, listener: Listener): void {
    this.#listeners.set(event, [...this.#of(event), listener]);
    // Not within the call that adds it.
    if (event === "error" && this.#unheard.length > 0) void Promise.resolve().then(() => this.#tellUnheard());
  }

  #tellUnheard(): void {
    const unheard = this.#unheard;
    this.#unheard = [];
    for (const error of unheard) this.emit("error", error);
  }

  #remove(event: keyof KVEvents, which: (listener: Listener) => boolean): void {
    this.#listeners.set(
      event,
      this.#of(event).filter((each) => !which(each)),
    );
  }

  #of(event: keyof KVEvents): readonly Listener[] {
    return this.#listeners.get(event) ?? [];
  }
}
