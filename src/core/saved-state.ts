import { Checkpointer } from "./checkpointer.ts";
import type { EngineState, EngineStateOptions } from "./engine-state.ts";
import { isPromise } from "./environment.ts";
import { hasCode, KVError } from "./errors.ts";
import { type HeldRun, IndexDamaged, openRuns } from "./held-run.ts";
import type { Checkpoint, CheckpointStore, LedgerSession } from "./ledger.ts";
import { openRun } from "./opened-runs.ts";

/** What was saved beside a ledger, and where more of it may be saved. */
interface Saved {
  readonly store: CheckpointStore | undefined;
  readonly checkpoint?: Checkpoint;
  readonly runs?: readonly HeldRun[];
}

/** The state that was saved beside a ledger, if it is to be begun with. See `EngineState.begin`. */
export async function loadSaved(
  session: LedgerSession,
  options: EngineStateOptions,
  { load }: { readonly load: boolean },
): Promise<Saved> {
  let store = options.sideIndex ? session.openCheckpoints?.() : undefined;
  if (!load && options.saves()) store = invalidated(store);
  const loaded = load ? store?.load() : undefined;
  const checkpoint = isPromise(loaded) ? await loaded : loaded;
  if (checkpoint === "cut") {
    const message = `${options.name} is shorter than what its index covers: something was cut off its end`;
    options.problem(new KVError("LedgerDamaged", message));
  }
  if (typeof checkpoint !== "object") return { store };
  try {
    const open = openRuns(checkpoint.runs, [], (stored) => openRun(stored, options, damagedIndex));
    const { runs } = await open;
    return { store, checkpoint, runs };
  } catch (error) {
    // A run of the index that cannot be opened: it is built anew. What cannot be read now is perhaps only not to be read now.
    if (hasCode(error, "LedgerDamaged") && options.saves()) store = invalidated(store);
    return { store };
  }
}

/** What saves a state beside its ledger. */
export function saver(state: EngineState, options: EngineStateOptions): Checkpointer {
  const { environment, pacer, problem, indexDamaged } = options;
  const host = {
    environment,
    pacer,
    replica: state.replica,
    get position() {
      return state.position;
    },
    get store() {
      return state.store;
    },
    openRun: (stored) => openRun(stored, options, damagedIndex),
    problem,
    indexDamaged,
  } satisfies ConstructorParameters<typeof Checkpointer>[0];
  return new Checkpointer(host, state.position);
}

/** A store that offers no more what it has published; none where that cannot be helped: there nothing could be published in its stead either. */
function invalidated(store: CheckpointStore | undefined): CheckpointStore | undefined {
  try {
    store?.invalidate();
    return store;
  } catch {
    // Without an index everything works, and takes longer.
    return undefined;
  }
}

/** Damage of a run of the saved index is none of the ledger, from which its contents can be had as well. */
export function damagedIndex(error: unknown): unknown {
  if (!hasCode(error, "LedgerDamaged")) return error;
  return new IndexDamaged("a run of the saved index is damaged", { cause: error });
}
