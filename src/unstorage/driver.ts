import type { Driver } from "unstorage";
import { KVError } from "../core/errors.ts";
import { knownOptions, wrongOption } from "../core/given-options.ts";
import { encodeKey, type Key, type KeyPart } from "../core/key.ts";
import type { CoreKV } from "../core/kv.ts";
import type { OpenTarget } from "../core/open-target.ts";
import { type KVOptions, type OpenOptions, parseOptions, splitOptions } from "../core/options.ts";
import type { Query } from "../core/query.ts";
import type { WatchCallback } from "../core/watch.ts";

/** What a driver for unstorage stands on. */
export interface FoliokvDriverOptions {
  /**
   * An open database, which stays its owner's; or what one is opened on when it is first needed, a path, a `file:` URL or a ledger: that one
   * belongs to the driver, and `dispose` closes it.
   */
  readonly database: CoreKV | OpenTarget;
  /** What it is opened with. Refused beside an open database. */
  readonly options?: (KVOptions & OpenOptions) | undefined;
  /** Where in the database the storage lies: a key, or its parts as unstorage writes them, `"a:b"`. Everything below it is the storage's. */
  readonly base?: Key | string | undefined;
  /** Seconds after which an item expires for which `setItem` was given no `ttl` of its own. */
  readonly ttl?: number | undefined;
}

/** What unstorage hands on from its callers; all but these two is ignored. */
interface CallOptions {
  readonly ttl?: unknown;
  readonly maxDepth?: unknown;
}

interface Item {
  readonly key: string;
  readonly options?: CallOptions | undefined;
}

/** A driver for unstorage, as `foliokvDriver` makes it: every call that unstorage knows, and the database underneath. */
export interface FoliokvDriver extends Driver<FoliokvDriverOptions, Promise<CoreKV>> {
  readonly name: "foliokv";
}

type Open = (target: OpenTarget, options: (KVOptions & OpenOptions) | undefined) => Promise<CoreKV>;

/** A driver over databases that `open` opens: each entry of the package brings its own. */
export function makeDriver(open: Open, options: FoliokvDriverOptions): FoliokvDriver {
  const { base, ttl } = parse(options);
  const database = new Database(open, options);
  const at = (key: string): KeyPart[] => [...base, ...parts(key)];
  // One part or more below: a base is no item of what lies under it.
  const below = (from: string | undefined): Query => [...at(from ?? ""), {}];
  const expiry = (call: CallOptions | undefined): { readonly expireIn: number } | undefined => {
    const given = call?.ttl ?? ttl;
    return given ? { expireIn: seconds(given) * 1000 } : undefined;
  };
  /** An item's key as unstorage writes it; undefined for what no item can be called. */
  const nameOf = (key: readonly KeyPart[]): string | undefined => {
    const names = key.slice(base.length);
    return names.every(isName) ? names.join(":") : undefined;
  };

  const get = (key: string): Promise<unknown> => database.run((db) => db.get(at(key)));
  const set = (key: string, value: unknown, call?: CallOptions): Promise<void> =>
    database.run(async (db) => void (await db.set(at(key), value, expiry(call))));
  const keys = async (from: string | undefined): Promise<string[]> => {
    const listed = await database.run((db) => db.listKeys(below(from)));
    return listed.map(nameOf).filter((name) => name !== undefined);
  };

  return {
    name: "foliokv",
    options,
    flags: { ttl: true },
    getInstance: () => database.run((db) => db),
    hasItem: (key) => database.run((db) => db.has(at(key))),
    getItem: async (key) => (await get(key)) as string | null,
    getItemRaw: get,
    async getItems(items: Item[]) {
      const entries = await database.run((db) => db.getMany<string>(items.map(({ key }) => at(key))));
      return items.map(({ key }, i) => ({ key, value: entries[i]?.value ?? null }));
    },
    setItem: set,
    setItemRaw: set,
    async setItems(items: (Item & { readonly value: string })[], common?: CallOptions) {
      await Promise.all(items.map((item) => set(item.key, item.value, item.options ?? common)));
    },
    removeItem: (key) => database.run(async (db) => void (await db.delete(at(key)))),
    async getMeta(key) {
      const entry = await database.run((db) => db.getEntry(at(key)));
      if (entry === null) return null;
      const mtime = new Date(entry.timestamp);
      if (entry.expiresAt === undefined) return { mtime };
      return { mtime, ttl: Math.max(0, Math.ceil((entry.expiresAt - Date.now()) / 1000)) };
    },
    async getKeys(from, call?: CallOptions) {
      const names = await keys(from);
      const depth = call?.maxDepth;
      // Mounted, unstorage counts the parts of the mount point too, and leaves out more.
      return typeof depth === "number" ? names.filter((name) => name.split(":").length <= depth + 1) : names;
    },
    clear: (from) => database.run(async (db) => void (await db.deleteAll(below(from), { atomic: false }))),
    watch: (callback) =>
      database.watch(below(undefined), async (entry) => {
        if (entry.reset === true) {
          // What has changed cannot be told: whatever is there may have. A failure becomes an `error` event.
          for (const name of await keys(undefined)) void callback("update", name);
          return;
        }
        const name = nameOf(entry.key);
        if (name !== undefined) await callback(entry.operation === "set" ? "update" : "remove", name);
      }),
    dispose: () => database.dispose(),
  };
}

