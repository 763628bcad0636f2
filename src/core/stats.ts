import type { AddressRange } from "./errors.ts";
import type { Opened } from "./lifecycle.ts";
import type { VacuumStats } from "./maintenance.ts";

/** Figures about one instance. All plain data. */
export interface KVStats {
  readonly ledger: string;
  readonly ledgerId: string | undefined;
  readonly generation: number | undefined;
  /** The version that reads see. */
  readonly version: number;
  /** Keys in the index, expired ones included. About: what lies in several of its parts is counted in each. */
  readonly keys: number;
  readonly pending: { readonly commits: number; readonly bytes: number };
  /** Frozen versions that iterators and transactions hold. */
  readonly snapshots: {
    readonly count: number;
    readonly oldestAgeMs: number;
    /** What could be freed if it were not for them, about. */
    readonly pinnedBytes: number;
  };
  /** Where the index lies: in memory, what came last; in runs, what came before. */
  readonly index: {
    readonly overlayBytes: number;
    readonly runs: number;
    readonly runBytes: number;
    /** As many of them as lie in memory, because they cannot be saved. */
    readonly runBytesInMemory: number;
  };
  readonly watches: number;
  /** Since open: commits met, of them void; batches appended; follow rounds; stumps skipped; bytes lost in a power failure. */
  readonly counts: Readonly<Record<string, number>>;
  readonly damage: readonly AddressRange[];
  readonly vacuum: VacuumStats;
  /** What the adapter tells; `header` and `damagedCopy`, if `open` had to make a header, or a bucket's root, anew. */
  readonly session: Readonly<Record<string, number | string | boolean>>;
}

export function statsOf(
  { engine, ledger, maintenance, restored }: Opened,
  rest: Pick<KVStats, "snapshots" | "watches">,
): KVStats {
  return {
    ledger: ledger.name,
    ledgerId: engine.identity?.ledgerId,
    generation: engine.identity?.generation,
    version: engine.replica.version,
    keys: engine.replica.keys,
    pending: { commits: engine.queue.count, bytes: engine.queue.bytes },
    snapshots: rest.snapshots,
    index: engine.replica.size,
    watches: rest.watches,
    counts: { ...engine.counts },
    damage: [...engine.damage],
    vacuum: maintenance.stats,
    session: { ...engine.session.stats?.(), ...restoredStats(restored) },
  };
}

function restoredStats(restored: Opened["restored"]): KVStats["session"] {
  if (restored === undefined) return {};
  const { isSame, copy } = restored;
  return { header: isSame ? "restored" : "new", ...(copy !== undefined && { damagedCopy: copy }) };
}
