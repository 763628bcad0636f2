import { InvalidArgumentError, thrownByArgument } from "./errors.ts";
import { type EncodedKey, encodePart, type KeyPart, keyBytesMax, partEnd } from "./key.ts";
import { show } from "./show.ts";

/** A range of one key part, both ends inclusive. A missing end stays within the other end's type; `{}` is any part. */
export interface KeyRange {
  /** The smallest part. Missing: the smallest of the type that `to` has. */
  readonly from?: KeyPart | undefined;
  /** The largest part, which belongs to the range. Missing: the largest of the type that `from` has. */
  readonly to?: KeyPart | undefined;
}

/**
 * What to look for: parts and ranges, from the first part of a key on. Matches keys that begin so: the key itself and all that lies below it.
 * `[]` matches everything; `["a"]` matches `["a"]` and all below; `["a", {}]` all below `["a"]`, without it.
 */
export type Query = readonly (KeyPart | KeyRange)[];

/** A query ready to be asked of encoded keys. */
export interface CompiledQuery {
  /** No match is below. */
  readonly lower: EncodedKey;
  /** No match is at or above; undefined: there is no bound. */
  readonly upper: EncodedKey | undefined;
  /** True if everything between the bounds matches. */
  readonly isInterval: boolean;
  matches(key: EncodedKey): boolean;
  /** True if `key` matches; else the smallest key above it from which matches may come; undefined if none can. */
  seekForward(key: EncodedKey): true | EncodedKey | undefined;
  /** True if `key` matches; else an exclusive upper bound, at most `key`, below which all further matches lie; undefined if there are none. */
  seekBackward(key: EncodedKey): true | EncodedKey | undefined;
}

/** Above every part of a key that begins with what stands before it. */
const BEYOND = "\xff";
/** At or below every part, and not empty: a key is below itself with this behind it, so that seeking there always gets on. */
const FIRST_PART = "\x01";

/** One part of a query: the encoded parts it takes lie in [from, to). */
interface PartRange {
  readonly from: string;
  readonly to: string;
  /** Set if it takes exactly one part. */
  readonly exact: string | undefined;
}

/** @throws InvalidArgumentError `InvalidQuery` */
export function compileQuery(query: Query): CompiledQuery {
  try {
    return compileParts(query);
  } catch (error) {
    throw thrownByArgument("InvalidQuery", "The query", error);
  }
}

function compileParts(query: Query): CompiledQuery {
  if (!Array.isArray(query))
    throw new InvalidArgumentError(
      "InvalidQuery",
      `A query is an array of key parts and ranges; received ${show(query)}`,
    );
  const ranges: PartRange[] = [];
  let prefix = "";
  for (let i = 0; i < query.length; i++) {
    const range = compilePart(query[i] as KeyPart | KeyRange, i);
    // What is fixed at the beginning is one prefix.
    if (ranges.length === 0 && range.exact !== undefined) prefix += range.exact;
    else ranges.push(range);
  }
  if (prefix.length > keyBytesMax) {
    throw new InvalidArgumentError(
      "InvalidQuery",
      `The query has a prefix of ${prefix.length} encoded bytes; keys have at most ${keyBytesMax}`,
    );
  }
  return ranges.length === 0 ? new PrefixQuery(prefix) : new RangeQuery(prefix, ranges);
}

function compilePart(part: KeyPart | KeyRange, index: number): PartRange {
  try {
    if (typeof part !== "object" || part === null || part instanceof Uint8Array) {
      const exact = encodePart(part);
      return { from: exact, to: exact + BEYOND, exact };
    }
    const unknown = Object.keys(part).find((name) => name !== "from" && name !== "to");
    if (unknown !== undefined || !isPlain(part))
      throw new InvalidArgumentError("InvalidQuery", "a range has from and to, nothing else");
    return compileRange(part);
  } catch (error) {
    if (!(error instanceof InvalidArgumentError)) throw error;
    throw new InvalidArgumentError("InvalidQuery", `Part ${index} of the query: ${error.message}`);
  }
}

