import { onceLoaded } from "./bytes-at.ts";
import { readU32 } from "./bytes.ts";
import { checksumWithin } from "./crc32.ts";
import { VALUE_HEADER_BYTES } from "./commit.ts";
import type { Environment, MaybePromise } from "./environment.ts";
import { isPromise } from "./environment.ts";
import { KVError } from "./errors.ts";
import type { Layer } from "./layers.ts";
import type { LedgerSession } from "./ledger.ts";
import type { FrozenReplica } from "./replica.ts";
import type { Row, ValueHome } from "./resolve.ts";
import { decodeValue } from "./value.ts";

/** Tells a row's value. */
export interface ValueSource {
  /** The decoded value of a row that is not deleted; the receiver's own; or a `Promise` of it, where its bytes have to arrive. Throws `LedgerDamaged` when its bytes fail their checksum. */
  value(row: Row): MaybePromise<unknown>;
}

/**
 * One opened session together with who still reads values from it. A session that was replaced stays open until its last snapshot is
 * released.
 */
export class Source implements ValueSource {
  readonly session: LedgerSession;
  readonly #name: string;
  readonly #crc32: Environment["crc32"];
  #pins = 0;
  #retired = false;

  constructor(session: LedgerSession, name: string, environment: Environment) {
    this.session = session;
    this.#name = name;
    this.#crc32 = environment.crc32;
  }

  value(row: Row): MaybePromise<unknown> {
    if (row.numeric !== undefined) return row.numeric;
    if (row.home !== undefined) return homeValue(row.home, row);
    const record = this.#record(row);
    if (!isPromise(record)) return decodeValue(record, VALUE_HEADER_BYTES);
    return record.then((arrived) => decodeValue(arrived, VALUE_HEADER_BYTES));
  }

  /**
   * The encoded value of a row that is not deleted and whose value is not kept in the row. Valid until the next call. Throws as `value`
   * does.
   */
  bytes(row: Row): MaybePromise<Uint8Array> {
    if (row.home !== undefined) return homeBytes(row.home, row);
    const record = this.#record(row);
    if (!isPromise(record)) return record.subarray(VALUE_HEADER_BYTES);
    return record.then((arrived) => arrived.subarray(VALUE_HEADER_BYTES));
  }

  /** A value's checksum and, behind it, the value, which passes it. */
  #record(row: Row): MaybePromise<Uint8Array> {
    const { version, place, valueOffset, valueLength } = row;
    const { session } = this;
    const record = session.readValue(version, place + valueOffset, VALUE_HEADER_BYTES + valueLength);
    if (isPromise(record)) return this.#arriving(row, record);
    if (session.isKnownWhole === true) return record;
    if (!this.#isGood(row, record)) return this.#again(row);
    session.noteWhole?.();
    return record;
  }

  async #arriving(row: Row, record: Promise<Uint8Array>): Promise<Uint8Array> {
    // The session must not close under a read that waits for its bytes.
    this.pin();
    try {
      const arrived = await record;
      return this.#isGood(row, arrived) ? arrived : await this.#again(row);
    } finally {
      this.unpin();
    }
  }

  #isGood(row: Row, record: Uint8Array): boolean {
    const { length } = record;
    if (length !== VALUE_HEADER_BYTES + row.valueLength) return false;
    return checksumWithin(this.#crc32, record, VALUE_HEADER_BYTES, length) === readU32(record, 0);
  }

  /** What fails is read a second time before it is called damaged. */
  #again(row: Row): MaybePromise<Uint8Array> {
    const from = row.place + row.valueOffset;
    const length = VALUE_HEADER_BYTES + row.valueLength;
    const check = (record: Uint8Array): Uint8Array => {
      if (this.#isGood(row, record)) return record;
      throw new KVError("LedgerDamaged", `The value at address ${from} of ${this.#name} fails its checksum`, {
        ranges: [{ from, to: from + length }],
      });
    };
    const record = this.session.readValue(row.version, from, length, { again: true });
    return isPromise(record) ? record.then(check) : check(record);
  }

  pin(): void {
    this.#pins++;
  }

  /** Releases one pin. Returns a promise if that closed the session. */
  unpin(): void {
    this.#pins--;
    this.#closeIfUnused();
  }

  /** No new readers come; closes as soon as the last one is gone. */
  retire(): void {
    this.#retired = true;
    this.#closeIfUnused();
  }

  #closeIfUnused(): void {
    if (!this.#retired || this.#pins > 0) return;
    const closed = this.session.close();
    // Nothing can be done about a descriptor that fails to close, and nobody depends on it any more.
    if (isPromise(closed)) closed.catch(() => undefined);
  }
}

function homeValue(home: ValueHome, row: Row): MaybePromise<unknown> {
  try {
    return home.value(row);
  } catch (error) {
    return onceLoaded(error, () => home.value(row));
  }
}

/** The encoded value of a row that a run gave out. The run must not be let go of before it is there. */
export function homeBytes(home: ValueHome, row: Row): MaybePromise<Uint8Array> {
  try {
    return home.valueBytes(row);
  } catch (error) {
    // Copied: before whoever waits has its turn, others may have called.
    return onceLoaded(error, () => home.valueBytes(row).slice());
  }
}

/** Rows, and what tells their values. */
export interface View {
  readonly rows: Pick<Layer, "get">;
  readonly source: ValueSource;
  /** The reader's clock, where that was read already. */
  readonly now?: number;
}

/** One version of the database, unchangeable, until released. */
export interface Snapshot {
  readonly version: number;
  readonly rows: FrozenReplica;
  readonly source: Source;
  /** ms on the monotonic clock. */
  readonly takenAt: number;
  /** For a read that may outlast whoever took the snapshot: it stays until the returned function is called as well. */
  hold(): () => void;
  /** Nobody reads from it any more, but for those who hold it. Idempotent. */
  release(): void;
}
