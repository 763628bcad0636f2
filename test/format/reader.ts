/**
 * A reader of ledger files, written from docs/FORMAT.md alone: it proves that the page suffices. It shares no code with the library, and
 * imports nothing but a checksum. One long file on purpose: it is read from top to bottom beside that page.
 */
import { crc32 } from "node:zlib";

const MARKER = [0xfc, 0x66, 0x6f, 0x6c, 0x69, 0x6f, 0x6b, 0x76];
const MIB = 1024 * 1024;
const HEADER_SEARCH_BYTES = 65_536;

export interface ReadEntry {
  readonly key: unknown[];
  readonly value: unknown;
  readonly version: number;
  readonly timestamp: number;
  readonly expiresAt?: number;
}

export interface ReadChange {
  readonly operation: "set" | "delete";
  readonly key: unknown[];
  readonly value?: unknown;
  readonly version: number;
  readonly timestamp: number;
  readonly expiresAt?: number;
}

export interface ReadPiece {
  readonly kind: "stump" | "lost" | "damage" | "copy";
  readonly from: number;
  readonly to: number;
}

export interface ReadLedger {
  readonly ledgerId: string;
  readonly generation: number;
  readonly nonce: string;
  readonly version: number;
  readonly entries: ReadEntry[];
  readonly history: ReadChange[];
  readonly voidVersions: number[];
  readonly pieces: ReadPiece[];
}

/** Reads a whole ledger file. `now`: the reader's clock, for what has expired. */
export function readLedger(given: Uint8Array, now: number): ReadLedger {
  // A Buffer's slices share its memory, those of a Uint8Array do not.
  const file = new Uint8Array(given);
  const header = findHeader(file);
  const { delta } = header;
  const state = new State();
  const pieces: ReadPiece[] = [];
  const dropped = new Set<string>();
  if (header.damagedCopy !== undefined) {
    const [from, to] = header.damagedCopy;
    pieces.push({ kind: "copy", from: from + delta, to: to + delta });
  }
  for (let offset = header.framesFrom; offset < file.length;) {
    const frame = wholeFrame(file, offset);
    if (frame === undefined) {
      const { verdict, end } = judge(file, offset);
      if (verdict === "unfinished") break;
      const isCopy = verdict === "damage" && offset >= header.copyFrom && end <= header.copyTo;
      pieces.push({ kind: isCopy ? "copy" : verdict, from: offset + delta, to: end + delta });
      offset = end;
      continue;
    }
    if (frame.kind === 3 && wins(frame.payload, header, dropped)) break;
    if (frame.kind === 2) state.commit(frame.payload, offset + delta, frame.timestamp);
    else if (frame.kind === 4 && frame.payload.length === 16) dropped.add(hex(frame.payload));
    else if (frame.kind < 1 || frame.kind > 4) throw new Error(`a frame of unknown kind ${frame.kind}`);
    offset = frame.end;
  }
  const { ledgerId, generation, nonce } = header;
  return { ledgerId, generation, nonce, pieces, ...state.result(now) };
}

// --- frames ------------------------------------------------------------------------------------------------------------

interface FrameHeader {
  readonly kind: number;
  readonly payloadLength: number;
  readonly timestamp: number;
}

interface Frame extends FrameHeader {
  readonly payload: Uint8Array;
  readonly end: number;
}

function isMarker(file: Uint8Array, offset: number): boolean {
  return MARKER.every((byte, i) => file[offset + i] === byte);
}

function nextMarker(file: Uint8Array, from: number): number {
  for (let offset = from; offset + 8 <= file.length; offset++) if (isMarker(file, offset)) return offset;
  return -1;
}

/** The first `length` bytes of a frame, unmasked except for its last byte. */
function unmasked(file: Uint8Array, offset: number, length: number): Uint8Array {
  const bytes = file.slice(offset, offset + length);
  const mask = bytes.slice(8, 12);
  for (let i = 12; i < length; i++) if (i !== 47) bytes[i] ^= mask[i % 4];
  return bytes;
}

function validHeader(file: Uint8Array, offset: number): FrameHeader | undefined {
  if (offset + 48 > file.length || !isMarker(file, offset)) return undefined;
  const bytes = unmasked(file, offset, 48);
  const view = viewOf(bytes);
  if (bytes[47] !== 0xa5 || crc32(bytes.subarray(12, 43)) !== view.getUint32(43, true)) return undefined;
  return { kind: bytes[12], payloadLength: view.getUint32(13, true), timestamp: view.getFloat64(35, true) };
}

