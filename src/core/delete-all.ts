import { NotLoaded, whenLoaded } from "./bytes-at.ts";
import type { CommitBuilder } from "./commit-builder.ts";
import type { CommitSender } from "./commit-sender.ts";
import { ItemKind, type Operation } from "./commit.ts";
import type { Engine } from "./engine.ts";
import { isPromise } from "./environment.ts";
import { hasCode, KVError, notCommitted } from "./errors.ts";
import type { EncodedKey } from "./key.ts";
import { listRows } from "./listing.ts";
import type { OpenTransaction } from "./open-transaction.ts";
import { type DeleteAllOptions, parseOptions } from "./options.ts";
import { type CompiledQuery, compileQuery, type Query } from "./query.ts";
import type { ReadWait } from "./freshness.ts";
import { again, expired } from "./late-reads.ts";
import { nowOf, type ReadContext, type ReadView, rowsOf, viewOf } from "./read-view.ts";
import type { StagedState } from "./staged.ts";

/** `deleteAll`: a read and a write that take effect at one place in the order of calls, also where what is read has yet to arrive. */

export interface DeleteContext extends ReadContext {
  readonly sender: CommitSender;
}

/** How often it is looked anew which keys were written meanwhile. */
const PASSES_MAX = 16;

const ALL = { reverse: false, limit: Infinity, order: "key", after: undefined } as const;

export function deleteAll(
  context: DeleteContext,
  query: Query,
  options: DeleteAllOptions | undefined,
): Promise<number> {
  try {
    const { lifecycle, transactions } = context;
    const engine = lifecycle.indexed();
    const { atomic } = parseOptions("deleteAll", "deleteAll", options);
    const compiled = compileQuery(query);
    const wait = waitFor(context, engine);
    if (wait !== undefined) return deleteAllBehind(context, engine, compiled, atomic, wait);
    const news = newsFor(context, engine);
    if (news !== undefined) return deleteAllLate(context, engine, compiled, atomic, news);
    let keys: EncodedKey[];
    try {
      keys = keysNow(context, engine, compiled);
    } catch (error) {
      if (error instanceof NotLoaded) return deleteAllLate(context, engine, compiled, atomic);
      const anew = again(context, notCommitted(error), transactions.staged, () => deleteAll(context, query, options));
      return anew.catch((failure: unknown) => Promise.reject(notCommitted(failure)));
    }
    const { staged } = transactions;
    if (staged !== undefined) {
      staged.deleteEach(keys);
      return Promise.resolve(keys.length);
    }
    if (keys.length === 0) {
      const pending = engine.queue.touchingRange(compiled);
      // That nothing is left is true once that is in the ledger.
      if (pending !== undefined) return deleteAllLate(context, engine, compiled, atomic, engine.whenDone(pending));
      return Promise.resolve(0);
    }
    return sendAll(context, engine, deletes(context, engine, keys, atomic)).then(() => keys.length);
  } catch (error) {
    return Promise.reject(error);
  }
}

/** Where several requests share the instance: nobody may be made wait for a place that is kept by one who is gone. */
function waitFor({ transactions, freshness }: DeleteContext, engine: Engine): ReadWait | undefined {
  const isShared = engine.waits !== undefined && transactions.current === undefined && engine.refusal() === undefined;
  return isShared ? freshness.beforeDelete(engine) : undefined;
}

/** What there is to be followed first, as before a read. */
function newsFor({ transactions, freshness }: DeleteContext, engine: Engine): Promise<void> | undefined {
  if (transactions.current !== undefined || engine.waits !== undefined || engine.refusal() !== undefined)
    return undefined;
  return freshness.news(engine);
}

/**
 * As `deleteAll`, of rows that have yet to arrive: of what was frozen when it was called, and of what was pending then. With `news`, once that is there,
 * of what is visible then.
 */
async function deleteAllLate(
  context: DeleteContext,
  engine: Engine,
  query: CompiledQuery,
  atomic: boolean,
  news?: Promise<void>,
): Promise<number> {
  const transaction = context.transactions.current;
  if (transaction !== undefined) return stageDeletesLate(context, engine, query, transaction);
  const { last } = engine.queue;
  const pending = news === undefined ? pendingNow(context, engine) : [];
  let count = 0;
  const build = async (): Promise<CommitBuilder[]> => {
    try {
      if (news !== undefined) await news;
      // What came before it has taken effect then, and what comes behind waits for the place.
      if (news !== undefined && last !== undefined) await engine.whenDone(last);
      const list = (): Promise<Set<EncodedKey>> => keysLate(context, engine, undefined, query);
      const keys = await (news === undefined
        ? list()
        : list().catch((error: unknown) => again(context, error, undefined, list)));
      for (const { operations, certain } of pending) followDeletes(keys, query, operations, certain);
      count = keys.size;
      return count > 0 ? deletes(context, engine, keys, atomic) : [];
    } catch (error) {
      throw notCommitted(expired(context, error));
    }
  };
  if (engine.places === undefined) await sendAll(context, engine, await build());
  else await engine.places.commit((key) => query.matches(key), build);
  return count;
}

/**
 * As `deleteAll`, where no place can be kept: of what is there once everything before it has been followed, and nothing that was called after it. What that has
 * written since, or is about to, stays.
 */
