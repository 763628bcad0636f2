/**
 * Values as JSON that tells everything apart that the database does: for what the golden files must contain. Knows values only, neither the
 * library nor the format.
 */

type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

/** Objects are numbered in the order in which they are met; one that is met again is described by its number. */
export function describeValue(value: unknown): Json {
  const met = new Map<object, number>();

  const describe = (each: unknown): Json => {
    if (typeof each === "number")
      return plainNumber(each) ? each : { $: "number", is: Object.is(each, -0) ? "-0" : String(each) };
    if (typeof each === "bigint") return { $: "bigint", is: String(each) };
    if (typeof each === "undefined") return { $: "undefined" };
    if (typeof each === "string" || typeof each === "boolean" || each === null) return each;
    if (typeof each !== "object") throw new TypeError(`a ${typeof each} is no value`);
    const number = met.get(each);
    if (number !== undefined) return { $: "again", object: number };
    met.set(each, met.size);
    return describeObject(each, describe);
  };

  return describe(value);
}

function plainNumber(value: number): boolean {
  return Number.isFinite(value) && !Object.is(value, -0);
}

function describeObject(value: object, describe: (each: unknown) => Json): Json {
  if (Array.isArray(value)) {
    const places = Object.keys(value);
    if (places.length === value.length) return value.map(describe);
    const items = places.map((place): Json => [Number(place), describe(value[Number(place)])]);
    return { $: "array with holes", length: value.length, items };
  }
  if (value instanceof Map)
    return { $: "Map", entries: [...value].map(([key, item]) => [describe(key), describe(item)]) };
  if (value instanceof Set) return { $: "Set", items: [...value].map(describe) };
  if (value instanceof Date) return { $: "Date", ms: describe(value.getTime()) };
  if (value instanceof RegExp) return { $: "RegExp", source: value.source, flags: value.flags };
  if (value instanceof Error) return describeError(value, describe);
  if (value instanceof ArrayBuffer) return { $: "ArrayBuffer", hex: hex(new Uint8Array(value)) };
  if (ArrayBuffer.isView(value)) {
    const bytes = new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
    return { $: value.constructor.name, hex: hex(bytes) };
  }
  const properties = Object.entries(value).map(([name, item]): [string, Json] => [name, describe(item)]);
  if (properties.some(([name]) => name === "$")) return { $: "object", properties };
  return Object.fromEntries(properties);
}

function describeError(error: Error, describe: (each: unknown) => Json): Json {
  const described: { [name: string]: Json } = { $: error.constructor.name };
  for (const name of ["name", "message", "stack", "cause", "errors"]) {
    if (Object.hasOwn(error, name)) described[name] = describe((error as unknown as Record<string, unknown>)[name]);
  }
  return described;
}

function hex(bytes: Uint8Array): string {
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
