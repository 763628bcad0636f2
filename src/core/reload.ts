import type { EncodedKey } from "./key.ts";
import { whenLoaded } from "./bytes-at.ts";
import type { Engine } from "./engine.ts";
import { isPromise, type MaybePromise } from "./environment.ts";
import { hasCode } from "./errors.ts";
import { IndexDamaged } from "./held-run.ts";
import { listRows } from "./listing.ts";
import type { Layer } from "./layers.ts";
import type { Pacer } from "./pacer.ts";
import type { CompiledQuery } from "./query.ts";
import { live, Row } from "./resolve.ts";
import type { Snapshot } from "./source.ts";
import { decodeValue } from "./value.ts";
import type { ReloadedWatches, Watches } from "./watch.ts";

export interface Difference {
  readonly key: EncodedKey;
  /** The new row; a deleted one, of the version reloaded to, if the key is gone. */
  readonly row: Row;
}

/** Everything, expired or not: what a listing sees whose clock has not begun. */
const WHOLE = { reverse: false, limit: Infinity, order: "key", after: undefined, now: -Infinity } as const;

/** Rows handled between two looks at whether a pause is due. */
const SLICE_ROWS = 64;

/**
 * What differs between two states, within what the queries match, in key order. Rows are the same if the same commit wrote them;
 * versions of different ledgers cannot be compared, so that there every row counts as different.
 */
export async function* reloadDifferences(
  before: Layer,
  after: Layer,
  queries: readonly CompiledQuery[],
  to: { readonly version: number; readonly sameLedger: boolean; readonly pacer: Pacer },
): AsyncGenerator<Difference, void, undefined> {
  const pause = (): MaybePromise<void> => (to.pacer.due() ? to.pacer.rest() : undefined);
  let listed = 0;
  const keys = new Set<EncodedKey>();
  for (const query of queries) {
    for (const rows of [before, after]) {
      const listing = listRows(rows, query, WHOLE);
      const step = (): boolean => listing.next();
      for (let ok = whenLoaded(step); isPromise(ok) ? await ok : ok; ok = whenLoaded(step)) {
        keys.add(listing.key);
        if (++listed % SLICE_ROWS === 0) await pause();
      }
    }
  }
  for (const key of [...keys].sort((a, b) => (a < b ? -1 : 1))) {
    // At each one: between two of them watches were called.
    const due = pause();
    if (due !== undefined) await due;
    const foundOld = rowOf(before, key);
    const old = isPromise(foundOld) ? await foundOld : foundOld;
    const found = rowOf(after, key);
    const row = isPromise(found) ? await found : found;
    if (row === undefined) yield { key, row: new Row(to.version, 0, 0, 0, true, -1, 0, 0, undefined) };
    else if (old === undefined || !to.sameLedger || !sameCommit(old, row)) yield { key, row };
  }
}

function rowOf(rows: Layer, key: EncodedKey): MaybePromise<Row | undefined> {
  return whenLoaded(() => live(rows.get(key), -Infinity));
}

function sameCommit(a: Row, b: Row): boolean {
  // A ledger restored from an old copy and written to since can reuse a version: the timestamp and the length tell those apart.
  return (
    a.version === b.version && a.timestamp === b.timestamp && a.order === b.order && a.valueLength === b.valueLength
  );
}

/** Tells watches what a reload has changed for them. */
export async function tellReloaded(
  engine: Engine,
  before: Snapshot,
  to: {
    readonly sameLedger: boolean;
    readonly pacer: Pacer;
    readonly watches: Watches;
    readonly problem: (error: unknown) => void;
  },
): Promise<void> {
  const watches = to.watches.reloading();
  if (watches.queries.length === 0) return;
  const after = engine.freeze();
  try {
    const { version } = after;
    for await (const { key, row } of reloadDifferences(before.rows, after.rows, watches.queries, { ...to, version })) {
      await tellDifference(after, watches, { key, row }, to.problem);
    }
  } catch (error) {
    // A damaged index is nobody's concern, nor that a bucket keeps runs for a while only: what the old state was cannot be told any more, and that is all.
    if (!(error instanceof IndexDamaged) && !hasCode(error, "SnapshotExpired")) to.problem(error);
    watches.reset(after.version);
  } finally {
    after.release();
  }
}

async function tellDifference(
  { source }: Snapshot,
  watches: ReloadedWatches,
  { key, row }: Difference,
  problem: (error: unknown) => void,
): Promise<void> {
  try {
    const bytes = row.deleted || row.numeric !== undefined ? undefined : source.bytes(row);
    // Decoded for each watch anew, while the callback of one before it may read something else into the same memory.
    const value = (isPromise(bytes) ? await bytes : bytes)?.slice();
    watches.tell(key, row, () => (value === undefined ? row.numeric : decodeValue(value)));
  } catch (error) {
    // A damaged value is told of and no other. What could not be read, or is kept no longer, would be missed without a word.
    if (!hasCode(error, "LedgerDamaged")) throw error;
    problem(error);
  }
}
