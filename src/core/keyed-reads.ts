import { NotLoaded, whenLoaded } from "./bytes-at.ts";
import type { PendingCommit } from "./commit-queue.ts";
import { type Entry, makeEntry } from "./entry.ts";
import { isPromise, type MaybePromise } from "./environment.ts";
import { InvalidArgumentError } from "./errors.ts";
import { type EncodedKey, encodeKey, type Key } from "./key.ts";
import type { Layer } from "./layers.ts";
import { type ReadOptions } from "./options.ts";
import { show } from "./show.ts";
import { again, expired, later } from "./late-reads.ts";
import {
  beforeRead,
  held,
  nowOf,
  pinned,
  type ReadContext,
  type ReadView,
  rowsOf,
  rowUnder,
  valuesOf,
} from "./read-view.ts";
import { live, type Row } from "./resolve.ts";
import type { StagedState } from "./staged.ts";

/** Reads of keys that are named. They wait for own writes of these keys, and for no others. */

export function get<T>(context: ReadContext, key: Key, options: ReadOptions | undefined): Promise<T | null> {
  const staged = context.transactions.staged;
  let encoded: EncodedKey = "";
  try {
    const engine = context.lifecycle.indexed();
    encoded = encodeKey(key);
    const wait = beforeRead(context, engine, options, engine.queue.touching(encoded));
    if (wait !== undefined) return getAfter<T>(context, wait, staged, encoded, () => get<T>(context, key, options));
    const value = valueUnder(context, staged, encoded);
    return value instanceof Promise ? held<T>(context, staged, value) : Promise.resolve(value as T);
  } catch (error) {
    return later<T | null>(context, error, staged, readValue(encoded), () => get<T>(context, key, options));
  }
}

async function getAfter<T>(
  context: ReadContext,
  wait: Promise<void>,
  staged: StagedState | undefined,
  key: EncodedKey,
  anew: () => Promise<T | null>,
): Promise<T | null> {
  await wait;
  try {
    const value = valueUnder(context, staged, key);
    return value instanceof Promise ? await held<T>(context, staged, value) : (value as T | null);
  } catch (error) {
    return later<T | null>(context, error, staged, readValue(key), anew);
  }
}

function valueUnder(context: ReadContext, staged: StagedState | undefined, key: EncodedKey): MaybePromise<unknown> {
  const row = rowUnder(context, staged, key);
  return row === undefined ? null : valuesOf(context, staged).value(row);
}

export async function getEntry<T>(
  context: ReadContext,
  key: Key,
  options: ReadOptions | undefined,
): Promise<Entry<T> | null> {
  const engine = context.lifecycle.indexed();
  const encoded = encodeKey(key);
  const staged = context.transactions.staged;
  const wait = beforeRead(context, engine, options, engine.queue.touching(encoded));
  if (wait !== undefined) await wait;
  try {
    const row = rowUnder(context, staged, encoded);
    if (row === undefined) return null;
    const value = valuesOf(context, staged).value(row);
    return makeEntry(encoded, row, (value instanceof Promise ? await held(context, staged, value) : value) as T);
  } catch (error) {
    return later(context, error, staged, readEntry<T>(encoded), () => getEntry<T>(context, key, options));
  }
}

export async function has(context: ReadContext, key: Key, options: ReadOptions | undefined): Promise<boolean> {
  const engine = context.lifecycle.indexed();
  const encoded = encodeKey(key);
  const staged = context.transactions.staged;
  const wait = beforeRead(context, engine, options, engine.queue.touching(encoded));
  if (wait !== undefined) await wait;
  try {
    return rowUnder(context, staged, encoded) !== undefined;
  } catch (error) {
    const read = ({ rows, now }: ReadView): boolean => live(rows.get(encoded), now) !== undefined;
    return later(context, error, staged, read, () => has(context, key, options));
  }
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
  if (wait !== undefined) await wait;
  const now = nowOf(context, staged);
  const source = valuesOf(context, staged);
  const found: (Row | undefined)[] = [];
  try {
    for (const key of encoded) found.push(live(rowsOf(context, staged).get(key), now));
  } catch (error) {
    if (!(error instanceof NotLoaded)) return again(context, error, staged, () => getMany<T>(context, keys, options));
    // The rest of them is looked for in what is frozen now.
  }
  return pinned(context, staged, async (snapshot) => {
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

function readValue(key: EncodedKey): (view: ReadView) => MaybePromise<unknown> {
  return ({ rows, values, now }) => {
    const row = live(rows.get(key), now);
    return row === undefined ? null : values.value(row);
  };
}

function readEntry<T>(key: EncodedKey): (view: ReadView) => MaybePromise<Entry<T> | null> {
  return ({ rows, values, now }) => {
    const row = live(rows.get(key), now);
    if (row === undefined) return null;
    const value = values.value(row);
    return isPromise(value)
      ? value.then((arrived) => makeEntry(key, row, arrived as T))
      : makeEntry(key, row, value as T);
  };
}
