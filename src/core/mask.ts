/**
 * The marker that stands at the start of every frame of a ledger file and nowhere else, and the masks that keep it from occurring by
 * chance or on purpose: in frames, and in the runs that a ledger file may hold. docs/FORMAT.md gives the rule.
 */

/** The same for all ledgers. Its first byte occurs nowhere else in it. */
export const MARKER: Uint8Array = Uint8Array.of(0xfc, 0x66, 0x6f, 0x6c, 0x69, 0x6f, 0x6b, 0x76);
const MARKER_FIRST = 0xfc;

/** The first place at or behind `from` where a whole marker stands, or -1. */
export function indexOfMarker(bytes: Uint8Array, from: number): number {
  const last = bytes.length - MARKER.length;
  for (let at = bytes.indexOf(MARKER_FIRST, from); at >= 0 && at <= last; at = bytes.indexOf(MARKER_FIRST, at + 1)) {
    if (isMarkerAt(bytes, at)) return at;
  }
  return -1;
}

export function isMarkerAt(bytes: Uint8Array, at: number): boolean {
  for (let i = 0; i < MARKER.length; i++) if (bytes[at + i] !== MARKER[i]) return false;
  return true;
}

/**
 * Finds a mask under which no marker occurs, and leaves it applied. `change` XORs the masked bytes with what it is given: from the mask before
 * to the next in one pass, since XOR undoes itself. Every place rules out at most one of the 255^4 masks, and what is masked has fewer
 * places than there are masks: one is always found, as a rule the first.
 */
export function findMask(change: (difference: number) => void, isClean: () => boolean): number {
  let applied = 0;
  for (let seed = 1; ; seed++) {
    const mask = maskFrom(seed);
    change((applied ^ mask) >>> 0);
    applied = mask;
    if (isClean()) return mask;
  }
}

/** The masks in the order in which they are tried: four bytes, none of them the marker's first. */
function maskFrom(seed: number): number {
  // Multiplication by a large odd number spreads consecutive seeds over all four bytes (Knuth's multiplicative hashing).
  let mask = Math.imul(seed, 0x9e3779b1) >>> 0;
  for (let shift = 0; shift < 32; shift += 8) {
    if (((mask >>> shift) & 0xff) === MARKER_FIRST) mask = (mask ^ (1 << shift)) >>> 0;
  }
  return mask === 0 ? 1 : mask;
}

/** XORs bytes [from, to) with the mask; the byte at `from` lies `offset` bytes into what is masked. */
export function xorMask(bytes: Uint8Array, from: number, to: number, offset: number, mask: number): void {
  for (let at = from, place = offset; at < to; at++, place++) bytes[at] ^= (mask >>> ((place & 3) * 8)) & 0xff;
}
