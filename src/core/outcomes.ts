import { ByteWriter } from "./bytes.ts";
import type { PendingCommit, Verdict } from "./commit-queue.ts";
import {
  type Commit,
  isPlain,
  NO_CHECKS,
  type Operation,
  VALUE_HEADER_BYTES,
  writeDelete,
  writeOutcomeSet,
} from "./commit.ts";
import { type Environment, isPromise, type MaybePromise } from "./environment.ts";
import { KVError } from "./errors.ts";
import type { EncodedKey } from "./key.ts";
import type { CommitRecord } from "./ledger.ts";
import { type Change, type CommitPlace, lastOfEachKey, type Resolution, type Row, type StateView } from "./resolve.ts";
import { resolveLoaded } from "./resolve-loaded.ts";
import { encodeNumeric } from "./value.ts";

/**
 * What the commits of a batch come to in a ledger whose authors resolve: plain sets and deletes, or nothing at all. True as long as the ledger ends
 * where the state does that they were resolved against.
 */

/** What one commit comes to. */
export interface Outcome {
  readonly pending: PendingCommit;
  readonly verdict: Verdict;
  /** Why it cannot be committed, where it is neither void nor to be appended. */
  readonly failure?: KVError;
  /** What is to be appended; undefined if there is nothing: the commit is void, or changes nothing. */
  readonly written: { readonly record: CommitRecord; readonly commit: Commit } | undefined;
}

/** Commits that were not appended yet have no version. No check names this one. */
const NO_VERSION = -1;

/** Resolves the commits of a batch in order, each against the state that those before it leave. The state must not change meanwhile. */
export function resolveBatch(
  batch: readonly PendingCommit[],
  state: StateView,
  limits: OutcomeLimits,
): MaybePromise<Outcome[]> {
  // As a rule there is nothing to resolve.
  if (batch.every(({ commit }) => isPlain(commit))) return batch.map(plainOutcome);
  return resolveEach(batch, new BatchState(state), limits);
}

export interface OutcomeLimits {
  readonly crc32: Environment["crc32"];
  /** Of a commit's outcome. */
  readonly payloadBytesMax: number;
}

async function resolveEach(
  batch: readonly PendingCommit[],
  state: BatchState,
  limits: OutcomeLimits,
): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  for (const pending of batch) {
    const { commit, timestamp } = pending;
    const at: CommitPlace = { version: NO_VERSION, timestamp, place: -1 };
    const resolved = resolveLoaded(commit, at, state);
    const resolution: Resolution = isPromise(resolved) ? await resolved : resolved;
    if (resolution.verdict !== "applied") {
      outcomes.push({ pending, verdict: resolution.verdict, written: undefined });
      continue;
    }
    const outcome = isPlain(commit) ? plainOutcome(pending) : outcomeOf(pending, resolution.changes, limits);
    outcomes.push(outcome);
    if (outcome.failure === undefined) state.apply(resolution.changes);
  }
  return outcomes;
}

/** What is plain goes into the ledger as it is. */
function plainOutcome(pending: PendingCommit): Outcome {
  const { commit } = pending;
  const isNothing = commit.operations.length === 0;
  return { pending, verdict: "applied", written: isNothing ? undefined : { record: pending, commit } };
}

function outcomeOf(
  pending: PendingCommit,
  changes: readonly Change[],
  { crc32, payloadBytesMax }: OutcomeLimits,
): Outcome {
  if (changes.length === 0) return { pending, verdict: "applied", written: undefined };
  const { writer: author, counter, timestamp } = pending;
  const writer = new ByteWriter();
  const operations: Operation[] = [];
  for (const { key, row } of lastOfEachKey(changes)) {
    operations.push(
      row.deleted
        ? writeDelete(writer, key)
        : writeOutcomeSet(writer, crc32, key, valueOf(row, pending.payload), row.expiresAt, row.numeric),
    );
  }
  const payload = writer.view();
  if (payload.length > payloadBytesMax) {
    const message = `What the commit comes to has ${payload.length} bytes; the ledger takes ${payloadBytesMax}`;
    const failure = new KVError("CommitTooLarge", message, { outcome: "not committed" });
    return { pending, verdict: "applied", failure, written: undefined };
  }
  const commit = { checks: NO_CHECKS, operations };
  return { pending, verdict: "applied", written: { record: { writer: author, counter, timestamp, payload }, commit } };
}

function valueOf(row: Row, payload: Uint8Array): Uint8Array {
  if (row.valueOffset < 0) return encodeNumeric(row.numeric as number | bigint);
  const from = row.valueOffset + VALUE_HEADER_BYTES;
  return payload.subarray(from, from + row.valueLength);
}

/** A state with what the commits of a batch have changed so far. */
class BatchState implements StateView {
  readonly #state: StateView;
  readonly #changed = new Map<EncodedKey, Row>();

  constructor(state: StateView) {
    this.#state = state;
  }

  get(key: EncodedKey): Row | undefined {
    return this.#changed.get(key) ?? this.#state.get(key);
  }

  apply(changes: readonly Change[]): void {
    for (const { key, row } of changes) this.#changed.set(key, row);
  }
}
