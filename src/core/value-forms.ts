/**
 * The forms of CBOR that values have, as far as they are numbers and classes: `value-encoder.ts` writes them, `value-decoder.ts` reads them.
 * docs/FORMAT.md lists them.
 */

export const Tag = {
  date: 1,
  positiveBigint: 2,
  negativeBigint: 3,
  regExp: 27,
  set: 258,
  map: 259,
  form: 26223,
} as const;

/** What CBOR has no form for lies under one tag of our own: in an array, of which the first item tells what follows. */
export const Form = {
  minusZero: 0,
  arrayBuffer: 1,
  dataView: 2,
  error: 3,
  sparseArray: 4,
  graph: 5,
  reference: 6,
  // No longer written.
  mark: 7,
  names: 8,
} as const;

/** Shared nodes of a graph: how each is to be made before it is filled. */
export const NodeKind = { object: 0, array: 1, map: 2, set: 3, error: 4, other: 5 } as const;

/** Classes of errors that are kept, by the number that stands for them. */
export const ERROR_CLASSES = [
  Error,
  TypeError,
  RangeError,
  SyntaxError,
  ReferenceError,
  EvalError,
  URIError,
  AggregateError,
] as const;

/** RFC 8746: the content of these tags is the bytes of a typed array. */
export const TYPED_ARRAYS = [
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
] as const;

const MACHINE_IS_LITTLE_ENDIAN = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;

/** Bytes of elements of `size` bytes each: from the machine's order to little-endian, or back. */
export function inLittleEndian<Bytes extends Uint8Array>(
  bytes: Bytes,
  size: number,
  machineIs: boolean = MACHINE_IS_LITTLE_ENDIAN,
): Uint8Array {
  if (machineIs) return bytes;
  const swapped = new Uint8Array(bytes);
  for (let at = 0; at < swapped.length; at += size) swapped.subarray(at, at + size).reverse();
  return swapped;
}

/** A plain object. */
export function isRecord(value: object): value is Record<string, unknown> {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

/** The ms that were divided by 1000: some 140,000 years from now a product can come out next to them. */
export function millisecondsOf(seconds: number): number {
  const ms = Math.round(seconds * 1000);
  if (ms / 1000 === seconds) return ms;
  if ((ms - 1) / 1000 === seconds) return ms - 1;
  return (ms + 1) / 1000 === seconds ? ms + 1 : ms;
}
