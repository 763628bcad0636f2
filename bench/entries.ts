/** The entries that every peer stores: about 143 bytes each as CBOR, 174 as JSON. */

export interface Entry {
  readonly name: string;
  readonly email: string;
  readonly address: string;
  readonly age: number;
  readonly active: boolean;
  readonly tags: readonly string[];
  readonly score: number;
}

export function entryOf(i: number): Entry {
  return {
    name: `User ${i}`,
    email: `user.${i}@example.org`,
    address: `${i} Long Street, Springfield`,
    age: 18 + (i % 60),
    active: i % 3 === 0,
    tags: ["customer", i % 2 === 0 ? "letter" : "phone", `region-${i % 16}`],
    score: i * 1.25,
  };
}

/** Numbers below `count` in an order that is random and the same for every peer (a full-period linear congruential sequence). */
export function* shuffled(count: number): Generator<number> {
  const size = 2 ** Math.ceil(Math.log2(count));
  let at = 12_345 % size;
  for (let i = 0; i < size; i++) {
    at = (at * 1_664_525 + 1_013_904_223) % size;
    if (at < count) yield at;
  }
}
