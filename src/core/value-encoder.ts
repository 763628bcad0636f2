import { ByteWriter, fromHex } from "./bytes.ts";
import { InvalidArgumentError } from "./errors.ts";
import { ERROR_CLASSES, Form, inLittleEndian, NodeKind, Tag, TYPED_ARRAYS } from "./value-forms.ts";
import { children, invalidValue, Refusal, refusedValue, stepTo, thrownByValue } from "./value-refusal.ts";

/**
 * Values to CBOR, in one walk that checks and writes. Only when an object is met a second time does it begin anew, and writes a graph, in which what
 * is shared has a place in a table.
 */

/** Containers within containers. Deeper ones would exhaust the stack of one runtime or the other. */
const DEPTH_MAX = 500;
/** Up to so many objects a list is searched quicker than a set. */
const LISTED_MAX = 16;
/** A buffer that has grown larger is not kept for the next value. */
const KEPT_BYTES_MAX = 1024 * 1024;

/** Stands for a depth where the description of an object is written, in the table of a graph. */
const IN_TABLE = -1;

/** Thrown where an object is met again. */
const metAgain = new Error("An object is met again");

const VIEW_TAGS = new Map<unknown, number>(TYPED_ARRAYS.map(([tag, View]) => [View.prototype, tag]));

let idle: ValueEncoder | undefined;

/**
 * Encodes a value. The result is valid until the next call: copy it at once.
 *
 * @throws InvalidArgumentError `InvalidValue` with the path to what cannot be kept.
 */
export function encode(value: unknown): Uint8Array {
  // A value may have getters, and these may store values in turn.
  const encoder = idle ?? new ValueEncoder();
  idle = undefined;
  try {
    const bytes = encoder.run(value);
    if (bytes.length <= KEPT_BYTES_MAX) idle = encoder;
    return bytes;
  } catch (error) {
    if (error instanceof Refusal) throw refusedValue(value, error);
    throw error instanceof InvalidArgumentError ? error : thrownByValue(value, error);
  }
}

class ValueEncoder {
  readonly #writer = new ByteWriter(4096);
  /** The objects met, the first of them in the list. */
  readonly #listed = new Array<object | undefined>(LISTED_MAX).fill(undefined);
  #count = 0;
  readonly #met = new Set<object>();
  /** While a graph is written: the place in the table of everything that is shared. */
  #places: ReadonlyMap<object, number> | undefined;

  run(value: unknown): Uint8Array {
    this.#writer.reset();
    try {
      this.#write(value, 0);
    } catch (error) {
      if (error !== metAgain) throw error;
      this.#writer.reset();
      this.#graph(value);
    } finally {
      while (this.#count > 0) this.#listed[--this.#count] = undefined;
      if (this.#met.size > 0) this.#met.clear();
      this.#places = undefined;
    }
    return this.#writer.view();
  }

  #write(value: unknown, depth: number): void {
    switch (typeof value) {
      case "string":
        if (!this.#writer.cborText(value)) refuseString(value);
        return;
      case "number":
        return this.#number(value);
      case "boolean":
        return this.#writer.u8(value ? 0xf5 : 0xf4);
      case "undefined":
        return this.#writer.u8(0xf7);
      case "object":
        if (value === null) return this.#writer.u8(0xf6);
        return this.#object(value, depth);
      default:
        return this.#other(value);
    }
  }

  #other(value: unknown): void {
    if (typeof value !== "bigint") throw new Refusal(value, `a ${typeof value} cannot be stored`);
    this.#bigint(value);
  }

  /** Integers whose CBOR argument has at most 32 bits in their shortest form, everything else as float64. */
  #number(value: number): void {
    const writer = this.#writer;
    if (value >>> 0 === value) {
      if (value === 0 && Object.is(value, -0)) this.#form(Form.minusZero, 1);
      else writer.cborHead(0x00, value);
    } else if (value < 0 && value >= -(2 ** 32) && Math.floor(value) === value) {
      writer.cborHead(0x20, -1 - value);
    } else {
      writer.u8(0xfb);
      writer.f64BigEndian(value);
    }
  }

