import { ByteWriter } from "./bytes.ts";

/**
 * Names of properties as they come in encoded values. Values of one kind have the same names in the same order: what followed a name last time is
 * compared with the bytes first, and as a rule that is all. What is remembered is bounded; who has names without end has them read one by one.
 */

/** Longer names are not remembered. */
const NAME_BYTES_MAX = 32;
/** How many different names may follow one. */
const FOLLOWERS_MAX = 8;
/** Names at their places that are remembered at a time. */
const PLACES_MAX = 1024;
/** After so many names for which there was no room, everything is learnt anew. */
const REFUSED_MAX = 16 * 1024;

/** A name at its place behind others, or the beginning of an object. */
export class NamePlace {
  readonly name: string;
  /** The name as it is encoded, head and all. */
  readonly encoded: Uint8Array;
  /** What followed last. */
  next: NamePlace | undefined;
  #followers: NamePlace[] | undefined;

  constructor(name: string, encoded: Uint8Array) {
    this.name = asProperty(name);
    this.encoded = encoded;
  }

  /** The place of `name` behind this one, which will be expected next time; undefined if it cannot be remembered. */
  follow(name: string): NamePlace | undefined {
    const followers = (this.#followers ??= []);
    const known = followers.find((place) => place.name === name);
    if (known !== undefined) return (this.next = known);
    if (followers.length === FOLLOWERS_MAX || !mayRemember()) return undefined;
    const encoded = encodeName(name);
    if (encoded === undefined) return undefined;
    const place = new NamePlace(name, encoded);
    followers.push(place);
    return (this.next = place);
  }
}

/** The name as it is found among an object's properties: of equal strings the one by which properties are known, which need not be looked up. */
export function asProperty(name: string): string {
  return Object.keys({ [name]: undefined })[0];
}

const NOTHING = new Uint8Array(0);

let start = new NamePlace("", NOTHING);
let places = 0;
let refused = 0;

/** Where an object begins. */
export function objectStart(): NamePlace {
  return start;
}

function mayRemember(): boolean {
  if (places < PLACES_MAX) {
    places++;
    return true;
  }
  if (++refused > REFUSED_MAX) {
    start = new NamePlace("", NOTHING);
    places = 0;
    refused = 0;
  }
  return false;
}

const writer = new ByteWriter();

/** As CBOR, in the shortest form; undefined for what is long. */
function encodeName(name: string): Uint8Array | undefined {
  if (name.length > NAME_BYTES_MAX) return undefined;
  writer.reset();
  return writer.cborText(name) ? writer.take() : undefined;
}

const TABLE = 1024;
/** Names met at any place, by a hash of their bytes. */
const table: (string | undefined)[] = new Array<string | undefined>(TABLE).fill(undefined);

/** The name that these bytes encode, made by `make` if it was not met before. */
export function nameOf(bytes: Uint8Array, from: number, length: number, make: () => string): string {
  if (length > NAME_BYTES_MAX) return make();
  let hash = length;
  for (let i = 0; i < length; i++) hash = (hash * 31 + bytes[from + i]) | 0;
  const slot = (hash ^ (hash >>> 10)) & (TABLE - 1);
  const known = table[slot];
  if (known !== undefined && isName(known, bytes, from, length)) return known;
  const name = make();
  // One that is not ASCII has fewer characters than bytes.
  if (name.length === length) table[slot] = name;
  return name;
}

function isName(name: string, bytes: Uint8Array, from: number, length: number): boolean {
  if (name.length !== length) return false;
  for (let i = 0; i < length; i++) if (name.charCodeAt(i) !== bytes[from + i]) return false;
  return true;
}
