import { Encoder, Tag } from "cbor-x/index-no-eval";

/**
 * Values as cbor-x writes them, with the forms of docs/FORMAT.md for what it would lose: the library's own codec is to write the same bytes. What
 * cannot be kept is none of its business.
 */

const codec = new Encoder({ useRecords: false, tagUint8Array: false, variableMapSize: true });

const ERRORS = [Error, TypeError, RangeError, SyntaxError, ReferenceError, EvalError, URIError, AggregateError];

type Places = ReadonlyMap<object, number>;

export function encodeByCborX(value: unknown): Uint8Array {
  if (Object.is(value, -0)) return Uint8Array.of(0xfb, 0x80, 0, 0, 0, 0, 0, 0, 0);
  const places = placesOfShared(value);
  const root = substitute(value, places);
  const nodes = [...places.keys()].map((node) => nodeOf(node, places));
  return Uint8Array.from(codec.encode(nodes.length === 0 ? root : form(5, root, nodes)));
}

function form(...content: readonly unknown[]): Tag {
  return new Tag(content, 26_223);
}

function uint8(bytes: Uint8Array): Tag {
  return new Tag(bytes, 64);
}

/** In the order in which it turns out that something is shared. */
function placesOfShared(root: unknown): Places {
  const met = new Set<object>();
  const places = new Map<object, number>();
  const visit = (value: unknown): void => {
    if (typeof value !== "object" || value === null) return;
    if (met.has(value)) {
      if (!places.has(value)) places.set(value, places.size);
      return;
    }
    met.add(value);
    if (value instanceof Map) for (const [key, item] of value) [key, item].forEach(visit);
    else if (value instanceof Set) for (const item of value) visit(item);
    else if (value instanceof AggregateError) [value.cause, value.errors].forEach(visit);
    else if (value instanceof Error) visit(value.cause);
    else if (!ArrayBuffer.isView(value)) Object.values(value).forEach(visit);
  };
  visit(root);
  return places;
}

function substitute(value: unknown, places: Places): unknown {
  if (Object.is(value, -0)) return form(0);
  if (typeof value !== "object" || value === null) return value;
  const place = places.get(value);
  return place === undefined ? substituteObject(value, places) : form(6, place);
}

function substituteObject(value: object, places: Places): unknown {
  const each = (item: unknown): unknown => substitute(item, places);
  if (Array.isArray(value)) {
    const items = Object.keys(value).map(Number);
    if (items.length === value.length) return value.map(each);
    return form(4, value.length, ...items.flatMap((place) => [place, each(value[place])]));
  }
  if (value instanceof Map) return new Map([...value].map(([key, item]) => [each(key), each(item)]));
  if (value instanceof Set) return new Set([...value].map(each));
  if (value instanceof Error) return form(3, ...partsOf(value, places));
  if (value instanceof ArrayBuffer) return form(1, uint8(new Uint8Array(value)));
  if (value instanceof DataView)
    return form(2, uint8(new Uint8Array(value.buffer, value.byteOffset, value.byteLength)));
  if (value instanceof Uint8Array) return uint8(value);
  if (ArrayBuffer.isView(value) || value instanceof Date || value instanceof RegExp) return value;
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, each(item)]));
}

function partsOf(error: Error, places: Places): unknown[] {
  const own = (name: "name" | "message" | "stack"): unknown => (Object.hasOwn(error, name) ? error[name] : null);
  const parts = [ERRORS.indexOf(Object.getPrototypeOf(error).constructor), own("name"), own("message"), own("stack")];
  parts.push(error instanceof AggregateError ? substitute(error.errors, places) : null);
  return Object.hasOwn(error, "cause") ? [...parts, substitute(error.cause, places)] : parts;
}

/** What an object of the table holds, behind its kind. */
function nodeOf(node: object, places: Places): unknown[] {
  const each = (item: unknown): unknown => substitute(item, places);
  if (Array.isArray(node)) return [1, substituteObject(node, places)];
  if (node instanceof Map) return [2, ...[...node].flat().map(each)];
  if (node instanceof Set) return [3, ...[...node].map(each)];
  if (node instanceof Error) return [4, ...partsOf(node, places)];
  const prototype: unknown = Object.getPrototypeOf(node);
  if (prototype !== Object.prototype && prototype !== null) return [5, substituteObject(node, places)];
  return [0, ...Object.entries(node).flatMap(([name, item]) => [name, each(item)])];
}
