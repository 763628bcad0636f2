import { InvalidArgumentError } from "../../core/errors.ts";
import { wrongOption } from "../../core/given-options.ts";

/**
 * Names that every store and every client takes as they are. Clients tidy paths up differently: a name that one of them changes and another does
 * not would be two objects, or one prefix two databases.
 */
const SEGMENT = /^[A-Za-z0-9_.-]+$/;
const PART_OF_NAME = /^[A-Za-z0-9_./-]*$/;
const PREFIX_BYTES_MAX = 512;
const KEY_BYTES_MAX = 1024;

/** True for segments of letters, digits, `_`, `.` and `-`, with `/` between them, none of which is `.` or `..`. */
export function isObjectName(name: string): boolean {
  return name.split("/").every((segment) => SEGMENT.test(segment) && segment !== "." && segment !== "..");
}

/**
 * The prefix of a database in a bucket. Throws `InvalidOption` for one that is no object name or has over 512 bytes; `context` is the call, for the message.
 */
export function parsePrefix(prefix: unknown, context: string): string {
  if (typeof prefix === "string" && prefix.length <= PREFIX_BYTES_MAX && isObjectName(prefix)) return prefix;
  const says =
    'segments of letters, digits, "_", "." and "-" with "/" between them, none of them "." or "..", ' +
    `and at most ${PREFIX_BYTES_MAX} bytes`;
  throw wrongOption(context, "prefix", says, prefix);
}

/** The key within a bucket. Throws `InvalidArgument` for one that not every store would take as it is. */
export function fullKey(prefix: string, key: string): string {
  const full = `${prefix}/${key}`;
  if (isObjectName(key) && full.length <= KEY_BYTES_MAX) return full;
  throw new InvalidArgumentError("InvalidArgument", `No name of an object: ${JSON.stringify(key)}`);
}

/** The beginning of keys within a bucket, for a list. */
export function fullPrefix(prefix: string, start: string): string {
  if (PART_OF_NAME.test(start)) return `${prefix}/${start}`;
  throw new InvalidArgumentError("InvalidArgument", `No beginning of a name of an object: ${JSON.stringify(start)}`);
}
