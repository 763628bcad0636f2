import { InvalidArgumentError } from "./errors.ts";
import { isRecord } from "./value-forms.ts";

/**
 * What cannot be kept is refused with the path to it. Nobody carries a path along for that: who finds it throws a `Refusal`, and the path is looked
 * for afterwards, from the root, in the order in which values are written.
 */
export class Refusal extends Error {
  /** What is refused, or what holds it. */
  readonly culprit: unknown;
  /** The path below the culprit. */
  readonly below: string;

  constructor(culprit: unknown, message: string, below = "") {
    super(message);
    this.culprit = culprit;
    this.below = below;
  }
}

/** The error that users get. */
export function refusedValue(value: unknown, { culprit, message, below }: Refusal): InvalidArgumentError {
  return invalidValue(`${pathTo((each) => Object.is(each, culprit), value, "", new Set()) ?? ""}${below}`, message);
}

/** What cannot be kept, and where in the value it is. */
export function invalidValue(path: string, message: string, cause?: unknown): InvalidArgumentError {
  return new InvalidArgumentError("InvalidValue", `value${path}: ${message}`, cause === undefined ? {} : { cause });
}

/** Getters and Proxies may throw while a value is read. What is thrown otherwise, for want of memory, stays what it is. */
export function thrownByValue(value: unknown, error: unknown): unknown {
  const path = pathTo(throwsWhenRead, value, "", new Set());
  if (path === undefined && error instanceof RangeError) return error;
  return invalidValue(path ?? "", `reading it throws ${error instanceof Error ? error.message : typeof error}`, error);
}

function throwsWhenRead(value: unknown): boolean {
  try {
    for (const _ of children(value)) continue;
    // These hold nothing, and throw where they are none.
    if (value instanceof Date) value.getTime();
    if (value instanceof RegExp) void value.source;
    return false;
  } catch {
    return true;
  }
}

/** The path by which what is looked for is met first. */
function pathTo(
  isIt: (value: unknown) => boolean,
  value: unknown,
  path: string,
  visited: Set<unknown>,
): string | undefined {
  if (isIt(value)) return path;
  if (visited.has(value)) return undefined;
  visited.add(value);
  for (const [step, child] of children(value)) {
    const found = pathTo(isIt, child, path + step, visited);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** What a value holds, each with the step to it. */
export function* children(value: unknown): Generator<[step: string, child: unknown]> {
  if (value instanceof Map) {
    let i = 0;
    for (const [key, item] of value) {
      yield [`<key ${i}>`, key];
      yield [`<value ${i++}>`, item];
    }
  } else if (value instanceof Set) {
    let i = 0;
    for (const item of value) yield [`<item ${i++}>`, item];
  } else if (value instanceof Error) {
    yield [".cause", value.cause];
    if (value instanceof AggregateError) yield [".errors", value.errors];
  } else if (Array.isArray(value)) {
    // By the places of the items: most of a long array may be holes.
    for (const place of Object.keys(value)) yield [`[${place}]`, value[Number(place)]];
  } else if (typeof value === "object" && value !== null && isRecord(value)) {
    for (const name of Object.keys(value)) yield [stepTo(name), value[name]];
  }
}

/** The step to a property of a plain object. */
export function stepTo(name: string): string {
  return /^[A-Za-z_$][\w$]*$/.test(name) ? `.${name}` : `[${JSON.stringify(name)}]`;
}
