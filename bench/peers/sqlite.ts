import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { type Entry, entryOf } from "../entries.ts";
import { askInALoop, keyOf, missingKeyOf, type Peer, type PeerKind, type PeerOptions } from "./peer.ts";

/** As much of a prepared statement as is used here; the same in both libraries. */
interface Statement {
  run(...parameters: string[]): unknown;
  get(...parameters: string[]): unknown;
  all(...parameters: string[]): unknown[];
  iterate(...parameters: string[]): Iterable<unknown>;
}

interface Database {
  exec(sql: string): unknown;
  prepare(sql: string): Statement;
  close(): unknown;
}

interface Row {
  readonly key: string;
  readonly value: string;
}

export const nodeSqlite: PeerKind = {
  name: "node:sqlite",
  shared: true,
  load: async () => (folder, options) => open(new DatabaseSync(join(folder, "bench.sqlite")), options),
};

export const betterSqlite3: PeerKind = {
  name: "better-sqlite3",
  package: "better-sqlite3",
  shared: true,
  load: async () => {
    const name = "better-sqlite3";
    const { default: Library } = (await import(name)) as { readonly default: new (path: string) => Database };
    return (folder, options) => open(new Library(join(folder, "bench.sqlite")), options);
  },
};

/**
 * WAL, and synchronous=NORMAL, is what SQLite's and better-sqlite3's documentation recommend for an application's local file; FULL is what makes a
 * commit durable there. Values are JSON.
 */
async function open(db: Database, { strict }: PeerOptions): Promise<Peer> {
  db.exec("PRAGMA busy_timeout = 10000");
  db.exec("PRAGMA journal_mode = WAL");
  db.exec(`PRAGMA synchronous = ${strict ? "FULL" : "NORMAL"}`);
  db.exec("CREATE TABLE IF NOT EXISTS entries (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID");
  const upsert = db.prepare("INSERT INTO entries VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value");
  const select = db.prepare("SELECT value FROM entries WHERE key = ?");
  const all = db.prepare("SELECT key, value FROM entries WHERE key >= 'user/' AND key < 'user0' ORDER BY key");
  const between = db.prepare("SELECT key, value FROM entries WHERE key >= ? AND key < ? ORDER BY key");
  const read = <T>(key: string): T | undefined => {
    const row = select.get(key) as Row | undefined;
    return row === undefined ? undefined : (JSON.parse(row.value) as T);
  };
  const set = (i: number): void => void upsert.run(keyOf(i), JSON.stringify(entryOf(i)));
  return {
    set,
    batch: (entries) => {
      db.exec("BEGIN IMMEDIATE");
      for (const i of entries) set(i);
      db.exec("COMMIT");
    },
    concurrent: (entries) => {
      for (const i of entries) set(i);
    },
    get: (i) => read<Entry>(keyOf(i)) ?? null,
    miss: (i) => read(missingKeyOf(i)) === undefined,
    scan: () => {
      let count = 0;
      for (const row of all.iterate()) if ((JSON.parse((row as Row).value) as Entry).age > 0) count++;
      return count;
    },
    range: (from, to) => {
      const rows = between.all(keyOf(from), keyOf(to)) as Row[];
      return rows.map(({ key, value }) => ({ key, value: JSON.parse(value) as Entry })).length;
    },
    vacuum: () => {
      db.exec("VACUUM");
      db.exec("PRAGMA wal_checkpoint(TRUNCATE)");
    },
    setTime: (nanoseconds) => void upsert.run("time", JSON.stringify(nanoseconds)),
    watchTime: (callback) => askInALoop(() => read<string>("time"), callback),
    close: () => void db.close(),
  };
}
