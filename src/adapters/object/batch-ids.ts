import { ByteWriter, readU32 } from "../../core/bytes.ts";
import type { Environment } from "../../core/environment.ts";
import { KVError } from "../../core/errors.ts";
import { SEAL_BYTES, seal } from "./sealed.ts";
import { BATCH_ID_BYTES } from "./slot.ts";

/**
 * The batch ids of slots, as they lie behind a run: an author that was asleep while its slot was written, covered and deleted learns from them
 * whether that was its own. docs/FORMAT.md gives the layout.
 */

/** A run tells those of so many slots, the newest. */
export const BATCH_IDS_MAX = 65_536;

/** Bytes that so many ids take. */
export function batchIdsBytes(count: number): number {
  return count * BATCH_ID_BYTES + SEAL_BYTES;
}

/** `ids`: oldest first. Returns as many of the newest as are kept, and their number. */
export function encodeBatchIds(
  ids: readonly Uint8Array[],
  crc32: Environment["crc32"],
): { readonly bytes: Uint8Array; readonly count: number } {
  const kept = ids.slice(-BATCH_IDS_MAX);
  const writer = new ByteWriter(batchIdsBytes(kept.length));
  for (const id of kept) writer.bytes(id);
  return { bytes: seal(writer, crc32), count: kept.length };
}

/** Oldest first. `name` is for messages. Throws `LedgerDamaged`. */
export function decodeBatchIds(
  bytes: Uint8Array,
  count: number,
  crc32: Environment["crc32"],
  name: string,
): Uint8Array[] {
  const end = bytes.length - SEAL_BYTES;
  if (bytes.length !== batchIdsBytes(count) || readU32(bytes, end) !== crc32(bytes.subarray(0, end))) {
    throw new KVError("LedgerDamaged", `The batch ids behind ${name} are damaged`);
  }
  return Array.from({ length: count }, (_, i) => bytes.slice(i * BATCH_ID_BYTES, (i + 1) * BATCH_ID_BYTES));
}
