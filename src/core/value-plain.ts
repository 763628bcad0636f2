import { ByteWriter } from "./bytes.ts";

/**
 * The quick way for plain values: small trees of plain objects and arrays over strings, numbers, booleans, null and undefined, in one
 * walk each way. Encoding gives the bytes that cbor-x gives for them (a test compares), so that the two ways are one format. Both say
 * "not plain" rather than decide a hard case, and cbor-x with the substitutions of value.ts takes it from there.
 */

/** Containers within a value, and within each other, up to which the quick way is tried. */
const CONTAINERS_MAX = 256;
const DEPTH_MAX = 32;
/** Up to so many containers a list is searched quicker than a set. */
const LISTED_MAX = 16;
/** A string above this many characters is no matter of quickness. */
const STRING_MAX = 64 * 1024;

const writer = new ByteWriter(4096);
const listed: object[] = [];
const many = new Set<object>();

/**
 * Encodes a value if it is plain; undefined otherwise. The result is valid until the next call.
 */
export function encodePlain(value: unknown): Uint8Array | undefined {
  writer.reset();
  const plain = write(value, 0);
  listed.length = 0;
  if (many.size > 0) many.clear();
  return plain ? writer.view() : undefined;
}

function write(value: unknown, depth: number): boolean {
  switch (typeof value) {
    case "string":
      return writeString(value);
    case "number":
      return writeNumber(value);
    case "boolean":
      writer.u8(value ? 0xf5 : 0xf4);
      return true;
    case "undefined":
      writer.u8(0xf7);
      return true;
    case "object":
      if (value !== null) return writeContainer(value, depth);
      writer.u8(0xf6);
      return true;
    default:
      return false;
  }
}

/** Integers whose CBOR argument has at most 32 bits in their shortest form, everything else as float64, as cbor-x does. */
function writeNumber(value: number): boolean {
  if (value >>> 0 === value) {
    if (value === 0 && Object.is(value, -0)) return false;
    writer.cborHead(0x00, value);
  } else if (value < 0 && value >= -(2 ** 32) && Math.floor(value) === value) {
    writer.cborHead(0x20, -1 - value);
  } else {
    writer.u8(0xfb);
    writer.f64BigEndian(value);
  }
  return true;
}

function writeString(value: string): boolean {
  if (value.length > STRING_MAX) return false;
  return writer.cborText(value);
}

function writeContainer(value: object, depth: number): boolean {
  if (depth >= DEPTH_MAX || !isNew(value)) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype === Object.prototype) return writeObject(value as Record<string, unknown>, depth);
  return prototype === Array.prototype && writeArray(value as unknown[], depth);
}

/** False for a container that was met before: it is shared, or lies within itself. */
function isNew(value: object): boolean {
  if (listed.length < LISTED_MAX) {
    if (listed.includes(value)) return false;
    listed.push(value);
    return true;
  }
  if (listed.includes(value) || many.has(value) || many.size >= CONTAINERS_MAX) return false;
  many.add(value);
  return true;
}

function writeObject(record: Record<string, unknown>, depth: number): boolean {
  if (Object.getOwnPropertySymbols(record).length > 0) return false;
  const keys = Object.keys(record);
  writer.cborHead(0xa0, keys.length);
  for (let i = 0; i < keys.length; i++) {
    const key = keys[i];
    if (key === "__proto__" || !writer.cborText(key) || !write(record[key], depth + 1)) return false;
  }
  return true;
}

function writeArray(array: unknown[], depth: number): boolean {
  const { length } = array;
  // Properties beside the items would be lost, and holes filled.
  if (Object.keys(array).length !== length || Object.getOwnPropertySymbols(array).length > 0) return false;
  writer.cborHead(0x80, length);
  for (let i = 0; i < length; i++) {
    const item = array[i];
    // There are as many names as items: a hole is made up for by a property beside the items.
    if ((item === undefined && !(i in array)) || !write(item, depth + 1)) return false;
  }
  return true;
}

// --- decoding --------------------------------------------------------------------------------------------------------

/** What `decodePlain` returns for bytes that it leaves to cbor-x. No value decodes to it. */
export const NOT_PLAIN: unique symbol = Symbol("not plain");

