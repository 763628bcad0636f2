import { join } from "node:path";
import { type Entry, entryOf } from "../entries.ts";
import { keyOf, missingKeyOf, type Peer, type PeerKind, type PeerOptions } from "./peer.ts";

/** As much of the library as is used here. */
interface Library {
  readonly ClassicLevel: new (path: string, options: { readonly valueEncoding: "json" }) => Database;
}

interface Range {
  readonly gte: string;
  readonly lt: string;
}

interface Database {
  open(): Promise<void>;
  close(): Promise<void>;
  put(key: string, value: Entry, options?: { readonly sync: boolean }): Promise<void>;
  batch(operations: readonly { readonly type: "put"; readonly key: string; readonly value: Entry }[]): Promise<void>;
  getSync(key: string): Entry | undefined;
  iterator(range: Range): AsyncIterable<readonly [string, Entry]> & { all(): Promise<(readonly [string, Entry])[]> };
  compactRange(start: string, end: string): Promise<void>;
}

export const classicLevel: PeerKind = {
  name: "classic-level",
  package: "classic-level",
  shared: false,
  load: async () => {
    const name = "classic-level";
    const library = (await import(name)) as Library;
    return (folder, options) => open(library, folder, options);
  },
};

/** Everything as it is by default, with values as JSON; reads are synchronous, which its documentation calls the faster way. */
async function open({ ClassicLevel }: Library, folder: string, { strict }: PeerOptions): Promise<Peer> {
  const db = new ClassicLevel(join(folder, "bench.level"), { valueEncoding: "json" });
  await db.open();
  const sync = strict ? { sync: true } : undefined;
  const set = (i: number): Promise<void> => db.put(keyOf(i), entryOf(i), sync);
  return {
    set,
    batch: (entries) => db.batch(entries.map((i) => ({ type: "put", key: keyOf(i), value: entryOf(i) }))),
    concurrent: (entries) => Promise.all(entries.map(set)),
    get: (i) => db.getSync(keyOf(i)) ?? null,
    miss: (i) => db.getSync(missingKeyOf(i)) === undefined,
    scan: async () => {
      let count = 0;
      for await (const [, value] of db.iterator({ gte: "user/", lt: "user0" })) if (value.age > 0) count++;
      return count;
    },
    range: async (from, to) => (await db.iterator({ gte: keyOf(from), lt: keyOf(to) }).all()).length,
    vacuum: () => db.compactRange("user/", "user0"),
    setTime: () => {
      throw new Error("Only one process may have it open");
    },
    watchTime: () => Promise.reject(new Error("Only one process may have it open")),
    close: () => db.close(),
  };
}
