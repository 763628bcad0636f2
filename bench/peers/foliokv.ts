import { join } from "node:path";
import type * as library from "../../src/index.node.ts";
import { type Entry, entryOf } from "../entries.ts";
import type { Peer, PeerKind, PeerOptions } from "./peer.ts";

/** The library as its users get it. */
const BUILT = new URL("../../dist/node/index.js", import.meta.url).href;

export const foliokv: PeerKind = {
  name: "foliokv",
  shared: true,
  load: async () => {
    const { KV } = (await import(BUILT)) as typeof library;
    return (folder, options) => open(KV, folder, options);
  },
};

async function open(KV: typeof library.KV, folder: string, { strict }: PeerOptions): Promise<Peer> {
  const db = await KV.open(join(folder, "bench.db"), { durability: strict ? "strict" : "relaxed" });
  return {
    set: (i) => db.set(["user", i], entryOf(i)),
    batch: async (entries) => {
      await db.beginTransaction();
      for (const i of entries) void db.set(["user", i], entryOf(i));
      await db.endTransaction();
    },
    concurrent: (entries) => Promise.all(entries.map((i) => db.set(["user", i], entryOf(i)))),
    get: (i) => db.get<Entry>(["user", i]),
    miss: async (i) => (await db.get(["user", i + 0.5])) === null,
    scan: async () => {
      let count = 0;
      for await (const entry of db.iterate<Entry>(["user"])) if (entry.value.age > 0) count++;
      return count;
    },
    range: async (from, to) => (await db.listAll<Entry>(["user", { from, to: to - 1 }])).length,
    vacuum: () => db.vacuum(),
    setTime: (nanoseconds) => db.set(["time"], nanoseconds),
    watchTime: (callback) =>
      new Promise((resolve) => {
        const stop = db.watch<string>(["time"], ({ value }) => {
          if (value === undefined || callback(value)) return;
          stop();
          resolve();
        });
      }),
    close: () => db.close(),
  };
}
