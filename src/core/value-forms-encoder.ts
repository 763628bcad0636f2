import { Tag } from "./cbor.ts";
import { InvalidArgumentError } from "./errors.ts";
import { ERROR_CLASSES, Form, FORM_TAG, isRecord, MARK, NodeKind } from "./value-forms.ts";

/** The way into the forms of `value-forms.ts`. What cannot be kept is refused with the path to it. */

/** Containers within containers. Deeper ones would exhaust the stack of one runtime or the other. */
const DEPTH_MAX = 500;

/** RFC 8746: the content is a Uint8Array. */
const UINT8_TAG = 64;

/**
 * A value with everything replaced that cbor-x would lose. Containers that are met more than once, directly or through themselves, go into a
 * table and are referred to by number.
 *
 * @throws InvalidArgumentError `InvalidValue` with the path to what cannot be kept.
 */
export function toForms(value: unknown): unknown {
  return new Substitution().run(value);
}

/** What cannot be kept, and where in the value it is. */
export function invalidValue(path: string, message: string): InvalidArgumentError {
  return new InvalidArgumentError("InvalidValue", `value${path}: ${message}`);
}

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
    if (depth > DEPTH_MAX) throw invalidValue("", `nested deeper than ${DEPTH_MAX} containers`);
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
        if (!isWellFormed(value)) throw invalidValue(path, "a string with a lone surrogate cannot be stored");
        return markKept(value);
      case "number":
        return Object.is(value, -0) ? form(Form.minusZero) : value;
      case "function":
      case "symbol":
        throw invalidValue(path, `a ${typeof value} cannot be stored`);
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
    if (places === undefined) throw invalidValue(path, "an array with properties of its own cannot be stored");
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
      throw invalidValue(path, "an object with symbol keys cannot be stored");
    for (const key of Object.keys(value)) {
      const below = /^[A-Za-z_$][\w$]*$/.test(key) ? `${path}.${key}` : `${path}[${JSON.stringify(key)}]`;
      if (key === "__proto__") throw invalidValue(below, "a property named __proto__ cannot be stored");
      if (!isWellFormed(key)) throw invalidValue(below, "a name with a lone surrogate cannot be stored");
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
    if (extra !== undefined) throw invalidValue(`${path}.${extra}`, "a property added to an Error cannot be stored");
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

/** A string that keeps its byte order mark. */
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
    if (!(value.buffer instanceof ArrayBuffer))
      throw invalidValue(path, "memory shared between threads cannot be stored");
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
    throw invalidValue(path, "a RegExp with a lone surrogate, or a byte order mark at its beginning, cannot be stored");
  return withoutProperties(value, path);
}

/** Properties added to an object that is kept as what it is would be lost. */
function withoutProperties<T extends object>(value: T, path: string): T {
  if (Object.keys(value).length === 0 && Object.getOwnPropertySymbols(value).length === 0) return value;
  throw invalidValue(path, "an object of a built-in class that carries properties of its own cannot be stored");
}

function isBuffer(value: Uint8Array): boolean {
  return (value.constructor as { name?: string } | undefined)?.name === "Buffer";
}

function text(value: unknown, path: string): string {
  if (typeof value === "string") return value;
  throw invalidValue(path, "an Error whose name, message or stack is no string cannot be stored");
}

function tagged(bytes: Uint8Array): Tag {
  return new Tag(bytes, UINT8_TAG);
}

function form(...content: readonly unknown[]): Tag {
  return new Tag(content, FORM_TAG);
}

function notKept(value: object, path: string): InvalidArgumentError {
  const name = (value.constructor as { name?: unknown } | undefined)?.name;
  return invalidValue(
    path,
    `an instance of ${typeof name === "string" && name !== "" ? name : "an unnamed class"} cannot be stored`,
  );
}
