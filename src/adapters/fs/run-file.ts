import { fromSystem } from "./errors.ts";
import { type ReadableFile, readAt } from "./file.ts";

/** Reads a part of a run, wherever that lies. */
export function readRun(
  file: ReadableFile,
  { at, length }: { readonly at: number; readonly length: number },
  target?: Uint8Array,
): Uint8Array {
  try {
    return readAt(file, at, length, target);
  } catch (error) {
    throw fromSystem(error, "A run cannot be read");
  }
}
