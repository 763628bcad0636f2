import { ByteWriter } from "./bytes.ts";
import {
  type Check,
  type CombineKind,
  type Commit,
  ItemKind,
  NO_CHECKS,
  Operation,
  VALUE_HEADER_BYTES,
  writeCheck,
  writeCombine,
  writeDelete,
  writePurge,
  writeSet,
} from "./commit.ts";
import type { Environment } from "./environment.ts";
import { InvalidArgumentError, KVError } from "./errors.ts";
import type { EncodedKey } from "./key.ts";
import { encodeValue } from "./value.ts";

/** More than an item needs besides its key and value. */
const ITEM_OVERHEAD = 64;
/** What a delete needs at most besides its key. */
const DELETE_OVERHEAD = 4;

/** Gathers the checks and operations of one commit, encoding each at once: what the caller changes afterwards changes nothing. */
export class CommitBuilder {
  readonly #crc32: Environment["crc32"];
  readonly #bytesMax: number;
  readonly #body: ByteWriter;
  readonly #operations: Operation[] = [];
  #checks: Check[] = [];
  #finished = false;

  /** `expected`: about how many bytes there will be, if that is known. */
  constructor(environment: Environment, bytesMax: number, expected?: number) {
    this.#crc32 = environment.crc32;
    this.#bytesMax = bytesMax;
    this.#body = new ByteWriter(expected);
  }

  /** Bytes of all operations so far. */
  get bytes(): number {
    return this.#body.length;
  }

  /** Number of operations so far. */
  get size(): number {
    return this.#operations.length;
  }

  /** Those that were added behind the first `count`. */
  operationsFrom(count: number): readonly Operation[] {
    return this.#operations.slice(count);
  }

  check(check: Check): void {
    this.#refuseFinished();
    this.#checks.push(check);
  }

  set(key: EncodedKey, value: unknown, expireIn: number): Operation {
    const bytes = encodeValue(value);
    this.#makeRoom(key.length + bytes.length);
    const numeric = typeof value === "number" || typeof value === "bigint" ? value : undefined;
    return this.#add(writeSet(this.#body, this.#crc32, key, bytes, expireIn, numeric));
  }

  delete(key: EncodedKey): Operation {
    this.#makeRoom(key.length);
    return this.#add(writeDelete(this.#body, key));
  }

  combine(kind: CombineKind, key: EncodedKey, operand: number | bigint, expireIn: number): Operation {
    this.#makeRoom(key.length + (typeof operand === "bigint" ? operand.toString(16).length : 0));
    return this.#add(writeCombine(this.#body, kind, key, operand, expireIn));
  }

  purge(afterMs: number, entries: readonly Check[]): Operation {
    return this.#add(writePurge(this.#body, { afterMs, entries }));
  }

  /** The bytes of a value set here, by its operation's offset and length. Valid until the next operation. */
  valueBytes(offset: number, length: number): Uint8Array {
    const from = offset + VALUE_HEADER_BYTES;
    return this.#body.view().subarray(from, from + length);
  }

  /** The commit as bytes and as operations that fit them. The builder is used up. */
  finish(): { readonly payload: Uint8Array; readonly commit: Commit } {
    this.#refuseFinished();
    this.#finished = true;
    if (this.#checks.length === 0) {
      return { payload: this.#body.view(), commit: { checks: NO_CHECKS, operations: this.#operations } };
    }
    const writer = new ByteWriter();
    for (const check of this.#checks) writeCheck(writer, check);
    const shift = writer.length;
    writer.bytes(this.#body.view());
    const operations = this.#operations.map(
      ({ kind, key, expireIn, valueOffset, valueLength, numeric, purge }) =>
        new Operation(
          kind,
          key,
          expireIn,
          kind === ItemKind.set ? valueOffset + shift : 0,
          valueLength,
          numeric,
          purge,
        ),
    );
    return { payload: writer.view(), commit: { checks: this.#checks, operations } };
  }

  #add(operation: Operation): Operation {
    this.#operations.push(operation);
    return operation;
  }

  /** Throws `CommitTooLarge` if deletes of these keys would not fit. */
  makeRoomForDeletes(keys: readonly EncodedKey[]): void {
    this.#makeRoom(keys.reduce((bytes, key) => bytes + key.length + DELETE_OVERHEAD, 0));
  }

  #makeRoom(bytes: number): void {
    this.#refuseFinished();
    const after = this.#body.length + bytes + ITEM_OVERHEAD;
    if (after <= this.#bytesMax) return;
    throw new KVError(
      "CommitTooLarge",
      `With this operation the commit would have ${after} bytes; the ledger takes ${this.#bytesMax}`,
      {
        outcome: "not committed",
      },
    );
  }

  /** Asked before anything is added, when its value has been encoded: a getter in that may have sent the commit, and what was sent does not change. */
  #refuseFinished(): void {
    if (!this.#finished) return;
    throw new InvalidArgumentError("InvalidArgument", "This commit was sent or dropped: begin another one");
  }
}
