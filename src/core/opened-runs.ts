import { whenLoaded } from "./bytes-at.ts";
import type { EngineStateOptions } from "./engine-state.ts";
import { isPromise, type MaybePromise } from "./environment.ts";
import { HeldRun } from "./held-run.ts";
import type { LedgerSession, StoredRun } from "./ledger.ts";
import type { ReplicaBase } from "./replica.ts";
import type { RunOptions } from "./run-pieces.ts";
import { Run } from "./run.ts";

/** The snapshot that a session's ledger begins with, if it does. */
export function openBase(session: LedgerSession, options: EngineStateOptions): MaybePromise<ReplicaBase | undefined> {
  const snapshot = session.openSnapshot?.();
  if (snapshot === undefined) return undefined;
  const { run: stored, below } = snapshot;
  const fail = (error: unknown): never => {
    stored.close();
    throw error;
  };
  try {
    const run = openRun(stored, options);
    return isPromise(run) ? run.then((opened) => ({ run: opened, below }), fail) : { run, below };
  } catch (error) {
    return fail(error);
  }
}

/** Opens a run of a file. `told`: see `HeldRun`. */
export function openRun(
  stored: StoredRun,
  options: EngineStateOptions,
  told?: (error: unknown) => unknown,
): MaybePromise<HeldRun> {
  return whenLoaded(() => new HeldRun(Run.open(stored, runOptions(stored, options)), stored, told));
}

/** How a run of a file is read. */
export function runOptions(
  { length }: StoredRun,
  { cache, environment, name, Lookups }: EngineStateOptions,
): RunOptions {
  return { cache, crc32: environment.crc32, name, length, Lookups };
}
