import type { MaybePromise } from "./environment.ts";

/**
 * Bytes that are read by place: a run in a file, in memory or in a bucket. Places count from the beginning of what is read.
 *
 * Everything above reads synchronously. Where bytes take time to arrive, `read` throws `NotLoaded`; whoever is outermost awaits its promise and
 * calls the same operation again (see `whenLoaded`). So every operation on a run leaves its state as it was when it throws.
 */
export interface BytesAt {
  /** True where reading a few hundred bytes costs clearly less than reading some KiB, as in a file; not where every read is a round trip. */
  readonly smallReads?: boolean;
  /**
   * `length` bytes at `place`, fewer where there are no more. The receiver does not change them; they stay as they are, except that with
   * `target` (at least `length` long) they may lie at its beginning, until its owner uses it again.
   *
   * Throws `NotLoaded` for what has yet to arrive; once its promise has resolved, the next read of the same place and length succeeds
   * at once, so that a retry makes progress whatever a cache has let go in the meantime. Throws a `KVError` where reading fails.
   */
  read(place: number, length: number, target?: Uint8Array): Uint8Array;
}

/** Thrown by an operation whose bytes are on their way: await the promise, then do the same again. If the promise rejects, so does the operation. */
export class NotLoaded extends Error {
  override readonly name = "NotLoaded";
  readonly promise: Promise<unknown>;
  /** Keeps what arrives until the returned function is called, however often it is read meanwhile. */
  readonly hold: () => () => void;
  /** True if the operation has got further than when it was thrown before: it needs nothing again that had to arrive until then. */
  isFurther = false;

  constructor(promise: Promise<unknown>, hold: () => () => void = () => () => undefined) {
    super("the bytes have yet to arrive");
    this.promise = promise;
    this.hold = hold;
  }

  /** What waits for both. */
  and(other: NotLoaded): NotLoaded {
    const hold = (): (() => void) => {
      const releases = [this.hold(), other.hold()];
      return () => {
        for (const release of releases) release();
      };
    };
    const both = Promise.all([this.promise, other.promise]);
    // Whoever asked may have given up by the time it fails.
    both.catch(() => undefined);
    return new NotLoaded(both, hold);
  }
}

/** Does `operation`, as often as bytes have to arrive for it. Synchronous if they are all there. */
export function whenLoaded<T>(operation: () => T): MaybePromise<T> {
  try {
    return operation();
  } catch (error) {
    return onceLoaded(error, operation);
  }
}

/**
 * For whoever has tried `operation` already: does it again, as often as bytes have to arrive for it, if that is what the try has thrown. Throws
 * everything else at once.
 */
export function onceLoaded<T>(thrown: unknown, operation: () => T): Promise<T> {
  if (!(thrown instanceof NotLoaded)) throw thrown;
  return again(thrown, operation);
}

/**
 * What has arrived for an operation is held until that is done, or has got further: where a cache keeps too little, it would ask for the same in turns
 * for ever.
 */
async function again<T>(first: NotLoaded, operation: () => T): Promise<T> {
  const releases: (() => void)[] = [];
  try {
    for (let missing = first; ;) {
      if (missing.isFurther) for (const release of releases.splice(0)) release();
      releases.push(missing.hold());
      await missing.promise;
      try {
        return operation();
      } catch (error) {
        if (!(error instanceof NotLoaded)) throw error;
        missing = error;
      }
    }
  } finally {
    for (const release of releases) release();
  }
}

/** Bytes that arrived and were not asked for again (their reader gave up) are let go beyond this many. */
const UNCLAIMED_MAX = 64;

/** What arrived, and for how many that asked for it and have not read it yet. */
interface Arrived {
  readonly bytes: Uint8Array;
  claims: number;
}

/** Turns an asynchronous read into a `BytesAt`. What arrived is kept until it is read once; keeping more is the business of a cache above. */
export class ArrivingBytes implements BytesAt {
  readonly #load: (place: number, length: number) => Promise<Uint8Array>;
  readonly #isolated: boolean;
  readonly #arrived = new Map<string, Arrived>();
  readonly #arriving = new Map<string, Promise<void>>();
  /** How many operations hold on to what arrived, or is going to. */
  readonly #held = new Map<string, number>();

  /** `isolated`: see `Environment`; everybody who asks loads for himself, since a load that another one has begun may never end. */
  constructor(
    load: (place: number, length: number) => Promise<Uint8Array>,
    { isolated = false }: { readonly isolated?: boolean | undefined } = {},
  ) {
    this.#load = load;
    this.#isolated = isolated;
  }

  read(place: number, length: number): Uint8Array {
    const name = `${place}+${length}`;
    const arrived = this.#arrived.get(name);
    if (arrived !== undefined) {
      arrived.claims--;
      this.#letGo(name, arrived);
      return arrived.bytes;
    }
    let promise = this.#arriving.get(name);
    if (promise === undefined) {
      promise = this.#begin(name, place, length);
      if (!this.#isolated) this.#arriving.set(name, promise);
    } else if (this.#isolated) {
      this.#arriving.delete(name);
    }
    throw new NotLoaded(promise, () => this.#hold(name));
  }

  #hold(name: string): () => void {
    this.#held.set(name, (this.#held.get(name) ?? 0) + 1);
    return () => {
      const left = (this.#held.get(name) ?? 1) - 1;
      if (left > 0) return void this.#held.set(name, left);
      this.#held.delete(name);
      this.#letGo(name, this.#arrived.get(name));
    };
  }

  #letGo(name: string, arrived: Arrived | undefined): void {
    if (arrived !== undefined && arrived.claims <= 0 && !this.#held.has(name)) this.#arrived.delete(name);
  }

  /** Begins to load what the caller is going to read. */
  expect(place: number, length: number): void {
    const name = `${place}+${length}`;
    if (!this.#arriving.has(name)) this.#arriving.set(name, this.#begin(name, place, length));
  }

  #begin(name: string, place: number, length: number): Promise<void> {
    const promise = this.#fetch(name, place, length);
    // Whoever asked may have given up by the time it fails.
    promise.catch(() => undefined);
    return promise;
  }

  async #fetch(name: string, place: number, length: number): Promise<void> {
    try {
      // In a later microtask, even if it fails at once: `read` has to note the promise first.
      await Promise.resolve();
      const bytes = await this.#load(place, length);
      this.#arrived.set(name, { bytes, claims: Math.max(0, this.#arrived.get(name)?.claims ?? 0) + 1 });
    } finally {
      this.#arriving.delete(name);
    }
    if (this.#arrived.size <= UNCLAIMED_MAX) return;
    for (const oldest of this.#arrived.keys()) {
      if (this.#held.has(oldest)) continue;
      this.#arrived.delete(oldest);
      break;
    }
  }
}
