import { NotLoaded, onceLoaded, whenLoaded } from "./bytes-at.ts";
import { type Entry, type EntryOrder, makeListedEntry } from "./entry.ts";
import { isPromise } from "./environment.ts";
import { type EncodedKey, KeyDecoder } from "./key.ts";
import type { Listing } from "./listing.ts";
import type { Pacer } from "./pacer.ts";
import type { Row } from "./resolve.ts";
import type { ValueSource } from "./source.ts";

/** What an iterator walks over, once it has begun. */
export interface IteratorBase {
  readonly listing: Listing;
  readonly source: ValueSource;
  readonly release: () => void;
}

export interface EntryIteratorOptions {
  readonly pacer: Pacer;
  readonly order: EntryOrder;
  /** Waits for what the listing has to see and freezes it. Called once, by the first `next`. */
  readonly begin: () => Promise<IteratorBase>;
  /** What a failure is told as. */
  readonly failed: (error: unknown) => unknown;
  /** Told when the iterator has ended, whether it had begun or not. */
  readonly ended: () => void;
}

/**
 * Entries of one frozen version, one after the other. `cursor` goes on behind the entry that came last, in another listing with the same
 * query and order. The frozen version is released at the end, by `return()`, and when the loop over it is left.
 */
export class EntryIterator<T> implements AsyncIterableIterator<Entry<T>> {
  readonly #options: EntryIteratorOptions;
  readonly #keys = new KeyDecoder();
  #base: IteratorBase | undefined;
  #last: Entry<T> | undefined;
  #ended = false;
  #failure: unknown;
  /** Calls of `next` that overlap are served one after the other. */
  #turn: Promise<void> | undefined;

  /** False at the end, also if it was ended from outside while bytes had to arrive: then nothing may be read any more. */
  readonly #step = (): boolean => this.#base !== undefined && this.#base.listing.next();

  /** Made by `db.iterate`. */
  constructor(options: EntryIteratorOptions) {
    this.#options = options;
  }

  /** Where another listing goes on behind the last entry; undefined before the first. */
  get cursor(): string | undefined {
    return this.#last?.cursor;
  }

  next(): Promise<IteratorResult<Entry<T>, undefined>> {
    const base = this.#base;
    if (base === undefined || this.#turn !== undefined || this.#options.pacer.dueSoon())
      return this.#inTurn(() => this.#next());
    // As a rule nothing has to be waited for, and no function has to be suspended.
    try {
      if (!base.listing.next()) {
        this.#end();
        return Promise.resolve({ done: true, value: undefined });
      }
      const { key, row } = base.listing;
      const value = base.source.value(row);
      if (value instanceof Promise) return this.#inTurn(() => this.#arriving(key, row, value));
      this.#last = this.#entry(key, row, value as T);
      return Promise.resolve({ done: false, value: this.#last });
    } catch (error) {
      if (error instanceof NotLoaded) return this.#inTurn(() => this.#next());
      this.#end();
      return Promise.reject(this.#options.failed(error));
    }
  }

  /** Overlapping calls wait for each other, whether they fail or not. */
  #inTurn<R>(work: () => Promise<R>): Promise<R> {
    const result = this.#turn === undefined ? work() : this.#turn.then(work);
    const turn: Promise<void> = result.then(
      () => this.#endTurn(turn),
      () => this.#endTurn(turn),
    );
    this.#turn = turn;
    return result;
  }

  async #arriving(key: EncodedKey, row: Row, value: Promise<unknown>): Promise<IteratorResult<Entry<T>, undefined>> {
    try {
      this.#last = this.#entry(key, row, (await value) as T);
      return { done: false, value: this.#last };
    } catch (error) {
      this.#end();
      throw this.#options.failed(error);
    }
  }

  return(): Promise<IteratorResult<Entry<T>, undefined>> {
    this.#end();
    return Promise.resolve({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** Ends the iterator from outside: the next `next` rejects with `failure`. */
  close(failure: unknown): void {
    if (this.#ended) return;
    this.#failure = failure;
    this.#end();
  }

  /** All remaining entries in an array; quicker than a loop over `next`. */
  collect(): Promise<Entry<T>[]> {
    return this.#inTurn(() => this.#collect());
  }

  /** The same of one that nobody else has, so that there are no turns. Called by `db.listAll`. */
  static collectAll<T>(iterator: EntryIterator<T>): Promise<Entry<T>[]> {
    return iterator.#collect();
  }

  async #collect(): Promise<Entry<T>[]> {
    const entries: Entry<T>[] = [];
    try {
      if (this.#isOver()) return entries;
      const base = this.#base ?? (await this.#begin());
      for (;;) {
        const wait = this.#collectReady(base, entries);
        if (wait === undefined || (await wait()) === false) break;
      }
      this.#throwFailure();
      if (entries.length > 0) this.#last = entries[entries.length - 1];
      return entries;
    } catch (error) {
      throw this.#options.failed(error);
    } finally {
      this.#end();
    }
  }

  /** Goes on until something has to be awaited, which it returns; undefined at the end, or what resolves with false there. */
  #collectReady(base: IteratorBase, entries: Entry<T>[]): (() => Promise<unknown>) | undefined {
    const { listing, source } = base;
    const { pacer } = this.#options;
    try {
      while (this.#step()) {
        const { key, row } = listing;
        const value = source.value(row);
        if (value instanceof Promise) return async () => entries.push(this.#entry(key, row, (await value) as T));
        entries.push(this.#entry(key, row, value as T));
        if (pacer.dueSoon()) return () => pacer.rest();
      }
      return undefined;
    } catch (error) {
      if (error instanceof NotLoaded) return () => this.#collectLate(base, entries, error);
      throw error;
    }
  }

  /** One entry that has yet to arrive. A step may need several blocks, and what has arrived of them stays until it is done. */
  async #collectLate({ listing, source }: IteratorBase, entries: Entry<T>[], missing: NotLoaded): Promise<boolean> {
    if (!(await onceLoaded(missing, this.#step))) return false;
    const { key, row } = listing;
    entries.push(this.#entry(key, row, (await source.value(row)) as T));
    return true;
  }

  async #next(): Promise<IteratorResult<Entry<T>, undefined>> {
    try {
      if (this.#isOver()) return { done: true, value: undefined };
      const base = this.#base ?? (await this.#begin());
      if (this.#options.pacer.due()) await this.#options.pacer.rest();
      const found = whenLoaded(this.#step);
      const more = isPromise(found) ? await found : found;
      this.#throwFailure();
      if (!more) {
        this.#end();
        return { done: true, value: undefined };
      }
      const { key, row } = base.listing;
      const value = base.source.value(row);
      this.#last = this.#entry(key, row, (value instanceof Promise ? await value : value) as T);
      return { done: false, value: this.#last };
    } catch (error) {
      this.#end();
      throw this.#options.failed(error);
    }
  }

  async #begin(): Promise<IteratorBase> {
    const base = await this.#options.begin();
    // It may have been ended while it was beginning.
    if (this.#ended) base.release();
    else this.#base = base;
    return base;
  }

  #entry(key: EncodedKey, row: Row, value: T): Entry<T> {
    return makeListedEntry(this.#keys, key, row, value, this.#options.order);
  }

  /** True at the end, whatever has become of the database since. Throws what has ended it from outside. */
  #isOver(): boolean {
    this.#throwFailure();
    return this.#ended;
  }

  #throwFailure(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  #endTurn(turn: Promise<void>): void {
    if (this.#turn === turn) this.#turn = undefined;
  }

  #end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#base?.release();
    this.#base = undefined;
    this.#options.ended();
  }
}
