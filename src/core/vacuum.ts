import type { Engine } from "./engine.ts";
import { decodeCommit } from "./commit.ts";
import type { EngineState } from "./engine-state.ts";
import { isPromise } from "./environment.ts";
import { hasCode, KVError } from "./errors.ts";
import type { Ledger, LedgerCommit, LedgerSession, ReadResult } from "./ledger.ts";
import type { KeepHistory, VacuumProgress } from "./options.ts";
import { type PurgeContext, purgeExpired } from "./purge.ts";
import { resolveLoaded } from "./resolve-loaded.ts";
import { walkThrough } from "./row-walk.ts";
import { writeSnapshotRun } from "./snapshot-run.ts";
import type { Snapshot } from "./source.ts";

/** What a vacuum has done. */
export interface VacuumResult {
  /** The generation that the ledger is in now. */
  readonly generation: number;
  /** False if a vacuum of another process came first: then its result is what counts. */
  readonly author: boolean;
  /** Expired entries that were removed for everybody. */
  readonly purged: number;
  /** How large the ledger was before, in bytes. */
  readonly bytesBefore: number;
  /** How large it is now, in bytes. */
  readonly bytesAfter: number;
}

export interface VacuumContext extends PurgeContext {
  readonly ledger: Ledger;
  readonly allowNetworkFileSystem: boolean;
  readonly keepHistory: KeepHistory | undefined;
  readonly progress: (progress: VacuumProgress) => void;
}

const READ_BYTES = 512 * 1024;

/** Purges what expired long ago, then lets the ledger begin anew with the state as it is, while everybody goes on. */
export async function runVacuum(context: VacuumContext): Promise<VacuumResult> {
  const { engine } = context;
  await engine.round({ verify: true });
  const purged = await purgeExpired(context);
  // To begin takes a few milliseconds in a program that has not done it before: they count from here on, not from the first look at the clock.
  await context.pacer.rest();
  context.pacer.dueInBackground();
  const bytesBefore = bytesOf(engine);
  const done = (author: boolean): VacuumResult => {
    const generation = engine.identity?.generation ?? 0;
    return { generation, author, purged, bytesBefore, bytesAfter: bytesOf(engine) };
  };
  let basis: Basis;
  try {
    basis = await snapshotBasis(context);
  } catch (error) {
    if (!hasCode(error, "LedgerSealed")) throw error;
    // Another one has come first since this one was called, and is what counts.
    await engine.round({ verify: true });
    return done(false);
  }
  try {
    const author = await engine.nextGeneration.vacuum(
      {
        position: basis.position,
        reload: false,
        writeRun: async (write, extra) => {
          const { rows, source, version } = basis.snapshot;
          const walk = await walkThrough(rows, context);
          return writeSnapshotRun({ ...context, walk, source, entries: basis.entries, version, write, extra });
        },
        progress: context.progress,
        check: context.check,
      },
      basis.nonce,
    );
    return done(author);
  } finally {
    basis.release();
  }
}

function bytesOf({ session }: Engine): number {
  const bytes = session.stats?.().bytes;
  return typeof bytes === "number" ? bytes : 0;
}

/** The state with which the next generation begins, and where what is copied begins. */
interface Basis {
  /** Of the generation that it is in. */
  readonly nonce: string | undefined;
  readonly position: number;
  readonly snapshot: Pick<Snapshot, "rows" | "source" | "version">;
  /** About how many there are in it. */
  readonly entries: number;
  readonly release: () => void;
}

