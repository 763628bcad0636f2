import type { Engine } from "./engine.ts";
import type { Environment, MaybePromise } from "./environment.ts";
import { KVError } from "./errors.ts";
import type { Ledger } from "./ledger.ts";
import type { BackupResult } from "./maintenance.ts";
import type { VacuumProgress } from "./options.ts";
import type { Pacer } from "./pacer.ts";
import { walkThrough } from "./row-walk.ts";
import { writeSnapshotRun } from "./snapshot-run.ts";

export interface BackupContext {
  readonly engine: Engine;
  readonly ledger: Ledger;
  readonly environment: Environment;
  readonly pacer: Pacer;
  readonly path: string;
  readonly newLedgerId: boolean;
  readonly progress: (progress: VacuumProgress) => void;
  readonly check: () => void;
}

/** Writes a copy of the present state, values and all, to a new place, while everybody goes on. */
export async function runBackup(context: BackupContext): Promise<BackupResult> {
  const { engine, ledger, pacer, path, newLedgerId, progress, check } = context;
  if (engine.session.backup === undefined)
    throw new KVError("UnsupportedTarget", `${ledger.name} is of a kind that cannot be copied`);
  await engine.round({ verify: true });
  const { damage } = engine;
  // What is missing in it could not be seen in the copy, which perhaps is to replace a good one.
  if (damage.length > 0)
    throw new KVError("LedgerDamaged", `${ledger.name} is damaged: repair it first`, { ranges: damage });
  // Nothing is awaited between the two: the state is that at the position.
  const snapshot = engine.freeze();
  const { position, replica } = engine;
  const entries = replica.keys;
  try {
    const { bytes } = await engine.session.backup(path, {
      position,
      newLedgerId,
      progress,
      check,
      rest: (): MaybePromise<void> => (pacer.due() ? pacer.rest() : undefined),
      writeRun: async (write, extra) => {
        const { rows, source, version } = snapshot;
        const walk = await walkThrough(rows, context);
        return writeSnapshotRun({ ...context, walk, source, entries, version, write, extra });
      },
    });
    return { bytes, version: snapshot.version };
  } finally {
    snapshot.release();
  }
}
