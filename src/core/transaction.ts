import { checkOperand } from "./atomic.ts";
import { onceLoaded, whenLoaded } from "./bytes-at.ts";
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
    const found = this.#read(encodeKey(key));
    const row = isPromise(found) ? await found : found;
    return row === undefined ? null : ((await this.#valueOf(row)) as T);
  }

  /** Value, version, timestamp and expiry under `key`, or null. Of an own write the version is undefined. */
  async getEntry<T = unknown>(key: Key): Promise<Entry<T> | null> {
    const encoded = encodeKey(key);
    const found = this.#read(encoded);
    const row = isPromise(found) ? await found : found;
    return row === undefined ? null : makeEntry(encoded, row, (await this.#valueOf(row)) as T);
  }

  /** The entries under these keys, or null, in the order asked. */
  async getMany<T = unknown>(keys: readonly Key[]): Promise<(Entry<T> | null)[]> {
    const entries: (Entry<T> | null)[] = [];
    for (const key of keys) entries.push(await this.getEntry<T>(key));
    return entries;
  }

  /** True if there is an entry under `key`. Its absence is checked at the commit too. */
  async has(key: Key): Promise<boolean> {
    const found = this.#read(encodeKey(key));
    return (isPromise(found) ? await found : found) !== undefined;
  }

  /** The entries that a query matches. Each one returned is checked at the commit. */
  async *iterate<T = unknown>(query: Query, options?: ListOptions): AsyncGenerator<Entry<T>, void, undefined> {
    const parsed = parseListOptions("iterate", options);
    const state = this.#open();
    const compiled = compileQuery(query);
    const frozen = this.#reading(() => whenLoaded(() => state.freeze()));
    const rows = isPromise(frozen) ? await frozen : frozen;
    const listing = listRows(rows, compiled, { ...parsed, after: parsed.cursor, now: state.now });
    const keys = new KeyDecoder();
    for (let ok = this.#step(listing); isPromise(ok) ? await ok : ok; ok = this.#step(listing)) {
      const { key, row } = listing;
      const value = this.#valueOf(row);
      yield makeListedEntry(keys, key, row, (isPromise(value) ? await value : value) as T, parsed.order);
      if (this.#pacer.due()) await this.#pacer.rest();
    }
  }

  /** The entries that a query matches, in an array. Each is checked at the commit. */
  async listAll<T = unknown>(query: Query, options?: ListOptions): Promise<Entry<T>[]> {
    const entries: Entry<T>[] = [];
    for await (const entry of this.iterate<T>(query, options)) entries.push(entry);
    return entries;
  }

  /** The full keys that a query matches, in order. Each is checked at the commit. */
  async listKeys(query: Query, options?: ListOptions): Promise<KeyPart[][]> {
    const parsed = parseListOptions("listKeys", options);
    const state = this.#open();
    const compiled = compileQuery(query);
    // Frozen: where it has to wait, the transaction may write meanwhile.
    const frozen = this.#reading(() => whenLoaded(() => state.freeze()));
    const rows = isPromise(frozen) ? await frozen : frozen;
    const listing = listRows(rows, compiled, { ...parsed, after: parsed.cursor, now: state.now });
    const keys: KeyPart[][] = [];
    for (let ok = this.#step(listing); isPromise(ok) ? await ok : ok; ok = this.#step(listing))
      keys.push(decodeKey(listing.key));
    return keys;
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

  #read(key: EncodedKey): MaybePromise<Row | undefined> {
    this.#open();
    try {
      return this.#readNow(key);
    } catch (error) {
      return this.#reading(() => onceLoaded(error, () => this.#readNow(key)));
    }
  }

  #readNow(key: EncodedKey): Row | undefined {
    const state = this.#state;
    this.#remember(key);
    return live(state.rows.get(key), state.now);
  }

  /** Moves on, and remembers what it comes to. */
  #step(listing: Listing): MaybePromise<boolean> {
    let moved = false;
    const step = (): boolean => {
      moved ||= listing.next();
      if (moved) this.#remember(listing.key);
      return moved;
    };
    return this.#reading(() => whenLoaded(step));
  }

  #valueOf(row: Row): MaybePromise<unknown> {
    return this.#reading(() => this.#state.value(row));
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
