import type { ObjectStore } from "./object-store.ts";

/** Does some work on each of these, so many at a time. */
export async function several<T, R>(
  items: readonly T[],
  parallel: number,
  work: (item: T) => Promise<R>,
): Promise<readonly R[]> {
  const results: R[] = [];
  for (let at = 0; at < items.length; at += parallel) {
    results.push(...(await Promise.all(items.slice(at, at + parallel).map(work))));
  }
  return results;
}

/** Deletes any number of objects. Throws if not all of them are known to be gone, and goes no further. */
export async function deleteAll(store: ObjectStore, keys: readonly string[]): Promise<void> {
  const { deleteKeysMax, parallel } = store.capabilities;
  const parts = Array.from({ length: Math.ceil(keys.length / deleteKeysMax) }, (_, i) =>
    keys.slice(i * deleteKeysMax, (i + 1) * deleteKeysMax),
  );
  await several(parts, parallel, async (part) => {
    const answer = await store.delete(part);
    if (answer.status !== "deleted") throw answer.error;
  });
}
