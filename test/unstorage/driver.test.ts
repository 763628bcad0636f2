import { once } from "node:events";
import { createStorage, prefixStorage, restoreSnapshot, snapshot, type Storage } from "unstorage";
import memoryDriver from "unstorage/drivers/memory";
import { afterEach, describe, expect, test } from "vitest";
import { memoryLedger } from "../../src/adapters/memory/index.ts";
import { memoryStore, objectLedger } from "../../src/adapters/object/index.ts";
import { runKey, slotKey } from "../../src/adapters/object/layout.ts";
import { KV } from "../../src/index.node.ts";
import { foliokvDriver as edgeDriver } from "../../src/unstorage/index.ts";
import { foliokvDriver } from "../../src/unstorage/index.node.ts";
import { Bucket } from "../support/bucket.ts";
import { openDatabase } from "../support/bucket-database.ts";
import { temporaryFolder } from "../support/folder.ts";

/** What unstorage promises of a storage, and its drivers are asked for; then what is special to this one. */

const disposables: { dispose(): Promise<void> }[] = [];
afterEach(async () => {
  for (const each of disposables.splice(0)) await each.dispose();
});

function storageOn(options: Parameters<typeof foliokvDriver>[0]): Storage {
  const storage = createStorage({ driver: foliokvDriver(options) });
  disposables.push(storage);
  return storage;
}

const newStorage = (): Storage => storageOn({ database: memoryLedger() });

/** Events of a storage, to be waited for by number. */
async function eventsOf(
  storage: Storage,
): Promise<{ readonly all: string[]; until(count: number): Promise<string[]> }> {
  const all: string[] = [];
  const target = new EventTarget();
  await storage.watch((event, key) => {
    all.push(`${event} ${key}`);
    target.dispatchEvent(new Event("told"));
  });
  return {
    all,
    async until(count) {
      while (all.length < count) await once(target, "told");
      return all;
    },
  };
}

describe("items", () => {
  test.each([
    ["a string", "text"],
    ["an empty string", ""],
    ["a number", 1.5],
    ["zero", 0],
    ["true", true],
    ["false", false],
    ["null", null],
    ["an array", [1, "two", [null]]],
    ["an object", { a: { b: ["c"] }, d: false }],
  ])("that are %s come back as they were", async (_, value) => {
    const storage = newStorage();
    await storage.setItem("a:b", value);
    expect(await storage.getItem("a:b")).toEqual(value);
    expect(await storage.hasItem("a:b")).toBe(true);
    expect(await storage.getKeys()).toEqual(["a:b"]);
  });

  test("that are absent are null, and have no meta", async () => {
    const storage = newStorage();
    expect(await storage.getItem("a")).toBe(null);
    expect(await storage.getItemRaw("a")).toBe(null);
    expect(await storage.hasItem("a")).toBe(false);
    expect(await storage.getMeta("a")).toEqual({});
    await storage.removeItem("a");
  });

  test("are written over, removed, and removed by being set to undefined", async () => {
    const storage = newStorage();
    await storage.setItem("a", 1);
    await storage.setItem("a", 2);
    expect(await storage.getItem("a")).toBe(2);
    await storage.removeItem("a");
    expect(await storage.hasItem("a")).toBe(false);
    await storage.setItem("b", 1);
    await storage.setItem("b", undefined as unknown as null);
    await storage.setItemRaw("c", "raw");
    await storage.setItemRaw("c", undefined);
    expect(await storage.getKeys()).toEqual([]);
  });

  test("that are raw bytes come back byte for byte, and structures that JSON does not know", async () => {
    const storage = newStorage();
    const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);
    await storage.setItemRaw("bytes", bytes);
    expect(await storage.getItemRaw("bytes")).toEqual(bytes);
    await storage.setItemRaw("buffer", Buffer.from(bytes));
    expect(await storage.getItemRaw("buffer")).toEqual(bytes);
    const map = new Map([["a", new Date(5)]]);
    await storage.setItemRaw("map", map);
    map.clear();
    expect(await storage.getItemRaw("map")).toEqual(new Map([["a", new Date(5)]]));
  });

  test("that are raw are encoded at the call: changing them afterwards changes nothing", async () => {
    await using db = await KV.open(memoryLedger());
    const storage = storageOn({ database: db });
    const bytes = Uint8Array.of(1, 2, 3);
    const set = storage.setItemRaw("a", bytes);
    // unstorage itself waits for no more than this before it asks the driver.
    await Promise.resolve();
    bytes.fill(9);
    await set;
    expect(await storage.getItemRaw("a")).toEqual(Uint8Array.of(1, 2, 3));
  });

  test("are read and written many at once, in the order asked for", async () => {
    const storage = newStorage();
    await storage.setItems<number | object>([
      { key: "a", value: 1 },
      { key: "b:c", value: { d: 2 } },
    ]);
    expect(await storage.getItems(["b:c", "nothing", { key: "a" }])).toEqual([
      { key: "b:c", value: { d: 2 } },
      { key: "nothing", value: null },
      { key: "a", value: 1 },
    ]);
  });

  test("written without waiting are there, the last one of each key, in the order of the calls", async () => {
    const storage = newStorage();
    const writes: Promise<void>[] = [];
    for (let i = 0; i < 300; i++) writes.push(storage.setItem(`key:${i % 3}`, i));
    await Promise.all(writes);
    expect(await Promise.all([0, 1, 2].map((i) => storage.getItem(`key:${i}`)))).toEqual([297, 298, 299]);
  });
});

