/**
 * What values have that cbor-x would lose is put under one tag of our own, in one of these forms: `value-forms-encoder.ts` puts it there and
 * `value-forms-decoder.ts` takes it out again. docs/FORMAT.md lists them.
 */

/** Our tag: its content is an array, of which the first item tells what follows. */
export const FORM_TAG = 26223;

export const Form = {
  minusZero: 0,
  arrayBuffer: 1,
  dataView: 2,
  error: 3,
  sparseArray: 4,
  graph: 5,
  reference: 6,
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

/** The byte order mark. cbor-x takes one at the beginning of a string for none of its content. */
export const MARK = "\ufeff";

/** A plain object. */
export function isRecord(value: object): value is Record<string, unknown> {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}
