import { renameSync } from "node:fs";
import { join } from "node:path";
import { type Entry, entryOf } from "../entries.ts";
import { askInALoop, keyOf, missingKeyOf, type Peer, type PeerKind, type PeerOptions } from "./peer.ts";

/** As much of the library as is used here. */
interface Library {
  open(options: { readonly path: string; readonly sharedStructuresKey: symbol; readonly noMemInit: boolean }): Database;
}

interface Database {
  put(key: string, value: unknown): Promise<unknown>;
  get(key: string): unknown;
  batch(work: () => void): Promise<unknown>;
  getRange(range: { readonly start: string; readonly end: string }): Iterable<{ readonly value: unknown }>;
  backup(path: string, compact: boolean): Promise<unknown>;
  close(): Promise<void>;
  readonly flushed: PromiseLike<unknown>;
}

export const lmdb: PeerKind = {
  name: "lmdb",
  package: "lmdb",
  shared: true,
  load: async () => {
    const name = "lmdb";
    const library = (await import(name)) as Library;
    return (folder, options) => open(library, folder, options);
  },
};

/**
 * Its documentation recommends shared structures for objects of one shape, `noMemInit` unless somebody else may read the file, and writes by `put`,
 * which are done by a thread. A `put` resolves when it is committed, `flushed` when the disk has it.
 */
async function open(library: Library, folder: string, { strict }: PeerOptions): Promise<Peer> {
  const path = join(folder, "bench.lmdb");
  const options = { path, sharedStructuresKey: Symbol.for("structures"), noMemInit: true };
  let db = library.open(options);
  const durable = async (writes: Promise<unknown>): Promise<void> => {
    await writes;
    await db.flushed;
  };
  const put = (i: number): Promise<unknown> => db.put(keyOf(i), entryOf(i));
  const count = (start: string, end: string): number => {
    let found = 0;
    for (const { value } of db.getRange({ start, end })) if ((value as Entry).age > 0) found++;
    return found;
  };
  return {
    set: (i) => (strict ? durable(put(i)) : put(i)),
    batch: (entries) =>
      db.batch(() => {
        for (const i of entries) void put(i);
      }),
    concurrent: (entries) => {
      const all = Promise.all(entries.map(put));
      return strict ? durable(all) : all;
    },
    get: (i) => (db.get(keyOf(i)) as Entry | undefined) ?? null,
    miss: (i) => db.get(missingKeyOf(i)) === undefined,
    scan: () => count("user/", "user0"),
    range: (from, to) => count(keyOf(from), keyOf(to)),
    vacuum: async () => {
      const copy = join(folder, "copy.lmdb");
      await db.backup(copy, true);
      await db.close();
      renameSync(copy, path);
      db = library.open(options);
    },
    setTime: (nanoseconds) => db.put("time", nanoseconds),
    watchTime: (callback) => askInALoop(() => db.get("time") as string | undefined, callback),
    close: () => db.close(),
  };
}
