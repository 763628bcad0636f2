import { whenLoaded } from "./bytes-at.ts";
import { type Entry, isOfStaged } from "./entry.ts";
import { EntryIterator } from "./entry-iterator.ts";
import { isPromise } from "./environment.ts";
import { InvalidArgumentError } from "./errors.ts";
import { decodeKey, type EncodedKey, type KeyPart } from "./key.ts";
import { listRows } from "./listing.ts";
import { type Consistency, type ListOptions, parseListOptions } from "./options.ts";
import { compileQuery, type Query } from "./query.ts";
import { expired, whole } from "./late-reads.ts";
import { beforeRead, nowOf, pinned, type ReadContext } from "./read-view.ts";
import type { OpenIterator } from "./snapshots.ts";
import type { Snapshot } from "./source.ts";
import type { StagedState } from "./staged.ts";

/** Reads of what a query matches: an iterator, and what is made of one whole listing. */

export function iterate<T>(context: ReadContext, query: Query, options: ListOptions | undefined): EntryIterator<T> {
  const open = openIterator(context);
  const iterator = makeIterator<T>(context, query, parseListOptions("iterate", options), open);
  context.snapshots.watchIterator(iterator, open);
  return iterator;
}

/** What it walks over in a transaction stays until it has ended, also if the transaction ends before. */
function openIterator({ transactions }: ReadContext): OpenIterator {
  const { current } = transactions;
  return { iterator: undefined, snapshot: undefined, letGo: current && transactions.keep(current) };
}

function makeIterator<T>(
  context: ReadContext,
  query: Query,
  parsed: ReturnType<typeof parseListOptions>,
  open: OpenIterator,
): EntryIterator<T> {
  const { environment, pacer, lifecycle, transactions, snapshots } = context;
  const engine = lifecycle.indexed();
  const compiled = compileQuery(query);
  const transaction = transactions.current;
  const staged = transaction?.state;
  checkCursor(parsed, staged);
  snapshots.addIterator(open);
  return new EntryIterator<T>({
    pacer,
    order: parsed.order,
    begin: async () => {
      const pending = engine.queue.touchingRange(compiled);
      const wait = beforeRead(context, engine, { consistency: parsed.consistency }, pending, transaction);
      if (wait !== undefined) await wait.over;
      const snapshot = snapshots.take(lifecycle.engine(), wait?.horizon.take());
      open.snapshot = snapshot;
      const rows = staged?.freeze() ?? snapshot.rows;
      const now = staged?.now ?? environment.now();
      return {
        listing: listRows(rows, compiled, { ...parsed, after: parsed.cursor, now }),
        source: (staged ?? snapshot).source,
        release: () => snapshots.release(snapshot),
      };
    },
    failed: (error) => expired(context, error),
    ended: () => snapshots.removeIterator(open),
  });
}

export function listAll<T>(context: ReadContext, query: Query, options: ListOptions | undefined): Promise<Entry<T>[]> {
  return whole(context, () => {
    // Walked to its end here: nobody can drop it before.
    const open = openIterator(context);
    const iterator = makeIterator<T>(context, query, parseListOptions("listAll", options), open);
    open.iterator = { deref: () => iterator };
    return EntryIterator.collectAll(iterator);
  });
}

export function listKeys(context: ReadContext, query: Query, options: ListOptions | undefined): Promise<KeyPart[][]> {
  return whole(context, async () => {
    const keys: KeyPart[][] = [];
    await visit(context, query, options, "listKeys", (key) => keys.push(decodeKey(key)));
    return keys;
  });
}

export function count(context: ReadContext, query: Query, consistency: Consistency): Promise<number> {
  return whole(context, async () => {
    let found = 0;
    await visit(context, query, { consistency }, "count", () => found++);
    return found;
  });
}

/** Outside of its transaction it would stand behind everything for ever, and a listing that goes on there would be empty without a word. */
function checkCursor({ cursor }: ReturnType<typeof parseListOptions>, staged: StagedState | undefined): void {
  if (staged !== undefined || !isOfStaged(cursor)) return;
  const message = "The cursor is of a write that was staged when it was taken: it goes on in that transaction only";
  throw new InvalidArgumentError("InvalidOption", message);
}

async function visit(
  context: ReadContext,
  query: Query,
  options: ListOptions | undefined,
  name: string,
  visitor: (key: EncodedKey) => void,
): Promise<void> {
  const { pacer, lifecycle, transactions } = context;
  const engine = lifecycle.indexed();
  const parsed = parseListOptions(name, options);
  const compiled = compileQuery(query);
  const staged = transactions.staged;
  checkCursor(parsed, staged);
  const wait = beforeRead(context, engine, { consistency: parsed.consistency }, engine.queue.touchingRange(compiled));
  if (wait !== undefined) await wait.over;
  const walk = async (snapshot: Snapshot): Promise<void> => {
    const rows = staged?.freeze() ?? snapshot.rows;
    const listing = listRows(rows, compiled, { ...parsed, after: parsed.cursor, now: nowOf(context, staged) });
    const step = (): boolean => listing.next();
    let visited = 0;
    for (let ok = whenLoaded(step); isPromise(ok) ? await ok : ok; ok = whenLoaded(step)) {
      visitor(listing.key);
      if ((++visited & 255) === 0 && pacer.due()) await pacer.rest();
    }
  };
  try {
    await pinned(context, wait?.horizon.take() ?? staged, walk);
  } catch (error) {
    throw expired(context, error);
  }
}
