import { VALUE_HEADER_BYTES } from "./commit.ts";
import { isPromise } from "./environment.ts";
import { KVError } from "./errors.ts";
import { decodeKey, type EncodedKey, type KeyPart } from "./key.ts";
import type { CommitRecord } from "./ledger.ts";
import type { AbortSignalLike } from "./options.ts";
import { type CompiledQuery, compileQuery, type Query } from "./query.ts";
import { type Change, lastOfEachKey, type Row } from "./resolve.ts";
import { decodeValue } from "./value.ts";

/** What a watch is told of one key in one commit. */
export type WatchEntry<T = unknown> =
  | (WatchedKey & { readonly operation: "set"; readonly value: T; readonly expiresAt?: number })
  | (WatchedKey & { readonly operation: "delete"; readonly value?: undefined })
  | WatchReset;

interface WatchedKey {
  readonly key: KeyPart[];
  readonly version: number;
  /** The author's clock at the commit, ms since the epoch. */
  readonly timestamp: number;
  /** True if the ledger was replaced and this is the difference between the old state and the new one, not a commit as it happened. */
  readonly reloaded?: true;
  readonly reset?: undefined;
}

/** The ledger was replaced, and what changed cannot be told: read again what matters. */
export interface WatchReset {
  readonly reset: true;
  readonly version: number;
  readonly operation?: undefined;
  readonly key?: undefined;
  readonly value?: undefined;
}

/** Called once for each matching key of a commit. What it returns is not awaited; a throw or rejection becomes an `error` event. */
export type WatchCallback<T = unknown> = (entry: WatchEntry<T>) => unknown;

interface Watcher {
  readonly query: CompiledQuery;
  readonly callback: WatchCallback;
  readonly ref: boolean;
  active: boolean;
  readonly detach: () => void;
}

/** Watches while a reload is under way. */
export interface ReloadedWatches {
  readonly queries: readonly CompiledQuery[];
  /** Tells those whose query matches of a difference. */
  tell(key: EncodedKey, row: Row, value: () => unknown): void;
  /** Tells all of them that what has changed cannot be told. */
  reset(version: number): void;
}

/** The watches of one instance. */
export class Watches {
  readonly #watchers = new Set<Watcher>();
  readonly #onError: (error: unknown) => void;
  readonly #onChange: () => void;

  constructor(onError: (error: unknown) => void, onChange: () => void) {
    this.#onError = onError;
    this.#onChange = onChange;
  }

  get size(): number {
    return this.#watchers.size;
  }