describe("keys", () => {
  test("are listed below a base, at most so deep, whatever is a prefix of what", async () => {
    const storage = newStorage();
    const keys = ["a", "a:b", "a:b:c", "a:bc", "ab", "ab:c", "b:a"];
    for (const key of keys) await storage.setItem(key, key);
    expect((await storage.getKeys()).toSorted()).toEqual(keys);
    expect((await storage.getKeys("a")).toSorted()).toEqual(["a:b", "a:b:c", "a:bc"]);
    expect(await storage.getKeys("a:b")).toEqual(["a:b:c"]);
    expect((await storage.getKeys("", { maxDepth: 0 })).toSorted()).toEqual(["a", "ab"]);
    expect((await storage.getKeys("a", { maxDepth: 1 })).toSorted()).toEqual(["a:b", "a:bc"]);
    expect(await Promise.all(keys.map((key) => storage.getItem(key)))).toEqual(keys);
    await storage.removeItem("a:b");
    expect(await storage.getItem("a:b:c")).toBe("a:b:c");
  });

  test("are as deep below a mount point as those of the memory driver", async () => {
    const mounted = (driver: ReturnType<typeof foliokvDriver>): Storage => createStorage().mount("m:n", driver);
    const storage = mounted(foliokvDriver({ database: memoryLedger() }));
    const memory = mounted(memoryDriver() as unknown as ReturnType<typeof foliokvDriver>);
    disposables.push(storage);
    for (const each of [storage, memory])
      for (const key of ["m:n:a", "m:n:a:b", "m:n:a:b:c"]) await each.setItem(key, 1);
    for (const maxDepth of [0, 1, 2, 3, 4])
      expect(await storage.getKeys("m", { maxDepth })).toEqual(await memory.getKeys("m", { maxDepth }));
  });

  test("are rewritten by unstorage alone: slashes, spare colons, the rest stays", async () => {
    const storage = newStorage();
    await storage.setItem("/a/b//c:", 1);
    await storage.setItem("ключ:日本 語.json", 2);
    expect(await storage.getItem("a:b:c")).toBe(1);
    expect((await storage.getKeys()).toSorted()).toEqual(["a:b:c", "ключ:日本 語.json"]);
  });

  test("below a base are cleared, the base itself and its neighbours are not", async () => {
    const storage = newStorage();
    for (const key of ["a", "a:b", "a:b:c", "ab", "b"]) await storage.setItem(key, key);
    // unstorage itself hands on a base only to what is mounted below it.
    await storage.getMount().driver.clear?.("a:", {});
    expect((await storage.getKeys()).toSorted()).toEqual(["a", "ab", "b"]);
    await storage.clear();
    expect(await storage.getKeys()).toEqual([]);
  });
});

