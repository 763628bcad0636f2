import * as zlib from "node:zlib";
import { expect, it, vi } from "vitest";
import { checksumWithin, crc32 } from "../../src/core/crc32.ts";
import { Draw } from "../support/random.ts";

const random = new Draw(1);
const bytes = new Uint8Array(5000).map(() => random.below(256));

it("a checksum is that of zlib, whichever way it is made", () => {
  const native = (part: Uint8Array, seed?: number): number => zlib.crc32(part, seed);
  for (let i = 0; i < 1000; i++) {
    const from = random.below(4000);
    const to = from + random.below(random.chance(0.2) ? 1000 : 200);
    const seed = random.chance(0.5) ? undefined : random.below(2 ** 32);
    const expected = zlib.crc32(bytes.subarray(from, to), seed);
    expect(checksumWithin(native, bytes, from, to, seed)).toBe(expected);
    if (i > 400) expect(crc32(bytes.subarray(from, to), seed)).toBe(expected);
  }
});

it("the first short checksums are left to native code, later ones are not", async () => {
  vi.resetModules();
  const fresh = await import("../../src/core/crc32.ts");
  let calls = 0;
  const native = (part: Uint8Array, seed?: number): number => {
    calls++;
    return zlib.crc32(part, seed);
  };
  for (let i = 0; i < 10; i++) fresh.checksumWithin(native, bytes, i, i + 100);
  expect(calls).toBe(10);
  for (let i = 0; i < 1000; i++) fresh.checksumWithin(native, bytes, i, i + 100);
  expect(calls).toBeLessThan(1000);
});
