import { asNumber, asWords, HIGH, MalformedBytes, toHex } from "./bytes.ts";
import { itemEnd } from "./cbor-items.ts";
import { type NamePlace, nameOf, objectStart } from "./property-names.ts";
import { fillError, makeError } from "./value-errors.ts";
import { Form, inLittleEndian, millisecondsOf, NodeKind, Tag, TYPED_ARRAYS } from "./value-forms.ts";

/** CBOR to values: what `value-encoder.ts` writes, and what older versions have written. */

let bytes: Uint8Array;
let start = 0;
let at = 0;
let end = 0;
/** All bytes as characters, if somebody has asked for that already. */
let characters: string | undefined;
const NO_NODES: readonly unknown[] = [];
/** The table of a graph while one is read. */
let nodes = NO_NODES;
/** How a graph begins: our tag, an array of three, the number of the form. */
const GRAPH = Uint8Array.of(0xd9, Tag.form >> 8, Tag.form & 0xff, 0x83, Form.graph);
/** A byte order mark. */
const MARK = "\ufeff";
const asBigint = new BigUint64Array(asWords.buffer);

const VIEWS = new Map<number, (typeof TYPED_ARRAYS)[number][1]>(TYPED_ARRAYS);

/**
 * Decodes [from, to) of `source`. Shares no memory with it. With `names`, it is a plain object, of which the values of these properties stand there
 * and nothing else. Throws whatever it comes upon when that is no value.
 */
export function decode(source: Uint8Array, from: number, to: number, names: readonly string[] | undefined): unknown {
  bytes = source;
  start = from;
  at = from;
  end = to;
  characters = undefined;
  nodes = NO_NODES;
  const value = names !== undefined ? readValues(names) : isNext(GRAPH) ? readGraph() : read();
  // Nothing else looks whether a number, or a part of one, lies behind the end.
  if (at !== to) throw malformed();
  return value;
}

function malformed(): MalformedBytes {
  return new MalformedBytes(`not as it was written, at byte ${at - start}`);
}

function read(): unknown {
  // Whatever says how many items follow has room for them, but what lies in it may have taken that.
  if (at >= end) throw malformed();
  const first = bytes[at++];
  switch (first >> 5) {
    case 0:
      return first < 24 ? first : first === 0x1b ? readBigint() : readLength(first);
    case 1:
      return first === 0x3b ? -1n - readBigint() : -1 - readLength(first);
    case 2:
      return readBytes(readCount(first));
    case 3:
      return readText(readCount(first));
    case 4:
      return readItems(readCount(first));
    case 5:
      return readObject(readCount(first));
    case 6:
      return readTagged(first);
    default:
      return readSimple(first);
  }
}

/** The number in and behind a head, which has at most 32 bits. */
function readLength(first: number): number {
  const low = first & 0x1f;
  if (low < 24) return low;
  if (low === 24) return bytes[at++];
  if (low === 25) {
    at += 2;
    return (bytes[at - 2] << 8) | bytes[at - 1];
  }
  if (low !== 26) throw malformed();
  at += 4;
  return ((bytes[at - 4] << 24) | (bytes[at - 3] << 16) | (bytes[at - 2] << 8) | bytes[at - 1]) >>> 0;
}

/** How many bytes or items follow. Each item has a byte at least: a length that was damaged allocates nothing. */
function readCount(first: number): number {
  const length = readLength(first);
  if (length <= end - at) return length;
  throw malformed();
}

/** The number of items of an array, or of pairs of a map, that begins here. */
function readHead(major: number): number {
  const first = bytes[at++];
  if (first >> 5 !== major) throw malformed();
  return readCount(first);
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
      readEight();
      return asNumber[0];
    default:
      throw malformed();
  }
}

function readBigint(): bigint {
  readEight();
  return asBigint[0];
}

