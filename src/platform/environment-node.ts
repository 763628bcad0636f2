import * as zlib from "node:zlib";
import { crc32 } from "../core/crc32.ts";
import type { Environment } from "../core/environment.ts";
import { webEnvironment } from "./environment.ts";

/** Below so many bytes the call into native code costs more than it saves. */
const NATIVE_BYTES_MIN = 160;

/** As on the web, with the native checksum where there is one (Node from 20.15 on, Deno, Bun). */
export const nodeEnvironment: Environment = {
  ...webEnvironment,
  ...(typeof zlib.crc32 === "function"
    ? {
        crc32: (bytes: Uint8Array, seed?: number) =>
          bytes.length < NATIVE_BYTES_MIN ? crc32(bytes, seed) : zlib.crc32(bytes, seed),
      }
    : {}),
};