function wholeFrame(file: Uint8Array, offset: number): Frame | undefined {
  const header = validHeader(file, offset);
  if (header === undefined) return undefined;
  const length = header.payloadLength + 53;
  if (length > 65 * MIB || offset + length > file.length || file[offset + length - 1] !== 0x5a) return undefined;
  const bytes = unmasked(file, offset, length);
  const checksumAt = length - 5;
  if (crc32(bytes.subarray(12, checksumAt)) !== viewOf(bytes).getUint32(checksumAt, true)) return undefined;
  return { ...header, payload: bytes.subarray(48, checksumAt), end: offset + length };
}

// --- bytes that are no frame ---------------------------------------------------------------------------------------------

interface Judged {
  readonly verdict: "unfinished" | "stump" | "lost" | "damage";
  readonly end: number;
}

function judge(file: Uint8Array, offset: number): Judged {
  const marker = nextMarker(file, offset + 1);
  const end = marker < 0 ? file.length : marker;
  return judgePiece(file, offset, end, marker < 0);
}

function judgePiece(file: Uint8Array, offset: number, end: number, isLast: boolean): Judged {
  const verdict = verdictOf(file, offset, end, isLast);
  if (verdict !== "damage") return { verdict, end };
  let content = end;
  while (content > offset && file[content - 1] === 0) content--;
  for (let cut = content - 1; cut > offset && cut > content - 8; cut--) {
    if (agreesWithMarker(file.subarray(cut, content))) return judgePiece(file, offset, cut, false);
  }
  return { verdict, end };
}

function verdictOf(file: Uint8Array, offset: number, end: number, isLast: boolean): Judged["verdict"] {
  const length = end - offset;
  const header = validHeader(file.subarray(0, end), offset);
  const declared = header === undefined ? undefined : header.payloadLength + 53;
  let content = length;
  while (content > 0 && file[offset + content - 1] === 0) content--;
  if (isLast && (length < 48 || (declared !== undefined && declared > length))) return "unfinished";
  if (content === 0) return "lost";
  if (content < 48 && agreesWithMarker(file.subarray(offset, offset + content))) return "stump";
  if (declared === undefined) return "damage";
  if (length < declared) return "stump";
  return content < declared ? "lost" : "damage";
}

function agreesWithMarker(bytes: Uint8Array): boolean {
  return MARKER.every((byte, i) => i >= bytes.length || bytes[i] === byte);
}

// --- header ----------------------------------------------------------------------------------------------------------------

interface LedgerHeader {
  readonly ledgerId: string;
  readonly generation: number;
  readonly nonce: string;
  readonly delta: number;
  readonly framesFrom: number;
  readonly copyFrom: number;
  readonly copyTo: number;
  /** Offsets of a damaged first copy. */
  readonly damagedCopy: readonly [number, number] | undefined;
}

function findHeader(file: Uint8Array): LedgerHeader {
  for (let at = nextMarker(file, 0); at >= 0 && at < HEADER_SEARCH_BYTES; at = nextMarker(file, at + 1)) {
    const frame = wholeFrame(file, at);
    if (frame?.kind !== 1) continue;
    const { payload, end } = frame;
    const length = end - at;
    const isSecond = !onlyStumpsOfHeaders(file.subarray(0, at));
    if (isSecond && (at < length || !onlyStumpsOfHeaders(file.subarray(0, at - length)))) continue;
    const view = viewOf(payload);
    const format = view.getUint16(0, true);
    if (format !== 1) throw new Error(`format ${format}`);
    const generation = u64(view, 18);
    const framesAt = u64(view, 50);
    if (u64(view, 66) > 0) throw new Error("a snapshot run");
    return {
      ledgerId: hex(payload.subarray(2, 18)),
      generation,
      nonce: hex(payload.subarray(26, 42)),
      delta: u64(view, 42) - framesAt,
      framesFrom: generation === 1 ? end : Math.max(end, framesAt),
      copyFrom: end,
      copyTo: isSecond ? end : end + length,
      damagedCopy: isSecond ? [at - length, at] : undefined,
    };
  }
  throw new Error("no ledger");
}

