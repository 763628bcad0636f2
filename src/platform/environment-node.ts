import * as fs from "node:fs";
import * as zlib from "node:zlib";
import { checksumWithin } from "../core/crc32.ts";
import type { Environment } from "../core/environment.ts";
import { makeCharactersBy, type ToCharacters } from "../core/value-decoder.ts";
import { webEnvironment } from "./environment.ts";

/** Below so many bytes the call into native code costs more than it saves. */
const NATIVE_BYTES_MIN = 160;

/** As on the web, with the native checksum where there is one (Node from 20.15 on, Deno, Bun). */
export const nodeEnvironment: Environment = {
  ...webEnvironment,
  ...("Deno" in globalThis || "Bun" in globalThis ? {} : { randomBytes, monotonic }),
  ...(typeof zlib.crc32 === "function"
    ? {
        crc32: (bytes: Uint8Array, seed?: number) =>
          bytes.length < NATIVE_BYTES_MIN
            ? checksumWithin(zlib.crc32, bytes, 0, bytes.length, seed)
            : zlib.crc32(bytes, seed),
      }
    : {}),
};

/** Node loads what stands behind `performance` on first use, which takes a tenth of opening a database. This is there, and no slower. */
function monotonic(): number {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1000 + nanoseconds / 1e6;
}

/** Node loads its Web Crypto on first use, which takes longer than all the rest of opening a database. The system has the same bytes. */
function randomBytes(length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  return readUrandom(bytes) ? bytes : webEnvironment.randomBytes(length);
}

/** False where there is no such device, or a permission system forbids to read it. */
function readUrandom(bytes: Uint8Array): boolean {
  if (process.platform === "win32") return false;
  try {
    const descriptor = fs.openSync("/dev/urandom", "r");
    try {
      return fs.readSync(descriptor, bytes) === bytes.length;
    } finally {
      fs.closeSync(descriptor);
    }
  } catch {
    return false;
  }
}

/** Undocumented, in Node and Bun from the beginning, and several times quicker than what is documented. Trusted as far as it passes a test. */
const latin1Slice = (globalThis as { Buffer?: { prototype: { latin1Slice?: (from: number, to: number) => string } } })
  .Buffer?.prototype.latin1Slice;
if (typeof latin1Slice === "function" && !("Deno" in globalThis)) {
  const toCharacters: ToCharacters = (bytes, from, to) => latin1Slice.call(bytes, from, to);
  if (toCharacters(Uint8Array.of(0, 0x61, 0xff, 0), 1, 3) === "a\xff") makeCharactersBy(toCharacters);
}
