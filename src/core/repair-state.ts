import type { Engine } from "./engine.ts";
import type { MaybePromise } from "./environment.ts";
import { hasCode } from "./errors.ts";
import type { EngineState } from "./engine-state.ts";
import type { EncodedKey } from "./key.ts";
import type { ReadBudget, RepairedState, RepairStateRequest } from "./ledger.ts";
import {
  applyTo,
  openSalvaged,
  repairBy,
  type RepairContext,
  type RepairReport,
  report,
  type Restored,
  walkAll,
} from "./repair.ts";
import { rescue } from "./rescue.ts";
import type { Row } from "./resolve.ts";
import { DamageNotes } from "./salvage.ts";
import { buildDelta, buildWhole } from "./state-run.ts";

const READ_BYTES = 512 * 1024;

/**
 * Lets a ledger that keeps its state itself begin anew with everything that is whole, up to the last commit that can be reached. Every replica reads it anew.
 * Takes some minutes, in which everything goes on: what authors acknowledge before they hear of it belongs into the report.
 */
export async function repairKept(context: RepairContext): Promise<RepairReport> {
  return await repairBy(context, tryRepair, "Contention");
}

/** Undefined if something else has come first: then that is what there may be to repair. */
async function tryRepair(context: RepairContext, restored: Restored): Promise<RepairReport | undefined> {
  const { engine, ledger, pacer, check } = context;
  const notes = new DamageNotes();
  const state = await openSalvaged(context, notes);
  try {
    const upto = state.position;
    let commits = await readWhole(state, notes, context);
    if (commits === undefined) return undefined;
    const { replica, source, position } = state;
    const unreadable = new Set<EncodedKey>();
    await walkAll(state, context, { wants: () => true, unreadable: (key) => void unreadable.add(key) });
    const facts = { ...restored, unit: "versions" } as const;
    const generation = (): number => engine.identity?.generation ?? 0;
    if (!notes.isDamaged && unreadable.size === 0) {
      return report({ ...facts, commits, dropped: [], generation: generation() });
    }
    if (notes.damagedRuns.size > 0 || unreadable.size > 0) await rescue(state, notes, context, { upto, unreadable });
    const making = { ...context, name: ledger.name, source };
    const damaged = (error: unknown, { version, home }: Row): void => {
      if (home !== undefined) return notes.noteError("snapshot", error);
      // What cannot be read for the moment is not lost.
      if (!hasCode(error, "LedgerDamaged")) throw error;
      notes.note("ledger", [{ from: version, to: version + 1 }]);
    };
    const built = await buildWhole(making, replica, { upto: replica.version, damaged });
    const readOn: RepairStateRequest["readOn"] = async () => {
      const since = replica.version;
      const more = await readWhole(state, notes, context, { passesOver: false });
      if (more === undefined) return undefined;
      commits = (commits ?? 0) + more;
      const { version } = replica;
      if (version === since) return { position: state.position, version, built: undefined };
      const frozen = replica.freeze();
      try {
        const changes = await buildDelta(making, frozen.changes, { since, upto: version, damaged });
        return { position: state.position, version, built: changes };
      } finally {
        frozen.release();
      }
    };
    const rest = (): MaybePromise<void> => (pacer.due() ? pacer.rest() : undefined);
    const repaired = await begunAnew(engine, { position, version: replica.version, built, readOn, rest, check });
    if (repaired === undefined) return undefined;
    if (context.reports) notes.note("ledger", await repaired.behind());
    return report({ ...facts, commits, copy: repaired.left, dropped: notes.dropped, generation: generation() });
  } finally {
    state.retire();
  }
}

async function begunAnew(engine: Engine, request: RepairStateRequest): Promise<RepairedState | undefined> {
  const repaired = await engine.session.repairState?.(request);
  try {
    await engine.round({ verify: true });
  } catch (error) {
    // What somebody else has begun with may be damaged as well.
    if (repaired !== undefined || !hasCode(error, "LedgerDamaged")) throw error;
  }
  return repaired;
}

/** Applies everything up to the first commit that cannot be reached. Resolves with the number of commits; undefined if the ledger has begun anew. */
async function readWhole(
  state: EngineState,
  notes: DamageNotes,
  { pacer, check }: RepairContext,
  given: Pick<ReadBudget, "passesOver"> = {},
): Promise<number | undefined> {
  const { session } = state.source;
  let commits = 0;
  for (;;) {
    let result: Awaited<ReturnType<typeof session.read>>;
    try {
      result = await session.read(state.position, { bytes: READ_BYTES, verify: false, ...given });
    } catch (error) {
      if (!hasCode(error, "LedgerDamaged")) throw error;
      notes.noteError("ledger", error);
      return commits;
    }
    // Also in part, without large values: those are read where they are needed, and may be damaged.
    for (const commit of result.commits) if (await applyTo(state, commit, notes)) commits++;
    state.position = result.next;
    for (const stored of result.state?.runs ?? []) stored.close();
    if (result.status === "moved") return undefined;
    if (result.status !== "more") return commits;
    check();
    if (pacer.due()) await pacer.rest();
  }
}
