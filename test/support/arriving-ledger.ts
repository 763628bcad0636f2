import { ArrivingBytes } from "../../src/core/bytes-at.ts";
import { isPromise, type MaybePromise } from "../../src/core/environment.ts";
import type { Checkpoint, CheckpointAbsence, CheckpointStore, Ledger, StoredRun } from "../../src/core/ledger.ts";
import { withMembers } from "./database.ts";

/** A ledger whose runs take their time: every read of one is answered later, as in a bucket. `reads` counts them. */
export function arrivingLedger(ledger: Ledger): { readonly ledger: Ledger; readonly counts: { reads: number } } {
  const counts = { reads: 0 };
  const late = (run: StoredRun): StoredRun => {
    const bytes = new ArrivingBytes(async (place, length) => {
      counts.reads++;
      await new Promise((resolve) => setImmediate(resolve));
      return run.read(place, length).slice();
    });
    return {
      id: run.id,
      length: run.length,
      read: (place, length) => bytes.read(place, length),
      close: () => run.close(),
    };
  };
  const open: Ledger["open"] = async (options) => {
    const session = await ledger.open(options);
    return withMembers(session, {
      openSnapshot: () => {
        const snapshot = session.openSnapshot?.();
        return snapshot === undefined ? undefined : { ...snapshot, run: late(snapshot.run) };
      },
      openCheckpoints: () => {
        const store = session.openCheckpoints?.();
        return store === undefined ? undefined : lateStore(store, late);
      },
    });
  };
  return { ledger: { name: ledger.name, ordering: ledger.ordering, open }, counts };
}

function lateStore(store: CheckpointStore, late: (run: StoredRun) => StoredRun): CheckpointStore {
  /** The store knows its own runs only. */
  const originals = new Map<string, StoredRun>();
  const wrapped = (run: StoredRun): StoredRun => {
    originals.set(run.id, run);
    return late(run);
  };
  const original = (run: StoredRun): StoredRun => originals.get(run.id) ?? run;
  const loaded = (found: Checkpoint | CheckpointAbsence): Checkpoint | CheckpointAbsence =>
    typeof found === "string" ? found : { ...found, runs: found.runs.map(wrapped) };
  return {
    load: (): MaybePromise<Checkpoint | CheckpointAbsence> => {
      const found = store.load();
      return isPromise(found) ? found.then(loaded) : loaded(found);
    },
    createRun: () => {
      const sink = store.createRun();
      return {
        write: (bytes) => sink.write(bytes),
        finish: async () => wrapped(await sink.finish()),
        abandon: () => sink.abandon(),
      };
    },
    publish: (checkpoint) => store.publish({ ...checkpoint, runs: checkpoint.runs.map(original) }),
    invalidate: () => store.invalidate(),
    discard: (runs) => store.discard(runs.map(original)),
  };
}