  /** With an argument of 64 bits, however small it is: that is what tells it from a number. */
  #bigint(value: bigint): void {
    const writer = this.#writer;
    const magnitude = value < 0n ? -1n - value : value;
    if (value > -(2n ** 64n) && value < 2n ** 64n) {
      writer.u8(value < 0n ? 0x3b : 0x1b);
      writer.u64BigEndian(magnitude);
      return;
    }
    const digits = magnitude.toString(16);
    this.#tagged(
      value < 0n ? Tag.negativeBigint : Tag.positiveBigint,
      fromHex(digits.length % 2 === 0 ? digits : `0${digits}`),
    );
  }

  /** A graph: says whether a reference was written. Before it is known to be one: passes what is new, and gives up at what is not. */
  #isWritten(value: object): boolean {
    if (this.#places !== undefined) {
      const place = this.#places.get(value);
      if (place === undefined) return false;
      this.#form(Form.reference, 2);
      this.#writer.cborHead(0x00, place);
      return true;
    }
    const listed = this.#listed;
    for (let i = 0; i < this.#count; i++) if (listed[i] === value) throw metAgain;
    if (this.#count < LISTED_MAX) {
      listed[this.#count++] = value;
    } else {
      if (this.#met.has(value)) throw metAgain;
      this.#met.add(value);
    }
    return false;
  }

  #object(value: object, depth: number): void {
    if (depth !== IN_TABLE) {
      if (this.#isWritten(value)) return;
      if (depth > DEPTH_MAX) throw tooDeep();
    }
    const prototype: unknown = Object.getPrototypeOf(value);
    if (Array.isArray(value)) {
      if (prototype !== Array.prototype) throw notKept(value);
      return this.#array(value, depth);
    }
    if (prototype === Object.prototype || prototype === null)
      return this.#record(value as Record<string, unknown>, depth);
    if (prototype === Map.prototype) return this.#map(value as Map<unknown, unknown>, depth);
    if (prototype === Set.prototype) return this.#set(value as Set<unknown>, depth);
    if (value instanceof Error) return this.#error(value, depth);
    if (depth === IN_TABLE) this.#list(NodeKind.other, 2);
    if (ArrayBuffer.isView(value)) return this.#view(value, prototype);
    if (prototype === Date.prototype) return this.#date(value as Date);
    if (prototype === RegExp.prototype) return this.#regExp(value as RegExp);
    if (!(value instanceof ArrayBuffer) || prototype !== ArrayBuffer.prototype) throw notKept(value);
    refuseProperties(value);
    const bytes = bytesOf(value, value);
    this.#form(Form.arrayBuffer, 2);
    this.#tagged(64, bytes);
  }

  #record(record: Record<string, unknown>, depth: number): void {
    const writer = this.#writer;
    if (Object.getOwnPropertySymbols(record).length > 0)
      throw new Refusal(record, "an object with symbol keys cannot be stored");
    const names = Object.keys(record);
    if (depth === IN_TABLE) this.#list(NodeKind.object, 1 + 2 * names.length);
    else writer.cborHead(0xa0, names.length);
    for (let i = 0; i < names.length; i++) {
      const name = names[i];
      if (name === "__proto__") throw new Refusal(record, "a property named __proto__ cannot be stored", stepTo(name));
      if (!writer.cborText(name))
        throw new Refusal(record, "a name with a lone surrogate cannot be stored", stepTo(name));
      this.#write(record[name], depth + 1);
    }
  }

  #array(array: readonly unknown[], depth: number): void {
    const { length } = array;
    const places = Object.keys(array);
    const count = places.length;
    if (Object.getOwnPropertySymbols(array).length > 0) throw withProperties(array);
    if (depth === IN_TABLE) this.#list(NodeKind.array, 2);
    if (count === length) {
      this.#writer.cborHead(0x80, length);
      for (let i = 0; i < length; i++) {
        const item = array[i];
        // There are as many names as items: a hole is made up for by a property beside the items.
        if (item === undefined && !(i in array)) throw withProperties(array);
        this.#write(item, depth + 1);
      }
      return;
    }
    // Items come before everything else: if the last name is a place, all are.
    if (count > 0 && !isPlace(places[count - 1], length)) throw withProperties(array);
    // Items with their places, so that a long array with few items stays small.
    this.#form(Form.sparseArray, 2 + 2 * count);
    this.#writer.cborHead(0x00, length);
    for (const place of places) {
      this.#writer.cborHead(0x00, Number(place));
      this.#write(array[Number(place)], depth + 1);
    }
  }

  #map(map: ReadonlyMap<unknown, unknown>, depth: number): void {
    refuseProperties(map);
    let left = map.size;
    if (depth === IN_TABLE) {
      this.#list(NodeKind.map, 1 + 2 * left);
    } else {
      this.#writer.cborHead(0xc0, Tag.map);
      this.#writer.cborHead(0xa0, left);
    }
    for (const [key, item] of map) {
      if (--left < 0) break;
      this.#write(key, depth + 1);
      this.#write(item, depth + 1);
    }
    if (left !== 0) throw changed(map);
  }

  #set(set: ReadonlySet<unknown>, depth: number): void {
    refuseProperties(set);
    let left = set.size;
    if (depth === IN_TABLE) {
      this.#list(NodeKind.set, 1 + left);
    } else {
      this.#writer.cborHead(0xc0, Tag.set);
      this.#writer.cborHead(0x80, left);
    }
    for (const item of set) {
      if (--left < 0) break;
      this.#write(item, depth + 1);
    }
    if (left !== 0) throw changed(set);
  }

  /** Class, name, message, stack, then errors and cause as far as there are any. */
  #error(error: Error, depth: number): void {
    const index = ERROR_CLASSES.findIndex((each) => each.prototype === Object.getPrototypeOf(error));
    if (index < 0) throw notKept(error);
    const isAggregate = error instanceof AggregateError;
    const extra = Object.keys(error).find(
      (key) => !["name", "message", "stack", "cause"].includes(key) && !(isAggregate && key === "errors"),
    );
    if (extra !== undefined) throw new Refusal(error, "a property added to an Error cannot be stored", `.${extra}`);
    if (Object.getOwnPropertySymbols(error).length > 0)
      throw new Refusal(error, "an Error with symbol keys cannot be stored");
    const hasCause = Object.hasOwn(error, "cause");
    const length = hasCause ? 7 : 6;
    if (depth === IN_TABLE) this.#list(NodeKind.error, length);
    else this.#form(Form.error, length);
    this.#writer.cborHead(0x00, index);
    for (const name of ["name", "message", "stack"] as const) {
      const text: unknown = error[name];
      if (!Object.hasOwn(error, name)) this.#writer.u8(0xf6);
      else if (typeof text !== "string" || !this.#writer.cborText(text))
        throw new Refusal(
          error,
          "an Error whose name, message or stack is no string, or has a lone surrogate, cannot be stored",
          `.${name}`,
        );
    }
    this.#write(isAggregate ? error.errors : null, depth + 1);
    if (hasCause) this.#write(error.cause, depth + 1);
  }

  #date(date: Date): void {
    refuseProperties(date);
    const time = date.getTime();
    const seconds = time / 1000;
    this.#writer.cborHead(0xc0, Tag.date);
    // Whole seconds of 32 bits always with all of their bits.
    if (time % 1000 === 0 && seconds >= 0 && seconds < 2 ** 32) {
      this.#writer.u8(0x1a);
      this.#writer.u32BigEndian(seconds);
    } else {
      this.#writer.u8(0xfb);
      this.#writer.f64BigEndian(seconds);
    }
  }

  #regExp(regExp: RegExp): void {
    refuseProperties(regExp);
    this.#writer.cborHead(0xc0, Tag.regExp);
    this.#writer.cborHead(0x80, 3);
    this.#writer.cborText("RegExp");
    if (!this.#writer.cborText(regExp.source))
      throw new Refusal(regExp, "a RegExp with a lone surrogate cannot be stored");
    this.#writer.cborText(regExp.flags);
  }

  #view(view: ArrayBufferView, prototype: unknown): void {
    if (!(view.buffer instanceof ArrayBuffer))
      throw new Refusal(view, "memory shared between threads cannot be stored");
    const bytes = bytesOf(view, view.buffer);
    if (prototype === DataView.prototype) {
      refuseProperties(view);
      this.#form(Form.dataView, 2);
      return this.#tagged(64, bytes);
    }
    const tag = VIEW_TAGS.get(prototype);
    if (tag !== undefined) return this.#tagged(tag, inLittleEndian(bytes, (view as Uint8Array).BYTES_PER_ELEMENT));
    if (!isBuffer(view, prototype)) throw notKept(view);
    this.#tagged(64, bytes);
  }

  #tagged(tag: number, bytes: Uint8Array): void {
    this.#writer.cborHead(0xc0, tag);
    this.#writer.cborHead(0x40, bytes.length);
    this.#writer.bytes(bytes);
  }

  /** Begins an array under our tag. The length counts the number of the form too. */
  #form(form: number, length: number): void {
    this.#writer.cborHead(0xc0, Tag.form);
    this.#list(form, length);
  }

  #list(first: number, length: number): void {
    this.#writer.cborHead(0x80, length);
    this.#writer.cborHead(0x00, first);
  }

  #graph(root: unknown): void {
    const places = placesOfShared(root);
    this.#places = places;
    this.#form(Form.graph, 3);
    this.#write(root, 0);
    this.#writer.cborHead(0x80, places.size);
    for (const node of places.keys()) this.#object(node, IN_TABLE);
  }
}

