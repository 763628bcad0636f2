import type { Engine } from "./engine.ts";
import { type Environment, isPromise } from "./environment.ts";
import type { EncodedKey } from "./key.ts";
import type { Pacer } from "./pacer.ts";
import { walkThrough } from "./row-walk.ts";

export interface PurgeContext {
  readonly engine: Engine;
  readonly environment: Environment;
  readonly pacer: Pacer;
  readonly purgeAfterMs: number;
  /** Commits a purge of these entries. */
  readonly purge: (entries: readonly { readonly key: EncodedKey; readonly version: number }[]) => Promise<void>;
  /** Throws if there is no sense in going on. */
  readonly check: () => void;
}

/** Entries of one purge commit. */
const PURGE_MAX = 1000;
const SLICE_ROWS = 256;

/** Removes for everybody what expired more than `purgeAfterMs` ago, in commits of bounded size. */
export async function purgeExpired(context: PurgeContext): Promise<number> {
  const { engine, environment, pacer, purgeAfterMs, purge, check } = context;
  const before = environment.now() - purgeAfterMs;
  const snapshot = engine.freeze();
  let purged = 0;
  try {
    let entries: { key: EncodedKey; version: number }[] = [];
    const walk = await walkThrough(snapshot.rows, context);
    let count = 0;
    for (let ok = walk.next(); isPromise(ok) ? await ok : ok; ok = walk.next()) {
      const { deleted, expiresAt, version } = walk.row;
      if (!deleted && expiresAt !== 0 && expiresAt < before) entries.push({ key: walk.key, version });
      if (entries.length === PURGE_MAX) {
        await purge(entries);
        purged += entries.length;
        entries = [];
      }
      if (++count % SLICE_ROWS === 0 && pacer.dueInBackground()) {
        await pacer.restInBackground();
        check();
      }
    }
    if (entries.length > 0) await purge(entries);
    return purged + entries.length;
  } finally {
    snapshot.release();
  }
}
