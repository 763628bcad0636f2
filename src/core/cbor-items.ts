/** The largest argument of a head that is its own byte. */
const OWN_MAX = 23;

/**
 * Where the item of CBOR that begins at `at` ends, whatever lies in it. Beyond `end` if it does not end before, or is
 * none of those that values are made of.
 */
export function itemEnd(bytes: Uint8Array, at: number, end: number): number {
  const head = bytes[at];
  // Numbers below 24 and short text, which most items are.
  if (head <= OWN_MAX) return at + 1;
  if (head >= 0x60 && head <= 0x60 + OWN_MAX) return at + 1 + head - 0x60;
  for (let left = 1; left > 0; left--) {
    const first = bytes[at++];
    const major = first >> 5;
    let argument = first & 0x1f;
    if (argument > OWN_MAX) {
      const length = 2 ** (argument - OWN_MAX - 1);
      // Eight bytes are the content of a number, or no length that a value has.
      if (length > 8 || (length === 8 && major > 1 && major < 7)) return Infinity;
      argument = 0;
      for (let i = 0; i < length; i++) argument = argument * 0x100 + bytes[at + i];
      at += length;
    }
    if (major === 2 || major === 3) at += argument;
    else if (major === 4 || major === 5) left += argument * (major - 3);
    else if (major === 6) left++;
    // What has yet to come has a byte at least.
    if (!(at + left - 1 <= end)) return Infinity;
  }
  return at;
}

/** The length of the text that begins at `at`, head and all; NaN for what is no text, or one of more than 255 bytes. */
export function shortTextLength(bytes: Uint8Array, at: number): number {
  const first = bytes[at];
  if (first === 0x78) return bytes[at + 1] + 2;
  return first >> 5 === 3 && first < 0x78 ? first - 0x60 + 1 : NaN;
}
