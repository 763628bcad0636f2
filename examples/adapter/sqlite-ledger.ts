/** A ledger in a table of an SQLite database: any number of processes, each commit one row. Needs Node >= 22.13. */
import { existsSync, statSync } from "node:fs";
import { DatabaseSync, type StatementSync } from "node:sqlite";
import {
  type AppendResult,
  type CommitRecord,
  type Environment,
  KVError,
  type Ledger,
  type LedgerIdentity,
  type LedgerSession,
  type ReadBudget,
  type ReadResult,
  type ReopenResult,
} from "foliokv";

/** What a row takes up beside its payload. Versions are places in a line, not numbers of rows: nobody may count on 1, 2, 3. */
const ROW_BYTES = 64;

export function sqliteLedger(path: string): Ledger {
  return {
    name: path,
    ordering: "append",
    async open({ createIfMissing, readOnly, environment }) {
      if (!existsSync(path) && (readOnly || !createIfMissing))
        throw new KVError("LedgerMissing", `${path} does not exist`);
      const database = new DatabaseSync(path, { readOnly, timeout: 5000 });
      try {
        return new SqliteSession(path, database, readOnly, environment);
      } catch (error) {
        // A failed open leaves nothing behind.
        database.close();
        throw error instanceof KVError
          ? error
          : new KVError("InputOutput", `${path} cannot be opened`, { cause: error });
      }
    },
  };
}

class SqliteSession implements LedgerSession {
  readonly identity: LedgerIdentity;
  readonly start = 0;
  readonly payloadBytesMax = 64 * 1024 * 1024;
  readonly #path: string;
  readonly #database: DatabaseSync;
  readonly #readOnly: boolean;
  readonly #inode: bigint;
  readonly #end: StatementSync;
  readonly #insert: StatementSync | undefined;
  readonly #after: StatementSync;
  readonly #part: StatementSync;

  constructor(path: string, database: DatabaseSync, readOnly: boolean, environment: Environment) {
    this.#path = path;
    this.#database = database;
    this.#readOnly = readOnly;
    this.#inode = statSync(path, { bigint: true }).ino;
    if (!readOnly) {
      const name = (): string => Buffer.from(environment.randomBytes(16)).toString("hex");
      database.exec(`PRAGMA journal_mode = WAL;
        CREATE TABLE IF NOT EXISTS identity (one INTEGER PRIMARY KEY, ledgerId TEXT, nonce TEXT);
        CREATE TABLE IF NOT EXISTS commits (version INTEGER PRIMARY KEY, ends INTEGER, writer BLOB, counter INTEGER,
          timestamp REAL, payload BLOB)`);
      // Whoever creates it at the same time: the first row stays.
      database.prepare("INSERT OR IGNORE INTO identity VALUES (1, ?, ?)").run(name(), name());
      this.#insert = database.prepare("INSERT INTO commits VALUES (?, ?, ?, ?, ?, ?)");
    }
    const row = database.prepare("SELECT ledgerId, nonce FROM identity").get() as { ledgerId: string; nonce: string };
    this.identity = { ledgerId: row.ledgerId, generation: 1, nonce: row.nonce };
    this.#end = database.prepare("SELECT ends FROM commits ORDER BY version DESC LIMIT 1");
    this.#after = database.prepare(
      "SELECT version, ends, writer, counter, timestamp, payload FROM commits WHERE version > ? ORDER BY version",
    );
    this.#part = database.prepare("SELECT substr(payload, ? + 1, ?) AS part FROM commits WHERE version = ?");
  }

  read(position: number, budget: ReadBudget): ReadResult {
    if (budget.verify && this.#inodeNow() !== this.#inode) return { commits: [], next: position, status: "moved" };
    const commits: ReadResult["commits"][number][] = [];
    let next = position;
    let bytes = 0;
    for (const row of this.#after.iterate(position)) {
      // At least one commit whatever the budget: a call that says "more" has made progress.
      if (commits.length > 0 && bytes >= budget.bytes) return { commits, next, status: "more" };
      const { version, ends, writer, counter, timestamp, payload } = row as unknown as LedgerRow;
      // A payload's bytes lie behind its version: no two values share a place.
      commits.push({ version, place: version, writer, counter, timestamp, payload });
      next = ends;
      bytes += payload.length;
    }
    return { commits, next, status: "end" };
  }

  append(commits: readonly CommitRecord[], position: number): AppendResult {
    const refused = (code: "ReadOnly" | "CommitTooLarge", why: string): KVError =>
      new KVError(code, `${this.#path}: ${why}`, { outcome: "not committed" });
    if (this.#readOnly) throw refused("ReadOnly", "opened with readOnly");
    if (commits.some(({ payload }) => payload.length > this.payloadBytesMax))
      throw refused("CommitTooLarge", `a commit has at most ${this.payloadBytesMax} bytes`);
    const versions: number[] = [];
    try {
      this.#database.exec("BEGIN IMMEDIATE");
      const before = this.#endNow();
      let end = before;
      for (const { writer, counter, timestamp, payload } of commits) {
        versions.push(end + 1);
        this.#insert?.run(end + 1, end + ROW_BYTES + payload.length, writer, counter, timestamp, payload);
        end += ROW_BYTES + payload.length;
      }
      this.#database.exec("COMMIT");
      // Somebody else's commits lie between: the engine has to meet those first.
      if (before !== position) return { status: "read-on" };
      return { status: "appended", versions, places: versions, next: end };
    } catch (cause) {
      if (this.#database.isTransaction) this.#database.exec("ROLLBACK");
      // Did COMMIT fail before or after the disk had it? Reading on tells, so no guess is made here.
      const error = new KVError("InputOutput", `${this.#path} cannot be written`, { cause, outcome: "not committed" });
      return { status: "read-on", error };
    }
  }

  readValue(version: number, place: number, length: number): Uint8Array {
    const row = this.#part.get(place - version, length, version) as { part: Uint8Array } | undefined;
    if (row?.part.length === length) return row.part;
    const ranges = [{ from: version, to: version + 1 }];
    throw new KVError("LedgerDamaged", `${this.#path} has no ${length} bytes at ${place} of ${version}`, { ranges });
  }

  hasNews(position: number): boolean {
    return this.#endNow() > position;
  }

  reopen(): ReopenResult {
    this.#inodeNow();
    return { status: "replaced", ownCommits: "unknown" };
  }

  close(): void {
    if (this.#database.isOpen) this.#database.close();
  }

  #endNow(): number {
    return (this.#end.get() as { ends: number } | undefined)?.ends ?? 0;
  }

  #inodeNow(): bigint {
    const status = statSync(this.#path, { bigint: true, throwIfNoEntry: false });
    if (status === undefined) throw new KVError("LedgerMissing", `${this.#path} does not exist any more`);
    return status.ino;
  }
}

interface LedgerRow extends CommitRecord {
  readonly version: number;
  readonly ends: number;
}
