import { abortable, throwIfAborted } from "./abort.ts";
import { NotLoaded } from "./bytes-at.ts";
import type { CommitBuilder } from "./commit-builder.ts";
import type { PendingCommit, Verdict } from "./commit-queue.ts";
import type { Check } from "./commit.ts";
import type { Engine } from "./engine.ts";
import type { Environment, Timer } from "./environment.ts";
import { KVError, notCommitted } from "./errors.ts";
import { IndexDamaged } from "./held-run.ts";
import type { AbortSignalLike } from "./options.ts";
import type { Pacer } from "./pacer.ts";
import type { Snapshot } from "./source.ts";
import type { EncodedKey } from "./key.ts";
import { live, type Row } from "./resolve.ts";
import { StagedState } from "./staged.ts";
import { Transaction } from "./transaction.ts";

export interface TransactionContext {
  readonly engine: Engine;
  readonly environment: Environment;
  readonly pacer: Pacer;
  readonly timeoutMs: number;
  readonly signal: AbortSignalLike | undefined;
  /** Follows the ledger to its end. */
  readonly follow: () => Promise<void>;
  readonly snapshot: () => Snapshot;
  readonly release: (snapshot: Snapshot) => void;
  readonly builder: () => CommitBuilder;
  readonly commit: (builder: CommitBuilder) => Promise<Exclude<Verdict, "mismatch">>;
}

/** Doublings of the wait after a conflict. */
const DOUBLINGS_MAX = 7;

/**
 * What became of one try. `own`: lost to a commit of the same instance, which is no contention. Lost to others: wait before the next.
 */
type Attempt<T> =
  | { readonly done: true; readonly result: T }
  | { readonly done: false; readonly lostTo: "own" }
  /** `fnMs`: how long the function took, which is how long a conflict had to happen. */
  | { readonly done: false; readonly lostTo: "others"; readonly fnMs: number };

/** Runs the function until its commit goes through: optimistic, with randomised exponential waits, bounded in time. */
export async function runTransaction<T>(
  fn: (transaction: Transaction) => T | Promise<T>,
  context: TransactionContext,
): Promise<T> {
  const { environment, signal } = context;
  const deadline = environment.monotonic() + context.timeoutMs;
  for (let losses = 0; ;) {
    throwIfAborted(signal);
    const attempt = await tryOnce(fn, context);
    if (attempt.done) return attempt.result;
    const now = environment.monotonic();
    if (now >= deadline) {
      throw new KVError("TransactionConflict", `A transaction met conflicts for ${context.timeoutMs} ms`, {
        outcome: "not committed",
      });
    }
    if (attempt.lostTo === "own") continue;
    losses++;
    const wait = environment.random() * attempt.fnMs * 2 ** Math.min(losses, DOUBLINGS_MAX);
    await pause(Math.min(wait, deadline - now), context);
  }
}

async function pause(ms: number, { environment, signal }: TransactionContext): Promise<void> {
  let timer: Timer | undefined;
  const over = new Promise<void>((resolve) => (timer = environment.setTimer(resolve, ms, { ref: true })));
  await abortable(over, signal).finally(() => timer?.cancel());
}

async function tryOnce<T>(
  fn: (transaction: Transaction) => T | Promise<T>,
  context: TransactionContext,
): Promise<Attempt<T>> {
  await abortable(follow(context), context.signal);
  throwIfAborted(context.signal);
  const snapshot = context.snapshot();
  try {
    const builder = context.builder();
    const state = new StagedState(builder).begin(snapshot, context.environment.now());
    const transaction = new Transaction(state, context.pacer);
    const began = context.environment.monotonic();
    let result: T;
    let checks: Check[];
    try {
      result = await fn(transaction);
    } finally {
      checks = Transaction.end(transaction);
    }
    const fnMs = context.environment.monotonic() - began;
    if (state.size === 0) return { done: true, result };
    throwIfAborted(context.signal);
    // What the commit would be refused for, it is refused for here: of a database that was closed nothing may be read any more.
    const refusal = context.engine.refusal();
    if (refusal !== undefined) throw refusal;
    // From here to the commit nothing is awaited, so that what is found now still holds when the commit enters the queue.
    const pending = pendingConflict(checks, context.engine);
    if (pending !== undefined) {
      await abortable(context.engine.whenDone(pending), context.signal);
      return { done: false, lostTo: "own" };
    }
    const lostTo = lostAlready(checks, snapshot.version, context);
    if (lostTo === "own") return { done: false, lostTo };
    if (lostTo === "others") return { done: false, lostTo, fnMs };
    for (const check of checks) builder.check(check);
    const verdict = await context.commit(builder);
    return verdict === "applied" ? { done: true, result } : { done: false, lostTo: "others", fnMs };
  } catch (error) {
    if (!(error instanceof IndexDamaged)) throw error;
    await begin(() => context.engine.rebuild());
    return { done: false, lostTo: "own" };
  } finally {
    context.release(snapshot);
  }
}

/** Waits for own earlier writes, and follows the ledger to its end. */
async function follow(context: TransactionContext): Promise<void> {
  await begin(async () => {
    const { engine } = context;
    if (engine.queue.last !== undefined) await engine.whenDone(engine.queue.last);
    await context.follow();
  });
}

/** What a transaction needs before it can begin, or begin again: when that fails, it has committed nothing. */
async function begin(before: () => Promise<void>): Promise<void> {
  try {
    await before();
  } catch (error) {
    throw notCommitted(error);
  }
}

function rowNow(key: EncodedKey, { replica }: Engine): Row | undefined | "not loaded" {
  try {
    return replica.get(key);
  } catch (error) {
    if (error instanceof NotLoaded) {
      error.promise.catch(() => undefined);
      return "not loaded";
    }
    throw notCommitted(error);
  }
}

/** An own commit on its way that touches what was read. */
function pendingConflict(checks: readonly Check[], engine: Engine): PendingCommit | undefined {
  for (const { key } of checks) {
    const pending = engine.queue.touching(key);
    if (pending !== undefined) return pending;
  }
  return undefined;
}

/** Looks, before anything is written, whether a check must fail. It saves void commits and is never the verdict. */
function lostAlready(
  checks: readonly Check[],
  snapshotVersion: number,
  { engine, environment }: TransactionContext,
): "own" | "others" | undefined {
  const now = environment.now();
  for (const { key, version } of checks) {
    const row = rowNow(key, engine);
    // What has yet to arrive is not waited for.
    if (row === "not loaded") continue;
    if ((live(row, now)?.version ?? 0) === version) continue;
    return row !== undefined && row.version > snapshotVersion && engine.isOwn(row.version) ? "own" : "others";
  }
  return undefined;
}
