import { whenLoaded } from "./bytes-at.ts";
import { BlockCache } from "./block-cache.ts";
import type { Environment, MaybePromise } from "./environment.ts";
import { HeldRun, type OpenedRuns, openRuns } from "./held-run.ts";
import type { StoredRun } from "./ledger.ts";
import type { FrozenReplica } from "./replica.ts";
import { Run } from "./run.ts";

/** What is kept of all the runs together: their parts, two of each, are within these bounds. */
const PARTS_BYTES = 64 * 1024 * 1024;
const PART_BYTES = { min: 256 * 1024, max: 4 * 1024 * 1024 } as const;
/** Who passes once through what is read has no use for what that leaves in a cache. */
const CACHE_BYTES = 256 * 1024;

/**
 * Opens runs once more to read all of them, once and in order, in large parts: where each read is a round trip, a window after the other would take long.
 * Undefined where reading costs the same either way. Whoever holds the runs goes on to.
 */
export async function openPassed(
  rows: FrozenReplica,
  { environment: { crc32 }, name }: { readonly environment: Environment; readonly name: string },
): Promise<OpenedRuns | undefined> {
  const { runs: held } = rows;
  if (held.length === 0 || held.some(({ stored }) => stored.passed === undefined)) return undefined;
  const partBytes = Math.floor(PARTS_BYTES / 2 / held.length);
  const bounded = Math.min(Math.max(partBytes, PART_BYTES.min), PART_BYTES.max);
  const cache = new BlockCache(CACHE_BYTES);
  const open = (stored: StoredRun): MaybePromise<HeldRun> => {
    const { length, openFrom } = stored;
    return whenLoaded(() => new HeldRun(Run.open(stored, { cache, crc32, name, length, openFrom }), stored));
  };
  return await openRuns(
    held.map((run) => run.stored.passed?.(bounded) as StoredRun),
    [],
    open,
  );
}
