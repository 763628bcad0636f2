/**
 * CRC-32 as in zlib, gzip and PNG (IEEE 802.3): polynomial 0xEDB88320 reflected, initial value and final XOR 0xFFFFFFFF. For platforms
 * that bring none. Eight bytes at a time, by eight tables ("slicing-by-8", Kounavis and Berry, Intel 2005).
 */

const POLYNOMIAL = 0xedb88320;
const SLICES = 8;

let tables: Int32Array | undefined;

export function crc32(bytes: Uint8Array, seed = 0): number {
  return crc32Within(bytes, 0, bytes.length, seed);
}

/** Up to so many bytes are quicker done here than a view of them is made and handed to native code. */
const SHORT_BYTES = 256;
/** But the tables take as long as so many calls of native code, which is more than opening a database needs. */
const CALLS_BEFORE_TABLES = 200;
let calls = 0;

/** The checksum of bytes [from, to), by `native` where that pays. */
export function checksumWithin(
  native: (bytes: Uint8Array, seed?: number) => number,
  bytes: Uint8Array,
  from: number,
  to: number,
  seed = 0,
): number {
  const short = to - from <= SHORT_BYTES && (tables !== undefined || ++calls > CALLS_BEFORE_TABLES);
  return short ? crc32Within(bytes, from, to, seed) : native(bytes.subarray(from, to), seed);
}

function crc32Within(bytes: Uint8Array, from: number, to: number, seed: number): number {
  const t = (tables ??= makeTables());
  let crc = ~seed;
  let at = from;
  for (; at + SLICES <= to; at += SLICES) {
    crc ^= bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24);
    crc =
      t[0x700 | (crc & 0xff)] ^
      t[0x600 | ((crc >>> 8) & 0xff)] ^
      t[0x500 | ((crc >>> 16) & 0xff)] ^
      t[0x400 | (crc >>> 24)] ^
      t[0x300 | bytes[at + 4]] ^
      t[0x200 | bytes[at + 5]] ^
      t[0x100 | bytes[at + 6]] ^
      t[bytes[at + 7]];
  }
  for (; at < to; at++) crc = t[(crc ^ bytes[at]) & 0xff] ^ (crc >>> 8);
  return ~crc >>> 0;
}

/** `tables[slice * 256 + byte]`: the effect of a byte that is followed by `slice` more. */
function makeTables(): Int32Array {
  const made = new Int32Array(SLICES * 256);
  // The effect of several bits is that of each, added: those with one bit more follow from those without it.
  let crc = 1;
  for (let bit = 128; bit > 0; bit >>= 1) {
    crc = crc & 1 ? (crc >>> 1) ^ POLYNOMIAL : crc >>> 1;
    for (let byte = 0; byte < 256; byte += 2 * bit) made[byte + bit] = made[byte] ^ crc;
  }
  for (let at = 256; at < made.length; at++) {
    const before = made[at - 256];
    made[at] = made[before & 0xff] ^ (before >>> 8);
  }
  return made;
}
