/**
 * One value of every kind that the database keeps, fresh at each call. Nothing in it depends on the runtime: stacks are set, dates are fixed.
 * The bytes that they become are compared between runtimes.
 */
export function values() {
  const shared = { name: "shared" };
  const circular = { list: [shared, shared] };
  circular.self = circular;
  const failure = new RangeError("out of range", { cause: new Error("cause") });
  failure.stack = "RangeError: out of range\n    at somewhere";
  failure.cause.stack = "Error: cause";
  const holes = [1];
  holes[2] = 3;
  return {
    string: "text, ünïcödé, 𝄞, \u0000, \ufeffmark",
    longString: "0123456789".repeat(1000),
    integer: 123456789,
    negativeZero: -0,
    fraction: 0.1,
    large: 2 ** 60,
    nan: NaN,
    infinity: -Infinity,
    true: true,
    null: null,
    bigint: 2n ** 200n - 1n,
    negativeBigint: -(2n ** 64n),
    date: new Date(1_700_000_000_000),
    invalidDate: new Date(NaN),
    regExp: /a+b\/c/giu,
    map: new Map([
      ["a", 1],
      [{ key: true }, new Map([[1n, undefined]])],
    ]),
    set: new Set(["a", 1, null]),
    bytes: Uint8Array.of(0, 1, 254, 255),
    floats: Float64Array.of(0.5, -0, NaN, Infinity),
    words: BigInt64Array.of(1n, -1n),
    shorts: Int16Array.of(-1, 2),
    arrayBuffer: Uint8Array.of(1, 2, 3).buffer,
    dataView: new DataView(Uint8Array.of(9, 8, 7, 6).buffer, 1, 2),
    error: failure,
    array: [1, "two", [3, [4]], { five: 5 }],
    holes,
    object: { a: 1, nested: { list: [1, 2, { b: undefined }] }, "with space": "", 1: "one" },
    circular,
  };
}

/** Throws, naming the place, unless both are the same value: also where `===` says nothing, in structures and in their shape. */
export function assertSame(actual, expected, path = "value", seen = new Map()) {
  if (Object.is(actual, expected)) return;
  const isStructure =
    typeof expected === "object" && expected !== null && typeof actual === "object" && actual !== null;
  if (!isStructure) throw new Error(`${path}: expected ${String(expected)}, received ${String(actual)}`);
  if (seen.has(expected)) return assert(seen.get(expected) === actual, `${path}: another reference`);
  seen.set(expected, actual);
  const kind = Object.prototype.toString.call(expected);
  assert(Object.prototype.toString.call(actual) === kind, `${path}: expected ${kind}`);
  const pieces = piecesOf(actual);
  for (const [name, piece] of Object.entries(piecesOf(expected))) {
    assert(Object.hasOwn(pieces, name), `${path}: ${name} is missing`);
    assertSame(pieces[name], piece, `${path}.${name}`, seen);
  }
  assert(Object.keys(pieces).length === Object.keys(piecesOf(expected)).length, `${path}: more than expected`);
}

export function assert(holds, message) {
  if (!holds) throw new Error(message);
}

/** What a structure consists of, as an object whose properties can be compared one by one. */
function piecesOf(value) {
  if (value instanceof Date) return { time: value.getTime() };
  if (value instanceof RegExp) return { source: value.source, flags: value.flags };
  if (value instanceof Map) return { entries: [...value].flat() };
  if (value instanceof Set) return { entries: [...value] };
  if (value instanceof ArrayBuffer) return { bytes: new Uint8Array(value) };
  if (value instanceof DataView) {
    return { bytes: new Uint8Array(value.buffer, value.byteOffset, value.byteLength).slice() };
  }
  if (value instanceof Error) {
    const { name, message, stack, cause } = value;
    return { name, message, stack, cause };
  }
  return Object.fromEntries(Object.keys(value).map((key) => [key, value[key]]));
}
