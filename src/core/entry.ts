import { fromBinaryString, fromHex, toBinaryString, toHex } from "./bytes.ts";
import { decodeKey, type EncodedKey, type KeyDecoder, type KeyPart } from "./key.ts";
import type { Row } from "./resolve.ts";

/** What the database holds under a key. Key and value are the receiver's own: changing them changes nothing in the database. */
export interface Entry<T = unknown> {
  readonly key: KeyPart[];
  readonly value: T;
  /** The version of the commit that wrote it; `undefined` for an own write of an open transaction. */
  readonly version: number | undefined;
  /** The author's clock at the commit, ms since the epoch. */
  readonly timestamp: number;
  /** ms since the epoch; missing if the entry does not expire. */
  readonly expiresAt?: number;
  /** Where a listing goes on behind this entry: the `cursor` option of another one with the same query and order. Opaque. */
  readonly cursor: string;
}

/** How a listing is ordered: by key, or by least recently written first. */
export type EntryOrder = "key" | "version";

class ListedEntry<T> implements Entry<T> {
  static {
    // What is printed is the name that users know.
    Object.defineProperty(this, "name", { value: "Entry" });
  }

  readonly key: KeyPart[];
  readonly value: T;
  readonly version: number | undefined;
  readonly timestamp: number;
  declare readonly expiresAt?: number;
  /** What the cursor is made of: the key, or in the order of versions the row. */
  readonly #place: EncodedKey | Row;

  constructor(key: KeyPart[], encoded: EncodedKey, row: Row, value: T, order: EntryOrder) {
    this.key = key;
    this.value = value;
    this.version = row.version === 0 ? undefined : row.version;
    this.timestamp = row.timestamp;
    if (row.expiresAt !== 0) this.expiresAt = row.expiresAt;
    this.#place = order === "key" ? encoded : row;
  }

  // On the prototype: made only when asked for, and left out when an entry is compared or printed.
  get cursor(): string {
    return makeCursor(this.#place);
  }
}

export function makeEntry<T>(encoded: EncodedKey, row: Row, value: T): Entry<T> {
  return new ListedEntry(decodeKey(encoded), encoded, row, value, "key");
}

/** An entry of a listing, whose keys one decoder decodes. */
export function makeListedEntry<T>(
  keys: KeyDecoder,
  encoded: EncodedKey,
  row: Row,
  value: T,
  order: EntryOrder,
): Entry<T> {
  return new ListedEntry(keys.decode(encoded), encoded, row, value, order);
}

/** A place in a listing: behind a key, or behind a commit's operation. */
export type CursorPlace =
  | { readonly order: "key"; readonly key: EncodedKey }
  | { readonly order: "version"; readonly version: number; readonly place: number };

function makeCursor(place: EncodedKey | Row): string {
  if (typeof place !== "string") return `v${writtenAt(place)}.${place.order}`;
  return `k${toHex(fromBinaryString(place))}`;
}

/** The place a cursor stands for, or undefined if the string is none. */
export function parseCursor(text: string): CursorPlace | undefined {
  if (/^k([0-9a-f]{2})+$/.test(text)) return { order: "key", key: toBinaryString(fromHex(text.slice(1))) };
  const match = /^v(\d+)\.(\d+)$/.exec(text);
  return match === null ? undefined : { order: "version", version: Number(match[1]), place: Number(match[2]) };
}

const STAGED = Number.MAX_SAFE_INTEGER;

/** The version a row is ordered by: what is staged in a transaction comes behind everything. */
export function writtenAt(row: Row): number {
  return row.version === 0 ? STAGED : row.version;
}

/** True for the place of a write that was staged when the cursor was taken: where it comes to stand is known when it is committed. */
export function isOfStaged(place: CursorPlace | undefined): boolean {
  return place?.order === "version" && place.version === STAGED;
}
