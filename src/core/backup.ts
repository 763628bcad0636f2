import { toHex } from "./bytes.ts";
import type { Engine } from "./engine.ts";
import type { Environment } from "./environment.ts";
import { KVError } from "./errors.ts";
import { IndexDamaged } from "./held-run.ts";
import { LayeredView } from "./layers.ts";
import type { Ledger } from "./ledger.ts";
import type { BackupResult } from "./maintenance.ts";
import type { VacuumProgress } from "./options.ts";
import type { Pacer } from "./pacer.ts";
import { openPassed } from "./passed-runs.ts";
import type { FrozenReplica } from "./replica.ts";
import { type RowWalk, walkThrough } from "./row-walk.ts";
import { writeSnapshotRun } from "./snapshot-run.ts";
import type { Snapshot } from "./source.ts";
import { buildParts } from "./state-parts.ts";

export interface BackupContext {
  readonly engine: Engine;
  readonly ledger: Ledger;
  readonly environment: Environment;
  readonly pacer: Pacer;
  /** Where there is nothing yet. */
  readonly target: Ledger;
  readonly newLedgerId: boolean;
  readonly progress: (progress: VacuumProgress) => void;
  readonly check: () => void;
}

const ID_BYTES = 16;

/** Writes a copy of the present state, values and all, to a new place, while everybody goes on. */
export async function runBackup(context: BackupContext): Promise<BackupResult> {
  const { engine, ledger, target } = context;
  if (target.createFrom === undefined) {
    const message = `${target.name} is of a kind that cannot be written whole: an R2 binding for one, whose bucket s3Ledger reaches, and objectLedger on r2Store`;
    throw new KVError("UnsupportedTarget", message);
  }
  await engine.round({ verify: true });
  const { damage, identity } = engine;
  // What is missing in it could not be seen in the copy, which perhaps is to replace a good one.
  if (damage.length > 0)
    throw new KVError("LedgerDamaged", `${ledger.name} is damaged: repair it first`, { ranges: damage });
  if (identity === undefined) throw new KVError("LedgerMissing", `${ledger.name} is empty`);
  const snapshot = engine.freeze();
  try {
    return await copy(context, { ...identity, snapshot, entries: engine.replica.keys });
  } finally {
    snapshot.release();
  }
}

async function copy(
  context: BackupContext,
  from: {
    readonly ledgerId: string;
    readonly generation: number;
    readonly snapshot: Snapshot;
    readonly entries: number;
  },
): Promise<BackupResult> {
  const { engine, ledger, environment, target, newLedgerId, progress, check } = context;
  const { snapshot, entries, ledgerId, generation } = from;
  const { rows, source, version } = snapshot;
  const passed = await openPassed(rows, { environment, name: ledger.name }).catch((error: unknown) => {
    // Nothing was written yet: it is begun anew from the newest state, as where a saved index is damaged.
    if (!(error instanceof KVError) || error.code !== "SnapshotExpired") throw error;
    throw new IndexDamaged("a run of the state is kept no longer", { cause: error });
  });
  const view = passed && new LayeredView([rows.changes, ...passed.runs], undefined);
  const walked = (): Promise<RowWalk> => walkThrough(rows, context, view);
  try {
    const { bytes } = await (target as Required<Ledger>).createFrom({
      environment,
      ledgerId: newLedgerId ? toHex(environment.randomBytes(ID_BYTES)) : ledgerId,
      generation: generation + 1,
      version,
      expectedBytes: expectedBytes(engine, rows),
      progress,
      check,
      writeRun: async (write, extra) =>
        writeSnapshotRun({ ...context, walk: await walked(), source, entries, version, write, extra }),
      buildRuns: async function* (partBytes) {
        yield* buildParts({ ...context, walk: await walked(), source }, { upto: version, partBytes });
      },
    });
    return { bytes, version };
  } finally {
    passed?.release();
  }
}

/** About: what its layers take and, of a ledger whose values lie in its commits, what it takes altogether. */
function expectedBytes({ session }: Engine, { overlays, runs }: FrozenReplica): number {
  const inRuns = runs.reduce((sum, { stored }) => sum + stored.length, 0);
  const bytes = overlays.reduce((sum, overlay) => sum + overlay.bytes, inRuns);
  return Math.max(bytes, session.growth?.().bytes ?? 0);
}
