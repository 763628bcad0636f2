import { type NamePlace, nameOf, objectStart } from "./property-names.ts";

/** The other direction of `value-plain.ts`. */

/** What `decodePlain` returns for bytes that it leaves to cbor-x. No value decodes to it. */
export const NOT_PLAIN: unique symbol = Symbol("not plain");

let bytes: Uint8Array;
let start = 0;
let at = 0;
let end = 0;
/** All bytes as characters, if somebody has asked for that already. */
let characters: string | undefined;
const float = new DataView(new ArrayBuffer(8));

/**
 * Decodes what `encodePlain` writes, in [from, to) of `source`; `NOT_PLAIN` for everything else, malformed bytes included. Shares no memory with
 * the input.
 */
export function decodePlain(source: Uint8Array, from: number, to: number): unknown {
  bytes = source;
  start = from;
  at = from;
  end = to;
  characters = undefined;
  const value = read();
  return at === to ? value : NOT_PLAIN;
}

function read(): unknown {
  const first = bytes[at++];
  switch (first >> 5) {
    case 0:
      return first < 24 ? first : readLength(first);
    case 1:
      return -1 - readLength(first);
    case 3:
      return readText(first);
    case 4:
      return readArray(first);
    case 5:
      return readObject(first);
    case 7:
      return readSimple(first);
    default:
      return NOT_PLAIN;
  }
}

/** The number in and behind a head; NaN where it is longer than 32 bits or cut off. */
function readLength(first: number): number {
  const low = first & 0x1f;
  if (low < 24) return low;
  if (low === 24) return bytes[at++] ?? NaN;
  if (low === 25) {
    at += 2;
    return at > end ? NaN : (bytes[at - 2] << 8) | bytes[at - 1];
  }
  if (low !== 26) {
    at = Infinity;
    return NaN;
  }
  at += 4;
  if (at > end) return NaN;
  return ((bytes[at - 4] << 24) | (bytes[at - 3] << 16) | (bytes[at - 2] << 8) | bytes[at - 1]) >>> 0;
}

function readSimple(first: number): unknown {
  switch (first) {
    case 0xf4:
      return false;
    case 0xf5:
      return true;
    case 0xf6:
      return null;
    case 0xf7:
      return undefined;
    case 0xfb:
      return readFloat();
    default:
      return NOT_PLAIN;
  }
}

function readFloat(): unknown {
  const from = at;
  at += 8;
  if (at > end) return NOT_PLAIN;
  float.setInt32(0, (bytes[from] << 24) | (bytes[from + 1] << 16) | (bytes[from + 2] << 8) | bytes[from + 3]);
  float.setInt32(4, (bytes[from + 4] << 24) | (bytes[from + 5] << 16) | (bytes[from + 6] << 8) | bytes[from + 7]);
  return float.getFloat64(0);
}

/** Up to so many items an array is made in its size at once; one that grows has room for many more than that. */
const SHORT_ARRAY = 16;

function readArray(first: number): unknown {
  const length = readLength(first);
  // Each item has a byte at least.
  if (!(length <= end - at)) return NOT_PLAIN;
  // A length that was damaged allocates nothing worth mentioning.
  const array = length <= SHORT_ARRAY ? new Array<unknown>(length) : [];
  for (let i = 0; i < length; i++) {
    const item = read();
    if (item === NOT_PLAIN) return NOT_PLAIN;
    array[i] = item;
  }
  return array;
}

function readObject(first: number): unknown {
  const length = readLength(first);
  if (!(length <= end - at)) return NOT_PLAIN;
  const record: Record<string, unknown> = {};
  let place: NamePlace | undefined = objectStart();
  for (let i = 0; i < length; i++) {
    const expected: NamePlace | undefined = place?.next;
    let name: string | undefined;
    if (expected !== undefined && isNext(expected.encoded)) {
      at += expected.encoded.length;
      place = expected;
      name = expected.name;
    } else {
      name = readName();
      if (name === undefined || name === "__proto__") return NOT_PLAIN;
      place = place?.follow(name);
    }
    const value = read();
    if (value === NOT_PLAIN) return NOT_PLAIN;
    put(record, i, name, value);
  }
  return record;
}

