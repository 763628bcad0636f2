import { decodeCommit } from "./commit.ts";
import type { Engine } from "./engine.ts";
import type { EngineState } from "./engine-state.ts";
import { type Environment, isPromise } from "./environment.ts";
import { hasCode, KVError, type KVErrorCode } from "./errors.ts";
import type { EncodedKey } from "./key.ts";
import type { Ledger, LedgerCommit } from "./ledger.ts";
import type { VacuumProgress } from "./options.ts";
import type { Pacer } from "./pacer.ts";
import { resolveLoaded } from "./resolve-loaded.ts";
import type { Row } from "./resolve.ts";
import { RowWalk } from "./row-walk.ts";
import { DamageNotes, type Dropped } from "./salvage.ts";
import { salvagedState } from "./salvaged-state.ts";
import { writeSnapshotRun } from "./snapshot-run.ts";

/** What a repair has found and done. */
export interface RepairReport {
  /** What could not be kept, and where it lay. Empty: there was nothing to repair, and nothing was done. */
  readonly dropped: readonly Dropped[];
  /** Commits that were kept; those within the snapshot that the ledger began with not counted. */
  readonly commits: number;
  /** Name of the copy of the damaged original; of a bucket, of the folder in which it stays. Nobody deletes it but you. */
  readonly copy: string | undefined;
  /** The generation that the ledger is in now. */
  readonly generation: number;
  /**
   * What became of the header, of which there are two copies, or of a bucket's root. `restored`: it was damaged, and other parts of the ledger tell the same. `new`: nothing
   * did, so that it is another ledger now, with an id of its own.
   */
  readonly header: "whole" | "restored" | "new";
  /** All that for a person to read. */
  readonly text: string;
}

export interface RepairContext {
  readonly engine: Engine;
  readonly ledger: Ledger;
  readonly environment: Environment;
  readonly pacer: Pacer;
  readonly allowNetworkFileSystem: boolean;
  readonly progress: (progress: VacuumProgress) => void;
  readonly check: () => void;
  /** False if nobody reads the report: what takes time only for its sake is left out. */
  readonly reports: boolean;
}

/** Others' vacuums and repairs that may come first. */
const TRIES_MAX = 8;
const READ_BYTES = 512 * 1024;

/** Lets the ledger begin anew with everything in it that is whole. Every replica reads it anew. */
export async function runRepair(context: RepairContext): Promise<RepairReport> {
  return await repairBy(context, tryRepair, "LedgerSealed");
}

/** `tryOnce` resolves with undefined if others have come first, and is told what had to be done before the ledger could be opened. `beaten`: if they always do. */
export async function repairBy(
  context: RepairContext,
  tryOnce: (context: RepairContext, restored: Restored) => Promise<RepairReport | undefined>,
  beaten: KVErrorCode,
): Promise<RepairReport> {
  const { engine, ledger } = context;
  if (engine.isReadOnly) throw new KVError("ReadOnly", `${ledger.name} was opened with readOnly`);
  let restored: Restored = { header: "whole", copy: undefined };
  for (let tries = 0; tries < TRIES_MAX; tries++) {
    try {
      const done = await tryOnce(context, restored);
      if (done !== undefined) return done;
    } catch (error) {
      const isLost = hasCode(error, "LedgerDamaged") || hasCode(error, "LedgerMissing");
      if (restored.header !== "whole" || !isLost) throw error;
      restored = await restore(context);
      if (restored.header === "whole") throw error;
    }
  }
  throw new KVError(beaten, `${ledger.name} could not be repaired: others were always quicker`);
}

/** If the ledger cannot even be opened any more, that comes first. */
async function restore({ engine, ledger, environment, allowNetworkFileSystem }: RepairContext): Promise<Restored> {
  const options = { createIfMissing: false, readOnly: false, repair: true, allowNetworkFileSystem, environment };
  const session = await ledger.open(options);
  const { restored } = session;
  await session.close();
  if (restored === undefined) return { header: "whole", copy: undefined };
  if (!restored.isSame) await engine.round({ verify: true });
  return { header: restored.isSame ? "restored" : "new", copy: restored.copy };
}

export type Restored = Pick<RepairReport, "header" | "copy">;

/** The ledger as it is, opened once more, and what is whole of the state that it begins with. */
export async function openSalvaged(context: RepairContext, notes: DamageNotes): Promise<EngineState> {
  const session = await context.ledger.open({
    createIfMissing: false,
    readOnly: true,
    allowNetworkFileSystem: context.allowNetworkFileSystem,
    environment: context.environment,
  });
  try {
    return await salvagedState(session, context.engine.optionsOfOthers, notes);
  } catch (error) {
    await session.close();
    throw error;
  }
}

