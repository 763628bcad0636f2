import { decodeCommit } from "./commit.ts";
import type { EngineState } from "./engine-state.ts";
import { whenLoaded } from "./bytes-at.ts";
import { type Environment, isPromise, type MaybePromise } from "./environment.ts";
import { KVError } from "./errors.ts";
import type { KeyPart } from "./key.ts";
import type { Ledger, LedgerCommit, LedgerNotice, LedgerSession } from "./ledger.ts";
import { listRows } from "./listing.ts";
import type { OpenHistory } from "./open-history.ts";
import type { Pacer } from "./pacer.ts";
import type { CompiledQuery } from "./query.ts";
import { type Change, lastOfEachKey, type Resolution } from "./resolve.ts";
import { resolveLoaded } from "./resolve-loaded.ts";
import { changeEntry, valueIn } from "./watch.ts";

/** One thing that happened to one key, as far back as the ledger goes. */
export type HistoryEntry<T = unknown> =
  | (HistoryKey & { readonly operation: "set"; readonly value: T; readonly expiresAt?: number })
  | (HistoryKey & { readonly operation: "delete"; readonly value?: undefined });

interface HistoryKey {
  readonly key: KeyPart[];
  readonly version: number;
  /** The author's clock at the commit, ms since the epoch. */
  readonly timestamp: number;
  /** True for an entry of the snapshot that the ledger starts with: what led to it is not retained. */
  readonly snapshot?: true;
}

export interface HistoryRequest {
  readonly ledger: Ledger;
  readonly environment: Environment;
  readonly pacer: Pacer;
  readonly query: CompiledQuery;
  /** Up to this version. */
  readonly version: number;
  /** Whose version it is. */
  readonly ledgerId: string;
  /** With the entries of the snapshot that the ledger starts with. */
  readonly snapshot: boolean;
  /** The state that a session starts with. */
  readonly begin: (session: LedgerSession) => Promise<EngineState>;
  /** Holds what is open while entries are told, and may end it. */
  readonly open: OpenHistory;
  /** Nothing above the version may be told, not as part of a snapshot either. */
  readonly isFrozen: boolean;
  /** Told of what holds no commit. */
  readonly note: (state: EngineState, notices: readonly LedgerNotice[]) => void;
  /** Versions known to be void; undefined where nobody resolved the commits yet: then all keys are followed, not the matching ones alone. */
  readonly voidVersions: ReadonlySet<number> | undefined;
  readonly allowNetworkFileSystem: boolean;
  /** Its commits were resolved by their authors. */
  readonly isResolved: boolean;
}

const READ_BYTES = 512 * 1024;

/**
 * Reads the ledger again from its beginning, in a session of its own, and tells what the commits did to matching keys, void ones left
 * out. Keeps the state that sums need while it runs, and drops it at the end.
 */
export async function* readHistory<T>(request: HistoryRequest): AsyncGenerator<HistoryEntry<T>, void, undefined> {
  const { open } = request;
  const session = await request.ledger.open({
    createIfMissing: false,
    readOnly: true,
    allowNetworkFileSystem: request.allowNetworkFileSystem,
    environment: request.environment,
  });
  let state: EngineState | undefined;
  try {
    open.check();
    if (session.identity?.ledgerId !== request.ledgerId) {
      throw new KVError("SnapshotExpired", `${request.ledger.name} was replaced; sync and read its history again`);
    }
    state = await request.begin(session);
    open.hold(state);
    if (request.isFrozen && state.replica.version > request.version) {
      throw new KVError("SnapshotExpired", `${request.ledger.name} was vacuumed: what the transaction sees is gone`);
    }
    if (request.snapshot) yield* snapshotEntries<T>(state, request);
    for (;;) {
      const read = session.read(state.position, { bytes: READ_BYTES, verify: false });
      const result = isPromise(read) ? await read : read;
      if (result.notices !== undefined) request.note(state, result.notices);
      for (const stored of result.state?.runs ?? []) stored.close();
      for (const met of result.commits) {
        if (met.version > request.version) return;
        const whole = met.isPartial === true ? session.complete?.(met) : undefined;
        const commit = whole === undefined ? met : { ...met, payload: isPromise(whole) ? await whole : whole };
        const effect = effectOf(commit, state, request);
        for (const { key, row } of isPromise(effect) ? await effect : effect) {
          open.rest();
          yield changeEntry(key, row, () => valueIn(commit.payload, row) as T);
          open.goOn();
        }
      }
      state.position = result.next;
      if (result.status === "moved" && request.isResolved)
        throw new KVError("SnapshotExpired", `${request.ledger.name} retains less of its history than when this began`);
      if (result.status !== "more") return;
      state.checkpointer?.check();
      await state.checkpointer?.whenRelieved();
      if (request.pacer.due()) await request.pacer.rest();
      open.check();
    }
  } finally {
    // What was made of the session closes it.
    if (state === undefined) await session.close();
  }
}

/** The matching entries of the snapshot that the ledger starts with, in key order. */
async function* snapshotEntries<T>(state: EngineState, request: HistoryRequest): AsyncGenerator<HistoryEntry<T>> {
  const { query, pacer, open } = request;
  // Everything, expired or not: whether it has expired is for the reader to say.
  const listing = listRows(state.replica, query, { ...WHOLE, now: -Infinity });
  const step = (): boolean => listing.next();
  for (let ok = whenLoaded(step); isPromise(ok) ? await ok : ok; ok = whenLoaded(step)) {
    const { key, row } = listing;
    const arriving = state.source.value(row);
    const value = (isPromise(arriving) ? await arriving : arriving) as T;
    open.rest();
    yield changeEntry(key, row, () => value, { snapshot: true });
    open.goOn();
    if (pacer.due()) await pacer.rest();
  }
}

const WHOLE = { reverse: false, limit: Infinity, order: "key", after: undefined } as const;

/** What a commit did to matching keys. */
function effectOf(commit: LedgerCommit, state: EngineState, request: HistoryRequest): MaybePromise<Change[]> {
  let decoded = decodeCommit(commit.payload);
  if (request.voidVersions !== undefined) {
    if (request.voidVersions.has(commit.version)) return [];
    // The verdict is known: only matching keys matter, and no check needs to be looked at.
    const matching = decoded.operations.filter(({ purge, key }) => purge !== undefined || request.query.matches(key));
    if (matching.length === 0) return [];
    decoded = { checks: [], operations: matching };
  }
  const { replica, checkpointer } = state;
  const take = (resolution: Resolution): Change[] => {
    if (resolution.verdict !== "applied") return [];
    // Nothing depends on what its author has resolved.
    if (!request.isResolved) {
      replica.apply(commit.version, resolution.changes);
      checkpointer?.count(decoded.operations.length, commit.payload.length);
    }
    return lastOfEachKey(resolution.changes).filter(({ key }) => request.query.matches(key));
  };
  const resolved = resolveLoaded(decoded, commit, replica);
  return isPromise(resolved) ? resolved.then(take) : take(resolved);
}
