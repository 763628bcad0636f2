import type { BlockCache } from "./block-cache.ts";
import { type BytesAt, NotLoaded, whenLoaded } from "./bytes-at.ts";
import type { Environment, MaybePromise } from "./environment.ts";
import { hasCode } from "./errors.ts";
import { HeldRun, IndexDamaged } from "./held-run.ts";
import type { StoredRun } from "./ledger.ts";
import { Run } from "./run.ts";

export interface KeptRunOptions {
  readonly cache: BlockCache;
  readonly environment: Environment;
  readonly name: string;
}

/**
 * Opens a run of a state that a ledger keeps itself. Who was asleep for long may find it gone later on, because there is a newer state: then it is as if
 * it was damaged, the state is begun anew, and whoever waited for it reads that. Damage itself is the ledger's: nothing else has what was in there. Bytes that are wrong are asked for once more:
 * they may have gone wrong on their way.
 */
export function openKeptRun(stored: StoredRun, { cache, environment, name }: KeptRunOptions): MaybePromise<HeldRun> {
  const { length, openFrom } = stored;
  const bytes = new ExpiringBytes(stored);
  const options = { cache, crc32: environment.crc32, name, length, openFrom };
  let isLast = stored.readAnew === undefined;
  const open = (): HeldRun => {
    for (;;) {
      try {
        const held = new HeldRun(Run.open(bytes, options), stored);
        bytes.isOpened = true;
        return held;
      } catch (error) {
        if (isLast || !hasCode(error, "LedgerDamaged")) throw error;
        isLast = true;
        stored.readAnew?.();
      }
    }
  };
  return whenLoaded(open);
}

class ExpiringBytes implements BytesAt {
  readonly smallReads: boolean;
  readonly #bytes: BytesAt;
  /** Before, whoever opens it is told as it is. */
  isOpened = false;

  constructor(bytes: BytesAt) {
    this.#bytes = bytes;
    this.smallReads = bytes.smallReads === true;
  }

  read(place: number, length: number, target?: Uint8Array): Uint8Array {
    try {
      return this.#bytes.read(place, length, target);
    } catch (error) {
      if (!this.isOpened) throw error;
      if (!(error instanceof NotLoaded)) throw expired(error);
      const promise = error.promise.catch((failure: unknown) => {
        throw expired(failure);
      });
      // Whoever asked may have given up by the time it fails.
      promise.catch(() => undefined);
      throw new NotLoaded(promise, error.hold);
    }
  }
}

function expired(error: unknown): unknown {
  if (!hasCode(error, "SnapshotExpired")) return error;
  return new IndexDamaged("a run of the state is kept no longer", { cause: error });
}