async function snapshotBasis(context: VacuumContext): Promise<Basis> {
  if (context.keepHistory === undefined) return present(context.engine);
  const session = await context.ledger.open({
    createIfMissing: false,
    readOnly: true,
    allowNetworkFileSystem: context.allowNetworkFileSystem,
    environment: context.environment,
  });
  let state: EngineState | undefined;
  try {
    if (session.identity?.nonce !== context.engine.identity?.nonce)
      throw new KVError("LedgerSealed", `Somebody else has vacuumed ${context.ledger.name} meanwhile`);
    const from = await oldestKept(session, context.keepHistory, context);
    if (from === undefined) {
      await session.close();
      return present(context.engine);
    }
    state = await context.engine.begin(session);
    await buildUpTo(state, from, context);
  } catch (error) {
    if (state === undefined) await session.close();
    else state.retire();
    throw error;
  }
  const past = state;
  const frozen = past.freeze();
  return {
    nonce: session.identity?.nonce,
    position: past.position,
    snapshot: frozen,
    entries: past.replica.keys,
    release: () => {
      frozen.release();
      past.retire();
    },
  };
}

/** Applies the commits below a version, which is where the position comes to stand. */
async function buildUpTo(state: EngineState, version: number, context: VacuumContext): Promise<void> {
  const { pacer, check } = context;
  const { session } = state.source;
  while (state.position < version) {
    const read = session.read(state.position, { bytes: READ_BYTES, verify: false });
    const result = isPromise(read) ? await read : read;
    refuseDamage(result, context);
    for (const commit of result.commits) if (commit.version < version) await applyTo(state, commit);
    state.position = Math.min(result.next, version);
    if (result.status !== "more" && state.position < version) return;
    state.checkpointer?.check();
    await state.checkpointer?.whenRelieved();
    check();
    if (pacer.due()) await pacer.rest();
  }
}

async function applyTo({ replica, checkpointer }: EngineState, commit: LedgerCommit): Promise<void> {
  const decoded = decodeCommit(commit.payload);
  const resolved = resolveLoaded(decoded, commit, replica);
  const resolution = isPromise(resolved) ? await resolved : resolved;
  if (resolution.verdict === "applied") replica.apply(commit.version, resolution.changes);
  else replica.version = commit.version;
  checkpointer?.count(decoded.operations.length, commit.payload.length);
}

/** Whoever began with a saved index has not seen what it covers: damage in there would be left out in silence. */
function refuseDamage({ notices = [] }: ReadResult, { ledger }: VacuumContext): void {
  const ranges = notices.filter(({ kind }) => kind === "damage").map(({ from, to }) => ({ from, to }));
  if (ranges.length === 0) return;
  const where = ranges.map(({ from, to }) => `addresses ${from} to ${to}`).join(", ");
  throw new KVError("LedgerDamaged", `${ledger.name} is damaged at ${where}: its history cannot be kept`, { ranges });
}

function present(engine: Engine): Basis {
  // Nothing is awaited between the two: the state is that at the position.
  const snapshot = engine.freeze();
  const { identity, position, replica } = engine;
  return { nonce: identity?.nonce, position, snapshot, entries: replica.keys, release: () => snapshot.release() };
}

/** The version of the first commit to be kept; undefined if there is none. */
async function oldestKept(
  session: LedgerSession,
  keep: KeepHistory,
  context: VacuumContext,
): Promise<number | undefined> {
  const { environment, pacer, check } = context;
  const newest: number[] = [];
  const since = keep.forMs === undefined ? 0 : environment.now() - keep.forMs;
  let first: number | undefined;
  for (let position = session.start; ;) {
    const read = session.read(position, { bytes: READ_BYTES, verify: false });
    const result = isPromise(read) ? await read : read;
    refuseDamage(result, context);
    for (const { version, timestamp } of result.commits) {
      if (keep.forMs !== undefined) {
        // Behind the newest commit that is older.
        if (timestamp < since) first = undefined;
        else first ??= version;
      } else {
        newest.push(version);
        if (newest.length > 2 * keep.commits + READ_BYTES) newest.splice(0, newest.length - keep.commits);
      }
    }
    position = result.next;
    if (result.status !== "more") break;
    check();
    if (pacer.due()) await pacer.rest();
  }
  if (keep.forMs !== undefined) return first;
  return newest[Math.max(0, newest.length - keep.commits)];
}
