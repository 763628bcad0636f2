import { checkOperand } from "./atomic.ts";
import { type Check, type CombineKind, ItemKind } from "./commit.ts";
import { type Entry, makeEntry } from "./entry.ts";
import { isPromise } from "./environment.ts";
import { InvalidArgumentError, KVError } from "./errors.ts";
import { decodeKey, type EncodedKey, encodeKey, type Key, type KeyPart } from "./key.ts";
import { listRows } from "./listing.ts";
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
    const row = this.#read(encodeKey(key));
    return row === undefined ? null : ((await this.#state.value(row)) as T);
  }

  async getEntry<T = unknown>(key: Key): Promise<Entry<T> | null> {
    const encoded = encodeKey(key);
    const row = this.#read(encoded);
    return row === undefined ? null : makeEntry(encoded, row, (await this.#state.value(row)) as T);
  }

  async getMany<T = unknown>(keys: readonly Key[]): Promise<(Entry<T> | null)[]> {
    const entries: (Entry<T> | null)[] = [];
    for (const key of keys) entries.push(await this.getEntry<T>(key));
    return entries;
  }

  async has(key: Key): Promise<boolean> {
    return this.#read(encodeKey(key)) !== undefined;
  }

  /** The entries that a query matches. Each one returned is checked at the commit. */
  async *iterate<T = unknown>(query: Query, options?: ListOptions): AsyncGenerator<Entry<T>, void, undefined> {
    const parsed = parseListOptions("iterate", options);
    const state = this.#open();
    const listing = listRows(state.freeze(), compileQuery(query), {
      ...parsed,
      after: parsed.cursor,
      now: state.now,
    });
    while (listing.next()) {
      const { key, row } = listing;
      this.#remember(key);
      const value = state.value(row);
      yield makeEntry(key, row, (isPromise(value) ? await value : value) as T, parsed.order);
      if (this.#pacer.due()) await this.#pacer.rest();
    }
  }

  async listAll<T = unknown>(query: Query, options?: ListOptions): Promise<Entry<T>[]> {
    const entries: Entry<T>[] = [];
    for await (const entry of this.iterate<T>(query, options)) entries.push(entry);
    return entries;
  }

  async listKeys(query: Query, options?: ListOptions): Promise<KeyPart[][]> {
    const parsed = parseListOptions("listKeys", options);
    const state = this.#open();
    const listing = listRows(state.rows, compileQuery(query), { ...parsed, after: parsed.cursor, now: state.now });
    const keys: KeyPart[][] = [];
    while (listing.next()) {
      this.#remember(listing.key);
      keys.push(decodeKey(listing.key));
    }
    return keys;
  }

  async count(query: Query): Promise<number> {
    return (await this.listKeys(query)).length;
  }

  set(key: Key, value: unknown, options?: SetOptions): void {
    const { expireIn } = parseOptions("set", "set", options);
    this.#open().set(encodeKey(key), value, expireIn);
  }

  delete(key: Key): void {
    this.#open().delete(encodeKey(key));
  }

  /** Adds `operand` to what is stored at the time of the commit, without making the entry one that was read. */
  sum(key: Key, operand: number | bigint, options?: SetOptions): void {
    this.#combine(ItemKind.sum, "sum", key, operand, options);
  }

  min(key: Key, operand: number | bigint, options?: SetOptions): void {
    this.#combine(ItemKind.min, "min", key, operand, options);
  }

  max(key: Key, operand: number | bigint, options?: SetOptions): void {
    this.#combine(ItemKind.max, "max", key, operand, options);
  }

  #combine(kind: CombineKind, name: string, key: Key, operand: number | bigint, options: SetOptions | undefined): void {
    const { expireIn } = parseOptions("set", name, options);
    this.#open().combine(kind, encodeKey(key), checkOperand(name, operand), expireIn);
  }

  #read(key: EncodedKey): Row | undefined {
    const state = this.#open();
    this.#remember(key);
    return live(state.rows.get(key), state.now);
  }

  /** Notes which version of an entry was seen, unless what was seen is the transaction's own doing. */
  #remember(key: EncodedKey): void {
    const state = this.#open();
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