describe("meta", () => {
  test("tells when an item was written, and keeps what it is given", async () => {
    const storage = newStorage();
    const before = Date.now();
    await storage.setItem("a", 1);
    const { mtime, ttl } = await storage.getMeta("a");
    expect(mtime).toBeInstanceOf(Date);
    expect(mtime?.getTime()).toBeGreaterThanOrEqual(before);
    expect(ttl).toBe(undefined);
    await storage.setMeta("a", { owner: "me" });
    expect(await storage.getMeta("a")).toMatchObject({ owner: "me", mtime });
    expect(await storage.getMeta("a", { nativeOnly: true })).toEqual({ mtime });
    expect(await storage.getKeys()).toEqual(["a"]);
    await storage.removeItem("a", { removeMeta: true });
    expect(await storage.getMeta("a")).toEqual({});
  });

  test("tells how many seconds an item has left, by its own ttl or the driver's", async () => {
    const storage = storageOn({ database: memoryLedger(), ttl: 1000 });
    await storage.setItem("driver", 1);
    await storage.setItem("own", 1, { ttl: 50 });
    await storage.setItems([{ key: "many", value: 1, options: { ttl: 20 } }], { ttl: 10 });
    await storage.setItemRaw("raw", 1, { ttl: 5 });
    await storage.setItem("none", 1, { ttl: 0 });
    const left = async (key: string): Promise<number> => Number((await storage.getMeta(key)).ttl);
    for (const [key, ttl] of Object.entries({ driver: 1000, own: 50, many: 20, raw: 5 })) {
      expect(await left(key)).toBeGreaterThan(ttl - 5);
      expect(await left(key)).toBeLessThanOrEqual(ttl);
    }
    expect(await left("none")).toBe(NaN);
    await expect(storage.setItem("a", 1, { ttl: -1 })).rejects.toMatchObject({ code: "InvalidOption" });
    await expect(storage.setItem("a", 1, { ttl: "1" })).rejects.toMatchObject({ code: "InvalidOption" });
  });

  test("of what has expired is empty, and the item is gone", async () => {
    await using db = await KV.open(memoryLedger());
    const storage = storageOn({ database: db });
    await storage.setItem("a", 1, { ttl: 0.000_001 });
    while (await storage.hasItem("a")) await new Promise(setImmediate);
    expect(await storage.getItem("a")).toBe(null);
    expect(await storage.getKeys()).toEqual([]);
    expect(await storage.getMeta("a")).toEqual({});
  });
});

describe("a key that no item can have", () => {
  const strange = [
    ["app", 5],
    ["app", "a:b"],
    ["app", "a", ""],
    ["app", new Uint8Array(1)],
    ["app", true],
  ];

  test("is not listed, and cleared with what lies around it", async () => {
    await using db = await KV.open(memoryLedger());
    const storage = storageOn({ database: db, base: "app" });
    for (const key of strange) await db.set(key, "strange");
    await db.set(["app"], "the base");
    await db.set(["apple"], "a neighbour");
    await storage.setItem("a", "an item");
    expect(await storage.getKeys()).toEqual(["a"]);
    await storage.clear();
    expect(await db.listKeys([])).toEqual([["app"], ["apple"]]);
  });
});

test("clearing takes as many commits as there have to be", async () => {
  // A commit in a bucket has at most 8 MiB.
  await using db = await KV.open(objectLedger(memoryStore()));
  const storage = storageOn({ database: db });
  const long = "k".repeat(1900);
  for (let from = 0; from < 5000; from += 1000) {
    const some = db.atomic();
    for (let i = from; i < from + 1000; i++) some.set([`${long}${i}`], i);
    await some.commit();
  }
  await expect(db.deleteAll([])).rejects.toMatchObject({ code: "CommitTooLarge" });
  await storage.clear();
  expect(await storage.getKeys()).toEqual([]);
});

