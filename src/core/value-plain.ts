import { ByteWriter } from "./bytes.ts";

/**
 * The quick way for plain values: small trees of plain objects and arrays over strings, numbers, booleans, null and undefined, in one
 * walk each way. Encoding gives the bytes that cbor-x gives for them (a test compares), so that the two ways are one format. Both say
 * "not plain" rather than decide a hard case, and cbor-x with the forms of `value-forms.ts` takes it from there. `value-plain-decoder.ts` is the
 * other direction.
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