/**
 * Sets a property. Each of the first ones has a place of its own in the code, where the engine of the language meets the same name again as a rule,
 * and need not look it up.
 */
function put(record: Record<string, unknown>, place: number, name: string, value: unknown): void {
  switch (place) {
    case 0:
      record[name] = value;
      break;
    case 1:
      record[name] = value;
      break;
    case 2:
      record[name] = value;
      break;
    case 3:
      record[name] = value;
      break;
    case 4:
      record[name] = value;
      break;
    case 5:
      record[name] = value;
      break;
    case 6:
      record[name] = value;
      break;
    case 7:
      record[name] = value;
      break;
    default:
      record[name] = value;
  }
}

/** A property's name; undefined if there is no string. */
function readName(): string | undefined {
  const first = bytes[at++];
  if (first >> 5 !== 3) return undefined;
  const length = readLength(first);
  if (!(length <= end - at)) return undefined;
  const from = at;
  at += length;
  return nameOf(bytes, from, length, () => textWithin(from, from + length));
}

/** True if these are the next bytes. */
function isNext(expected: Uint8Array): boolean {
  const { length } = expected;
  if (length > end - at) return false;
  // As constants: each look at a variable of the module costs.
  const given = bytes;
  const from = at;
  for (let i = 0; i < length; i++) if (expected[i] !== given[from + i]) return false;
  return true;
}

// --- strings -----------------------------------------------------------------------------------------------------------

// Every runtime has it, though it is no part of the language.
declare const TextDecoder: new (
  label: "utf-8",
  options: { readonly ignoreBOM: true },
) => { decode(bytes: Uint8Array): string };
// A byte order mark at the beginning of a string is a part of it.
const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });
/** Strings up to this many bytes are put together from their characters: quicker than the call. */
const SHORT_BYTES = 32;
/**
 * Values up to this many bytes are made characters at once, and their strings cut out of that. A string that somebody keeps may keep all of it in
 * memory, so it must not be much.
 */
const WHOLE_BYTES_MAX = 512;

/** Bytes [from, to) as characters of the same codes. */
export type ToCharacters = (bytes: Uint8Array, from: number, to: number) => string;

let toCharacters: ToCharacters | undefined;

/** Lets strings be made by what the platform has for it, where that takes less than about a tenth of a microsecond; undefined: without. */
export function makeCharactersBy(platform: ToCharacters | undefined): void {
  toCharacters = platform;
}

function readText(first: number): unknown {
  const length = readLength(first);
  if (!(length <= end - at)) return NOT_PLAIN;
  const from = at;
  at += length;
  return textWithin(from, at);
}

function textWithin(from: number, to: number): string {
  const given = bytes;
  let all = 0;
  for (let i = from; i < to; i++) all |= given[i];
  if (all > 0x7f) return utf8.decode(bytes.subarray(from, to));
  if (toCharacters === undefined)
    return to - from <= SHORT_BYTES ? ascii(from, to) : utf8.decode(bytes.subarray(from, to));
  if (end - start > WHOLE_BYTES_MAX) return toCharacters(bytes, from, to);
  characters ??= toCharacters(bytes, start, end);
  return characters.slice(from - start, to - start);
}

const character = String.fromCharCode;

/** Put together in groups: each call costs. */
function ascii(from: number, to: number): string {
  let text = "";
  let i = from;
  for (; i + 8 <= to; i += 8) {
    text += character(
      bytes[i],
      bytes[i + 1],
      bytes[i + 2],
      bytes[i + 3],
      bytes[i + 4],
      bytes[i + 5],
      bytes[i + 6],
      bytes[i + 7],
    );
  }
  if (i + 4 <= to) {
    text += character(bytes[i], bytes[i + 1], bytes[i + 2], bytes[i + 3]);
    i += 4;
  }
  for (; i < to; i++) text += character(bytes[i]);
  return text;
}
