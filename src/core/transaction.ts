import { checkOperand } from "./atomic.ts";
import { whenLoaded } from "./bytes-at.ts";
import { type Check, type CombineKind, ItemKind } from "./commit.ts";
import { type Entry, makeEntry, makeListedEntry } from "./entry.ts";
import { isPromise, type MaybePromise } from "./environment.ts";
import { InvalidArgumentError, KVError, notCommitted } from "./errors.ts";
import { decodeKey, type EncodedKey, encodeKey, type Key, KeyDecoder, type KeyPart } from "./key.ts";
import { type Listing, listRows } from "./listing.ts";
import { type ListOptions, parseListOptions, parseOptions, type SetOptions } from "./options.ts";
import type { Pacer } from "./pacer.ts";
import { compileQuery, type Query } from "./query.ts";
import { live, type Row } from "./resolve.ts";
import type { StagedState } from "./staged.ts";

/** Entries that one transaction may have read. */
const CHECKS_MAX = 100_000;

/**
 * What a function given to `db.transaction` works with: reads of one frozen version, with the transaction's own writes on top. Every
 * entry read is checked when the transaction commits; if one has changed, the function runs again. Keys that newly appear in a range
 * that was read are not noticed.
 *
 * Writes take effect together, when the function has resolved. A transaction is dead after its function has ended.
 */
export class Transaction {
  readonly #state: StagedState;
  readonly #pacer: Pacer;
  readonly #checks = new Map<EncodedKey, number>();
  #ended = false;

  /** Made by `db.transaction`. */
  constructor(state: StagedState, pacer: Pacer) {
    this.#state = state;
    this.#pacer = pacer;
  }

  /** The value under `key`, or null. */
  async get<T = unknown>(key: Key): Promise<T | null> {
    const encoded = encodeKey(key);
    const value = this.#reading(() => this.#under(encoded, (row) => this.#state.value(row)));
    return ((isPromise(value) ? await value : value) ?? null) as T | null;
  }

  async getEntry<T = unknown>(key: Key): Promise<Entry<T> | null> {
    const encoded = encodeKey(key);
    return (await this.#reading(() => this.#entry<T>(encoded))) ?? null;
  }

  async getMany<T = unknown>(keys: readonly Key[]): Promise<(Entry<T> | null)[]> {
    return this.#reading(async () => {
      const entries: (Entry<T> | null)[] = [];
      for (const key of keys) entries.push((await this.#entry<T>(encodeKey(key))) ?? null);
      return entries;
    });
  }

  async has(key: Key): Promise<boolean> {
    const encoded = encodeKey(key);
    return (await this.#reading(() => this.#under(encoded, () => true))) === true;
  }

  /** The entries that a query matches. Each one returned is checked at the commit. */
  async *iterate<T = unknown>(query: Query, options?: ListOptions): AsyncGenerator<Entry<T>, void, undefined> {
    yield* this.#entries<T>(query, options, (read) => this.#reading(read));
  }

  /** The entries that a query matches, in an array. Each is checked at the commit. */
  async listAll<T = unknown>(query: Query, options?: ListOptions): Promise<Entry<T>[]> {
    return this.#reading(async () => {
      const entries: Entry<T>[] = [];
      for await (const entry of this.#entries<T>(query, options, (read) => read())) entries.push(entry);
      return entries;
    });
  }

  /** The full keys that a query matches, in order. Each is checked at the commit. */
  async listKeys(query: Query, options?: ListOptions): Promise<KeyPart[][]> {
    return this.#reading(async () => {
      const parsed = parseListOptions("listKeys", options);
      const listing = await this.#listing(query, parsed);
      const keys: KeyPart[][] = [];
      for (let ok = this.#step(listing); isPromise(ok) ? await ok : ok; ok = this.#step(listing))
        keys.push(decodeKey(listing.key));
      return keys;
    });
  }

  /** How many entries a query matches. Each is checked at the commit. */
  async count(query: Query): Promise<number> {
    return (await this.listKeys(query)).length;
  }

  /** Writes a value when the transaction commits. Encoded before it returns: changing the value afterwards changes nothing. */
  set<T = unknown>(key: Key, value: T, options?: SetOptions): void {
    const { expireIn } = parseOptions("set", "set", options);
    this.#open().set(encodeKey(key), value, expireIn);
  }

  /** Deletes a key when the transaction commits. */
  delete(key: Key): void {
    this.#open().delete(encodeKey(key));
  }

  /**
   * Adds `operand` to what is stored at the time of the commit, without making the entry one that was read. Throws `TypeMismatch` if it does not fit
   * what the transaction sees there.
   */
  sum(key: Key, operand: number | bigint, options?: SetOptions): void {
    this.#combine(ItemKind.sum, "sum", key, operand, options);
  }