  /** How many of them keep the process alive. */
  get refs(): number {
    let refs = 0;
    for (const watcher of this.#watchers) if (watcher.ref) refs++;
    return refs;
  }

  add(
    query: Query,
    callback: WatchCallback,
    options: { readonly ref: boolean; readonly signal: AbortSignalLike | undefined; readonly ended?: () => void },
  ): () => void {
    const compiled = compileQuery(query);
    const signal = options.signal;
    const watcher: Watcher = {
      query: compiled,
      callback,
      ref: options.ref,
      active: signal?.aborted !== true,
      detach: () => {
        signal?.removeEventListener("abort", unwatch);
        options.ended?.();
      },
    };
    const unwatch = (): void => this.#remove(watcher);
    if (!watcher.active) {
      options.ended?.();
      return () => undefined;
    }
    signal?.addEventListener("abort", unwatch);
    this.#watchers.add(watcher);
    this.#onChange();
    return unwatch;
  }

  /** Ends the watches with this query and callback. True if there were any. */
  remove(query: Query, callback: WatchCallback): boolean {
    const { identity } = compileQuery(query);
    let found = false;
    for (const watcher of [...this.#watchers]) {
      if (watcher.callback !== callback || watcher.query.identity !== identity) continue;
      this.#remove(watcher);
      found = true;
    }
    return found;
  }

  clear(): void {
    for (const watcher of [...this.#watchers]) this.#remove(watcher);
  }

  /** Tells of one commit. The values are decoded for each watcher anew: they are its own. */
  dispatch(record: CommitRecord, changes: readonly Change[]): void {
    // Those that a callback adds have not been there when the commit was applied.
    const present = [...this.#watchers];
    for (const { key, row } of lastOfEachKey(changes)) {
      for (const watcher of present) {
        if (!watcher.query.matches(key)) continue;
        this.#deliver(watcher, () => changeEntry(key, row, () => valueIn(record.payload, row)));
      }
    }
  }

  /** The watches that there are now, to be told what a reload has changed: those that come later know the new state. */
  reloading(): ReloadedWatches {
    const present = [...this.#watchers];
    return {
      queries: present.map((watcher) => watcher.query),
      tell: (key, row, value) => {
        for (const watcher of present) {
          if (watcher.query.matches(key)) {
            this.#deliver(watcher, () => changeEntry(key, row, value, { reloaded: true }));
          }
        }
      },
      reset: (version) => {
        for (const watcher of present) this.#deliver(watcher, () => ({ reset: true, version }));
      },
    };
  }

  #deliver(watcher: Watcher, entry: () => WatchEntry): void {
    if (!watcher.active) return;
    try {
      const result = watcher.callback(entry());
      if (isPromise(result)) result.then(undefined, this.#onError);
    } catch (error) {
      this.#onError(error);
    }
  }

  #remove(watcher: Watcher): void {
    if (!watcher.active) return;
    watcher.active = false;
    watcher.detach();
    this.#watchers.delete(watcher);
    this.#onChange();
  }
}

type PromiseMaker<R> = (begin: (resolve: (result: R) => void, reject: (error: unknown) => void) => void) => Promise<R>;

/** The async-iterable form of a watch: entries wait in a bounded buffer. */
export class WatchIterator<T> implements AsyncIterableIterator<WatchEntry<T>> {
  readonly #bufferMax: number;
  readonly #promise: PromiseMaker<IteratorResult<WatchEntry<T>>>;
  #buffer: WatchEntry<T>[] = [];
  #waiting: { resolve: (result: IteratorResult<WatchEntry<T>>) => void; reject: (error: unknown) => void }[] = [];
  #failure: unknown;
  #ended = false;
  #stop: () => void = () => undefined;

  /** `promise`: makes a promise that another request may settle. */
  constructor(bufferMax: number, promise?: PromiseMaker<IteratorResult<WatchEntry<T>>>) {
    this.#bufferMax = bufferMax;
    this.#promise = promise ?? ((begin) => new Promise(begin));
  }

  /** Told how to end the watch underneath. */
  attach(stop: () => void): void {
    this.#stop = stop;
    // A signal may have been given before.
    if (this.#ended) stop();
  }

  push(entry: WatchEntry<T>): void {
    if (this.#ended) return;
    const waiting = this.#waiting.shift();
    if (waiting !== undefined) waiting.resolve({ done: false, value: entry });
    else if (this.#buffer.length < this.#bufferMax) this.#buffer.push(entry);
    else
      this.end(new KVError("WatchOverflow", `More than ${this.#bufferMax} entries wait for the consumer of a watch`));
  }

  /** No more entries come. What is buffered is still delivered, unless it overflowed. */
  end(failure?: unknown): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#failure = failure;
    if (failure !== undefined) this.#buffer = [];
    this.#stop();
    for (const waiting of this.#waiting.splice(0)) {
      if (failure === undefined) waiting.resolve({ done: true, value: undefined });
      else waiting.reject(failure);
    }
  }

  next(): Promise<IteratorResult<WatchEntry<T>>> {
    const entry = this.#buffer.shift();
    if (entry !== undefined) return Promise.resolve({ done: false, value: entry });
    if (this.#failure !== undefined) {
      const failure = this.#failure;
      this.#failure = undefined;
      return Promise.reject(failure);
    }
    if (this.#ended) return Promise.resolve({ done: true, value: undefined });
    return this.#promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  return(): Promise<IteratorResult<WatchEntry<T>>> {
    this.#buffer = [];
    this.end();
    return Promise.resolve({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}

interface ChangedKey {
  readonly key: KeyPart[];
  readonly version: number;
  readonly timestamp: number;
}

type ChangeEntry<T> =
  | (ChangedKey & { readonly operation: "set"; readonly value: T; readonly expiresAt?: number })
  | (ChangedKey & { readonly operation: "delete"; readonly value?: undefined });

/** What a row says has happened to a key, `value` if it is one that was set. `mark` is told beside it. */
export function changeEntry<T, M extends object>(
  key: EncodedKey,
  row: Row,
  value: () => T,
  mark?: M,
): ChangeEntry<T> & M {
  const common = { key: decodeKey(key), version: row.version, timestamp: row.timestamp, ...(mark as M) };
  if (row.deleted) return { ...common, operation: "delete" };
  const expiry = row.expiresAt === 0 ? {} : { expiresAt: row.expiresAt };
  return { ...common, operation: "set", value: value(), ...expiry };
}

/** The value that a row got from the commit whose payload this is. */
export function valueIn(payload: Uint8Array, row: Row): unknown {
  if (row.numeric !== undefined) return row.numeric;
  const from = row.valueOffset + VALUE_HEADER_BYTES;
  return decodeValue(payload.subarray(from, from + row.valueLength));
}
