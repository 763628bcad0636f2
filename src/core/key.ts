import {
  asNumber,
  asWords,
  beginText,
  codes,
  endText,
  fromBinaryString,
  HIGH,
  MalformedBytes,
  textMax,
  toBinaryString,
} from "./bytes.ts";
import { InvalidArgumentError, thrownByArgument } from "./errors.ts";
import { show } from "./show.ts";

/** One part of a key. Parts of different types are different keys: `1`, `1n` and `"1"` are three. */
export type KeyPart = string | number | bigint | boolean | Uint8Array;

/**
 * A key: one part or more, from the general to the special. Keys sort part by part: bytes before strings before numbers before bigints before
 * booleans, each by value, strings by code point; a key sorts directly before what lies below it.
 */
export type Key = readonly KeyPart[];

/**
 * A key in its order-preserving encoding, one character of code 0 to 255 for each byte: JavaScript compares such strings as it would
 * compare the bytes. A tuple encoding in the manner of FoundationDB's tuple layer and Deno KV; docs/FORMAT.md gives the bytes.
 */
export type EncodedKey = string;

/** The longest key, in encoded bytes. */
export const keyBytesMax = 2048;

const Tag = { bytes: 1, string: 2, number: 3, bigint: 4, false: 5, true: 6 } as const;

/** The end of bytes and strings. A zero byte inside them is followed by `\xff`. */
const END = "\0";
const ESCAPED_ZERO = "\0\xff";

export function encodeKey(key: Key): EncodedKey {
  try {
    return encodeParts(key);
  } catch (error) {
    throw thrownByArgument("InvalidKey", "The key", error);
  }
}

function encodeParts(key: Key): EncodedKey {
  if (!Array.isArray(key))
    throw new InvalidArgumentError("InvalidKey", `A key is an array of parts; received ${show(key)}`);
  if (key.length === 0) throw new InvalidArgumentError("InvalidKey", "A key has at least one part");
  let encoded = "";
  for (let i = 0; i < key.length; i++) {
    try {
      const part = key[i] as KeyPart;
      encoded = i === 0 && typeof part === "string" ? encodeFirst(part) : encodePart(part, encoded);
    } catch (error) {
      if (!(error instanceof InvalidArgumentError)) throw error;
      throw new InvalidArgumentError("InvalidKey", `Part ${i} of the key: ${error.message}`);
    }
  }
  if (encoded.length > keyBytesMax) {
    throw new InvalidArgumentError(
      "InvalidKey",
      `The key has ${encoded.length} encoded bytes; at most ${keyBytesMax} are allowed`,
    );
  }
  return encoded;
}

let recentFirst: string | undefined;
let recentEncoded = "";

/** A string that keys begin with: as a rule the one that the last key has begun with. */
function encodeFirst(part: string): string {
  if (part !== recentFirst) {
    recentEncoded = encodePart(part);
    recentFirst = part;
  }
  return recentEncoded;
}

/** Encodes one part, behind what is encoded `before` it. Throws `InvalidKey` for what cannot be one. */
export function encodePart(part: KeyPart, before = ""): string {
  if (typeof part === "string") return encodeString(part, before);
  if (typeof part === "number") return encodeNumber(part, before);
  if (typeof part === "boolean") return before + (part ? "\x06" : "\x05");
  if (typeof part === "bigint") return `${before}\x04${encodeBigint(part)}`;
  if (part instanceof Uint8Array) {
    if (part.length > keyBytesMax)
      throw new InvalidArgumentError(
        "InvalidKey",
        `${part.length} bytes are too long: a key has at most ${keyBytesMax}, encoded`,
      );
    if (part.length === 0) refuseDetached(part);
    return `${before}\x01${escapeZeros(toBinaryString(part))}${END}`;
  }
  throw new InvalidArgumentError(
    "InvalidKey",
    `string, number, bigint, boolean or Uint8Array expected; received ${show(part)}`,
  );
}

/** Bytes that were transferred look like none. */
function refuseDetached({ buffer, byteOffset }: Uint8Array): void {
  try {
    void new Uint8Array(buffer, byteOffset, 0);
  } catch {
    throw new InvalidArgumentError("InvalidKey", "its memory was transferred");
  }
}

/** The parts of an encoded key. Throws `MalformedBytes` for what is none. */
export function decodeKey(encoded: EncodedKey): KeyPart[] {
  return new KeyDecoder().decode(encoded);
}

/** Decodes keys one after the other: the parts that one has in common with the one before are not decoded again, except for its last one. */
export class KeyDecoder {
  /** What came before the last part of the key before; empty if that is not to be used again. */
  #prefix: EncodedKey = "";
  #parts: readonly KeyPart[] = [];