  /** Keeps the smaller of `operand` and what is stored at the time of the commit. Otherwise as `sum`. */
  min(key: Key, operand: number | bigint, options?: SetOptions): void {
    this.#combine(ItemKind.min, "min", key, operand, options);
  }

  /** Keeps the larger of `operand` and what is stored at the time of the commit. Otherwise as `sum`. */
  max(key: Key, operand: number | bigint, options?: SetOptions): void {
    this.#combine(ItemKind.max, "max", key, operand, options);
  }

  #combine(kind: CombineKind, name: string, key: Key, operand: number | bigint, options: SetOptions | undefined): void {
    const { expireIn } = parseOptions("set", name, options);
    const state = this.#open();
    const encoded = encodeKey(key);
    const checked = checkOperand(name, operand);
    // It looks at what is stored.
    void this.#reading(() => state.combine(kind, encoded, checked, expireIn));
  }

  /** What `use` makes of the row under a key, if there is one. */
  #under<T>(key: EncodedKey, use: (row: Row) => MaybePromise<T>): MaybePromise<T | undefined> {
    const state = this.#state;
    const found = whenLoaded(() => {
      this.#remember(key);
      return live(state.rows.get(key), state.now);
    });
    if (isPromise(found)) return found.then((row) => row && use(row));
    return found && use(found);
  }

  #entry<T>(key: EncodedKey): MaybePromise<Entry<T> | undefined> {
    return this.#under(key, (row) => {
      const value = this.#state.value(row);
      return isPromise(value)
        ? value.then((arrived) => makeEntry(key, row, arrived as T))
        : makeEntry(key, row, value as T);
    });
  }

  /** `reading`: what each step is done with. */
  async *#entries<T>(
    query: Query,
    options: ListOptions | undefined,
    reading: <R>(read: () => MaybePromise<R>) => MaybePromise<R>,
  ): AsyncGenerator<Entry<T>, void, undefined> {
    const parsed = parseListOptions("iterate", options);
    const listing = await reading(() => this.#listing(query, parsed));
    const keys = new KeyDecoder();
    const step = (): MaybePromise<boolean> => this.#step(listing);
    for (let ok = reading(step); isPromise(ok) ? await ok : ok; ok = reading(step)) {
      const { key, row } = listing;
      const value = reading(() => this.#state.value(row));
      yield makeListedEntry(keys, key, row, (isPromise(value) ? await value : value) as T, parsed.order);
      if (this.#pacer.due()) await this.#pacer.rest();
    }
  }

  /** Of what is frozen: where it has to wait, the transaction may write meanwhile. */
  #listing(query: Query, options: ReturnType<typeof parseListOptions>): MaybePromise<Listing> {
    const state = this.#state;
    const compiled = compileQuery(query);
    return whenLoaded(() => listRows(state.freeze(), compiled, { ...options, after: options.cursor, now: state.now }));
  }

  /** Moves on, and remembers what it comes to. */
  #step(listing: Listing): MaybePromise<boolean> {
    let moved = false;
    return whenLoaded(() => {
      moved ||= listing.next();
      if (moved) this.#remember(listing.key);
      return moved;
    });
  }

  /** What is read stays there until the read has ended, also if nobody waits for it and the transaction ends. An error rejects the transaction, unless its function catches it. */
  #reading<T>(read: () => MaybePromise<T>): MaybePromise<T> {
    try {
      this.#open();
      const reading = read();
      if (!isPromise(reading)) return reading;
      const release = this.#state.snapshot?.hold();
      const failed = (error: unknown): never => {
        throw notCommitted(error);
      };
      return reading.catch(failed).finally(() => release?.());
    } catch (error) {
      throw notCommitted(error);
    }
  }

  /** Notes which version of an entry was seen, unless what was seen is the transaction's own doing. */
  #remember(key: EncodedKey): void {
    const state = this.#state;
    if (this.#checks.has(key) || state.overwrote(key)) return;
    if (this.#checks.size >= CHECKS_MAX) {
      throw new KVError("TransactionTooLarge", `A transaction can read at most ${CHECKS_MAX} entries`, {
        outcome: "not committed",
      });
    }
    this.#checks.set(key, live(state.snapshot?.rows.get(key), state.now)?.version ?? 0);
  }

  #open(): StagedState {
    if (this.#ended) throw new InvalidArgumentError("InvalidArgument", "This transaction has ended");
    return this.#state;
  }

  /** Ends the transaction and tells what it has seen. Called by `db.transaction`. */
  static end(transaction: Transaction): Check[] {
    transaction.#ended = true;
    const checks: Check[] = [];
    for (const [key, version] of transaction.#checks) checks.push({ key, version });
    return checks;
  }
}