describe("watching", () => {
  test("tells of own writes once each, under the mount point's name", async () => {
    const storage = createStorage().mount("m", foliokvDriver({ database: memoryLedger() }));
    disposables.push(storage);
    const events = await eventsOf(storage);
    await storage.setItem("m:a", 1);
    await storage.setItemRaw("m:b:c", Uint8Array.of(1));
    await storage.setItems([{ key: "m:d", value: 1 }]);
    await storage.removeItem("m:a");
    await storage.clear("m");
    expect(await events.until(6)).toEqual([
      "update m:a",
      "update m:b:c",
      "update m:d",
      "remove m:a",
      "remove m:b:c",
      "remove m:d",
    ]);
    await storage.unwatch();
    await storage.setItem("m:a", 2);
    expect(events.all).toHaveLength(6);
  });

  test("tells of what other instances write to the same file", async () => {
    using folder = temporaryFolder();
    const path = folder.file("a.db");
    const storage = storageOn({ database: path, base: "app" });
    const events = await eventsOf(storage);
    await using other = await KV.open(path);
    await other.set(["app", "a", "b"], "1");
    await other.set(["elsewhere"], "1");
    await other.set(["app"], "the base is no item");
    await other.set(["app", 5], "nor is what unstorage cannot name");
    await other.delete(["app", "a", "b"]);
    expect(await events.until(2)).toEqual(["update a:b", "remove a:b"]);
    await storage.dispose();
  });

  test("tells of every item where nobody can tell what has changed", async () => {
    const bucket = new Bucket();
    const writer = await openDatabase(bucket);
    for (let i = 0; i < 10; i++) await bucket.environment.until(writer.set(["k", String(i)], "v".repeat(15_000)));
    await bucket.environment.until(writer.vacuum());
    const sleeper = await openDatabase(bucket, { cacheBytesMax: 0 });
    const events = await eventsOf(storageOn({ database: sleeper }));
    for (const value of ["new", "newer", "newest"]) {
      await bucket.environment.until(writer.set(["k", "1"], value));
      await bucket.environment.until(writer.vacuum());
    }
    // Everything that the sleeper needs is gone: it has slept for longer than that is kept.
    await bucket.environment.pass(600_000);
    await bucket.changeRoot(({ previousCheckpointSlot: floor }) => ({ floor, floorAt: 0, swept: floor }));
    const { nonce, runs, floor } = await bucket.root();
    const listed = await bucket.store.list(`${nonce}/run/`);
    if (listed.status !== "listed") throw new Error(listed.status);
    const named = new Set(runs.map((run) => runKey(nonce, run)));
    await bucket.store.delete(listed.objects.map(({ key }) => key).filter((key) => !named.has(key)));
    await bucket.store.delete(Array.from({ length: floor - 1 }, (_, i) => slotKey(nonce, i + 1)));
    await bucket.environment.until(sleeper.sync());
    const told = await bucket.environment.until(events.until(10));
    expect(told.toSorted()).toEqual(Array.from({ length: 10 }, (_, i) => `update k:${i}`));
  });

  test("ends with the driver, also on a database that is not its own", async () => {
    await using db = await KV.open(memoryLedger());
    const storage = storageOn({ database: db });
    const events = await eventsOf(storage);
    expect(db.stats().watches).toBe(1);
    await storage.dispose();
    expect(db.stats().watches).toBe(0);
    await db.set(["a"], 1);
    expect(events.all).toEqual([]);
  });
});

describe("snapshots", () => {
  test("are taken and restored", async () => {
    const storage = newStorage();
    await storage.setItem("a:b", { c: 1 });
    await storage.setItem("a:d", "e");
    const taken = await snapshot(storage, "a");
    expect(taken).toEqual({ b: { c: 1 }, d: "e" });
    await storage.clear();
    await restoreSnapshot(storage, taken, "f");
    expect(await storage.getItem("f:b")).toEqual({ c: 1 });
    expect(await prefixStorage(storage, "f").getItem("d")).toBe("e");
  });
});