  /** As `decodeKey`. */
  decode(encoded: EncodedKey): KeyPart[] {
    const prefix = this.#prefix;
    const { length } = prefix;
    // A zero byte that does not end its part is followed by one that begins none.
    if (length > 0 && length < encoded.length && encoded.startsWith(prefix) && encoded.charCodeAt(length) !== 0xff) {
      const end = partEnd(encoded, length);
      if (end === encoded.length) {
        const last = decodePart(encoded, length, end);
        const before = this.#parts;
        // An array that grows has room for many more.
        return before.length === 1 ? [before[0], last] : [...before, last];
      }
    }
    const parts: KeyPart[] = [];
    let last = 0;
    for (let at = 0; at < encoded.length;) {
      last = at;
      const end = partEnd(encoded, at);
      parts.push(decodePart(encoded, at, end));
      at = end;
    }
    if (parts.length === 0) throw new MalformedBytes("a key without parts");
    this.#parts = parts.slice(0, -1);
    // Bytes belong to whoever receives them.
    this.#prefix = this.#parts.some((part) => typeof part === "object") ? "" : encoded.slice(0, last);
    return parts;
  }
}

/** The offset behind the part that begins at `offset`. */
export function partEnd(encoded: EncodedKey, offset: number): number {
  const tag = encoded.charCodeAt(offset);
  let end: number;
  if (tag === Tag.string || tag === Tag.bytes) end = terminatorAfter(encoded, offset + 1) + 1;
  else if (tag === Tag.number) end = offset + NUMBER_BYTES;
  else if (tag === Tag.bigint) end = offset + 3 + bigintLength(encoded, offset + 1);
  else if (tag === Tag.false || tag === Tag.true) end = offset + 1;
  else throw new MalformedBytes(`a key part of unknown type ${tag}`);
  if (end > encoded.length) throw new MalformedBytes("a key part that does not end");
  return end;
}

function decodePart(encoded: EncodedKey, from: number, end: number): KeyPart {
  const tag = encoded.charCodeAt(from);
  if (tag === Tag.true) return true;
  if (tag === Tag.false) return false;
  if (tag === Tag.number) return decodeNumber(encoded, from + 1);
  if (tag === Tag.bigint) return decodeBigint(encoded, from + 1, end);
  const content = unescapeZeros(encoded.slice(from + 1, end - 1));
  return tag === Tag.bytes ? fromBinaryString(content) : fromUtf8(content);
}

function terminatorAfter(encoded: string, from: number): number {
  for (let at = from; ; at += 2) {
    at = encoded.indexOf(END, at);
    if (at < 0) throw new MalformedBytes("a key part that does not end");
    if (encoded.charCodeAt(at + 1) !== 0xff) return at;
  }
}

const escapeZeros = (text: string): string => (text.includes(END) ? text.replaceAll(END, ESCAPED_ZERO) : text);
const unescapeZeros = (text: string): string => (text.includes(END) ? text.replaceAll(ESCAPED_ZERO, END) : text);

// --- strings ---------------------------------------------------------------------------------------------------------

function encodeString(part: string, before: string): string {
  const { length } = part;
  if (before.length + length + 2 <= textMax) {
    let at = beginText(before);
    codes[at++] = Tag.string;
    let code = 1;
    for (let i = 0; i < length && code !== 0 && code < 0x80; i++) codes[at++] = code = part.charCodeAt(i);
    codes[at++] = 0;
    if (code !== 0 && code < 0x80) return endText(at);
  }
  return `${before}\x02${escapeZeros(utf8(part))}${END}`;
}

/** UTF-8 as a binary string. ASCII, which is its own, is found by looking once. */
function utf8(text: string): string {
  // Each character becomes at least one byte.
  if (text.length > keyBytesMax)
    throw new InvalidArgumentError(
      "InvalidKey",
      `a string of ${text.length} characters is too long: a key has at most ${keyBytesMax} bytes, encoded`,
    );
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 0x7f) return utf8Slow(text);
  return text;
}

function utf8Slow(text: string): string {
  let out = "";
  for (const character of text) {
    const code = character.codePointAt(0) as number;
    if (code < 0x80) out += character;
    else if (code < 0x800) out += String.fromCharCode(0xc0 | (code >> 6), tail(code));
    else if (code >= 0xd800 && code <= 0xdfff) {
      throw new InvalidArgumentError("InvalidKey", "a string with a lone surrogate cannot be a key");
    } else if (code < 0x10000) out += String.fromCharCode(0xe0 | (code >> 12), tail(code >> 6), tail(code));
    else out += String.fromCharCode(0xf0 | (code >> 18), tail(code >> 12), tail(code >> 6), tail(code));
  }
  return out;
}

const tail = (bits: number): number => 0x80 | (bits & 0x3f);

