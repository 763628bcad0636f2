import * as zlib from "node:zlib";
import type { Environment } from "../core/environment.ts";
import { webEnvironment } from "./environment.ts";

/** As on the web, with the native checksum where there is one (Node from 20.15 on, Deno, Bun). */
export const nodeEnvironment: Environment = {
  ...webEnvironment,
  ...(typeof zlib.crc32 === "function" ? { crc32: (bytes: Uint8Array, seed?: number) => zlib.crc32(bytes, seed) } : {}),
};
