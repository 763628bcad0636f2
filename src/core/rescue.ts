import { whenLoaded } from "./bytes-at.ts";
import { decodeCommit, isPlain } from "./commit.ts";
import type { EngineState } from "./engine-state.ts";
import { isPromise } from "./environment.ts";
import { hasCode } from "./errors.ts";
import type { EncodedKey } from "./key.ts";
import type { Position } from "./ledger.ts";
import type { RepairContext } from "./repair.ts";
import { resolve, type Row } from "./resolve.ts";
import type { DamageNotes } from "./salvage.ts";

const READ_BYTES = 512 * 1024;

/**
 * What is damaged of a state that a ledger keeps may still lie in the ledger: commits stay for a while behind the state that covers them. Those up to
 * `upto` that are still there are laid over the state, if all of them can be read: were one missing, what it has replaced would come back. `unreadable`: keys
 * whose value cannot be read.
 */
export async function rescue(
  state: EngineState,
  notes: DamageNotes,
  context: RepairContext,
  { upto, unreadable }: { readonly upto: Position; readonly unreadable: ReadonlySet<EncodedKey> },
): Promise<void> {
  const kept = await readKept(state, upto, context);
  if (kept === undefined) return;
  const { replica } = state;
  const { version } = replica;
  // Of their own: they are older than what the overlay holds already.
  replica.close();
  for (const [key, row] of kept.rows) {
    const found = newerRow(state, key);
    const newest = isPromise(found) ? await found : found;
    const isNeeded = newest === undefined || newest.version < row.version || unreadable.has(key);
    if (isNeeded && (newest?.version ?? 0) <= row.version) replica.apply(row.version, [{ key, row }]);
  }
  replica.version = version;
  for (const run of notes.damagedRuns) if ((run.covers?.from ?? -1) >= kept.from) notes.madeGood(run);
}

/** The row that the state has for a key; undefined where that cannot be told. */
async function newerRow({ replica }: EngineState, key: EncodedKey): Promise<Row | undefined> {
  try {
    const found = whenLoaded(() => replica.get(key));
    return isPromise(found) ? await found : found;
  } catch (error) {
    if (!hasCode(error, "LedgerDamaged")) throw error;
    return undefined;
  }
}

/** What the commits have left that the ledger keeps up to a position, in their order; `from`: version of the first. Undefined if there are none, or not all can be read. */
async function readKept(
  { source }: EngineState,
  upto: Position,
  { pacer, check }: RepairContext,
): Promise<{ readonly from: number; readonly rows: ReadonlyMap<EncodedKey, Row> } | undefined> {
  const { session } = source;
  const rows = new Map<EncodedKey, Row>();
  let from: number | undefined;
  for (let position = session.start; position < upto;) {
    let result: Awaited<ReturnType<typeof session.read>>;
    try {
      result = await session.read(position, { bytes: READ_BYTES, verify: false });
    } catch (error) {
      if (!hasCode(error, "LedgerDamaged")) throw error;
      return undefined;
    }
    if (result.status === "moved") return undefined;
    for (const commit of result.commits) {
      const decoded = decodeCommit(commit.payload);
      if (!isPlain(decoded)) return undefined;
      from ??= commit.version;
      const resolved = resolve(decoded, commit, NOTHING);
      if (resolved.verdict !== "applied") return undefined;
      for (const { key, row } of resolved.changes) {
        // A key stands where it was written last.
        rows.delete(key);
        rows.set(key, row);
      }
    }
    for (const stored of result.state?.runs ?? []) stored.close();
    if (result.next === position) break;
    position = result.next;
    check();
    if (pacer.due()) await pacer.rest();
  }
  return from === undefined ? undefined : { from, rows };
}

/** Plain commits ask for nothing. */
const NOTHING = { get: () => undefined } as const;