describe("the database underneath", () => {
  test("has items under keys of their parts, below the base", async () => {
    await using db = await KV.open(memoryLedger());
    const storage = storageOn({ database: db, base: ["app", 1] });
    await storage.setItem("a:b", { c: 1 });
    expect(await db.get(["app", 1, "a", "b"])).toBe('{"c":1}');
    await db.set(["app", 1, "direct"], { written: "by hand" });
    expect(await storage.getItem("direct")).toEqual({ written: "by hand" });
    await db.set(["app"], 0);
    await db.set(["app", 2, "a"], 0);
    expect((await storage.getKeys()).toSorted()).toEqual(["a:b", "direct"]);
    await storage.clear();
    expect(await db.listKeys([])).toEqual([["app"], ["app", 2, "a"]]);
  });

  test("that was given stays open; one of the driver's own is closed by dispose", async () => {
    await using db = await KV.open(memoryLedger());
    const given = foliokvDriver({ database: db });
    expect(await given.getInstance?.()).toBe(db);
    await given.dispose?.();
    expect(db.isOpen()).toBe(true);
    await expect(given.getItem("a")).rejects.toMatchObject({ code: "Closed" });

    using folder = temporaryFolder();
    const own = foliokvDriver({ database: folder.file("a.db"), options: { syncIntervalMs: 50 } });
    await own.setItem?.("a", "1", {});
    const instance = await own.getInstance?.();
    expect(instance?.isOpen()).toBe(true);
    await own.dispose?.();
    expect(instance?.isOpen()).toBe(false);
  });

  test("is opened when it is needed, and a failure to open is tried again", async () => {
    using folder = temporaryFolder();
    const path = folder.file("a.db");
    const driver = foliokvDriver({ database: path, options: { createIfMissing: false } });
    const storage = createStorage({ driver });
    disposables.push(storage);
    await expect(storage.getItem("a")).rejects.toMatchObject({ code: "LedgerMissing" });
    await using db = await KV.open(path);
    await db.set(["a"], "there");
    expect(await storage.getItem("a")).toBe("there");
  });

  test("is shared by storages as processes share a file", async () => {
    using folder = temporaryFolder();
    const [left, right] = [1, 2].map(() => storageOn({ database: folder.file("a.db") }));
    await left.setItem("a", 1);
    await left.setItem("b", 2);
    await right.removeItem("b");
    const [db] = [await (right.getMount().driver.getInstance?.() as Promise<KV>)];
    await db.sync();
    expect(await right.getKeys()).toEqual(["a"]);
    await left.dispose();
    await right.dispose();
  });

  test("is none that a path leads to in the entry without files", async () => {
    const storage = createStorage({ driver: edgeDriver({ database: "data/a.db" }) });
    await expect(storage.getItem("a")).rejects.toMatchObject({ code: "UnsupportedTarget" });
    const inMemory = createStorage({ driver: edgeDriver({ database: memoryLedger() }) });
    disposables.push(inMemory);
    await inMemory.setItem("a", 1);
    expect(await inMemory.getItem("a")).toBe(1);
  });

  test.each([
    ["nothing", undefined],
    ["no database", {}],
    ["a number for one", { database: 5 }],
    ["an unknown option", { database: "a.db", prefix: "a" }],
    ["a ttl of no time", { database: "a.db", ttl: 0 }],
    ["a base that is no key", { database: "a.db", base: 5 }],
  ])("has to be told properly: %s is refused", (_, options) => {
    expect(() => foliokvDriver(options as unknown as Parameters<typeof foliokvDriver>[0])).toThrow(
      expect.objectContaining({ code: "InvalidOption" }),
    );
  });

  test("takes no options for opening once it is open", async () => {
    await using db = await KV.open(memoryLedger());
    expect(() => foliokvDriver({ database: db, options: {} })).toThrow(
      expect.objectContaining({ code: "InvalidOption" }),
    );
  });
});
