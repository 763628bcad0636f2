import type { CommitBuilder } from "./commit-builder.ts";
import { type CombineKind, NO_CHECKS, Operation } from "./commit.ts";
import type { MaybePromise } from "./environment.ts";
import { KVError } from "./errors.ts";
import { decodeKey, type EncodedKey } from "./key.ts";
import { type Layer, LayeredView } from "./layers.ts";
import { OrderedMap } from "./ordered-map.ts";
import type { Snapshot, ValueSource } from "./source.ts";
import { type Change, type Row, resolve } from "./resolve.ts";
import { decodeValue } from "./value.ts";

/**
 * A frozen state with the operations of an uncommitted transaction on top. Each operation does here at once what it will do in the
 * ledger, by the same function; its rows have version 0.
 */
export class StagedState implements ValueSource {
  readonly snapshot: Snapshot;
  /** What the transaction has changed, deleted rows included. */
  readonly #own = new OrderedMap<Row>();
  readonly #rows: Layer;
  /** Sets and deletes that nobody has looked at yet: most transactions that write much read little. */
  #unseen: Operation[] = [];
  readonly #builder: CommitBuilder;
  readonly #now: number;
  /** Keys whose staged state does not depend on what was there before. */
  readonly #overwritten = new Set<EncodedKey>();

  constructor(snapshot: Snapshot, builder: CommitBuilder, now: number) {
    this.snapshot = snapshot;
    this.#rows = new LayeredView([this.#own, snapshot.rows], undefined);
    this.#builder = builder;
    this.#now = now;
  }

  /** What the transaction sees. */
  get rows(): Layer {
    if (this.#unseen.length > 0) this.#see();
    return this.#rows;
  }

  /** What the transaction sees now, for ever. */
  freeze(): Layer {
    if (this.#unseen.length > 0) this.#see();
    return new LayeredView([this.#own.freeze(), this.snapshot.rows], undefined);
  }

  /** The reader's clock, read once when the transaction began. */
  get now(): number {
    return this.#now;
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

  combine(kind: CombineKind, key: EncodedKey, operand: number | bigint, expireIn: number): void {
    // Looks at what is there, so that a misfit is told at the call.
    // Looked at before it is added: what does not fit is told at the call, and leaves the transaction as it was.
    const changes = this.#changes([new Operation(kind, key, expireIn, 0, 0, operand)]);
    this.#builder.combine(kind, key, operand, expireIn);
    this.#apply(changes);
  }

  /** True if what the transaction sees under `key` is its own doing alone. */
  overwrote(key: EncodedKey): boolean {
    if (this.#unseen.length > 0) this.#see();
    return this.#overwritten.has(key);
  }

  value(row: Row): MaybePromise<unknown> {
    if (row.numeric !== undefined) return row.numeric;
    if (row.version !== 0) return this.snapshot.source.value(row);
    return decodeValue(this.#builder.valueBytes(row.valueOffset, row.valueLength));
  }

  #see(): void {
    const unseen = this.#unseen;
    this.#unseen = [];
    this.#apply(this.#changes(unseen));
    for (const { key } of unseen) this.#overwritten.add(key);
  }

  /** What operations do here, which is what they will do in the ledger. */
  #changes(operations: readonly Operation[]): readonly Change[] {
    const at = { version: 0, timestamp: this.#now, place: -1 };
    const resolution = resolve({ checks: NO_CHECKS, operations }, at, this.rows);
    if (resolution.verdict !== "applied") throw typeMismatch(operations[0].key);
    return resolution.changes;
  }

  #apply(changes: readonly Change[]): void {
    for (const { key, row } of changes) this.#own.set(key, row);
  }
}

export function typeMismatch(key: EncodedKey): KVError {
  const shown = decodeKey(key).map(String).join(", ");
  return new KVError(
    "TypeMismatch",
    `What is stored under [${shown}] and the operand of a sum, min or max do not fit together`,
    {
      outcome: "not committed",
    },
  );
}
