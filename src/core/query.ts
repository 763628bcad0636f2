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
  /** Equal for queries that say the same. */
  readonly identity: string;
  matches(key: EncodedKey): boolean;
  /**
   * Of a key between the bounds: true if it matches. Else where matches may come next: the smallest such key above it; in reverse an exclusive upper
   * bound, at most the key, below which all of them lie.
   */
  seek(key: EncodedKey, reverse: boolean): true | EncodedKey;
}

/** Above every part of a key that begins with what stands before it. */
const BEYOND = "\xff";
/** At or below every part, and not empty: a key is below itself with this behind it, so that seeking there always gets on. */
const FIRST_PART = "\x01";

/** One part of a query: the encoded parts it takes lie in [from, to). */
interface PartRange {
  readonly from: string;
  readonly to: string;
  /** It takes exactly one part, `from`. */
  readonly isExact: boolean;
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
    if (ranges.length === 0 && range.isExact) prefix += range.from;
    else ranges.push(range);
  }
  if (prefix.length > keyBytesMax) {
    throw new InvalidArgumentError(
      "InvalidQuery",
      `The query has a prefix of ${prefix.length} encoded bytes; keys have at most ${keyBytesMax}`,
    );
  }
  return new Ranges(prefix, ranges);
}

function compilePart(part: KeyPart | KeyRange, index: number): PartRange {
  try {
    if (typeof part !== "object" || part === null || part instanceof Uint8Array) {
      const exact = encodePart(part);
      return { from: exact, to: exact + BEYOND, isExact: true };
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
  return { from: low ?? typeFrom, to: high === undefined ? typeTo : high + BEYOND, isExact: false };
}

/** The tag of a part's type; the two booleans are one type. */
function typeClass(encoded: string): number {
  const tag = encoded.charCodeAt(0);
  return tag === 6 ? 5 : tag;
}

function typeBounds(tag: number): [string, string] {
  return [String.fromCharCode(tag), String.fromCharCode(tag === 5 ? 7 : tag + 1)];
}

/** A prefix, then parts of which the first is a range. */
class Ranges implements CompiledQuery {
  readonly #prefix: EncodedKey;
  readonly #ranges: readonly PartRange[];
  readonly lower: EncodedKey;
  readonly upper: EncodedKey | undefined;
  readonly isInterval: boolean;

  constructor(prefix: EncodedKey, ranges: readonly PartRange[]) {
    this.#prefix = prefix;
    this.#ranges = ranges;
    const first = ranges.at(0);
    this.lower = prefix + (first?.from ?? "");
    // A zero byte that does not end its part is followed by what is beyond: a key between the bounds begins with the prefix's parts, whole.
    this.upper = first === undefined && prefix === "" ? undefined : prefix + (first?.to ?? BEYOND);
    // No part is the beginning of another: where keys differ from a bound, their parts do.
    this.isInterval = ranges.length < 2;
  }

  get identity(): string {
    return JSON.stringify([this.#prefix, this.#ranges]);
  }

  matches(key: EncodedKey): boolean {
    if (key < this.lower || (this.upper !== undefined && key >= this.upper)) return false;
    return this.isInterval || this.seek(key, false) === true;
  }

  seek(key: EncodedKey, reverse: boolean): true | EncodedKey {
    let at = this.#prefix.length;
    for (const { from, to } of this.#ranges) {
      const end = at < key.length ? partEnd(key, at) : at;
      const part = key.slice(at, end);
      // Also if the key ends here: it sorts before all below it.
      if (part < from) return key.slice(0, at) + (reverse ? "" : from);
      if (part >= to) return key.slice(0, at) + (reverse ? to : BEYOND);
      at = end;
    }
    return true;
  }
}
