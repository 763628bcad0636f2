import { DatabaseSync } from "node:sqlite";
import { KV } from "../src/index.node.ts";
import { type Entry, entryOf } from "./entries.ts";

/** One database as the benchmark uses it. Everything is what its own documentation shows for the purpose. */
export interface Peer {
  /** Sets entry `i` and waits until it is acknowledged. */
  set(i: number): Promise<unknown> | void;
  /** Sets entries [from, to) in one transaction. */
  batch(from: number, to: number): Promise<void> | void;
  /** Sets entries [from, to), each a commit of its own, and waits for all of them together. */
  concurrent(from: number, to: number): Promise<void> | void;
  get(i: number): Promise<Entry | null> | Entry | null;
  /** Reads the value of a key that is not there. */
  miss(i: number): unknown;
  /** Reads all entries, values included; returns how many. */
  scan(): Promise<number> | number;
  /** Reads entries [from, to) as a range, values included; returns how many. */
  range(from: number, to: number): Promise<number> | number;
  /** Stores a moment under one key. */
  setTime(nanoseconds: string): Promise<unknown> | void;
  /** Calls back with each new moment that another process stores, until the callback returns false. */
  watchTime(callback: (nanoseconds: string) => boolean): Promise<void>;
  close(): Promise<void> | void;
}

export const peers: Readonly<Record<string, (path: string) => Promise<Peer>>> = {
  foliokv: openFoliokv,
  "node:sqlite": openSqlite,
};

async function openFoliokv(path: string): Promise<Peer> {
  const db = await KV.open(path);
  return {
    set: (i) => db.set(["user", i], entryOf(i)),
    batch: async (from, to) => {
      await db.beginTransaction();
      for (let i = from; i < to; i++) void db.set(["user", i], entryOf(i));
      await db.endTransaction();
    },
    concurrent: async (from, to) => {
      const sets: Promise<unknown>[] = [];
      for (let i = from; i < to; i++) sets.push(db.set(["user", i], entryOf(i)));
      await Promise.all(sets);
    },
    get: (i) => db.get<Entry>(["user", i]),
    miss: (i) => db.get(["nobody", i]),
    scan: async () => {
      let count = 0;
      for await (const entry of db.iterate<Entry>(["user"])) if (entry.value.age > 0) count++;
      return count;
    },
    range: async (from, to) => (await db.listAll<Entry>(["user", { from, to: to - 1 }])).length,
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

/** WAL and synchronous=NORMAL: what SQLite's documentation recommends for an application's local file. Values are JSON. */
async function openSqlite(path: string): Promise<Peer> {
  const db = new DatabaseSync(path);
  db.exec("PRAGMA busy_timeout = 10000; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;");
  db.exec("CREATE TABLE IF NOT EXISTS entries (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID");
  const upsert = db.prepare("INSERT INTO entries VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value");
  const select = db.prepare("SELECT value FROM entries WHERE key = ?");
  const all = db.prepare("SELECT key, value FROM entries WHERE key >= 'user/' AND key < 'user0' ORDER BY key");
  const between = db.prepare("SELECT key, value FROM entries WHERE key >= ? AND key < ? ORDER BY key");
  const keyOf = (i: number): string => `user/${String(i).padStart(9, "0")}`;
  const read = (key: string): unknown => {
    const row = select.get(key);
    return row === undefined ? null : JSON.parse(row.value as string);
  };
  const set = (i: number): void => void upsert.run(keyOf(i), JSON.stringify(entryOf(i)));
  return {
    set,
    batch: (from, to) => {
      db.exec("BEGIN IMMEDIATE");
      for (let i = from; i < to; i++) set(i);
      db.exec("COMMIT");
    },
    concurrent: (from, to) => {
      for (let i = from; i < to; i++) set(i);
    },
    get: (i) => read(keyOf(i)) as Entry | null,
    miss: (i) => read(`nobody/${i}`),
    scan: () => {
      let count = 0;
      for (const row of all.iterate()) if ((JSON.parse(row.value as string) as Entry).age > 0) count++;
      return count;
    },
    range: (from, to) => {
      const rows = between.all(keyOf(from), keyOf(to));
      return rows.map((row) => ({ key: row.key, value: JSON.parse(row.value as string) as Entry })).length;
    },
    setTime: (nanoseconds) => void upsert.run("time", JSON.stringify(nanoseconds)),
    watchTime: async (callback) => {
      // SQLite has no notification between processes: the quickest way to see a change is to ask in a loop.
      for (let last: unknown = null; ;) {
        const value = read("time");
        if (value !== null && value !== last && !callback(value as string)) return;
        last = value;
        await new Promise((resolve) => setImmediate(resolve));
      }
    },
    close: () => db.close(),
  };
}
