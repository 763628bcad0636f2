import { type Environment, isPromise } from "../../core/environment.ts";
import type { ObjectStore } from "./object-store.ts";
import { layeredStore } from "./store-layer.ts";

/**
 * Requests and waits whose answers come only as long as nobody has taken over from whoever made them (`LedgerSession.abandon`): a call that is over
 * ends at its next `await`, for good, so that it neither writes nor changes anything any more.
 */
export class OwnTurn {
  readonly store: ObjectStore;
  readonly environment: Environment;
  #number = 0;

  constructor(store: ObjectStore, environment: Environment) {
    this.store = layeredStore(store, (ask) => this.#own(ask()));
    this.environment = {
      ...environment,
      now: () => environment.now(),
      monotonic: () => environment.monotonic(),
      randomBytes: (length) => environment.randomBytes(length),
      random: () => environment.random(),
      crc32: environment.crc32,
      sha256: (bytes) => {
        const hash = environment.sha256(bytes);
        return isPromise(hash) ? this.#own(hash) : hash;
      },
      macrotask: (callback) => environment.macrotask(this.#ownCallback(callback)),
      setTimer: (callback, ms, options) => environment.setTimer(this.#ownCallback(callback), ms, options),
    };
  }

  /** Nothing of what was asked for so far is answered any more. */
  takeOver(): void {
    this.#number++;
  }

  #own<T>(promise: Promise<T>): Promise<T> {
    const number = this.#number;
    return new Promise((resolve, reject) => {
      promise.then(
        (value) => void (number === this.#number && resolve(value)),
        (error: unknown) => void (number === this.#number && reject(error)),
      );
    });
  }

  #ownCallback(callback: () => void): () => void {
    const number = this.#number;
    return () => void (number === this.#number && callback());
  }
}