function fromUtf8(bytes: string): string {
  let ascii = true;
  for (let i = 0; ascii && i < bytes.length; i++) ascii = bytes.charCodeAt(i) < 0x80;
  if (ascii) return bytes;
  let out = "";
  for (let at = 0; at < bytes.length;) {
    const first = bytes.charCodeAt(at);
    const length = first < 0x80 ? 1 : first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    let code = length === 1 ? first : first & (0xff >> (length + 1));
    for (let i = 1; i < length; i++) code = (code << 6) | (bytes.charCodeAt(at + i) & 0x3f);
    if (!(code <= 0x10ffff)) throw new MalformedBytes("a key string that is not UTF-8");
    out += String.fromCodePoint(code);
    at += length;
  }
  return out;
}

// --- numbers ---------------------------------------------------------------------------------------------------------

/** Four bytes, as 32 bits with a sign. */
function wordAt(encoded: string, at: number): number {
  return (
    (encoded.charCodeAt(at) << 24) |
    (encoded.charCodeAt(at + 1) << 16) |
    (encoded.charCodeAt(at + 2) << 8) |
    encoded.charCodeAt(at + 3)
  );
}

const NUMBER_BYTES = 9;

/** The tag, and IEEE 754 big-endian; the sign bit flipped, all bits of negative numbers: byte order is numeric order. */
function encodeNumber(value: number, before: string): string {
  if (value !== value) throw new InvalidArgumentError("InvalidKey", "NaN cannot be a key");
  if (before.length + NUMBER_BYTES > textMax) return before + encodeNumber(value, "");
  asNumber[0] = value === 0 ? 0 : value;
  const isNegative = asWords[HIGH] < 0;
  const high = asWords[HIGH] ^ (isNegative ? -1 : 0x80000000);
  const low = asWords[1 - HIGH] ^ (isNegative ? -1 : 0);
  const at = beginText(before);
  codes[at] = Tag.number;
  codes[at + 1] = high >>> 24;
  codes[at + 2] = (high >>> 16) & 0xff;
  codes[at + 3] = (high >>> 8) & 0xff;
  codes[at + 4] = high & 0xff;
  codes[at + 5] = low >>> 24;
  codes[at + 6] = (low >>> 16) & 0xff;
  codes[at + 7] = (low >>> 8) & 0xff;
  codes[at + 8] = low & 0xff;
  return endText(at + NUMBER_BYTES);
}

function decodeNumber(encoded: string, from: number): number {
  const high = wordAt(encoded, from);
  const low = wordAt(encoded, from + 4);
  // The sign bit is set for what is not negative.
  asWords[HIGH] = high < 0 ? high ^ 0x80000000 : ~high;
  asWords[1 - HIGH] = high < 0 ? low : ~low;
  return asNumber[0];
}

// --- bigints ---------------------------------------------------------------------------------------------------------

/**
 * Two bytes, big-endian: 0x8000 plus the length of the magnitude for zero and above, 0x7fff minus it below; then the magnitude,
 * big-endian without leading zeros, its bits inverted below zero.
 */
function encodeBigint(value: bigint): string {
  const negative = value < 0n;
  const magnitude = negative ? -value : value;
  // Two hexadecimal digits a byte: asked of the value before it is turned into digits, which costs more the longer it is.
  if (magnitude >> BigInt(keyBytesMax * 8) !== 0n)
    throw new InvalidArgumentError("InvalidKey", "the bigint is too long");
  let digits = magnitude === 0n ? "" : magnitude.toString(16);
  if (digits.length % 2 === 1) digits = `0${digits}`;
  const length = digits.length / 2;
  const prefix = negative ? 0x7fff - length : 0x8000 + length;
  let encoded = String.fromCharCode(prefix >> 8, prefix & 0xff);
  const flip = negative ? 0xff : 0;
  for (let i = 0; i < digits.length; i += 2)
    encoded += String.fromCharCode(Number.parseInt(digits.slice(i, i + 2), 16) ^ flip);
  return encoded;
}

function bigintLength(encoded: string, from: number): number {
  const prefix = (encoded.charCodeAt(from) << 8) | encoded.charCodeAt(from + 1);
  return prefix >= 0x8000 ? prefix - 0x8000 : 0x7fff - prefix;
}

function decodeBigint(encoded: string, from: number, end: number): bigint {
  const negative = encoded.charCodeAt(from) < 0x80;
  const flip = negative ? 0xff : 0;
  let digits = "";
  for (let at = from + 2; at < end; at++) digits += (encoded.charCodeAt(at) ^ flip).toString(16).padStart(2, "0");
  const magnitude = digits === "" ? 0n : BigInt(`0x${digits}`);
  return negative ? -magnitude : magnitude;
}