/** A Date or a Map has no names of its own either, and is not meant to match everything. */
function isPlain(value: object): boolean {
  const prototype = Object.getPrototypeOf(value) as object | null;
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

function compileRange({ from, to }: KeyRange): PartRange {
  const low = from === undefined ? undefined : encodePart(from);
  const high = to === undefined ? undefined : encodePart(to);
  if (low !== undefined && high !== undefined && typeClass(low) !== typeClass(high)) {
    throw new InvalidArgumentError("InvalidQuery", "from and to are of different types");
  }
  const anchor = low ?? high;
  const [typeFrom, typeTo] = anchor === undefined ? [FIRST_PART, BEYOND] : typeBounds(typeClass(anchor));
  return { from: low ?? typeFrom, to: high === undefined ? typeTo : high + BEYOND, exact: undefined };
}

/** The tag of a part's type; the two booleans are one type. */
function typeClass(encoded: string): number {
  const tag = encoded.charCodeAt(0);
  return tag === 6 ? 5 : tag;
}

function typeBounds(tag: number): [string, string] {
  return [String.fromCharCode(tag), String.fromCharCode(tag === 5 ? 7 : tag + 1)];
}

/** True if the first parts of `key` are those of `prefix`. A zero byte that does not end its part is followed by `\xff`, which begins none. */
function beginsWith(key: EncodedKey, prefix: EncodedKey): boolean {
  return key.startsWith(prefix) && key.charCodeAt(prefix.length) !== 0xff;
}

class PrefixQuery implements CompiledQuery {
  readonly lower: EncodedKey;
  readonly upper: EncodedKey | undefined;
  readonly isInterval = true;

  constructor(prefix: EncodedKey) {
    this.lower = prefix;
    this.upper = prefix === "" ? undefined : prefix + BEYOND;
  }

  matches(key: EncodedKey): boolean {
    return beginsWith(key, this.lower);
  }

  seekForward(key: EncodedKey): true | EncodedKey | undefined {
    if (this.matches(key)) return true;
    return key < this.lower ? this.lower : undefined;
  }

  seekBackward(key: EncodedKey): true | EncodedKey | undefined {
    if (this.matches(key)) return true;
    return this.upper !== undefined && key >= this.upper ? this.upper : undefined;
  }
}

/** A prefix, then parts of which the first is a range. */
class RangeQuery implements CompiledQuery {
  readonly #prefix: EncodedKey;
  readonly #ranges: readonly PartRange[];
  readonly lower: EncodedKey;
  readonly upper: EncodedKey;
  readonly isInterval: boolean;

  constructor(prefix: EncodedKey, ranges: readonly PartRange[]) {
    this.#prefix = prefix;
    this.#ranges = ranges;
    this.lower = prefix + ranges[0].from;
    this.upper = prefix + ranges[0].to;
    // No part is the beginning of another: where keys differ from a bound, their parts do.
    this.isInterval = ranges.length === 1;
  }

  matches(key: EncodedKey): boolean {
    if (!beginsWith(key, this.#prefix)) return false;
    let at = this.#prefix.length;
    for (const range of this.#ranges) {
      if (at >= key.length) return false;
      const end = partEnd(key, at);
      const part = key.slice(at, end);
      if (range.exact === undefined ? part < range.from || part >= range.to : part !== range.exact) return false;
      at = end;
    }
    return true;
  }

  seekForward(key: EncodedKey): true | EncodedKey | undefined {
    if (key < this.lower) return this.lower;
    if (key >= this.upper) return undefined;
    // Between the bounds, a key begins with the prefix.
    let at = this.#prefix.length;
    for (let i = 0; i < this.#ranges.length; i++) {
      const range = this.#ranges[i];
      const before = key.slice(0, at);
      if (at >= key.length) return before + range.from;
      const end = partEnd(key, at);
      const part = key.slice(at, end);
      if (part < range.from) return before + range.from;
      if (part >= range.to) {
        // Nothing more below what stands before: go on behind it. At the first range that is beyond the upper bound.
        return i === 0 ? undefined : this.#within(before + BEYOND);
      }
      at = end;
    }
    return true;
  }

  seekBackward(key: EncodedKey): true | EncodedKey | undefined {
    if (key >= this.upper) return this.upper;
    if (key < this.lower) return undefined;
    let at = this.#prefix.length;
    for (let i = 0; i < this.#ranges.length; i++) {
      const range = this.#ranges[i];
      const before = key.slice(0, at);
      // A key that ends here sorts before all below it: nothing at or above it can match but what was passed already.
      if (at >= key.length) return i === 0 ? undefined : before;
      const end = partEnd(key, at);
      const part = key.slice(at, end);
      if (part >= range.to) return before + range.to;
      if (part < range.from) return i === 0 ? undefined : before;
      at = end;
    }
    return true;
  }

  #within(bound: EncodedKey): EncodedKey | undefined {
    return bound < this.upper ? bound : undefined;
  }
}
