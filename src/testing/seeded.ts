/** Numbers in [0, 1), the same ones for the same seed everywhere (xorshift32, Marsaglia 2003). */
export function seeded(seed: number): () => number {
  // A state of zero would stay zero.
  let state = (Math.imul(seed, 0x9e3779b1) ^ 0x5bd1e995) >>> 0 || 1;
  const next = (): number => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
  // The first numbers of neighbouring seeds are alike.
  for (let i = 0; i < 8; i++) next();
  return next;
}
