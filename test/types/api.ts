/**
 * What the types of the public interface say. Nothing here runs: `tsc` checks it, and a line marked as an error must be one.
 */
import {
  type AtomicResult,
  type CommitResult,
  type Entry,
  type EntryIterator,
  hasCode,
  type HistoryEntry,
  type Key,
  type KeyPart,
  KV,
  KVError,
  type KVErrorCode,
  type Ledger,
  type Query,
  type SyncEvent,
  type Transaction,
  type WatchEntry,
} from "foliokv";
import { fsLedger } from "foliokv/fs";
import { memoryLedger } from "foliokv/memory";

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;

/** The type of `value` is exactly `T`. */
function is<T>() {
  return <V>(value: V, ..._proof: Same<T, V> extends true ? [] : ["not the same type"]): V => value;
}

interface User {
  readonly name: string;
}

export async function opening(): Promise<void> {
  is<KV>()(new KV());
  new KV({ autoSync: false, syncIntervalMs: 500, disableIndex: true, pendingBytesMax: 1e6 });
  const db = await new KV().open("data/mydatabase.db", { createIfMissing: false, readOnly: true });
  is<KV>()(db);
  await db.open(new URL("file:///data/mydatabase.db"));
  await db.open(memoryLedger());
  await db.open(fsLedger("a.db", { durability: "strict" }));
  is<KV>()(await KV.open("a.db", { autoSync: false, durability: "strict" }));
  await using disposed = await KV.open(memoryLedger());
  is<boolean>()(disposed.isOpen());
  is<Ledger>()(memoryLedger());
  await db.close({ timeoutMs: 1000 });

  // What may be missing may be undefined.
  const none = undefined as undefined;
  new KV({ autoSync: none, cacheBytesMax: none, waitUntil: none });
  await KV.open("a.db", { durability: none, readOnly: none });
  fsLedger("a.db", { durability: none });
  memoryLedger({ name: none });
  await db.close({ timeoutMs: none });

  // @ts-expect-error: the name of another library's option
  new KV({ ledgerCacheSize: 100 });
  // @ts-expect-error: an option of open
  new KV({ readOnly: true });
  // @ts-expect-error: no positional options
  await db.open("a.db", true);
  // @ts-expect-error: no target
  await db.open(5);
  // @ts-expect-error: not a durability
  fsLedger("a.db", { durability: "full" });
}

export async function writing(db: KV): Promise<void> {
  is<CommitResult>()(await db.set(["a", 1, 2n, true, new Uint8Array()], { any: "value" }, { expireIn: 1000 }));
  is<number | undefined>()((await db.delete(["a"])).version);
  is<number>()(await db.deleteAll(["a", {}, { from: 1, to: 5 }, { from: "a" }], { atomic: false }));
  const key: readonly KeyPart[] = ["a"];
  await db.set(key, null);
  await db.set<User>(key, { name: "Alice" });
  db.atomic().set<User>(key, { name: "Alice" });
  await db.transaction((tx) => tx.set<User>(key, { name: "Alice" }));
  // @ts-expect-error: not what was said to be set
  await db.set<User>(key, { name: 5 });

  const expireIn = undefined as number | undefined;
  await db.set(key, 1, { expireIn });
  await db.deleteAll([{ from: expireIn }], { atomic: undefined });

  // @ts-expect-error: a key is an array
  await db.set("a", 1);
  // @ts-expect-error: null is no part of a key
  await db.set(["a", null], 1);
  // @ts-expect-error: a range is no part of a key
  await db.set(["a", {}], 1);
  // @ts-expect-error: options are an object
  await db.set(["a"], 1, 1000);
  // @ts-expect-error: units are a part of the name
  await db.set(["a"], 1, { ttl: 1000 });
  // @ts-expect-error: no such name in a range
  await db.deleteAll([{ from: 1, until: 5 }]);
}

export async function reading(db: KV): Promise<void> {
  is<unknown>()(await db.get(["a"]));
  is<User | null>()(await db.get<User>(["a"], { consistency: "strong" }));
  is<Entry<User> | null>()(await db.getEntry<User>(["a"]));
  is<(Entry<User> | null)[]>()(await db.getMany<User>([["a"], ["b"]]));
  is<boolean>()(await db.has(["a"]));
  is<number>()(await db.count(["a"]));
  is<KeyPart[][]>()(await db.listKeys([]));
  is<Entry<User>[]>()(await db.listAll<User>(["a"], { limit: 5, reverse: true, cursor: "k00", order: "version" }));
  const iterator = db.iterate<User>(["a"]);
  await db.listAll(["a"], { cursor: iterator.cursor, limit: undefined, order: undefined, consistency: undefined });
  is<EntryIterator<User>>()(iterator);
  is<string | undefined>()(iterator.cursor);
  for await (const entry of iterator) {
    is<User>()(entry.value);
    is<KeyPart[]>()(entry.key);
    is<number | undefined>()(entry.version);
    is<number>()(entry.timestamp);
    is<number | undefined>()(entry.expiresAt);
    is<string>()(entry.cursor);
    // @ts-expect-error: an entry is not for changing
    entry.value = { name: "other" };
  }
  for await (const entry of db.scan<User>([], { snapshot: false })) {
    is<HistoryEntry<User>>()(entry);
    if (entry.operation === "set") is<User>()(entry.value);
    else is<undefined>()(entry.value);
  }
  for await (const entry of db.history<number>(["a"])) is<number>()(entry.version);

  // @ts-expect-error: null has to be thought of
  is<string>()((await db.get<User>(["a"])).name);
  // @ts-expect-error: no such consistency
  await db.get(["a"], { consistency: "weak" });
  // @ts-expect-error: options are an object
  await db.listAll([], 5);
  // @ts-expect-error: count has no limit
  await db.count([], { limit: 5 });
  // @ts-expect-error: no such order
  db.iterate([], { order: "value" });
}

