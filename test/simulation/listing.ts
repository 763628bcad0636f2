import type { Entry } from "../../src/core/entry.ts";
import type { HistoryEntry } from "../../src/core/history.ts";
import { decodeKey, encodeKey, type KeyPart } from "../../src/core/key.ts";
import type { Query } from "../../src/core/query.ts";
import { type Clock, sameEntry, stored } from "./client.ts";
import type { Model, ModelRow } from "./model.ts";

/** What listings and histories must give, by the model. */

export interface Listing {
  readonly query: Query;
  readonly limit: number;
  readonly reverse: boolean;
  readonly order: "key" | "version";
}

/** True if these are the entries of that version. Whatever may have expired meanwhile is not judged. */
export function listingFits(
  entries: readonly Entry[],
  listing: Listing,
  model: Model,
  version: number,
  clock: Clock,
): boolean {
  const rows = rowsOf(listing, model, version, clock);
  if (rows === undefined) return true;
  return (
    rows.length === entries.length &&
    rows.every(({ key, row }, i) => encodeKey(entries[i].key) === key && sameEntry(entries[i], row))
  );
}

interface Keyed {
  readonly key: string;
  readonly row: ModelRow;
}

/** What a listing must give, by looking at every key; undefined if the clock leaves that open. */
export function rowsOf(listing: Listing, model: Model, version: number, clock: Clock): Keyed[] | undefined {
  const rows: Keyed[] = [];
  for (const key of model.keys) {
    if (!matches(decodeKey(key), listing.query)) continue;
    const row = model.at(key, version);
    if (row === undefined || (row.expiresAt !== 0 && row.expiresAt <= clock.from)) continue;
    if (row.expiresAt !== 0 && row.expiresAt <= clock.to) return undefined;
    rows.push({ key, row });
  }
  if (listing.order === "version") rows.sort((a, b) => a.row.version - b.row.version || a.row.order - b.row.order);
  if (listing.reverse) rows.reverse();
  return rows.slice(0, listing.limit);
}

/** A query asked of a key part by part. The workload's ranges are over numbers and strings. */
function matches(key: readonly KeyPart[], query: Query): boolean {
  if (key.length < query.length) return false;
  return query.every((wanted, i) => {
    const part = key[i];
    if (typeof wanted !== "object" || wanted instanceof Uint8Array) return part === wanted;
    const bounds = [wanted.from, wanted.to].filter((bound) => bound !== undefined);
    if (bounds.some((bound) => typeof bound !== typeof part)) return false;
    return (wanted.from === undefined || wanted.from <= part) && (wanted.to === undefined || part <= wanted.to);
  });
}

/** True if these are the state below `base` and what came after it, up to a version. */
export function isHistory(
  entries: readonly HistoryEntry[],
  query: Query,
  model: Model,
  base: number,
  version: number,
): boolean {
  // Where authors resolve, nobody needs to know what came before.
  const snapshot = (model.authorsResolve ? [] : model.keys).flatMap((key) => {
    const row = model.at(key, base - 1);
    return row === undefined ? [] : [{ key, row, snapshot: true }];
  });
  const commits = model.commits
    .filter((commit) => commit.version >= base && commit.version <= version)
    .flatMap((commit) => [...commit.changes].map(([key, row]) => ({ key, row, snapshot: false })));
  const history = [...snapshot, ...commits].filter(({ key }) => matches(decodeKey(key), query));
  return (
    history.length === entries.length &&
    history.every(
      ({ key, row, snapshot: isSnapshot }, i) =>
        encodeKey(entries[i].key) === key &&
        (entries[i].snapshot === true) === isSnapshot &&
        sameHistory(entries[i], row),
    )
  );
}

function sameHistory(entry: HistoryEntry, row: ModelRow): boolean {
  return (
    entry.version === row.version &&
    entry.timestamp === row.timestamp &&
    entry.operation === (row.value === undefined ? "delete" : "set") &&
    Object.is(stored(entry.value), row.value)
  );
}
