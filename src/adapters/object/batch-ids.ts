import { equalBytes } from "../../core/bytes.ts";
import type { Environment } from "../../core/environment.ts";
import { KVError } from "../../core/errors.ts";
import { BATCH_ID_BYTES } from "./slot.ts";

/**
 * The batch ids of slots, as they lie behind a run: an author that was asleep while its slot was written, covered and deleted learns from them
 * whether that was its own. docs/FORMAT.md gives the layout.
 */

/** A run tells those of so many slots, the newest. */
export const BATCH_IDS_MAX = 65_536;
const CHECKSUM_BYTES = 4;

/** Bytes that so many ids take. */
export function batchIdsBytes(count: number): number {
  return count * BATCH_ID_BYTES + CHECKSUM_BYTES;
}

/** `ids`: oldest first. Returns as many of the newest as are kept, and their number. */
export function encodeBatchIds(
  ids: readonly Uint8Array[],
  crc32: Environment["crc32"],
): { readonly bytes: Uint8Array; readonly count: number } {
  const kept = ids.slice(-BATCH_IDS_MAX);
  const bytes = new Uint8Array(batchIdsBytes(kept.length));
  for (const [i, id] of kept.entries()) {
    if (id.length !== BATCH_ID_BYTES) throw new RangeError(`A batch id of ${id.length} bytes`);
    bytes.set(id, i * BATCH_ID_BYTES);
  }
  const end = bytes.length - CHECKSUM_BYTES;
  new DataView(bytes.buffer).setUint32(end, crc32(bytes.subarray(0, end)), true);
  return { bytes, count: kept.length };
}

/** Oldest first. `name` is for messages. Throws `LedgerDamaged`. */
export function decodeBatchIds(
  bytes: Uint8Array,
  count: number,
  crc32: Environment["crc32"],
  name: string,
): Uint8Array[] {
  const end = bytes.length - CHECKSUM_BYTES;
  const checksum = new Uint8Array(CHECKSUM_BYTES);
  if (bytes.length === batchIdsBytes(count))
    new DataView(checksum.buffer).setUint32(0, crc32(bytes.subarray(0, end)), true);
  if (bytes.length !== batchIdsBytes(count) || !equalBytes(checksum, bytes.subarray(end))) {
    throw new KVError("LedgerDamaged", `The batch ids behind ${name} are damaged`);
  }
  return Array.from({ length: count }, (_, i) => bytes.slice(i * BATCH_ID_BYTES, (i + 1) * BATCH_ID_BYTES));
}
