import { NotLoaded, whenLoaded } from "./bytes-at.ts";
import type { PendingCommit } from "./commit-queue.ts";
import { type Entry, makeEntry } from "./entry.ts";
import type { MaybePromise } from "./environment.ts";
import { InvalidArgumentError } from "./errors.ts";
import { type EncodedKey, encodeKey, type Key } from "./key.ts";
import type { ReadWait } from "./freshness.ts";
import type { Layer } from "./layers.ts";
import { type ReadOptions } from "./options.ts";
import { show } from "./show.ts";
import { again, expired, later } from "./late-reads.ts";
import { beforeRead, held, nowOf, pinned, type ReadContext, rowsOf, rowUnder, valuesOf } from "./read-view.ts";
import { live, type Row } from "./resolve.ts";
import type { View } from "./source.ts";
import type { StagedState } from "./staged.ts";

/** Reads of keys that are named. They wait for own writes of these keys, and for no others. */

/** What a read makes of what is under a key. */
type Make<T> = (context: ReadContext, view: View | undefined, key: EncodedKey) => MaybePromise<T>;

export function get<T>(context: ReadContext, key: Key, options: ReadOptions | undefined): Promise<T | null> {
  return keyed(context, key, options, valueUnder as Make<T | null>);
}

export function getEntry<T>(
  context: ReadContext,
  key: Key,
  options: ReadOptions | undefined,
): Promise<Entry<T> | null> {
  return keyed(context, key, options, entryUnder as Make<Entry<T> | null>);
}

export function has(context: ReadContext, key: Key, options: ReadOptions | undefined): Promise<boolean> {
  return keyed(context, key, options, isUnder);
}

function keyed<T>(context: ReadContext, key: Key, options: ReadOptions | undefined, make: Make<T>): Promise<T> {
  const staged = context.transactions.staged;
  let encoded: EncodedKey = "";
  try {
    const engine = context.lifecycle.indexed();
    encoded = encodeKey(key);
    const wait = beforeRead(context, engine, options, engine.queue.touching(encoded));
    if (wait !== undefined) {
      const anew = (): Promise<T> => keyed(context, key, options, make);
      return keyedAfter(context, wait, staged, encoded, make, anew);
    }
    const made = make(context, staged, encoded);
    return made instanceof Promise ? held<T>(context, staged, made) : Promise.resolve(made as T);
  } catch (error) {
    const read = (view: View): MaybePromise<T> => make(context, view, encoded);
    return later(context, error, staged, read, () => keyed(context, key, options, make));
  }
}

async function keyedAfter<T>(
  context: ReadContext,
  wait: ReadWait,
  staged: StagedState | undefined,
  key: EncodedKey,
  make: Make<T>,
  anew: () => Promise<T>,
): Promise<T> {
  const read = (view: View): MaybePromise<T> => make(context, view, key);
  wait.horizon.look = read;
  await wait.over;
  const { horizon } = wait;
  const frozen = horizon.take();
  const seen = frozen ?? staged;
  try {
    const made = horizon.answer === undefined ? make(context, seen, key) : (horizon.answer.value as MaybePromise<T>);
    return made instanceof Promise ? await held<T>(context, seen, made) : made;
  } catch (error) {
    return await later(context, error, seen, read, anew);
  } finally {
    frozen?.release();
  }
}

function valueUnder(context: ReadContext, view: View | undefined, key: EncodedKey): MaybePromise<unknown> {
  const row = rowUnder(context, view, key);
  return row === undefined ? null : valuesOf(context, view).value(row);
}

function entryUnder(context: ReadContext, view: View | undefined, key: EncodedKey): MaybePromise<Entry | null> {
  const row = rowUnder(context, view, key);
  if (row === undefined) return null;
  const value = valuesOf(context, view).value(row);
  return value instanceof Promise ? value.then((arrived) => makeEntry(key, row, arrived)) : makeEntry(key, row, value);
}

function isUnder(context: ReadContext, view: View | undefined, key: EncodedKey): boolean {
  return rowUnder(context, view, key) !== undefined;
}

export async function getMany<T>(
  context: ReadContext,
  keys: readonly Key[],
  options: ReadOptions | undefined,
): Promise<(Entry<T> | null)[]> {
  const engine = context.lifecycle.indexed();
  if (!Array.isArray(keys))
    throw new InvalidArgumentError("InvalidArgument", `getMany takes an array of keys; received ${show(keys)}`);
  const encoded: EncodedKey[] = [];
  // Holes too, which are no keys.
  for (const key of keys) encoded.push(encodeKey(key));
  let pending: PendingCommit | undefined;
  for (const key of encoded) {
    const touching = engine.queue.touching(key);
    if (touching !== undefined && touching.counter > (pending?.counter ?? 0)) pending = touching;
  }
  const staged = context.transactions.staged;
  const wait = beforeRead(context, engine, options, pending);
  if (wait !== undefined) await wait.over;
  const frozen = wait?.horizon.take();
  const seen = frozen ?? staged;
  const now = nowOf(context, seen);
  const source = valuesOf(context, seen);
  const found: (Row | undefined)[] = [];
  try {
    for (const key of encoded) found.push(live(rowsOf(context, seen).get(key), now));
  } catch (error) {
    if (!(error instanceof NotLoaded)) {
      frozen?.release();
      return again(context, error, staged, () => getMany<T>(context, keys, options));
    }
    // The rest of them is looked for in what is frozen now.
  }
  return pinned(context, seen, async (snapshot) => {
    const rows = staged?.freeze() ?? snapshot.rows;
    const entries: (Entry<T> | null)[] = [];
    for (let i = 0; i < encoded.length; i++) {
      const row = i < found.length ? found[i] : await lateRow(context, rows, encoded[i], now);
      if (row === undefined) {
        entries.push(null);
      } else {
        const value = source.value(row);
        entries.push(makeEntry(encoded[i], row, (value instanceof Promise ? await value : value) as T));
      }
      if (context.pacer.due()) await context.pacer.rest();
    }
    return entries;
  });
}

async function lateRow(context: ReadContext, rows: Layer, key: EncodedKey, now: number): Promise<Row | undefined> {
  try {
    return await whenLoaded(() => live(rows.get(key), now));
  } catch (error) {
    throw expired(context, error);
  }
}
