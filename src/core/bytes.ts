/** Bytes that do not follow the layout they should have. Internal: whoever reads a ledger turns it into a `KVError` that names the place. */
export class MalformedBytes extends Error {
  override readonly name = "MalformedBytes";
}

const INITIAL_BYTES = 256;
const TWO_32 = 2 ** 32;
const NOTHING = new Uint8Array(0);
const NO_DATA = new DataView(NOTHING.buffer);

/** From so many characters on, a string is made bytes sooner by the platform than here. */
const LONG_TEXT = 200;
// Every runtime has it, though it is no part of the language.
declare const TextEncoder: new () => { encodeInto(text: string, to: Uint8Array): { readonly written: number } };
const utf8 = new TextEncoder();
/** The longest head of a CBOR item that is written here. */
const HEAD_MAX = 5;
/** Newer than the language level this is compiled for. */
const nativeIsWellFormed = (String.prototype as { isWellFormed?: () => boolean }).isWellFormed;

/** Writes little-endian fields into a buffer that grows. */
export class ByteWriter {
  readonly #initialBytes: number;
  #bytes = NOTHING;
  #data = NO_DATA;
  /** What lies before it was detached. */
  #start = 0;
  /** End of what was written, within the buffer. */
  #length = 0;

  constructor(initialBytes: number = INITIAL_BYTES) {
    this.#initialBytes = initialBytes;
  }

  /** Bytes written. */
  get length(): number {
    return this.#length - this.#start;
  }

  reset(): void {
    this.#length = this.#start;
  }

  /** Drops what was written behind the first `length` bytes. */
  truncate(length: number): void {
    this.#length = Math.min(this.#length, this.#start + length);
  }

  u8(value: number): void {
    this.#reserve(1);
    this.#bytes[this.#length++] = value;
  }

  u16(value: number): void {
    this.#reserve(2);
    this.#data.setUint16(this.#length, value, true);
    this.#length += 2;
  }

  u32(value: number): void {
    this.#reserve(4);
    this.#data.setUint32(this.#length, value, true);
    this.#length += 4;
  }

  /** A safe integer from 0, as 64 bits. */
  uint53(value: number): void {
    this.#reserve(8);
    this.#data.setUint32(this.#length, value % TWO_32, true);
    this.#data.setUint32(this.#length + 4, Math.floor(value / TWO_32), true);
    this.#length += 8;
  }

  f64(value: number): void {
    this.#reserve(8);
    this.#data.setFloat64(this.#length, value, true);
    this.#length += 8;
  }

  /** LEB128: a safe integer from 0, seven bits a byte, the lowest first. */
  varint(value: number): void {
    this.#reserve(8);
    let rest = value;
    while (rest >= 0x80) {
      this.#bytes[this.#length++] = (rest % 0x80) | 0x80;
      rest = Math.floor(rest / 0x80);
    }
    this.#bytes[this.#length++] = rest;
  }

  bytes(value: Uint8Array): void {
    this.#reserve(value.length);
    this.#bytes.set(value, this.#length);
    this.#length += value.length;
  }

  /** One byte for each character, whose codes are below 256. */
  binaryString(value: string): void {
    this.#reserve(value.length);
    const bytes = this.#bytes;
    const from = this.#length;
    for (let i = 0; i < value.length; i++) bytes[from + i] = value.charCodeAt(i);
    this.#length = from + value.length;
  }

  f64BigEndian(value: number): void {
    this.#reserve(8);
    this.#data.setFloat64(this.#length, value);
    this.#length += 8;
  }

  u32BigEndian(value: number): void {
    this.#reserve(4);
    this.#data.setUint32(this.#length, value);
    this.#length += 4;
  }

  u64BigEndian(value: bigint): void {
    this.#reserve(8);
    this.#data.setBigUint64(this.#length, value);
    this.#length += 8;
  }

