import { decodeCommit } from "./commit.ts";
import { type Environment, isPromise } from "./environment.ts";
import { KVError } from "./errors.ts";
import { decodeKey, type EncodedKey, type KeyPart } from "./key.ts";
import type { Ledger, LedgerCommit } from "./ledger.ts";
import { OrderedMap } from "./ordered-map.ts";
import type { Pacer } from "./pacer.ts";
import type { CompiledQuery } from "./query.ts";
import { type Change, lastOfEachKey, type Row, resolve } from "./resolve.ts";
import { valueIn } from "./watch.ts";

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
  /** The nonce of the generation that the version belongs to. */
  readonly nonce: string | undefined;
  /** Versions known to be void; undefined where nobody resolved the commits yet: then all keys are followed, not the matching ones alone. */
  readonly voidVersions: ReadonlySet<number> | undefined;
  readonly allowNetworkFileSystem: boolean;
}

const READ_BYTES = 512 * 1024;

/**
 * Reads the ledger again from its beginning, in a session of its own, and tells what the commits did to matching keys, void ones left
 * out. Keeps the state that sums need while it runs, and drops it at the end.
 */
export async function* readHistory<T>(request: HistoryRequest): AsyncGenerator<HistoryEntry<T>, void, undefined> {
  const session = await request.ledger.open({
    createIfMissing: false,
    readOnly: true,
    allowNetworkFileSystem: request.allowNetworkFileSystem,
    environment: request.environment,
  });
  try {
    if (session.identity?.nonce !== request.nonce) {
      throw new KVError("SnapshotExpired", `${request.ledger.name} was replaced; sync and read its history again`);
    }
    const rows = new OrderedMap<Row>();
    let position = session.start;
    for (;;) {
      const read = session.read(position, { bytes: READ_BYTES, verify: false });
      const result = isPromise(read) ? await read : read;
      for (const commit of result.commits) {
        if (commit.version > request.version) return;
        for (const change of effectOf(commit, rows, request)) yield toEntry<T>(commit, change);
      }
      position = result.next;
      if (result.status !== "more") return;
      if (request.pacer.due()) await request.pacer.rest();
    }
  } finally {
    await session.close();
  }
}

/** What a commit did to matching keys. */
function effectOf(commit: LedgerCommit, rows: OrderedMap<Row>, request: HistoryRequest): Change[] {
  let decoded = decodeCommit(commit.payload);
  if (request.voidVersions !== undefined) {
    if (request.voidVersions.has(commit.version)) return [];
    // The verdict is known: only matching keys matter, and no check needs to be looked at.
    const matching = decoded.operations.map((operation) =>
      operation.purge === undefined && !request.query.matches(operation.key) ? undefined : operation,
    );
    if (matching.every((operation) => operation === undefined)) return [];
    decoded = { checks: [], operations: matching.filter((operation) => operation !== undefined) };
  }
  const resolution = resolve(decoded, commit, rows);
  if (resolution.verdict !== "applied") return [];
  for (const { key, row } of resolution.changes) {
    if (row.deleted) rows.delete(key);
    else rows.set(key, row);
  }
  return lastOfEachKey(resolution.changes).filter(({ key }) => request.query.matches(key));
}

function toEntry<T>(commit: LedgerCommit, { key, row }: { key: EncodedKey; row: Row }): HistoryEntry<T> {
  const common = { key: decodeKey(key), version: commit.version, timestamp: commit.timestamp };
  if (row.deleted) return { ...common, operation: "delete" };
  const value = valueIn(commit.payload, row) as T;
  return { ...common, operation: "set", value, ...(row.expiresAt === 0 ? {} : { expiresAt: row.expiresAt }) };
}
