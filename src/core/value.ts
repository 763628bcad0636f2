import { MalformedBytes } from "./bytes.ts";
import { KVError } from "./errors.ts";
import { decode } from "./value-decoder.ts";
import { encode } from "./value-encoder.ts";
import { invalidValue } from "./value-refusal.ts";

/** Values as CBOR (RFC 8949), in the forms that docs/FORMAT.md lists. */

/** The largest encoded value, in bytes. */
export const valueBytesMax = 64 * 1024 * 1024;

/**
 * Encodes a value. The result is valid until the next call: copy it at once.
 *
 * @throws InvalidArgumentError `InvalidValue` with the path to what cannot be kept; KVError `CommitTooLarge` above 64 MiB.
 */
export function encodeValue(value: unknown): Uint8Array {
  if (typeof value === "number" || typeof value === "bigint") return checkSize(encodeNumeric(value));
  if (value === undefined)
    throw invalidValue("", "undefined cannot be stored on its own: store null, or delete the key");
  return checkSize(encode(value));
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

/**
 * Decodes a value, which lies in [from, to) of `bytes`; with `names`, a plain object of which the values of these properties lie there and nothing
 * else. The result shares no memory with them. Throws `MalformedBytes`.
 */
export function decodeValue(
  bytes: Uint8Array,
  from = 0,
  to: number = bytes.length,
  names?: readonly string[],
): unknown {
  try {
    return decode(bytes, from, to, names);
  } catch (error) {
    // What is nested without end exhausts the stack.
    throw new MalformedBytes(`not a value: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** The one encoding of a number or bigint: what `encodeValue` gives, and what results of sums are stored as. */
export function encodeNumeric(value: number | bigint): Uint8Array {
  // On its own it has no need of the form that it has within other values.
  if (value === 0 && Object.is(value, -0)) return Uint8Array.of(0xfb, 0x80, 0, 0, 0, 0, 0, 0, 0);
  return encode(value);
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
