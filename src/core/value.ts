// oxlint-disable-next-line no-restricted-imports -- the one dependency, in the form that compiles no code
import { type Decoder as CborDecoder, Decoder, Encoder, Tag, addExtension } from "cbor-x/index-no-eval";
import { MalformedBytes } from "./bytes.ts";
import { InvalidArgumentError, KVError } from "./errors.ts";
import { encodePlain } from "./value-plain.ts";
import { decodePlain, NOT_PLAIN } from "./value-plain-decoder.ts";

/**
 * Values as CBOR (RFC 8949), by cbor-x in its form that compiles no code. What it would lose is put under one tag of our own before
 * encoding and taken out again after decoding; what cannot be kept is refused with the path to it. docs/FORMAT.md lists the forms.
 */

/** The largest encoded value, in bytes. */
export const valueBytesMax = 64 * 1024 * 1024;

/** Containers within containers. Deeper ones would exhaust the stack of one runtime or the other. */
const DEPTH_MAX = 500;

/** Our tag: its content is an array, of which the first item tells what follows. */
const TAG = 26223;

const Form = {
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

/** RFC 8746: the content is a Uint8Array. */
const UINT8_TAG = 64;

/** Shared nodes of a graph: how each is to be made before it is filled. */
const NodeKind = { object: 0, array: 1, map: 2, set: 3, error: 4, other: 5 } as const;

const CBOR_OPTIONS = {
  useRecords: false,
  structuredClone: false,
  // Set by hand, below: cbor-x would put it on the bytes inside other typed arrays too, where there is no Buffer.
  tagUint8Array: false,
  variableMapSize: true,
  copyBuffers: true,
} as const;

const encoder = new Encoder(CBOR_OPTIONS);
const decoder: CborDecoder = new Decoder(CBOR_OPTIONS);
// Its type asks for an encoder too, but ours are instances of Tag, which it encodes by itself.
addExtension({ tag: TAG, decode: fromForm } as Parameters<typeof addExtension>[0]);

/**
 * Encodes a value. The result is valid until the next call: copy it at once.
 *
 * @throws InvalidArgumentError `InvalidValue` with the path to what cannot be kept; KVError `CommitTooLarge` above 64 MiB.
 */
export function encodeValue(value: unknown): Uint8Array {
  if (typeof value === "number" || typeof value === "bigint") return checkSize(encodeNumeric(value));
  if (value === undefined) throw invalid("", "undefined cannot be stored on its own");
  return checkSize(encodePlain(value) ?? encoder.encode(new Substitution().run(value)));
}

function checkSize(bytes: Uint8Array): Uint8Array {
  if (bytes.length <= valueBytesMax) return bytes;
  throw new KVError(
    "CommitTooLarge",
    `The value has ${bytes.length} encoded bytes; at most ${valueBytesMax} are allowed`,
    {
      outcome: "not committed",
    },
  );
}

/** Decodes a value, which lies in [from, to) of `bytes`. The result shares no memory with them. Throws `MalformedBytes`. */
export function decodeValue(bytes: Uint8Array, from = 0, to: number = bytes.length): unknown {
  try {
    const plain = decodePlain(bytes, from, to);
    return plain === NOT_PLAIN ? decoder.decode(bytes.subarray(from, to)) : plain;
  } catch (error) {
    // What is nested without end exhausts the stack, whichever way takes it.
    throw new MalformedBytes(`not a value: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** The one encoding of a number or bigint: what `encodeValue` gives, and what results of sums are stored as. */
export function encodeNumeric(value: number | bigint): Uint8Array {
  // cbor-x writes -0 as 0, and everything that is no integer of 32 bits as float64; bigints have forms of their own.
  if (value === 0 && Object.is(value, -0)) return Uint8Array.of(0xfb, 0x80, 0, 0, 0, 0, 0, 0, 0);
  return encoder.encode(value);
}

/** The number or bigint that [from, to) of `bytes` encode, or undefined if they encode something else. Throws `MalformedBytes`. */
export function decodeNumeric(bytes: Uint8Array, from = 0, to: number = bytes.length): number | bigint | undefined {
  const first = from < to ? bytes[from] : NaN;
  const isInteger = first <= 0x1b || (first >= 0x20 && first <= 0x3b);
  // Half and single floats are never written; bignums are tags 2 and 3.
  if (!isInteger && first !== 0xfb && first !== 0xc2 && first !== 0xc3) return undefined;
  const value = decodeValue(bytes, from, to);
  return typeof value === "number" || typeof value === "bigint" ? value : undefined;
}

/** The places of an array's items, without holes; undefined if it carries properties beside them, which would be lost. */
function itemPlaces(array: readonly unknown[]): string[] | undefined {
  if (Object.getOwnPropertySymbols(array).length > 0) return undefined;
  const names = Object.keys(array);
  // Items come before everything else: if the last name is a place, all are.
  const last = names.at(-1);
  return last === undefined || (Number(last) < array.length && String(Number(last) >>> 0) === last) ? names : undefined;
}

const LONE_SURROGATE = /[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/;

/** Newer than the language level this is compiled for. */
const nativeIsWellFormed = (String.prototype as { isWellFormed?: () => boolean }).isWellFormed;

function isWellFormed(text: string): boolean {
  return nativeIsWellFormed === undefined ? !LONE_SURROGATE.test(text) : nativeIsWellFormed.call(text);
}

// --- everything else: encoding ---------------------------------------------------------------------------------------

/** Typed arrays that cbor-x keeps, by prototype: it knows them by their constructor. */
const TYPED_ARRAYS: ReadonlySet<object> = new Set(
  [
    Int8Array,
    Uint8ClampedArray,
    Int16Array,
    Uint16Array,
    Int32Array,
    Uint32Array,
    Float32Array,
    Float64Array,
    BigInt64Array,
    BigUint64Array,
  ].map((each) => each.prototype as object),
);

const ERROR_CLASSES = [
  Error,
  TypeError,
  RangeError,
  SyntaxError,
  ReferenceError,
  EvalError,
  URIError,
  AggregateError,
] as const;

/**
 * Rebuilds a value with everything replaced that cbor-x would lose. Containers that are met more than once, directly or through
 * themselves, go into a table and are referred to by number.
 */
class Substitution {
  /** The containers met; those met twice have a place in the table. */
  readonly #places = new Map<object, number | undefined>();
  #shared = 0;
  /** While a path is looked for: what is shared and was walked through already. */
  #expanded: Set<object> | undefined;

  run(value: unknown): unknown {
    this.#count(value, 0);
    if (this.#shared === 0) return this.#inline(value, "", 0);
    try {
      const table: unknown[] = new Array(this.#shared);
      for (const [node, place] of this.#places) {
        if (place !== undefined) table[place] = this.#node(node);
      }
      return form(Form.graph, this.#value(value, "", 0), table);
    } catch (error) {
      // The table knows no paths. Walked from the root, what is refused is met again, by the path that leads to it first.
      this.#expanded = new Set();
      this.#value(value, "", 0);
      throw error;
    }
  }

  /** Finds what is shared. Refusals are left to the second walk, which knows the path. */
  #count(value: unknown, depth: number): void {
    if (typeof value !== "object" || value === null) return;
    if (depth > DEPTH_MAX) throw invalid("", `nested deeper than ${DEPTH_MAX} containers`);
    if (this.#places.has(value)) {
      if (this.#places.get(value) === undefined) this.#places.set(value, this.#shared++);
      return;
    }
    this.#places.set(value, undefined);
    if (value instanceof Map) {
      for (const [key, item] of value) {
        this.#count(key, depth + 1);
        this.#count(item, depth + 1);
      }
    } else if (value instanceof Set) {
      for (const item of value) this.#count(item, depth + 1);
    } else if (value instanceof Error) {
      this.#count(value.cause, depth + 1);
      if (value instanceof AggregateError) this.#count(value.errors, depth + 1);
    } else if (Array.isArray(value)) {
      // By the places of the items: most of a long array may be holes.
      for (const place of Object.keys(value)) this.#count(value[Number(place)], depth + 1);
    } else if (isRecord(value)) {
      for (const key of Object.keys(value)) this.#count(value[key], depth + 1);
    }
  }

  /** A value where it stands: a reference if it is shared. */
  #value(value: unknown, path: string, depth: number): unknown {
    if (typeof value === "object" && value !== null) {
      const place = this.#places.get(value);
      if (place !== undefined && (this.#expanded === undefined || this.#expanded.has(value)))
        return form(Form.reference, place);
      this.#expanded?.add(value);
    }
    return this.#inline(value, path, depth);
  }

  #inline(value: unknown, path: string, depth: number): unknown {
    switch (typeof value) {
      case "string":
        if (!isWellFormed(value)) throw invalid(path, "a string with a lone surrogate cannot be stored");
        return markKept(value);
      case "number":
        return Object.is(value, -0) ? form(Form.minusZero) : value;
      case "function":
      case "symbol":
        throw invalid(path, `a ${typeof value} cannot be stored`);
      case "object":
        return value === null ? null : this.#object(value, path, depth);
      default:
        return value;
    }
  }

  #object(value: object, path: string, depth: number): unknown {
    const prototype: unknown = Object.getPrototypeOf(value);
    if (Array.isArray(value)) {
      if (prototype !== Array.prototype) throw notKept(value, path);
      return this.#array(value, path, depth);
    }
    if (isRecord(value)) {
      const properties = [...this.#properties(value, path, depth)];
      if (properties.some(([key]) => key.startsWith(MARK)))
        return form(Form.names, ...properties.flatMap(([key, item]) => [markKept(key), item]));
      return Object.fromEntries(properties);
    }
    if (prototype === Map.prototype) return new Map(this.#entries(value as Map<unknown, unknown>, path, depth));
    if (prototype === Set.prototype) return new Set(this.#items(value as Set<unknown>, path, depth));
    if (value instanceof Error) return form(Form.error, ...this.#error(value, path, depth));
    return leaf(value, path);
  }

  #array(array: readonly unknown[], path: string, depth: number): unknown {
    const places = itemPlaces(array);
    if (places === undefined) throw invalid(path, "an array with properties of its own cannot be stored");
    if (places.length === array.length) return array.map((item, i) => this.#value(item, `${path}[${i}]`, depth + 1));
    // Items with their places, so that a long array with few items stays small.
    const items: unknown[] = [];
    for (const place of places) {
      items.push(Number(place), this.#value(array[Number(place)], `${path}[${place}]`, depth + 1));
    }
    return form(Form.sparseArray, array.length, ...items);
  }

  *#properties(value: Record<string, unknown>, path: string, depth: number): Generator<[string, unknown]> {
    if (Object.getOwnPropertySymbols(value).length > 0)
      throw invalid(path, "an object with symbol keys cannot be stored");
    for (const key of Object.keys(value)) {
      const below = /^[A-Za-z_$][\w$]*$/.test(key) ? `${path}.${key}` : `${path}[${JSON.stringify(key)}]`;
      if (key === "__proto__") throw invalid(below, "a property named __proto__ cannot be stored");
      if (!isWellFormed(key)) throw invalid(below, "a name with a lone surrogate cannot be stored");
      yield [key, this.#value(value[key], below, depth + 1)];
    }
  }

  *#entries(map: Map<unknown, unknown>, path: string, depth: number): Generator<[unknown, unknown]> {
    withoutProperties(map, path);
    let i = 0;
    for (const [key, item] of map) {
      yield [this.#value(key, `${path}<key ${i}>`, depth + 1), this.#value(item, `${path}<value ${i}>`, depth + 1)];
      i++;
    }
  }

  *#items(set: Set<unknown>, path: string, depth: number): Generator<unknown> {
    withoutProperties(set, path);
    let i = 0;
    for (const item of set) yield this.#value(item, `${path}<item ${i++}>`, depth + 1);
  }

  /** Class, name, message, stack, then cause and errors as far as there are any. */
  #error(error: Error, path: string, depth: number): unknown[] {
    const index = ERROR_CLASSES.findIndex((each) => each.prototype === Object.getPrototypeOf(error));
    if (index < 0) throw notKept(error, path);
    const extra = Object.keys(error).find((key) => !["name", "message", "stack", "cause", "errors"].includes(key));
    if (extra !== undefined) throw invalid(`${path}.${extra}`, "a property added to an Error cannot be stored");
    const parts: unknown[] = [index];
    for (const name of ["name", "message", "stack"] as const) {
      parts.push(
        Object.hasOwn(error, name)
          ? this.#value(text(error[name], `${path}.${name}`), `${path}.${name}`, depth + 1)
          : null,
      );
    }
    const cause = Object.hasOwn(error, "cause");
    const errors = error instanceof AggregateError ? this.#value(error.errors, `${path}.errors`, depth + 1) : null;
    parts.push(errors);
    if (cause) parts.push(this.#value(error.cause, `${path}.cause`, depth + 1));
    return parts;
  }

  /** A shared container for the table: its kind, and what to fill it with. */
  #node(node: object): unknown[] {
    const path = "<shared>";
    if (Array.isArray(node)) {
      const array = this.#object(node, path, 0);
      return [NodeKind.array, array];
    }
    if (isRecord(node))
      return [NodeKind.object, ...[...this.#properties(node, path, 0)].flatMap(([key, item]) => [markKept(key), item])];
    if (node instanceof Map)
      return [NodeKind.map, ...[...this.#entries(checkPrototype(node, Map, path), path, 0)].flat()];
    if (node instanceof Set) return [NodeKind.set, ...this.#items(checkPrototype(node, Set, path), path, 0)];
    if (node instanceof Error) return [NodeKind.error, ...this.#error(node, path, 0)];
    return [NodeKind.other, leaf(node, path)];
  }
}

const MARK = "\ufeff";

/** cbor-x takes a byte order mark at the beginning of a string for none of its content. */
function markKept(text: string): unknown {
  return text.startsWith(MARK) ? form(Form.mark, markKept(text.slice(1))) : text;
}

function checkPrototype<T extends object>(value: T, kind: { readonly prototype: object }, path: string): T {
  if (Object.getPrototypeOf(value) !== kind.prototype) throw notKept(value, path);
  return value;
}

/** Objects that hold no other values. */
function leaf(value: object, path: string): unknown {
  const prototype = Object.getPrototypeOf(value) as object | null;
  if (prototype === Date.prototype) return withoutProperties(value, path);
  if (prototype === RegExp.prototype) return regExp(value as RegExp, path);
  if (value instanceof ArrayBuffer && prototype === ArrayBuffer.prototype)
    return form(Form.arrayBuffer, tagged(new Uint8Array(withoutProperties(value, path))));
  if (ArrayBuffer.isView(value)) {
    if (!(value.buffer instanceof ArrayBuffer)) throw invalid(path, "memory shared between threads cannot be stored");
    const bytes = new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
    if (prototype === DataView.prototype) {
      withoutProperties(value, path);
      return form(Form.dataView, tagged(bytes));
    }
    if (prototype === Uint8Array.prototype) return tagged(bytes);
    if (prototype !== null && TYPED_ARRAYS.has(prototype)) return value;
    // A Buffer of Node is a Uint8Array, and is kept as one.
    if (
      value instanceof Uint8Array &&
      prototype !== null &&
      Object.getPrototypeOf(prototype) === Uint8Array.prototype &&
      isBuffer(value)
    ) {
      return tagged(bytes);
    }
  }
  throw notKept(value, path);
}

/** A regular expression is encoded as two strings, past the look at strings. */
function regExp(value: RegExp, path: string): RegExp {
  if (!isWellFormed(value.source) || value.source.startsWith(MARK))
    throw invalid(path, "a RegExp with a lone surrogate, or a byte order mark at its beginning, cannot be stored");
  return withoutProperties(value, path);
}

/** Properties added to an object that is kept as what it is would be lost. */
function withoutProperties<T extends object>(value: T, path: string): T {
  if (Object.keys(value).length === 0 && Object.getOwnPropertySymbols(value).length === 0) return value;
  throw invalid(path, "an object of a built-in class that carries properties of its own cannot be stored");
}

function isBuffer(value: Uint8Array): boolean {
  return (value.constructor as { name?: string } | undefined)?.name === "Buffer";
}

function isRecord(value: object): value is Record<string, unknown> {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

function text(value: unknown, path: string): string {
  if (typeof value === "string") return value;
  throw invalid(path, "an Error whose name, message or stack is no string cannot be stored");
}

function tagged(bytes: Uint8Array): Tag {
  return new Tag(bytes, UINT8_TAG);
}

function form(...content: readonly unknown[]): Tag {
  return new Tag(content, TAG);
}

function invalid(path: string, message: string): InvalidArgumentError {
  return new InvalidArgumentError("InvalidValue", `value${path}: ${message}`);
}

function notKept(value: object, path: string): InvalidArgumentError {
  const name = (value.constructor as { name?: unknown } | undefined)?.name;
  return invalid(
    path,
    `an instance of ${typeof name === "string" && name !== "" ? name : "an unnamed class"} cannot be stored`,
  );
}

// --- everything else: decoding ---------------------------------------------------------------------------------------

/** Stands for a shared node until the table is complete. */
class Reference {
  readonly place: number;

  constructor(place: number) {
    this.place = place;
  }
}

function fromForm(content: unknown): unknown {
  if (!Array.isArray(content)) throw new MalformedBytes("a form without content");
  const [kind, ...parts] = content as [unknown, ...unknown[]];
  switch (kind) {
    case Form.minusZero:
      return -0;
    case Form.arrayBuffer:
      return bufferOf(parts[0]);
    case Form.dataView:
      return new DataView(bufferOf(parts[0]));
    case Form.error:
      return fillError(makeError(parts), parts);
    case Form.sparseArray:
      return fillSparse([], parts);
    case Form.reference:
      return new Reference(parts[0] as number);
    case Form.graph:
      return linkGraph(parts[0], parts[1]);
    case Form.mark:
      return MARK + String(parts[0]);
    case Form.names:
      return Object.fromEntries(parts.flatMap((name, i) => (i % 2 === 0 ? [[name as string, parts[i + 1]]] : [])));
    default:
      throw new MalformedBytes(`a form of unknown kind ${String(kind)}`);
  }
}

function bufferOf(bytes: unknown): ArrayBuffer {
  if (!(bytes instanceof Uint8Array)) throw new MalformedBytes("a buffer without bytes");
  return bytes.slice().buffer as ArrayBuffer;
}

function fillSparse(array: unknown[], parts: readonly unknown[]): unknown[] {
  array.length = parts[0] as number;
  for (let i = 1; i + 1 < parts.length; i += 2) array[parts[i] as number] = parts[i + 1];
  return array;
}

function makeError(parts: readonly unknown[]): Error {
  const Class = ERROR_CLASSES[parts[0] as number];
  if (Class === undefined) throw new MalformedBytes("an Error of unknown class");
  return Class === AggregateError ? new AggregateError([]) : new (Class as ErrorConstructor)();
}

function fillError(error: Error, [, name, message, stack, errors, ...cause]: readonly unknown[]): Error {
  const define = (property: string, value: unknown): unknown =>
    Object.defineProperty(error, property, { value, writable: true, configurable: true, enumerable: false });
  if (name !== null) define("name", name);
  if (message !== null) define("message", message);
  if (stack === null) delete error.stack;
  else define("stack", stack);
  if (errors !== null) define("errors", errors);
  if (cause.length > 0) define("cause", cause[0]);
  return error;
}

/** Makes all shared nodes, then fills them, so that a node can lie within itself. */
function linkGraph(root: unknown, table: unknown): unknown {
  if (!Array.isArray(table)) throw new MalformedBytes("a graph without a table");
  const descriptions = table as [number, ...unknown[]][];
  const nodes = descriptions.map(makeNode);
  const link = (value: unknown): unknown => {
    if (typeof value !== "object" || value === null) return value;
    if (value instanceof Reference) {
      if (!(value.place in nodes)) throw new MalformedBytes("a reference to a missing node");
      return nodes[value.place];
    }
    if (Array.isArray(value)) {
      for (const place of Object.keys(value)) value[Number(place)] = link(value[Number(place)]);
    } else if (value instanceof Map) {
      const entries = [...value];
      value.clear();
      for (const [key, item] of entries) value.set(link(key), link(item));
    } else if (value instanceof Set) {
      const items = [...value];
      value.clear();
      for (const item of items) value.add(link(item));
    } else if (value instanceof Error) {
      if (value instanceof AggregateError) value.errors = link(value.errors) as unknown[];
      if (Object.hasOwn(value, "cause")) value.cause = link(value.cause);
    } else if (isRecord(value)) {
      for (const key of Object.keys(value)) value[key] = link(value[key]);
    }
    return value;
  };
  descriptions.forEach((description, place) => fillNode(nodes[place], description, link));
  return link(root);
}

function makeNode([kind, ...parts]: readonly [number, ...unknown[]]): unknown {
  if (kind === NodeKind.object) return {};
  if (kind === NodeKind.array) return [];
  if (kind === NodeKind.map) return new Map();
  if (kind === NodeKind.set) return new Set();
  if (kind === NodeKind.error) return makeError(parts);
  if (kind === NodeKind.other) return parts[0];
  throw new MalformedBytes("a node of unknown kind");
}

function fillNode(
  node: unknown,
  [, ...parts]: readonly [number, ...unknown[]],
  link: (value: unknown) => unknown,
): void {
  if (node instanceof Map) {
    for (let i = 0; i + 1 < parts.length; i += 2) node.set(link(parts[i]), link(parts[i + 1]));
  } else if (node instanceof Set) {
    for (const part of parts) node.add(link(part));
  } else if (Array.isArray(node)) {
    const items = link(parts[0]) as unknown[];
    node.length = items.length;
    for (const place of Object.keys(items)) node[Number(place)] = items[Number(place)];
  } else if (node instanceof Error) {
    fillError(
      node,
      parts.map((part) => link(part)),
    );
  } else if (typeof node === "object" && node !== null && isRecord(node)) {
    for (let i = 0; i + 1 < parts.length; i += 2) node[parts[i] as string] = link(parts[i + 1]);
  }
}
