import type { CommitBuilder } from "./commit-builder.ts";
import { NotLoaded } from "./bytes-at.ts";
import { type CombineKind, ItemKind, NO_CHECKS, Operation } from "./commit.ts";
import type { MaybePromise } from "./environment.ts";
import { KVError } from "./errors.ts";
import { decodeKey, type EncodedKey } from "./key.ts";
import { type Layer, LayeredView } from "./layers.ts";
import type { Snapshot, ValueSource } from "./source.ts";
import { type Change, type Row, resolve } from "./resolve.ts";
import { show } from "./show.ts";
import { StagedRows } from "./staged-rows.ts";
import { decodeValue } from "./value.ts";

/** What a transaction sees: its frozen state, that state with its own operations on top, and the reader's clock. */
interface Base {
  readonly snapshot: Snapshot;
  readonly rows: Layer;
  readonly now: number;
}

/**
 * A frozen state with the operations of an uncommitted transaction on top. Each operation does here at once what it will do in the
 * ledger, by the same function; its rows have version 0. Sets and deletes are taken before there is a frozen state, too.
 */
export class StagedState implements ValueSource {
  #base: Base | undefined;
  /** What the transaction has changed, deleted rows included. */
  readonly #own = new StagedRows();
  /**
   * Operations that nobody has looked at yet: sets and deletes, because most transactions that write much read little, and sums from one on whose
   * stored value has yet to arrive.
   */
  #unseen: Operation[] = [];
  readonly #builder: CommitBuilder;
  /** Operations looked at: the place of the next one within the commit. */
  #seen = 0;

  constructor(builder: CommitBuilder) {
    this.#builder = builder;
  }

  /** Tells the state that the transaction sees, and the reader's clock, which is read once. Must come before every read. */
  begin(snapshot: Snapshot, now: number): this {
    this.#base = { snapshot, rows: new LayeredView([this.#own, snapshot.rows], undefined), now };
    return this;
  }

  /** The frozen state; undefined before `begin`. */
  get snapshot(): Snapshot | undefined {
    return this.#base?.snapshot;
  }

  /** What the transaction sees. */
  get rows(): Layer {
    if (this.#unseen.length > 0) this.#see();
    return this.#begun().rows;
  }

  get source(): ValueSource {
    return this;
  }

  /** The frozen state stays until the returned function is called, whatever becomes of the transaction. */
  hold(): (() => void) | undefined {
    return this.#base?.snapshot.hold();
  }

  /** What the transaction sees now, for ever. */
  freeze(): Layer {
    if (this.#unseen.length > 0) this.#see();
    return new LayeredView([this.#own.freeze(), this.#begun().snapshot.rows], undefined);
  }

  /** The reader's clock. */
  get now(): number {
    return this.#begun().now;
  }

  /** Operations that were staged and not looked at. */
  get unseen(): readonly Operation[] {
    return this.#unseen;
  }

  get size(): number {
    return this.#builder.size;
  }

  set(key: EncodedKey, value: unknown, expireIn: number): void {
    this.#unseen.push(this.#builder.set(key, value, expireIn));
  }

  delete(key: EncodedKey): void {
    this.#unseen.push(this.#builder.delete(key));
  }

  /** All of them or, where they do not fit, none. */
  deleteEach(keys: readonly EncodedKey[]): void {
    this.#builder.makeRoomForDeletes(keys);
    for (const key of keys) this.delete(key);
  }

  combine(kind: CombineKind, key: EncodedKey, operand: number | bigint, expireIn: number): void {
    const operation = new Operation(kind, key, expireIn, 0, 0, operand);
    let changes: readonly Change[];
    try {
      // Looked at before it is added: what does not fit is told at the call, and leaves the transaction as it was.
      if (this.#unseen.length > 0) this.#see();
      changes = this.#changes([operation]);
    } catch (error) {
      if (!(error instanceof NotLoaded)) throw error;
      // Then the next read tells, or the commit.
      error.promise.catch(() => undefined);
      this.#unseen.push(this.#builder.combine(kind, key, operand, expireIn));
      return;
    }
    this.#builder.combine(kind, key, operand, expireIn);
    this.#seen += 1;
    this.#apply(changes, false);
  }

  /** True if what the transaction sees under `key` is its own doing alone. */
  overwrote(key: EncodedKey): boolean {
    if (this.#unseen.length > 0) this.#see();
    return this.#own.overwrote(key);
  }

  value(row: Row): MaybePromise<unknown> {
    if (row.numeric !== undefined) return row.numeric;
    if (row.version !== 0) return this.#begun().snapshot.source.value(row);
    return decodeValue(this.#builder.valueBytes(row.valueOffset, row.valueLength));
  }

  /** May have to be done again where bytes have yet to arrive: goes on where it was. */
  #see(): void {
    while (this.#unseen.length > 0) {
      const sum = this.#unseen.findIndex(({ kind }) => kind !== ItemKind.set && kind !== ItemKind.delete);
      const count = sum < 0 ? this.#unseen.length : Math.max(1, sum);
      const operations = this.#unseen.slice(0, count);
      const changes = this.#changes(operations);
      this.#unseen = this.#unseen.slice(count);
      this.#seen += count;
      this.#apply(changes, sum !== 0);
    }
  }

  /** What operations do here, which is what they will do in the ledger. */
  #changes(operations: readonly Operation[]): readonly Change[] {
    const at = { version: 0, timestamp: this.now, place: -1 };
    const resolution = resolve({ checks: NO_CHECKS, operations }, at, this.#begun().rows, this.#seen);
    if (resolution.verdict !== "applied") throw typeMismatch(resolution.key);
    return resolution.changes;
  }

  #apply(changes: readonly Change[], overwrite: boolean): void {
    for (const { key, row } of changes) this.#own.set(key, row, overwrite);
  }

  #begun(): Base {
    if (this.#base === undefined) throw new TypeError("A transaction was read before it had begun");
    return this.#base;
  }
}

export function typeMismatch(key: EncodedKey): KVError {
  const shown = decodeKey(key).map(show).join(", ");
  return new KVError(
    "TypeMismatch",
    `What is stored under [${shown}] and the operand of a sum, min or max do not fit together`,
    {
      outcome: "not committed",
    },
  );
}