  /** The head of a CBOR item (RFC 8949, section 3): a major type in the high three bits and an integer of 32 bits, in its shortest form. */
  cborHead(major: number, value: number): void {
    this.#reserve(5);
    const bytes = this.#bytes;
    if (value < 24) {
      bytes[this.#length++] = major | value;
    } else if (value < 0x100) {
      bytes[this.#length++] = major | 24;
      bytes[this.#length++] = value;
    } else if (value < 0x10000) {
      bytes[this.#length++] = major | 25;
      bytes[this.#length++] = value >> 8;
      bytes[this.#length++] = value;
    } else {
      bytes[this.#length++] = major | 26;
      this.u32BigEndian(value);
    }
  }

  /** A CBOR text string. False, with nothing useful written, for one that is not well-formed. */
  cborText(text: string): boolean {
    const { length } = text;
    if (length > LONG_TEXT && nativeIsWellFormed !== undefined) {
      if (!nativeIsWellFormed.call(text)) return false;
      this.#reserve(HEAD_MAX + 3 * length);
      const at = this.#length + HEAD_MAX;
      const { written } = utf8.encodeInto(text, this.#bytes.subarray(at));
      this.cborHead(0x60, written);
      this.#bytes.copyWithin(this.#length, at, at + written);
      this.#length += written;
      return true;
    }
    const before = this.#length;
    this.cborHead(0x60, length);
    this.#reserve(length);
    const bytes = this.#bytes;
    const from = this.#length;
    for (let i = 0; i < length; i++) {
      const code = text.charCodeAt(i);
      if (code > 0x7f) {
        this.#length = before;
        return this.#cborTextBeyondAscii(text);
      }
      bytes[from + i] = code;
    }
    this.#length = from + length;
    return true;
  }

  #cborTextBeyondAscii(text: string): boolean {
    let size = 0;
    for (let i = 0; i < text.length; i++) {
      const code = text.charCodeAt(i);
      if (code < 0x80) size += 1;
      else if (code < 0x800) size += 2;
      else if (code < 0xd800 || code > 0xdfff) size += 3;
      else {
        const next = text.charCodeAt(++i);
        if (code > 0xdbff || !(next >= 0xdc00 && next <= 0xdfff)) return false;
        size += 4;
      }
    }
    this.cborHead(0x60, size);
    this.#reserve(size);
    const bytes = this.#bytes;
    let at = this.#length;
    for (let i = 0; i < text.length; i++) {
      const code = text.codePointAt(i) as number;
      if (code < 0x80) {
        bytes[at++] = code;
        continue;
      }
      if (code < 0x800) {
        bytes[at++] = 0xc0 | (code >> 6);
      } else {
        if (code < 0x10000) {
          bytes[at++] = 0xe0 | (code >> 12);
        } else {
          bytes[at++] = 0xf0 | (code >> 18);
          bytes[at++] = 0x80 | ((code >> 12) & 0x3f);
          i++;
        }
        bytes[at++] = 0x80 | ((code >> 6) & 0x3f);
      }
      bytes[at++] = 0x80 | (code & 0x3f);
    }
    this.#length = at;
    return true;
  }

  /** Room for so many bytes behind what was written, to be written to directly; `advance` tells how many it were. */
  room(more: number): Uint8Array {
    this.#reserve(more);
    return this.#bytes.subarray(this.#length);
  }

  advance(count: number): void {
    this.#length += count;
  }

  /** What was written, from `from` on; valid until the next write. */
  view(from = 0): Uint8Array {
    return this.#bytes.subarray(this.#start + from, this.#length);
  }

  /** A copy of what was written. */
  take(): Uint8Array {
    return this.#bytes.slice(this.#start, this.#length);
  }

  /**
   * What was written, for good: the writer begins anew behind it, in the same buffer as long as there is room. For many small pieces that do not
   * live long: a buffer for each would cost more than what is in it.
   */
  detach(): Uint8Array {
    const written = this.view();
    this.#start = this.#length;
    return written;
  }

  #reserve(more: number): void {
    if (this.#length + more > this.#bytes.length) this.#grow(more);
  }

  #grow(more: number): void {
    const { length } = this;
    const grown = new Uint8Array(Math.max(length + more, length * 2, this.#initialBytes));
    grown.set(this.view());
    this.#bytes = grown;
    this.#data = new DataView(grown.buffer);
    this.#start = 0;
    this.#length = length;
  }
}

/** Reads what `ByteWriter` wrote. Throws `MalformedBytes` rather than read beyond the end. */
export class ByteReader {
  readonly #bytes: Uint8Array;
  readonly #end: number;
  #offset: number;

  constructor(bytes: Uint8Array, from = 0, to: number = bytes.length) {
    this.#bytes = bytes;
    this.#offset = from;
    this.#end = to;
  }

  get offset(): number {
    return this.#offset;
  }

  get remaining(): number {
    return this.#end - this.#offset;
  }

  u8(): number {
    return this.#bytes[this.#advance(1)];
  }

  u16(): number {
    const at = this.#advance(2);
    return this.#bytes[at] | (this.#bytes[at + 1] << 8);
  }

  u32(): number {
    return readU32(this.#bytes, this.#advance(4));
  }

  uint53(): number {
    const at = this.#advance(8);
    const high = readU32(this.#bytes, at + 4);
    if (high >= 2 ** 21) throw new MalformedBytes("an integer above 2^53");
    return high * TWO_32 + readU32(this.#bytes, at);
  }

  f64(): number {
    const at = this.#advance(8);
    return readF64(this.#bytes, at);
  }

  varint(): number {
    let value = 0;
    let scale = 1;
    for (let i = 0; i < 8; i++) {
      const byte = this.u8();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) {
        if (byte === 0 && i > 0) throw new MalformedBytes("an integer with needless bytes");
        if (value > Number.MAX_SAFE_INTEGER) break;
        return value;
      }
      scale *= 0x80;
    }
    throw new MalformedBytes("an integer above 2^53");
  }

  /** Passes the next bytes, and tells where they begin. */
  skip(length: number): number {
    return this.#advance(length);
  }

  /** The next bytes, as a view. */
  bytes(length: number): Uint8Array {
    const at = this.#advance(length);
    return this.#bytes.subarray(at, at + length);
  }

  binaryString(length: number): string {
    const at = this.#advance(length);
    return toBinaryString(this.#bytes, at, at + length);
  }

  #advance(length: number): number {
    const at = this.#offset;
    if (length > this.#end - at) throw new MalformedBytes(`${length} bytes asked for and ${this.#end - at} left`);
    this.#offset = at + length;
    return at;
  }
}

/** Some engines limit the number of arguments of one call. */
const ARGUMENTS_MAX = 4096;
/** The same eight bytes as two words and as a number: quicker than a `DataView`, above all while code is not compiled. */
export const asWords: Int32Array = new Int32Array(2);
export const asNumber: Float64Array = new Float64Array(asWords.buffer);
/** Where the word of the higher bits is: this depends on the processor. */
export const HIGH = new Uint8Array(Uint32Array.of(1).buffer)[0];

/** Up to so many characters a string is made quickest from their codes. */
export const textMax = 48;

/**
 * The codes of a short string that is made in one piece, without holes: written in their order. One that is put together from several is cheap to make, but is
 * made one piece when somebody compares it, which costs several times as much.
 */
export const codes: number[] = [];
let begun = "";

/** Begins a string with these characters, as the one before has begun as a rule. Returns how many they are. */
export function beginText(prefix: string): number {
  const { length } = prefix;
  if (prefix !== begun) {
    begun = prefix;
    for (let i = 0; i < length; i++) codes[i] = prefix.charCodeAt(i);
  }
  return length;
}

/** The string of the first `length` codes. */
export function endText(length: number): string {
  while (codes.length > length) codes.pop();
  return String.fromCharCode.apply(null, codes);
}

/** Each byte as a character. */
export function toBinaryString(bytes: Uint8Array, from = 0, to: number = bytes.length): string {
  if (to - from <= textMax) {
    let at = beginText("");
    for (let i = from; i < to; i++) codes[at++] = bytes[i];
    return endText(at);
  }
  let text = "";
  for (let at = from; at < to; at += ARGUMENTS_MAX) {
    text += String.fromCharCode.apply(
      null,
      bytes.subarray(at, Math.min(to, at + ARGUMENTS_MAX)) as ArrayLike<number> as number[],
    );
  }
  return text;
}

/** Each character, whose codes are below 256, as a byte. */
export function fromBinaryString(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

export function readU32(bytes: Uint8Array, at: number): number {
  return (bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24)) >>> 0;
}

/** A number as it lies in memory, its lowest byte first. */
export function readF64(bytes: Uint8Array, at: number): number {
  asWords[1 - HIGH] = readU32(bytes, at);
  asWords[HIGH] = readU32(bytes, at + 4);
  return asNumber[0];
}

export function toHex(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += byte.toString(16).padStart(2, "0");
  return text;
}

/** The bytes that `toHex` was given. */
export function fromHex(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length / 2);
  for (let i = 0; i < bytes.length; i++) bytes[i] = Number.parseInt(text.slice(2 * i, 2 * i + 2), 16);
  return bytes;
}

export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** The chunks as one, copied. */
export function concatenated(chunks: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunk.length, 0));
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}