function readEight(): void {
  const from = at;
  at += 8;
  asWords[HIGH] = (bytes[from] << 24) | (bytes[from + 1] << 16) | (bytes[from + 2] << 8) | bytes[from + 3];
  asWords[1 - HIGH] = (bytes[from + 4] << 24) | (bytes[from + 5] << 16) | (bytes[from + 6] << 8) | bytes[from + 7];
}

/** The next bytes, in a buffer of their own. */
function readBytes(length: number): Uint8Array {
  at += length;
  return new Uint8Array(bytes.subarray(at - length, at));
}

/** Up to so many items an array is made in its size at once; one that grows has room for many more than that. */
const SHORT_ARRAY = 16;

function readItems(length: number): unknown[] {
  const array = length <= SHORT_ARRAY ? new Array<unknown>(length) : [];
  for (let i = 0; i < length; i++) array[i] = read();
  return array;
}

function readObject(length: number): unknown {
  const record: Record<string, unknown> = {};
  let place: NamePlace | undefined = objectStart();
  for (let i = 0; i < length; i++) {
    const expected: NamePlace | undefined = place?.next;
    let name: string;
    if (expected !== undefined && isNext(expected.encoded)) {
      at += expected.encoded.length;
      place = expected;
      name = expected.name;
    } else {
      name = checkName(readName());
      place = place?.follow(name);
    }
    put(record, i, name, read());
  }
  return record;
}

