import { createStorage, type Storage } from "unstorage";
import fsLiteDriver from "unstorage/drivers/fs-lite";
import memoryDriver from "unstorage/drivers/memory";
import { describe, expect, test } from "vitest";
import { objectLedger } from "../../../src/adapters/object/ledger.ts";
import { unstorageStore } from "../../../src/adapters/unstorage/index.ts";
import { KVError } from "../../../src/core/errors.ts";
import { KV } from "../../../src/index.node.ts";
import { nodeEnvironment } from "../../../src/platform/environment-node.ts";
import { objectStoreCases, runObjectStoreCase } from "../../../src/testing/object-store-conformance.ts";
import { unstorageLedger } from "../../../src/unstorage/index.ts";
import { temporaryFolder } from "../../support/folder.ts";

/** What a store promises that decides nothing by itself: the rest is about conditions, which no driver knows. */
const CONDITIONS = /create|replace|etag|racing|raced|time|stale/;
const UNCONDITIONAL = objectStoreCases().filter((name) => !CONDITIONS.test(name));

const drivers = [
  { name: "memory", make: (): Storage => createStorage({ driver: memoryDriver() }) },
  { name: "fs-lite", make: (base: string): Storage => createStorage({ driver: fsLiteDriver({ base }) }) },
];

/** Of an error and of what caused it. */
function codesOf(error: unknown): unknown[] {
  return error instanceof KVError ? [error.code, ...codesOf(error.cause)] : [];
}

describe.each(drivers)("a store on unstorage's $name driver", ({ name: driver, make }) => {
  // fs-lite takes no name that ends in two dots. A ledger makes none.
  const cases = UNCONDITIONAL.filter(
    (name) => driver !== "fs-lite" || name !== "every name that is allowed is a name of its own",
  );
  test.each(cases)("%s", async (name) => {
    using folder = temporaryFolder();
    const storage = make(folder.path);
    const store = unstorageStore({ storage, prefix: "one" });
    const neighbour = unstorageStore({ storage, prefix: "one-more" });
    await runObjectStoreCase(
      name,
      { store, other: unstorageStore({ storage, prefix: "one" }), neighbour, dispose: async () => undefined },
      nodeEnvironment,
    );
  });

  test("says that it decides nothing: several writers are refused", async () => {
    using folder = temporaryFolder();
    const store = unstorageStore({ storage: make(folder.path), prefix: "db" });
    expect(store.capabilities).toMatchObject({ create: false, replace: false, time: false });
    await expect(KV.open(objectLedger(store))).rejects.toMatchObject({ code: "StoreUnsuitable" });
  });

  test("keeps a database of one writer, which is there when it is opened again, and can be read beside it", async () => {
    using folder = temporaryFolder();
    const storage = make(folder.path);
    const ledger = unstorageLedger({ storage, prefix: "app/db" });
    const db = await KV.open(ledger);
    await db.set(["a"], new Map([["b", 1n]]));
    for (let i = 0; i < 50; i++) await db.atomic().sum(["count"], 1).commit();
    await using reader = await KV.open(ledger, { readOnly: true });
    expect(await reader.get(["count"])).toBe(50);
    await db.close();
    await using again = await KV.open(ledger);
    expect(await again.get(["a"])).toEqual(new Map([["b", 1n]]));
    await again.set(["a"], 2);
    await reader.sync();
    expect(await reader.get(["a"])).toBe(2);
  });

  test("lets a second writer be detected, by whoever comes next", async () => {
    using folder = temporaryFolder();
    const storage = make(folder.path);
    const open = (): Promise<KV> => KV.open(unstorageLedger({ storage, prefix: "db" }), { autoSync: false });
    const first = await open();
    await first.set(["a"], 1);
    const second = await open();
    await second.set(["a"], 2);
    const failure = await first.set(["a"], 3).catch((error: unknown) => error);
    expect(codesOf(failure)).toContain("SecondWriterDetected");
    expect(await second.get(["a"])).toBe(2);
    await Promise.all([first.close(), second.close()]);
  });
});

test("a storage that fails is unavailable to reads, and leaves a write in doubt", async () => {
  const fail = (): Promise<never> => Promise.reject(new Error("no route"));
  const storage = { getItemRaw: fail, setItemRaw: fail, removeItem: fail, getKeys: fail, getMeta: fail };
  const store = unstorageStore({ storage, prefix: "db" });
  const statuses = [
    await store.get("a"),
    await store.create("a", Uint8Array.of(1)),
    await store.replace("a", Uint8Array.of(1), '"x"'),
    await store.list(""),
    await store.delete(["a"]),
  ].map(({ status }) => status);
  expect(statuses).toEqual(["unavailable", "ambiguous", "ambiguous", "unavailable", "unavailable"]);
});

test.each([
  ["no storage", { prefix: "a" }],
  ["no prefix", { storage: createStorage() }],
  ["a prefix that unstorage would rewrite", { storage: createStorage(), prefix: "a:b" }],
  ["an unknown option", { storage: createStorage(), prefix: "a", base: "b" }],
])("%s is refused", (_, options) => {
  expect(() => unstorageStore(options as unknown as Parameters<typeof unstorageStore>[0])).toThrow(
    expect.objectContaining({ code: "InvalidOption" }),
  );
});