/** Of bytes that a header follows. */
function onlyStumpsOfHeaders(bytes: Uint8Array): boolean {
  for (let offset = 0; offset < bytes.length;) {
    // The header that follows is a marker behind the piece: none of them is the last one of the file.
    const followed = new Uint8Array([...bytes, ...MARKER]);
    const { verdict, end } = judge(followed, offset);
    const header = validHeader(bytes, offset);
    const isCreation = bytes.subarray(offset, end).every((byte) => byte === 0) && (end - offset) % (2 * 131) === 0;
    if (!isCreation && (verdict !== "stump" || (header !== undefined && header.kind !== 1))) return false;
    offset = end;
  }
  return true;
}

function wins(payload: Uint8Array, header: LedgerHeader, dropped: ReadonlySet<string>): boolean {
  if (payload.length < 59) return false;
  const nameLength = viewOf(payload).getUint16(56, true);
  if (payload.length !== 59 + nameLength || payload[58 + nameLength] > 1) return false;
  const name = new TextDecoder().decode(payload.subarray(58, 58 + nameLength));
  const match = /^.+\.([0-9]+)-[0-9a-f]+$/s.exec(name);
  if (match === null || match[1] !== String(header.generation + 1) || /[/\\\0]/.test(name)) return false;
  return hex(payload.subarray(0, 16)) === header.nonce && !dropped.has(hex(payload.subarray(16, 32)));
}

// --- commits ---------------------------------------------------------------------------------------------------------------

interface Row {
  readonly value: unknown;
  readonly version: number;
  readonly timestamp: number;
  readonly expiresAt: number | undefined;
}

/** Reads fields one after the other. */
class Fields {
  readonly bytes: Uint8Array;
  at = 0;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  get atEnd(): boolean {
    return this.at >= this.bytes.length;
  }

  take(length: number): Uint8Array {
    if (this.at + length > this.bytes.length) throw new Error("a commit that is cut off");
    this.at += length;
    return this.bytes.subarray(this.at - length, this.at);
  }

  varint(): number {
    let value = 0;
    for (let i = 0; i < 8; i++) {
      const byte = this.take(1)[0];
      value += (byte & 0x7f) * 2 ** (7 * i);
      if (byte >= 0x80) continue;
      if (byte === 0 && i > 0) break;
      return value;
    }
    throw new Error("not a varint");
  }

  f64(): number {
    return viewOf(this.take(8)).getFloat64(0, true);
  }

  key(): string {
    return hex(this.take(this.varint()));
  }
}

class State {
  /** By the encoded key in hexadecimal, whose order is that of the bytes. */
  readonly #rows = new Map<string, Row>();
  readonly #history: ReadChange[] = [];
  readonly #voidVersions: number[] = [];
  #version = 0;

  result(now: number): Pick<ReadLedger, "version" | "entries" | "history" | "voidVersions"> {
    const entries = [...this.#rows]
      .filter(([, row]) => isLive(row, now))
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, row]) => ({ key: decodeKey(key), ...told(row) }));
    return { version: this.#version, entries, history: this.#history, voidVersions: this.#voidVersions };
  }

  commit(payload: Uint8Array, version: number, timestamp: number): void {
    this.#version = version;
    const changes = this.#changes(new Fields(payload), version, timestamp);
    if (changes === undefined) {
      this.#voidVersions.push(version);
      return;
    }
    for (const [key, row] of changes) {
      if (row === undefined) this.#rows.delete(key);
      else this.#rows.set(key, row);
      const common = { key: decodeKey(key), version, timestamp };
      this.#history.push(
        row === undefined ? { operation: "delete", ...common } : { operation: "set", ...common, ...told(row) },
      );
    }
  }

  /** What each key is afterwards, in the order of their last operations; undefined if the commit is void. */
  #changes(fields: Fields, version: number, timestamp: number): Map<string, Row | undefined> | undefined {
    const changes = new Map<string, Row | undefined>();
    const put = (key: string, row: Row | undefined): void => {
      changes.delete(key);
      changes.set(key, row);
    };
    const present = (key: string): Row | undefined => (changes.has(key) ? changes.get(key) : this.#rows.get(key));
    let isVoid = false;
    while (!fields.atEnd) {
      const first = fields.take(1)[0];
      const kind = first & 0x0f;
      const flags = first & 0xf0;
      if (kind < 1 || kind > 7 || !flagsOf(kind).includes(flags)) throw new Error(`an item of unknown kind ${first}`);
      if (kind === 7) {
        const wait = fields.f64();
        for (let count = fields.varint(); count > 0; count--) {
          const key = fields.key();
          const listed = fields.varint();
          const row = present(key);
          if (row?.version === listed && row.expiresAt !== undefined && row.expiresAt + wait < timestamp)
            put(key, undefined);
        }
        continue;
      }
      const key = fields.key();
      if (kind === 1) {
        const row = this.#rows.get(key);
        if (fields.varint() !== (row !== undefined && isLive(row, timestamp) ? row.version : 0)) isVoid = true;
        continue;
      }
      if (kind === 3) {
        put(key, undefined);
        continue;
      }
      const expiresAt = flags === 0 ? undefined : (flags === 0x10 ? timestamp : 0) + fields.f64();
      const length = fields.varint();
      const checksum = kind === 2 ? viewOf(fields.take(4)).getUint32(0, true) : undefined;
      const bytes = fields.take(length);
      if (checksum !== undefined && crc32(bytes) !== checksum) throw new Error("a value that fails its checksum");
      const value = decodeValue(bytes);
      if (kind === 2) {
        put(key, { value, version, timestamp, expiresAt });
        continue;
      }
      const row = present(key);
      const base = row !== undefined && isLive(row, timestamp) ? row : undefined;
      const result = base === undefined ? value : combine(kind, base.value, value);
      if (!fits(result)) isVoid = true;
      else
        put(key, {
          value: result === 0 ? 0 : result,
          version,
          timestamp,
          expiresAt: base === undefined ? expiresAt : base.expiresAt,
        });
    }
    return isVoid ? undefined : changes;
  }
}