async function deleteAllBehind(
  context: DeleteContext,
  engine: Engine,
  query: CompiledQuery,
  atomic: boolean,
  wait: ReadWait,
): Promise<number> {
  try {
    await wait.over;
    const seen = wait.horizon.take() ?? engine.freeze();
    const { version } = seen;
    const list = (): Promise<Set<EncodedKey>> => keysLate(context, engine, undefined, query);
    const keys = await keysOf(seen, query, nowOf(context, undefined)).catch((error: unknown) =>
      again(context, error, undefined, list),
    );
    const count = keys.size;
    await forgetNewer(engine, keys, version);
    for (const key of keys) if (engine.queue.touching(key) !== undefined) keys.delete(key);
    if (keys.size > 0) await sendAll(context, engine, deletes(context, engine, keys, atomic));
    return count;
  } catch (error) {
    throw notCommitted(expired(context, error));
  }
}

/** Leaves out keys that were written after this version. */
async function forgetNewer(engine: Engine, keys: Set<EncodedKey>, version: number): Promise<void> {
  for (let upto = version, tries = 0; engine.replica.version !== upto; tries++) {
    if (tries === PASSES_MAX) throw new KVError("Contention", "What there is to delete is written all the time");
    upto = engine.replica.version;
    for (const key of keys) {
      const found = whenLoaded(() => engine.replica.get(key));
      const row = isPromise(found) ? await found : found;
      if (row !== undefined && row.version > version) keys.delete(key);
    }
  }
}

async function stageDeletesLate(
  context: DeleteContext,
  engine: Engine,
  query: CompiledQuery,
  transaction: OpenTransaction,
): Promise<number> {
  const { state, builder, beginning } = transaction;
  const pending = beginning === undefined ? [] : pendingNow(context, engine);
  const { size } = builder;
  const keys = await keysLate(context, engine, beginning === undefined ? state : undefined, query);
  for (const { operations, certain } of pending) followDeletes(keys, query, operations, certain);
  if (context.transactions.current !== transaction) {
    const message = "The transaction ended before it was known what there was to delete: await deleteAll";
    throw new KVError("NoTransaction", message, { outcome: "not committed" });
  }
  const count = keys.size;
  // What was staged since comes later, and says itself what becomes of its keys.
  for (const { key } of builder.operationsFrom(size)) keys.delete(key);
  state.deleteEach([...keys]);
  return count;
}

async function keysLate(
  context: DeleteContext,
  engine: Engine,
  staged: StagedState | undefined,
  query: CompiledQuery,
): Promise<Set<EncodedKey>> {
  // Of an engine that was asked before, also if the database is closing.
  const view = staged === undefined ? engine.freeze() : viewOf(context, staged);
  return keysOf(view, query, nowOf(context, staged));
}

/** The view is released. */
async function keysOf(
  view: Pick<ReadView, "rows" | "release">,
  query: CompiledQuery,
  now: number,
): Promise<Set<EncodedKey>> {
  const keys = new Set<EncodedKey>();
  try {
    const listing = listRows(view.rows, query, { ...ALL, now });
    const step = (): boolean => listing.next();
    for (let ok = whenLoaded(step); isPromise(ok) ? await ok : ok; ok = whenLoaded(step)) keys.add(listing.key);
  } finally {
    view.release();
  }
  return keys;
}

function sendAll(context: DeleteContext, engine: Engine, builders: readonly CommitBuilder[]): Promise<unknown> {
  return Promise.all(builders.map((builder) => context.sender.send(engine, builder)));
}

/** One commit, or as many as it takes. */
function deletes(context: DeleteContext, engine: Engine, keys: Iterable<EncodedKey>, atomic: boolean): CommitBuilder[] {
  let builder = context.sender.deletesBuilder(engine);
  const builders = [builder];
  for (const key of keys) {
    try {
      builder.delete(key);
    } catch (error) {
      if (!hasCode(error, "CommitTooLarge") || builder.size === 0) throw error;
      if (atomic) {
        const message = "The keys do not fit into one commit; { atomic: false } deletes them in several";
        throw new KVError("CommitTooLarge", message, { outcome: "not committed", cause: error });
      }
      builder = context.sender.deletesBuilder(engine);
      builders.push(builder);
      builder.delete(key);
    }
  }
  return builders;
}

/** The keys that match once everything queued so far has taken effect. */
function keysNow(context: DeleteContext, engine: Engine, query: CompiledQuery): EncodedKey[] {
  const { current } = context.transactions;
  const keys = new Set<EncodedKey>();
  const listed = current?.beginning === undefined ? current?.state : undefined;
  const listing = listRows(rowsOf(context, listed), query, { ...ALL, now: nowOf(context, listed) });
  while (listing.next()) keys.add(listing.key);
  if (listed !== undefined) return [...keys];
  for (const { operations, certain } of pendingNow(context, engine)) followDeletes(keys, query, operations, certain);
  return [...keys];
}

/** What is pending now, in order. A commit that may turn out to be void does nothing for certain. */
function pendingNow(
  context: DeleteContext,
  engine: Engine,
): { readonly operations: readonly Operation[]; readonly certain: boolean }[] {
  const pending = [...engine.queue.pending()].map(({ checks, operations }) => ({
    operations,
    certain: checks.length === 0 && operations.every(({ kind }) => kind <= ItemKind.delete),
  }));
  const { staged } = context.transactions;
  if (staged !== undefined) pending.push({ operations: staged.unseen, certain: true });
  return pending;
}

/** Which keys there are once these operations have been done, in case of doubt more of them. */
function followDeletes(
  keys: Set<EncodedKey>,
  query: CompiledQuery,
  operations: readonly Operation[],
  certain: boolean,
): void {
  for (const { key, kind } of operations) {
    if (kind === ItemKind.purge || !query.matches(key)) continue;
    if (kind !== ItemKind.delete) keys.add(key);
    else if (certain) keys.delete(key);
  }
}