/** Undefined if another generation has come first: then that is what there may be to repair. */
async function tryRepair(context: RepairContext, restored: Restored): Promise<RepairReport | undefined> {
  const { engine, check } = context;
  const notes = new DamageNotes();
  const state = await openSalvaged(context, notes);
  try {
    const { commits, isEnded } = await readAll(state, notes, context);
    const generation = (): number => engine.identity?.generation ?? 0;
    // What follows may be damaged as well. If it is lost, this one is repaired in its stead.
    if (isEnded && (await engine.nextGeneration.passSeal())) return undefined;
    // Values outside the snapshot were checked with the frames that they lie in.
    const wants = ({ home }: Row): boolean => home !== undefined;
    await walkAll(state, context, { wants, unreadable: (_, error) => notes.noteError("snapshot", error) });
    if (notes.dropped.length === 0 && !isEnded)
      return report({ dropped: [], commits, ...restored, generation: generation() });
    const rest = (): Promise<void> | undefined => (context.pacer.due() ? context.pacer.rest() : undefined);
    // Of what was there before anything was done about it, there is one already.
    const copy = restored.copy ?? (await engine.session.keepCopy?.({ rest, check }));
    const { replica, source, position } = state;
    const request = {
      position,
      reload: true,
      writeRun: (write: (bytes: Uint8Array) => void, extra: Uint8Array) =>
        writeSnapshotRun({
          ...context,
          walk: new RowWalk(replica),
          source,
          entries: replica.keys,
          version: replica.version,
          write,
          extra,
          damaged: (error) => notes.noteError("snapshot", error),
        }),
      progress: context.progress,
      check,
    };
    if (!(await isRepaired(engine, request, source.session.identity?.nonce))) return undefined;
    return report({ dropped: notes.dropped, commits, header: restored.header, copy, generation: generation() });
  } finally {
    state.retire();
  }
}

/** Walks through a state, so that what is damaged in it is found. `unreadable` is told of keys whose value, if it is wanted, cannot be read. */
export async function walkAll(
  { replica, source }: EngineState,
  { pacer, check }: RepairContext,
  told: {
    readonly wants: (row: Row) => boolean;
    readonly unreadable: (key: EncodedKey, error: unknown) => void;
  },
): Promise<void> {
  const walk = new RowWalk(replica);
  for (let ok = walk.next(); isPromise(ok) ? await ok : ok; ok = walk.next()) {
    const { key, row } = walk;
    if (!row.deleted && row.numeric === undefined && told.wants(row)) {
      try {
        const bytes = source.bytes(row);
        if (isPromise(bytes)) await bytes;
      } catch (error) {
        if (!hasCode(error, "LedgerDamaged")) throw error;
        told.unreadable(key, error);
      }
    }
    check();
    if (pacer.due()) await pacer.rest();
  }
}

async function isRepaired(
  ...[engine, ...request]: [Engine, ...Parameters<Engine["nextGeneration"]["repair"]>]
): Promise<boolean> {
  try {
    return await engine.nextGeneration.repair(...request);
  } catch (error) {
    if (!hasCode(error, "LedgerSealed")) throw error;
    await engine.nextGeneration.passSeal();
    return false;
  }
}

/** Applies everything that can be read. */
async function readAll(
  state: EngineState,
  notes: DamageNotes,
  { pacer, check }: RepairContext,
): Promise<{ readonly commits: number; readonly isEnded: boolean }> {
  const { session } = state.source;
  let commits = 0;
  for (;;) {
    const read = session.read(state.position, { bytes: READ_BYTES, verify: false });
    const result = isPromise(read) ? await read : read;
    for (const { kind, from, to } of result.notices ?? []) {
      if (kind === "damage" || kind === "lost") notes.note("ledger", [{ from, to }]);
    }
    for (const commit of result.commits) if (await applyTo(state, commit, notes)) commits++;
    state.position = result.next;
    if (result.status !== "more") return { commits, isEnded: result.status !== "end" };
    state.checkpointer?.check();
    await state.checkpointer?.whenRelieved();
    check();
    if (pacer.due()) await pacer.rest();
  }
}

/** What a commit does that nobody can tell is left out, and said. */
export async function applyTo(
  { replica, checkpointer }: EngineState,
  commit: LedgerCommit,
  notes: DamageNotes,
): Promise<boolean> {
  try {
    const decoded = decodeCommit(commit.payload);
    const resolved = resolveLoaded(decoded, commit, replica);
    const resolution = isPromise(resolved) ? await resolved : resolved;
    if (resolution.verdict === "applied") replica.apply(commit.version, resolution.changes);
    else replica.version = commit.version;
    checkpointer?.count(decoded.operations.length, commit.payload.length);
    return true;
  } catch (error) {
    notes.noteError("ledger", error);
    notes.note("ledger", [{ from: commit.version, to: commit.place + commit.payload.length }]);
    return false;
  }
}

/** What a report is made of. `unit`: what the ranges of the ledger count. */
type Facts = Omit<RepairReport, "text"> & { readonly unit?: "bytes" | "versions" };

export function report({ unit = "bytes", ...facts }: Facts): RepairReport {
  return { ...facts, text: describe({ ...facts, unit }) };
}

const HEADERS = {
  restored: "Both copies of the header were damaged, and restored.",
  new: "Both copies of the header were damaged, and nothing tells what they said: it is another ledger now, with a new id.",
} as const;
const NEW_ROOT = "The root was damaged or gone, and was made anew: it is another ledger now, with a new id.";

function describe({ dropped, commits, copy, generation, header, unit }: Facts): string {
  if (dropped.length === 0 && copy === undefined && header === "whole")
    return `Nothing is damaged: ${commits} commits are whole.`;
  const lines = dropped.map(({ part, from, to }) =>
    part === "ledger"
      ? unit === "versions"
        ? `- commits with versions from ${from} to below ${to}`
        : `- ${to - from} bytes at addresses ${from} to ${to} of the ledger`
      : `- ${to - from} bytes at places ${from} to ${to} of the snapshot that the ledger began with`,
  );
  return [
    `Kept are ${commits} commits and what was whole of the snapshot; the ledger goes on as generation ${generation}.`,
    dropped.length === 0 ? "Nothing of it was lost." : `These could not be kept:\n${lines.join("\n")}`,
    ...(header === "whole" ? [] : [unit === "versions" ? NEW_ROOT : HEADERS[header]]),
    ...(copy === undefined ? [] : [`The damaged original was kept as ${copy}.`]),
  ].join("\n");
}