function isLive(row: Row, time: number): boolean {
  return row.expiresAt === undefined || row.expiresAt > time;
}

function told(row: Row): { value: unknown; version: number; timestamp: number; expiresAt?: number } {
  const { value, version, timestamp, expiresAt } = row;
  return { value, version, timestamp, ...(expiresAt === undefined ? {} : { expiresAt }) };
}

function combine(kind: number, base: unknown, operand: unknown): unknown {
  if (typeof base === "bigint" && typeof operand === "bigint") {
    if (kind === 4) return base + operand;
    return base < operand === (kind === 5) ? base : operand;
  }
  if (typeof base !== "number" || typeof operand !== "number") return undefined;
  if (kind === 4) return base + operand;
  return kind === 5 ? Math.min(base, operand) : Math.max(base, operand);
}

function fits(result: unknown): boolean {
  if (typeof result === "number") return !Number.isNaN(result);
  return typeof result === "bigint" && (result < 0n ? -result : result) < 2n ** 2048n;
}

// --- keys ------------------------------------------------------------------------------------------------------------------

function decodeKey(encoded: string): unknown[] {
  const bytes = fromHex(encoded);
  const parts: unknown[] = [];
  for (let at = 0; at < bytes.length;) {
    const tag = bytes[at++];
    if (tag === 1 || tag === 2) {
      const content: number[] = [];
      for (; bytes[at] !== 0 || bytes[at + 1] === 0xff; at++) {
        if (at >= bytes.length) throw new Error("a key part without an end");
        content.push(bytes[at]);
        if (bytes[at] === 0) at++;
      }
      at++;
      parts.push(tag === 1 ? Uint8Array.from(content) : utf8(Uint8Array.from(content)));
    } else if (tag === 3) {
      const number = bytes.slice(at, at + 8);
      if (number[0] >= 0x80) number[0] ^= 0x80;
      else number.forEach((byte, i) => (number[i] = byte ^ 0xff));
      parts.push(viewOf(number).getFloat64(0));
      at += 8;
    } else if (tag === 4) {
      const prefix = viewOf(bytes).getUint16(at);
      const negative = prefix < 0x8000;
      const length = negative ? 0x7fff - prefix : prefix - 0x8000;
      const magnitude = bytes.slice(at + 2, at + 2 + length).map((byte) => (negative ? byte ^ 0xff : byte));
      parts.push(negative ? -bigEndian(magnitude) : bigEndian(magnitude));
      at += 2 + length;
    } else if (tag === 5 || tag === 6) {
      parts.push(tag === 6);
    } else {
      throw new Error(`a key part of unknown type ${tag}`);
    }
  }
  return parts;
}

// --- values ----------------------------------------------------------------------------------------------------------------

const OUR_TAG = 26_223;