function readValues(names: readonly string[]): unknown {
  const record: Record<string, unknown> = {};
  const { length } = names;
  for (let i = 0; i < length; i++) put(record, i, names[i], read());
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

function readName(): string {
  const length = readHead(3);
  const from = at;
  at += length;
  return nameOf(bytes, from, length, () => textWithin(from, from + length));
}

/** A name that a property can have which is set as any other. */
function checkName(name: unknown): string {
  if (typeof name === "string" && name !== "__proto__") return name;
  throw malformed();
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

// --- tags --------------------------------------------------------------------------------------------------------------

function readTagged(first: number): unknown {
  const tag = readLength(first);
  switch (tag) {
    case Tag.form:
      return readForm();
    case Tag.date:
      return new Date(millisecondsOf(readAs("number")));
    case Tag.positiveBigint:
      return readMagnitude();
    case Tag.negativeBigint:
      return -1n - readMagnitude();
    case Tag.regExp:
      if (readHead(4) !== 3 || read() !== "RegExp") throw malformed();
      return new RegExp(readAs("string"), readAs("string"));
    case Tag.set:
      return fillSet(new Set(), readHead(4));
    case Tag.map:
      return fillMap(new Map(), readHead(5));
    default:
      return readView(tag);
  }
}

function readAs(type: "number"): number;
function readAs(type: "string"): string;
function readAs(type: "number" | "string"): unknown {
  const value = read();
  if (typeof value !== type) throw malformed();
  return value;
}

function readMagnitude(): bigint {
  return BigInt(`0x0${toHex(readBytes(readHead(2)))}`);
}

function readView(tag: number): ArrayBufferView {
  const View = VIEWS.get(tag);
  if (View === undefined) throw malformed();
  return new View(inLittleEndian(readBytes(readHead(2)), View.BYTES_PER_ELEMENT).buffer as ArrayBuffer);
}

function fillMap(map: Map<unknown, unknown>, entries: number): Map<unknown, unknown> {
  for (let i = 0; i < entries; i++) map.set(read(), read());
  return map;
}

function fillSet(set: Set<unknown>, items: number): Set<unknown> {
  for (let i = 0; i < items; i++) set.add(read());
  return set;
}

function readForm(): unknown {
  const [form, ...parts] = readItems(readHead(4));
  const [first] = parts;
  switch (form) {
    case Form.minusZero:
      return -0;
    case Form.arrayBuffer:
      return bufferOf(first);
    case Form.dataView:
      return new DataView(bufferOf(first));
    case Form.error:
      return fillError(readError(first), parts);
    case Form.sparseArray:
      return sparseArray(parts);
    case Form.reference:
      if (typeof first !== "number" || !(first in nodes)) throw malformed();
      return nodes[first];
    case Form.mark:
      if (typeof first !== "string") throw malformed();
      return MARK + first;
    case Form.names:
      return fillRecord({}, parts);
    default:
      throw malformed();
  }
}

function bufferOf(content: unknown): ArrayBuffer {
  if (content instanceof Uint8Array) return content.buffer as ArrayBuffer;
  throw malformed();
}

function readError(number: unknown): Error {
  const error = makeError(number);
  if (error === undefined) throw malformed();
  return error;
}

/** From name, value, name, value ... */
function fillRecord(record: Record<string, unknown>, parts: readonly unknown[]): unknown {
  for (let i = 0; i + 1 < parts.length; i += 2) record[checkName(parts[i])] = parts[i + 1];
  return record;
}

/** From the length, then place, item, place, item ... */
function sparseArray(parts: readonly unknown[]): unknown[] {
  const length = parts[0] as number;
  if (length >>> 0 !== length) throw malformed();
  const array: unknown[] = [];
  for (let i = 1; i + 1 < parts.length; i += 2) {
    const place = parts[i];
    if (typeof place !== "number" || !(place >= 0 && place < length)) throw malformed();
    array[place] = parts[i + 1];
  }
  lengthen(array, length);
  return array;
}

/** Holes at the end. An array that is given its length has room for all of it; one with an item far away, only for those that are there. */
function lengthen(array: unknown[], length: number): void {
  if (array.length === length) return;
  array[length - 1] = undefined;
  // oxlint-disable-next-line typescript/no-array-delete -- a hole is what it is to be
  delete array[length - 1];
}

// --- graphs ------------------------------------------------------------------------------------------------------------

/** All nodes of the table are made before any is filled, and the root, which stands before the table, is read last: a node can lie within itself. */
function readGraph(): unknown {
  const rootAt = (at += GRAPH.length);
  skip();
  const tableAt = at;
  const length = readHead(4);
  const starts: number[] = [];
  for (let i = 0; i < length; i++) {
    starts.push(at);
    skip();
  }
  starts.push(at);
  nodes = starts.slice(0, -1).map(makeNode);
  nodes.forEach((node, i) => {
    at = starts[i];
    fillNode(node);
    if (at !== starts[i + 1]) throw malformed();
  });
  at = rootAt;
  const root = read();
  if (at !== tableAt) throw malformed();
  at = starts[length];
  nodes = NO_NODES;
  return root;
}

/** Passes an item, whatever lies in it. */
function skip(): void {
  at = itemEnd(bytes, at, end);
  if (at > end) throw malformed();
}

function makeNode(from: number): unknown {
  at = from;
  readHead(4);
  switch (read()) {
    case NodeKind.object:
      return {};
    case NodeKind.array:
      return [];
    case NodeKind.map:
      return new Map();
    case NodeKind.set:
      return new Set();
    case NodeKind.error:
      return readError(read());
    case NodeKind.other:
      return read();
    default:
      throw malformed();
  }
}

function fillNode(node: unknown): void {
  const length = readHead(4) - 1;
  switch (read()) {
    case NodeKind.object:
      return void fillRecord(node as Record<string, unknown>, readItems(length));
    case NodeKind.array:
      return fillArray(node as unknown[], read());
    case NodeKind.map:
      return void fillMap(node as Map<unknown, unknown>, length / 2);
    case NodeKind.set:
      return void fillSet(node as Set<unknown>, length);
    case NodeKind.error:
      return void fillError(node as Error, readItems(length));
    default:
      // Any other object was read when it was made.
      skip();
  }
}

function fillArray(array: unknown[], items: unknown): void {
  if (!Array.isArray(items)) throw malformed();
  Object.assign(array, items);
  lengthen(array, items.length);
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

function readText(length: number): string {
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