let bytes: Uint8Array;
let at = 0;
let end = 0;
const float = new DataView(new ArrayBuffer(8));

/**
 * Decodes what `encodePlain` writes, in [from, to) of `source`; `NOT_PLAIN` for everything else, malformed bytes included. Shares no memory with
 * the input.
 */
export function decodePlain(source: Uint8Array, from: number, to: number): unknown {
  bytes = source;
  at = from;
  end = to;
  const value = read();
  return at === to ? value : NOT_PLAIN;
}

function read(): unknown {
  const first = bytes[at++];
  switch (first >> 5) {
    case 0:
      return readLength(first);
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
      for (let i = 0; i < 8; i++) float.setUint8(i, bytes[at++]);
      return float.getFloat64(0);
    default:
      return NOT_PLAIN;
  }
}

function readArray(first: number): unknown {
  const length = readLength(first);
  // Each item has a byte at least: a length that was damaged allocates nothing.
  if (!(length <= end - at)) return NOT_PLAIN;
  const array: unknown[] = [];
  for (let i = 0; i < length; i++) {
    const item = read();
    if (item === NOT_PLAIN) return NOT_PLAIN;
    array.push(item);
  }
  return array;
}

function readObject(first: number): unknown {
  const length = readLength(first);
  if (!(length <= end - at)) return NOT_PLAIN;
  const record: Record<string, unknown> = {};
  for (let i = 0; i < length; i++) {
    const key = readName();
    if (key === undefined || key === "__proto__") return NOT_PLAIN;
    const value = read();
    if (value === NOT_PLAIN) return NOT_PLAIN;
    record[key] = value;
  }
  return record;
}

// Every runtime has it, though it is no part of the language.
declare const TextDecoder: new (
  label: "utf-8",
  options: { readonly ignoreBOM: true },
) => { decode(bytes: Uint8Array): string };
// A byte order mark at the beginning of a string is a part of it.
const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });
/** Strings up to this many bytes are put together from their characters: quicker than the call. */
const SHORT_BYTES = 32;

function readText(first: number): unknown {
  const length = readLength(first);
  if (!(length <= end - at)) return NOT_PLAIN;
  const from = at;
  at += length;
  if (length <= SHORT_BYTES) {
    const text = ascii(from, at);
    if (text !== undefined) return text;
  }
  return utf8.decode(bytes.subarray(from, at));
}

const character = String.fromCharCode;

/** The bytes as characters if all are ASCII. */
function ascii(from: number, to: number): string | undefined {
  let all = 0;
  for (let i = from; i < to; i++) all |= bytes[i];
  if (all > 0x7f) return undefined;
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

// --- names of properties -----------------------------------------------------------------------------------------------

const NAMES = 1024;
const NAME_BYTES_MAX = 32;
/** Names met before, by a hash of their bytes: the same few come again and again. */
const names: (string | undefined)[] = new Array<string | undefined>(NAMES).fill(undefined);

/** A property's name; undefined if there is no string. */
function readName(): string | undefined {
  const first = bytes[at++];
  if (first >> 5 !== 3) return undefined;
  const length = readLength(first);
  if (!(length <= end - at)) return undefined;
  if (length > NAME_BYTES_MAX) {
    const from = at;
    at += length;
    return utf8.decode(bytes.subarray(from, at));
  }
  let hash = length;
  const nameEnd = at + length;
  for (let i = at; i < nameEnd; i++) hash = (hash * 31 + bytes[i]) | 0;
  const slot = (hash ^ (hash >>> 10)) & (NAMES - 1);
  const known = names[slot];
  if (known !== undefined && isName(known, length)) {
    at = nameEnd;
    return known;
  }
  const text = ascii(at, nameEnd);
  if (text !== undefined) names[slot] = text;
  const name = text ?? utf8.decode(bytes.subarray(at, nameEnd));
  at = nameEnd;
  return name;
}

/** True if the next `length` bytes are this name, which is ASCII. */
function isName(name: string, length: number): boolean {
  if (name.length !== length) return false;
  for (let i = 0; i < length; i++) if (name.charCodeAt(i) !== bytes[at + i]) return false;
  return true;
}
