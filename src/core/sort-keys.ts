import type { EncodedKey } from "./key.ts";

/**
 * So many characters behind what all keys have in common, and the place of the key, are one safe integer: these are sorted as numbers. Where there are
 * many keys it is one less.
 */
const CHARACTERS = 5;
const PLACES = 2 ** 12;

/**
 * The places of these keys in ascending order of the keys. Comparing strings costs much more than comparing numbers, and a function that
 * compares more still.
 */
export function sortedPlaces(keys: readonly EncodedKey[]): ArrayLike<number> {
  const isMany = keys.length > PLACES;
  const of = isMany ? PLACES * 256 : PLACES;
  if (keys.length > of) return keys.map((_, place) => place).sort((a, b) => compare(keys[a], keys[b]));
  const from = commonLength(keys);
  const to = from + CHARACTERS - (isMany ? 1 : 0);
  const numbers = new Float64Array(keys.length);
  for (let place = 0; place < keys.length; place++) numbers[place] = charactersOf(keys[place], from, to) * of + place;
  numbers.sort();
  const places = new Int32Array(keys.length);
  let begin = 0;
  for (let i = 0; i < numbers.length; i++) {
    places[i] = numbers[i] % of;
    if (Math.floor(numbers[i] / of) !== Math.floor(numbers[begin] / of)) {
      sortAlike(keys, places, begin, i);
      begin = i;
    }
  }
  sortAlike(keys, places, begin, numbers.length);
  return places;
}

function compare(a: EncodedKey, b: EncodedKey): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** How many characters all keys begin with. */
function commonLength(keys: readonly EncodedKey[]): number {
  if (keys.length === 0) return 0;
  const [first] = keys;
  let { length } = first;
  for (const key of keys) {
    let same = 0;
    const end = Math.min(length, key.length);
    while (same < end && key.charCodeAt(same) === first.charCodeAt(same)) same++;
    length = same;
  }
  return length;
}

function charactersOf(key: EncodedKey, from: number, to: number): number {
  let number = 0;
  for (let at = from; at < to; at++) number = number * 256 + (at < key.length ? key.charCodeAt(at) : 0);
  return number;
}

/** Those in [from, to) have the same characters as far as was looked. */
function sortAlike(keys: readonly EncodedKey[], places: Int32Array, from: number, to: number): void {
  if (to - from > 1) places.subarray(from, to).sort((a, b) => compare(keys[a], keys[b]));
}