/** Everything that occurs more than once, in the order in which that turns out. */
function placesOfShared(root: unknown): Map<object, number> {
  const met = new Set<object>();
  const places = new Map<object, number>();
  const visit = (value: unknown, depth: number): void => {
    if (typeof value !== "object" || value === null) return;
    if (depth > DEPTH_MAX) throw tooDeep();
    if (met.has(value)) {
      if (!places.has(value)) places.set(value, places.size);
      return;
    }
    met.add(value);
    for (const [, child] of children(value)) visit(child, depth + 1);
  };
  visit(root, 0);
  return places;
}

/** The bytes of a buffer, or of a view of it. */
function bytesOf(value: ArrayBuffer | ArrayBufferView, buffer: ArrayBuffer): Uint8Array {
  // Not every runtime tells whether a buffer is detached; all of them throw here.
  try {
    if (value === buffer) return new Uint8Array(buffer);
    const { byteOffset, byteLength } = value as ArrayBufferView;
    return new Uint8Array(buffer, byteOffset, byteLength);
  } catch {
    throw new Refusal(value, "memory that was transferred, or cut off, cannot be stored");
  }
}

function isPlace(name: string, length: number): boolean {
  return Number(name) < length && String(Number(name) >>> 0) === name;
}

function withProperties(array: readonly unknown[]): Refusal {
  return new Refusal(array, "an array with properties of its own cannot be stored");
}

