import { begunKey, nonceOf, parseRunKey, parseSlotKey, type RunName, unfinishedKey } from "./layout.ts";
import type { ObjectStore } from "./object-store.ts";

export interface ListedRun extends RunName {
  /** Of the object. */
  readonly bytes: number;
}

/** What is listed of one incarnation. */
export interface Remains {
  readonly nonce: string;
  readonly slots: Set<number>;
  /** 0 without any. */
  highest: number;
  readonly runs: ListedRun[];
  /** A repair has begun it, and a root has named it. */
  isBegun: boolean;
  /** A copy is being written to it, or was not finished, unless somebody has written a slot. */
  isUnfinished: boolean;
}

/**
 * True if there is something of a ledger below the prefix, as far as the credential may list. Throws what keeps the store from telling. `isWhole`: and nothing is missing, by the names. Where all was deleted,
 * authors who had not heard of it may have left slots and runs: with gaps, as a rule.
 */
export async function hasRemains(store: ObjectStore, { isWhole }: { readonly isWhole: boolean }): Promise<boolean> {
  const first = await store.list("", { limit: 1 });
  if (first.status === "denied") return false;
  // Not knowing is no reason to begin another ledger.
  if (first.status !== "listed") throw first.error;
  if (first.objects.length === 0) return false;
  const [newest] = await newestRemains(store);
  if (newest === undefined || !isWhole || newest.isBegun) return newest !== undefined;
  let end = 1;
  for (const { from, to } of newest.runs.toSorted((a, b) => a.from - b.from)) {
    if (from <= end) end = Math.max(end, to + 1);
  }
  while (newest.slots.has(end)) end++;
  return end > Math.max(1, newest.highest);
}

/**
 * The incarnations of which runs or slots are there, the newest first: each begins above all slots of the ones before. One with neither a slot nor a word that it
 * was begun has never come to be, as far as anybody can tell: nothing is lost with it. A copy that is unfinished is none.
 */
export async function newestRemains(store: ObjectStore): Promise<readonly Remains[]> {
  const found = new Map<string, Remains>();
  for (let after = "", more = true; more;) {
    const answer = await store.list("", { after });
    if (answer.status !== "listed") throw answer.error;
    for (const { key, size } of answer.objects) {
      after = key;
      const nonce = nonceOf(key);
      if (nonce === undefined) continue;
      const remains: Remains = found.get(nonce) ?? {
        nonce,
        slots: new Set(),
        highest: 0,
        runs: [],
        isBegun: false,
        isUnfinished: false,
      };
      found.set(nonce, remains);
      if (key === begunKey(nonce)) remains.isBegun = true;
      if (key === unfinishedKey(nonce)) remains.isUnfinished = true;
      const slot = parseSlotKey(nonce, key) ?? 0;
      const run = parseRunKey(nonce, key);
      if (slot > 0) {
        remains.slots.add(slot);
        remains.highest = Math.max(remains.highest, slot);
      }
      if (run !== undefined) remains.runs.push({ ...run, bytes: size });
    }
    ({ more } = answer);
  }
  const top = ({ highest, runs }: Remains): number => Math.max(highest, ...runs.map(({ to }) => to));
  const hasBeen = ({ highest, isBegun }: Remains): number => (highest > 0 || isBegun ? 1 : 0);
  const came = [...found.values()].filter(
    ({ highest, runs, isUnfinished }) => highest > 0 || (runs.length > 0 && !isUnfinished),
  );
  return came.sort((a, b) => hasBeen(b) - hasBeen(a) || top(b) - top(a));
}