/** The database of a driver: the caller's, or one of its own from the first call on. */
class Database {
  readonly #open: Open;
  readonly #options: FoliokvDriverOptions;
  /** Present once calls can be made at once. */
  #db: CoreKV | undefined;
  #own: Promise<CoreKV> | undefined;
  #disposed = false;
  readonly #watches = new Set<() => void>();

  constructor(open: Open, options: FoliokvDriverOptions) {
    this.#open = open;
    this.#options = options;
    if (isDatabase(options.database)) this.#db = options.database;
  }

  /** Calls at once where the database is open, so that a value is encoded before its owner can change it; in the order of the calls otherwise. */
  async run<T>(call: (db: CoreKV) => Promise<T> | T): Promise<T> {
    if (this.#disposed) throw new KVError("Closed", "The driver was disposed of", { outcome: "not committed" });
    if (this.#db !== undefined) return call(this.#db);
    this.#own ??= this.#openOwn();
    return this.#own.then(call);
  }

  #openOwn(): Promise<CoreKV> {
    const opening = this.#open(this.#options.database as OpenTarget, this.#options.options);
    // Before those who wait, so that nobody comes in between.
    opening.then(
      (db) => (this.#db = db),
      // The next call tries again.
      () => (this.#own = undefined),
    );
    return opening;
  }

  watch(query: Query, callback: WatchCallback): Promise<() => void> {
    return this.run((db) => {
      const unwatch = db.watch(query, callback);
      const end = (): void => {
        this.#watches.delete(end);
        unwatch();
      };
      this.#watches.add(end);
      return end;
    });
  }

  async dispose(): Promise<void> {
    this.#disposed = true;
    for (const end of [...this.#watches]) end();
    // One that could not be opened has nothing to be closed.
    const own = await this.#own?.catch(() => undefined);
    await own?.close();
  }
}

function isDatabase(target: unknown): target is CoreKV {
  return typeof target === "object" && target !== null && "getEntry" in target;
}

function isTarget(target: unknown): target is OpenTarget {
  if (typeof target === "string") return target !== "";
  const { href, open } = Object(target) as Record<string, unknown>;
  return typeof href === "string" || typeof open === "function";
}

function parts(key: string): string[] {
  return key.split(":").filter((part) => part !== "");
}

function isName(part: KeyPart): part is string {
  return typeof part === "string" && part !== "" && !part.includes(":");
}

function seconds(ttl: unknown): number {
  if (typeof ttl === "number" && ttl > 0 && ttl < Infinity) return ttl;
  throw wrongOption(CONTEXT, "ttl", "a positive number of seconds", ttl);
}

const CONTEXT = "foliokvDriver";
const NAMES = ["database", "options", "base", "ttl"] as const satisfies readonly (keyof FoliokvDriverOptions)[];

/** The key under which everything lies, and how long items live. Throws `InvalidOption`, or `InvalidKey` for a `base` that is no key. */
function parse(given: unknown): { readonly base: readonly KeyPart[]; readonly ttl: number | undefined } {
  const { database, options, base = [], ttl } = knownOptions(given, NAMES, CONTEXT);
  if (!isDatabase(database) && !isTarget(database)) {
    throw wrongOption(CONTEXT, "database", "an open database, a path, a file: URL or a ledger", database);
  }
  if (isDatabase(database) && options !== undefined) {
    throw wrongOption(CONTEXT, "options", "left out beside an open database", options);
  }
  // Now, and not when the first item is asked for.
  const [own, opening] = splitOptions(options, `${CONTEXT}: options`);
  parseOptions("kv", `${CONTEXT}: options`, own);
  parseOptions("open", `${CONTEXT}: options`, opening);
  if (typeof base !== "string" && !Array.isArray(base)) throw wrongOption(CONTEXT, "base", 'a key, or "a:b"', base);
  const key: Key = typeof base === "string" ? parts(base) : [...(base as KeyPart[])];
  if (key.length > 0) encodeKey(key);
  return { base: key, ttl: ttl === undefined ? undefined : seconds(ttl) };
}