/** Its size was written before what it holds, and a getter in that has changed it. */
function changed(value: object): Refusal {
  return new Refusal(value, "a Map or Set that changes while it is being stored cannot be stored");
}

/** Properties added to an object that is kept as what it is would be lost. */
function refuseProperties(value: object): void {
  if (Object.keys(value).length > 0 || Object.getOwnPropertySymbols(value).length > 0)
    throw new Refusal(value, "an object of a built-in class that carries properties of its own cannot be stored");
}

/** A Buffer of Node is a Uint8Array, and is kept as one. */
function isBuffer(value: object, prototype: unknown): boolean {
  return (
    typeof prototype === "object" &&
    prototype !== null &&
    Object.getPrototypeOf(prototype) === Uint8Array.prototype &&
    nameOfClass(value) === "Buffer"
  );
}

function nameOfClass(value: object): unknown {
  return (value.constructor as { name?: unknown } | undefined)?.name;
}

function notKept(value: object): Refusal {
  if (value instanceof Promise) return new Refusal(value, "a Promise cannot be stored: await it first");
  const name = nameOfClass(value);
  return new Refusal(
    value,
    `an instance of ${typeof name === "string" && name !== "" ? name : "an unnamed class"} cannot be stored`,
  );
}

function refuseString(text: string): never {
  throw new Refusal(text, "a string with a lone surrogate cannot be stored");
}

function tooDeep(): Error {
  return invalidValue("", `nested deeper than ${DEPTH_MAX} containers`);
}