const TYPED_ARRAYS = new Map<number, new (buffer: ArrayBuffer) => unknown>([
  [64, Uint8Array],
  [68, Uint8ClampedArray],
  [69, Uint16Array],
  [70, Uint32Array],
  [71, BigUint64Array],
  [72, Int8Array],
  [77, Int16Array],
  [78, Int32Array],
  [79, BigInt64Array],
  [85, Float32Array],
  [86, Float64Array],
]);

const ERRORS = [Error, TypeError, RangeError, SyntaxError, ReferenceError, EvalError, URIError, AggregateError];

export function decodeValue(bytes: Uint8Array): unknown {
  const decoder = new Cbor(bytes);
  const value = decoder.outermost();
  if (decoder.at !== bytes.length) throw new Error("bytes behind a value");
  return value;
}

class Cbor {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  at = 0;
  /** The objects of the graph's table. The root, which refers to them, is written before the table: it is read after it. */
  #objects: unknown[] = [];

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = viewOf(bytes);
  }

  outermost(): unknown {
    const form = this.#peekForm();
    if (form !== 5) return this.#item();
    this.#skipHead();
    this.#skipHead();
    this.#item();
    const rootAt = this.at;
    this.#skip();
    const table = this.#tablePlaces();
    const end = this.at;
    this.#objects = table.map((at) => this.#makeObject(at));
    for (const [i, at] of table.entries()) this.#fillObject(this.#objects[i], at);
    this.at = rootAt;
    const root = this.#item();
    this.at = end;
    return root;
  }

  /** The number of the form that begins here. */
  #peekForm(): number | undefined {
    const { at } = this;
    const head = this.#head();
    let form: number | undefined;
    if (head.major === 6 && head.argument === OUR_TAG) {
      this.#head();
      form = this.#item() as number;
    }
    this.at = at;
    return form;
  }

  /** Where the descriptions in the table begin; afterwards stands behind it. */
  #tablePlaces(): number[] {
    const { argument } = this.#head();
    return Array.from({ length: argument }, () => {
      const { at } = this;
      this.#skip();
      return at;
    });
  }

  #makeObject(at: number): unknown {
    this.at = at;
    this.#head();
    const kind = this.#item() as number;
    if (kind === 0) return {};
    if (kind === 1) return [];
    if (kind === 2) return new Map();
    if (kind === 3) return new Set();
    if (kind === 4) return makeError(this.#item());
    if (kind === 5) return this.#item();
    throw new Error(`an object of unknown kind ${kind}`);
  }

  #fillObject(object: unknown, at: number): void {
    this.at = at;
    const { argument } = this.#head();
    this.#item();
    const items = (): unknown[] => Array.from({ length: argument - 1 }, () => this.#item());
    if (object instanceof Map) {
      for (let i = 0; i < (argument - 1) / 2; i++) object.set(this.#item(), this.#item());
    } else if (object instanceof Set) {
      for (const item of items()) object.add(item);
    } else if (Array.isArray(object)) {
      const filled = this.#item() as unknown[];
      object.length = filled.length;
      for (const place of Object.keys(filled)) object[Number(place)] = filled[Number(place)];
    } else if (object instanceof Error) {
      fillError(object, items());
    } else if (Object.getPrototypeOf(object) === Object.prototype) {
      for (let i = 0; i < (argument - 1) / 2; i++)
        (object as Record<string, unknown>)[this.#item() as string] = this.#item();
    }
  }

  #head(): { readonly major: number; readonly low: number; readonly argument: number } {
    const first = this.#bytes[this.at++];
    const major = first >> 5;
    const low = first & 0x1f;
    if (low < 24) return { major, low, argument: low };
    const { at } = this;
    const length = 2 ** (low - 24);
    if (low > 27 || at + length > this.#bytes.length) throw new Error("a head that is cut off, or not definite");
    this.at += length;
    if (low === 24) return { major, low, argument: this.#bytes[at] };
    if (low === 25) return { major, low, argument: this.#view.getUint16(at) };
    if (low === 26) return { major, low, argument: this.#view.getUint32(at) };
    return { major, low, argument: NaN };
  }

  #skipHead(): void {
    this.#head();
  }

  #skip(): void {
    const { major, argument } = this.#head();
    if (major === 2 || major === 3) this.at += argument;
    else if (major === 6) this.#skip();
    else if (major === 4 || major === 5) for (let i = 0; i < argument * (major - 3); i++) this.#skip();
  }

  #take(length: number): Uint8Array {
    if (!(this.at + length <= this.#bytes.length)) throw new Error("a value that is cut off");
    this.at += length;
    return this.#bytes.slice(this.at - length, this.at);
  }

  #item(): unknown {
    const { major, low, argument } = this.#head();
    switch (major) {
      case 0:
        return low === 27 ? this.#view.getBigUint64(this.at - 8) : argument;
      case 1:
        return low === 27 ? -1n - this.#view.getBigUint64(this.at - 8) : -1 - argument;
      case 2:
        return this.#take(argument);
      case 3:
        return utf8(this.#take(argument));
      case 4:
        return Array.from({ length: argument }, () => this.#item());
      case 5: {
        const object: Record<string, unknown> = {};
        for (let i = 0; i < argument; i++) object[this.#item() as string] = this.#item();
        return object;
      }
      case 6:
        return this.#tagged(argument);
      default:
        return this.#simple(low);
    }
  }

  #simple(low: number): unknown {
    if (low === 20) return false;
    if (low === 21) return true;
    if (low === 22) return null;
    if (low === 23) return undefined;
    if (low === 27) return this.#view.getFloat64(this.at - 8);
    throw new Error(`a simple value ${low}`);
  }

  #tagged(tag: number): unknown {
    if (tag === OUR_TAG) return this.#form();
    if (tag === 259) {
      const map = new Map<unknown, unknown>();
      for (let { argument } = this.#head(); argument > 0; argument--) map.set(this.#item(), this.#item());
      return map;
    }
    const content = this.#item();
    const TypedArray = TYPED_ARRAYS.get(tag);
    // Elements are little-endian, as they are in the memory of the machines that this test runs on.
    if (TypedArray !== undefined) return new TypedArray((content as Uint8Array).buffer as ArrayBuffer);
    if (tag === 1) return new Date(millisecondsOf(content as number));
    if (tag === 2) return bigEndian(content as Uint8Array);
    if (tag === 3) return -1n - bigEndian(content as Uint8Array);
    if (tag === 27) return new RegExp((content as string[])[1], (content as string[])[2]);
    if (tag === 258) return new Set(content as unknown[]);
    throw new Error(`a tag ${tag}`);
  }

  #form(): unknown {
    const [form, ...content] = this.#item() as [number, ...unknown[]];
    switch (form) {
      case 0:
        return -0;
      case 1:
        return (content[0] as Uint8Array).buffer;
      case 2:
        return new DataView((content[0] as Uint8Array).buffer);
      case 3:
        return fillError(makeError(content[0]), content);
      case 4: {
        const array: unknown[] = [];
        array.length = content[0] as number;
        for (let i = 1; i < content.length; i += 2) array[content[i] as number] = content[i + 1];
        return array;
      }
      case 6:
        return this.#objects[content[0] as number];
      case 7:
        return `\ufeff${content[0] as string}`;
      case 8: {
        const object: Record<string, unknown> = {};
        for (let i = 0; i < content.length; i += 2) object[content[i] as string] = content[i + 1];
        return object;
      }
      default:
        throw new Error(`an unknown form ${form}`);
    }
  }
}

function makeError(number: unknown): Error {
  const Class = ERRORS[number as number];
  return Class === AggregateError ? new AggregateError([]) : new (Class as ErrorConstructor)();
}

function fillError(error: Error, [, name, message, stack, errors, ...cause]: readonly unknown[]): Error {
  for (const [property, value] of Object.entries({ name, message, stack, errors })) {
    if (value === null) Reflect.deleteProperty(error, property);
    else Object.defineProperty(error, property, { value, writable: true, configurable: true, enumerable: false });
  }
  if (cause.length > 0) Object.defineProperty(error, "cause", { value: cause[0], writable: true, configurable: true });
  return error;
}

// --- small things ----------------------------------------------------------------------------------------------------------

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function u64(view: DataView, at: number): number {
  return Number(view.getBigUint64(at, true));
}

function millisecondsOf(seconds: number): number {
  const ms = Math.round(seconds * 1000);
  return [ms, ms - 1, ms + 1].find((each) => each / 1000 === seconds) ?? ms;
}

function bigEndian(bytes: Uint8Array): bigint {
  return bytes.length === 0 ? 0n : BigInt(`0x${hex(bytes)}`);
}

function utf8(bytes: Uint8Array): string {
  return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

function fromHex(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text, "hex"));
}

function flagsOf(kind: number): number[] {
  if (kind === 2) return [0, 0x10, 0x20];
  return [4, 5, 6].includes(kind) ? [0, 0x10] : [0];
}