export async function committing(db: KV): Promise<void> {
  const entry = (await db.getEntry(["a"])) as Entry;
  const result = await db
    .atomic()
    .check({ key: ["a"], version: null }, { key: ["b"], version: 5 }, entry)
    .set(["a"], 1, { expireIn: 5 })
    .delete(["b"])
    .sum(["n"], 1)
    .sum(["n"], 1n)
    .min(["n"], 1)
    .max(["n"], 1, { expireIn: 5 })
    .commit();
  is<AtomicResult>()(result);
  if (result.ok) is<number>()(result.version);
  // @ts-expect-error: there is no version where nothing was committed
  else result.version.toFixed();
  const { ok, version } = result;
  is<boolean>()(ok);
  is<number | undefined>()(version);

  is<string>()(
    await db.transaction(
      async (tx) => {
        is<Transaction>()(tx);
        is<User | null>()(await tx.get<User>(["a"]));
        is<Entry<User>[]>()(await tx.listAll<User>([]));
        is<void>()(tx.set(["a"], 1));
        return "result";
      },
      { timeoutMs: 100, signal: new AbortController().signal },
    ),
  );
  is<number>()(await db.transaction(() => 5));
  is<void>()(await db.beginTransaction());
  is<CommitResult>()(await db.endTransaction());
  is<void>()(await db.abortTransaction());

  // @ts-expect-error: a check names a version or null
  db.atomic().check({ key: ["a"] });
  // @ts-expect-error: only numbers and bigints add up
  db.atomic().sum(["n"], "1");
  // @ts-expect-error: a transaction is a function
  await db.transaction(5);
}

export function watching(db: KV): void {
  const unwatch = db.watch<User>(
    ["a", {}],
    (entry) => {
      is<WatchEntry<User>>()(entry);
      if (entry.reset === true) {
        is<number>()(entry.version);
      } else if (entry.operation === "set") {
        is<User>()(entry.value);
        is<true | undefined>()(entry.reloaded);
        is<number | undefined>()(entry.expiresAt);
      } else {
        is<"delete">()(entry.operation);
        is<KeyPart[]>()(entry.key);
      }
    },
    { ref: false, signal: new AbortController().signal },
  );
  is<() => void>()(unwatch);
  is<AsyncIterableIterator<WatchEntry<User>>>()(db.watch<User>(["a"], { bufferMax: 5 }));
  is<boolean>()(db.unwatch(["a"], () => undefined));
  is<KV>()(db.on("sync", (event) => is<SyncEvent>()(event)));
  db.once("error", (error) => is<unknown>()(error)).off("closing", () => undefined);
  db.on("sync", ({ result, applied, version }) => {
    is<"ready" | "success" | "ledgerInvalidated" | "error">()(result);
    is<number>()(applied);
    is<number>()(version);
  });

  // @ts-expect-error: no such event
  db.on("change", () => undefined);
  // @ts-expect-error: the bound is for the form without a callback
  db.watch(["a"], () => undefined, { bufferMax: 5 });
  // @ts-expect-error: closing tells nothing
  db.on("closing", (event: SyncEvent) => event);
}

export async function rest(db: KV): Promise<void> {
  is<void>()(await db.sync({ signal: new AbortController().signal }));
  await db.sync({ signal: undefined });
  await db.vacuum({ keepHistory: { forMs: 1000 }, onProgress: undefined, signal: undefined });
  await db.vacuum({ keepHistory: { commits: 10 } });
  await db.backup("b.db", { newLedgerId: undefined });
  await db.backup(new URL("file:///c.db"));
  is<{ readonly bytes: number; readonly version: number }>()(await db.backup(memoryLedger()));
  // @ts-expect-error: no target
  await db.backup({ path: "b.db" });
  // @ts-expect-error: one of the two
  await db.vacuum({ keepHistory: { forMs: 1000, commits: 10 } });
  const deferred = db.defer(Promise.resolve(5), (error) => is<unknown>()(error));
  void is<Promise<number>>()(deferred);
  is<number>()(db.stats().pending.commits);
  const query: Query = ["a", { from: 1 }];
  const key: Key = ["a"];
  await db.count(query);
  await db.count(key);
  try {
    await deferred;
  } catch (error) {
    if (error instanceof KVError) {
      is<KVErrorCode>()(error.code);
      is<"not committed" | "unknown" | undefined>()(error.outcome);
    }
    is<boolean>()(hasCode(error, "Closed"));
    // @ts-expect-error: no such code
    hasCode(error, "Locked");
  }
}
