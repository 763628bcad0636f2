import { whenLoaded } from "./bytes-at.ts";
import { EngineState, type EngineStateOptions } from "./engine-state.ts";
import { hasCode } from "./errors.ts";
import type { HeldRun } from "./held-run.ts";
import type { LedgerSession } from "./ledger.ts";
import { runOptions } from "./opened-runs.ts";
import type { ReplicaBase } from "./replica.ts";
import { Run } from "./run.ts";
import type { DamageNotes } from "./salvage.ts";

/** The state that a session starts with, as far as it is whole. */
export async function salvagedState(
  session: LedgerSession,
  options: EngineStateOptions,
  notes: DamageNotes,
): Promise<EngineState> {
  if (session.openState !== undefined) return salvageKept(session, options, notes);
  const snapshot = session.openSnapshot?.();
  let base: ReplicaBase | undefined;
  if (snapshot !== undefined) {
    const { run: stored, below } = snapshot;
    try {
      const run = await whenLoaded(() => Run.open(stored, runOptions(stored, options)));
      base = { run: notes.salvaged(run, stored), below };
    } catch (error) {
      notes.noteError("snapshot", error);
      notes.note("snapshot", [{ from: 0, to: stored.length }]);
      stored.close();
    }
  }
  return new EngineState(session, options, base, {});
}

async function salvageKept(
  session: LedgerSession,
  options: EngineStateOptions,
  notes: DamageNotes,
): Promise<EngineState> {
  const checkpoint = await session.openState?.();
  const { cache, environment, name } = options;
  const runs: HeldRun[] = [];
  for (const stored of checkpoint?.runs ?? []) {
    const { length, openFrom } = stored;
    try {
      const given = { cache, crc32: environment.crc32, name, length, openFrom };
      runs.push(notes.salvaged(await whenLoaded(() => Run.open(stored, given)), stored));
    } catch (error) {
      if (!hasCode(error, "LedgerDamaged")) throw error;
      notes.note("snapshot", [{ from: 0, to: length }], stored);
      stored.close();
    }
  }
  return new EngineState(session, options, undefined, { checkpoint, runs, isKept: true });
}
