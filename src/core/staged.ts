import type { CommitBuilder } from "./commit-builder.ts";
import type { CombineKind, Operation } from "./commit.ts";
import { NO_CHECKS } from "./commit.ts";
import type { MaybePromise } from "./environment.ts";
import { KVError } from "./errors.ts";
import { decodeKey, type EncodedKey } from "./key.ts";
import type { OrderedMap } from "./ordered-map.ts";
import type { Snapshot, ValueSource } from "./replica.ts";
import { type Row, resolve } from "./resolve.ts";
import { decodeValue } from "./value.ts";

/**
 * A frozen state with the operations of an uncommitted transaction on top. Each operation does here at once what it will do in the
 * ledger, by the same function; its rows have version 0.
 */
export class StagedState implements ValueSource {
  readonly snapshot: Snapshot;
  /** What the transaction sees. */
  readonly rows: OrderedMap<Row>;
  readonly #builder: CommitBuilder;
  readonly #now: number;
  /** Keys whose staged state does not depend on what was there before. */
  readonly #overwritten = new Set<EncodedKey>();

  constructor(snapshot: Snapshot, builder: CommitBuilder, now: number) {
    this.snapshot = snapshot;
    this.rows = snapshot.rows.fork();
    this.#builder = builder;
    this.#now = now;
  }

  /** The reader's clock, read once when the transaction began. */
  get now(): number {
    return this.#now;
  }

  get size(): number {
    return this.#builder.size;
  }

  set(key: EncodedKey, value: unknown, expireIn: number): void {
    this.#stage(this.#builder.set(key, value, expireIn));
    this.#overwritten.add(key);
  }

  delete(key: EncodedKey): void {
    this.#stage(this.#builder.delete(key));
    this.#overwritten.add(key);
  }

  combine(kind: CombineKind, key: EncodedKey, operand: number | bigint, expireIn: number): void {
    this.#stage(this.#builder.combine(kind, key, operand, expireIn));
  }

  /** True if what the transaction sees under `key` is its own doing alone. */
  overwrote(key: EncodedKey): boolean {
    return this.#overwritten.has(key);
  }

  value(row: Row): MaybePromise<unknown> {
    if (row.numeric !== undefined) return row.numeric;
    if (row.version !== 0) return this.snapshot.source.value(row);
    return decodeValue(this.#builder.valueBytes(row.valueOffset, row.valueLength));
  }

  #stage(operation: Operation): void {
    const at = { version: 0, timestamp: this.#now, place: -1 };
    const resolution = resolve({ checks: NO_CHECKS, operations: [operation] }, at, this.rows);
    if (resolution.verdict !== "applied") throw typeMismatch(operation.key);
    for (const { key, row } of resolution.changes) {
      if (row.deleted) this.rows.delete(key);
      else this.rows.set(key, row);
    }
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
