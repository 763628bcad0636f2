import { hasCode, KVError } from "./errors.ts";
import { HeldRun } from "./held-run.ts";
import { type KeptRunOptions, openKeptRun } from "./kept-run.ts";
import type { StoredRun } from "./ledger.ts";

/**
 * As `openKeptRun`. In the place of a run that is so damaged that it cannot be opened there is one that tells everybody so who comes to it in a search for
 * something; what newer ones hold is found before. `lost` is told of it.
 */
export async function openKeptOrLost(
  stored: StoredRun,
  options: KeptRunOptions,
  lost: (error: KVError) => void,
): Promise<HeldRun> {
  try {
    return await openKeptRun(stored, options);
  } catch (cause) {
    if (!hasCode(cause, "LedgerDamaged")) throw cause;
    const message =
      `The run ${stored.id} is damaged: what it holds cannot be read, and nothing can be written. ` +
      "repair(), or open with repair: true, keeps all that is whole";
    const ranges = stored.covers === undefined ? [] : [stored.covers];
    const error = new KVError("LedgerDamaged", message, { cause, ranges });
    lost(error);
    return lostRun(stored, error);
  }
}

function lostRun(stored: StoredRun, error: KVError): HeldRun {
  const fail = (): never => {
    throw error;
  };
  const cursor = {
    key: "",
    get value(): never {
      return fail();
    },
    seek: fail,
    seekBefore: fail,
    next: fail,
    previous: fail,
  };
  const info = { entries: 0, tombstones: 0, upto: 0 };
  const run = { info, get: fail, cursor: () => cursor, voidVersions: fail, release: () => undefined };
  return new HeldRun(run, stored);
}
