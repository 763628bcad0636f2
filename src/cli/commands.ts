import type { Key, KV } from "../index.node.ts";
import type { Terminal } from "./terminal.ts";
import { queryIn, VALUES } from "./words.ts";

/** What can be asked of a database. */
export interface Command {
  /** Its arguments, for people; those in brackets may be left out. */
  readonly usage: string;
  readonly says: string;
  /** How many arguments there are at least and at most. */
  readonly takes: readonly [least: number, most: number];
  /** What it is opened for; created only by who sets something. */
  readonly needs: "read" | "write" | "create" | "repair";
  readonly run: (db: KV, words: readonly string[], terminal: Terminal) => Promise<void>;
}

const all = (query: string | undefined): ReturnType<typeof queryIn> => (query === undefined ? [] : queryIn(query));
// What is no key, the database refuses.
const keyIn = (text: string): Key => queryIn(text) as Key;

const set = (kind: keyof typeof VALUES): Command => ({
  usage: "KEY VALUE",
  says: kind === "json" ? "writes a value, given as JSON" : `the same with a ${kind}`,
  takes: [2, Infinity],
  needs: "create",
  async run(db, [key, ...value], { show }) {
    const { version } = await db.set(keyIn(key), VALUES[kind](value.join(" ")));
    show({ version });
  },
});

export const COMMANDS: Readonly<Record<string, Command>> = {
  get: {
    usage: "KEY",
    says: "the entry under this key",
    takes: [1, 1],
    needs: "read",
    async run(db, [key], { show }) {
      const entry = await db.getEntry(keyIn(key), { consistency: "strong" });
      if (entry === null) throw new Error(`there is nothing under ${key}`);
      const { value, version, timestamp, expiresAt } = entry;
      const expires = expiresAt === undefined ? {} : { expires: new Date(expiresAt) };
      show({ value, version, written: new Date(timestamp), ...expires });
    },
  },
  list: {
    usage: "[QUERY]",
    says: "keys and values that a query matches",
    takes: [0, 1],
    needs: "read",
    async run(db, [query], { show }) {
      for await (const { key, value } of db.iterate(all(query), { consistency: "strong" })) show(key, value);
    },
  },
  keys: {
    usage: "[QUERY]",
    says: "the keys alone",
    takes: [0, 1],
    needs: "read",
    async run(db, [query], { show }) {
      for (const key of await db.listKeys(all(query), { consistency: "strong" })) show(key);
    },
  },
  count: {
    usage: "[QUERY]",
    says: "how many there are",
    takes: [0, 1],
    needs: "read",
    async run(db, [query], { show }) {
      show(await db.count(all(query), { consistency: "strong" }));
    },
  },
  scan: {
    usage: "[QUERY]",
    says: "what has happened to them, as far back as the ledger goes",
    takes: [0, 1],
    needs: "read",
    async run(db, [query], { show }) {
      await db.sync();
      for await (const { version, timestamp, operation, key, value } of db.scan(all(query)))
        show(version, new Date(timestamp), operation, key, ...(operation === "set" ? [value] : []));
    },
  },
  watch: {
    usage: "[QUERY]",
    says: "what happens to them from now on, until it is interrupted",
    takes: [0, 1],
    needs: "read",
    async run(db, [query], { show, interrupted }) {
      for await (const entry of db.watch(all(query), { signal: interrupted() })) {
        if (entry.reset === true) show("the ledger was replaced");
        else show(entry.version, entry.operation, entry.key, ...(entry.operation === "set" ? [entry.value] : []));
      }
    },
  },
  set: set("json"),
  ...Object.fromEntries((Object.keys(VALUES) as (keyof typeof VALUES)[]).map((kind) => [`set:${kind}`, set(kind)])),
  delete: {
    usage: "KEY",
    says: "removes the entry under this key",
    takes: [1, 1],
    needs: "write",
    async run(db, [key], { show }) {
      show(await db.delete(keyIn(key)));
    },
  },
  vacuum: {
    usage: "",
    says: "lets the file shrink to what it needs",
    takes: [0, 0],
    needs: "write",
    async run(db, _words, { show }) {
      show(await db.vacuum());
    },
  },
  backup: {
    usage: "FILE",
    says: "writes a vacuumed copy to a new file",
    takes: [1, 1],
    needs: "read",
    async run(db, [file], { show }) {
      show(await db.backup(file));
    },
  },
  repair: {
    usage: "",
    says: "keeps all that is whole of a damaged file; the original stays beside it",
    takes: [0, 0],
    needs: "repair",
    async run(db, _words, { print }) {
      print((await db.repair()).text);
    },
  },
  stats: {
    usage: "",
    says: "figures",
    takes: [0, 0],
    needs: "read",
    async run(db, _words, { show }) {
      await db.sync();
      show(db.stats());
    },
  },
};
