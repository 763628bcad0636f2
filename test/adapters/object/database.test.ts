import { describe, expect, test } from "vitest";
import { countingStore } from "../../../src/adapters/object/counting-store.ts";
import { objectLedger } from "../../../src/adapters/object/ledger.ts";
import { slotKey } from "../../../src/adapters/object/layout.ts";
import { memoryStore } from "../../../src/adapters/object/memory-store.ts";
import type { ObjectStore } from "../../../src/adapters/object/object-store.ts";
import { KVError } from "../../../src/core/errors.ts";
import { KV } from "../../../src/index.node.ts";
import { KV as EdgeKV } from "../../../src/index.ts";
import { Bucket, failure } from "../../support/bucket.ts";
import { openDatabase, setKeys } from "../../support/bucket-database.ts";

const still = { autoSync: false } as const;
const MIB = 1024 * 1024;
const HOUR = 3_600_000;

describe("a database in a bucket", () => {
  test("refuses a commit that no slot takes, and takes those that wait beside it", async () => {
    await using db = await KV.open(objectLedger(memoryStore({ now: Date.now })), still);
    const many = db.atomic();
    for (let i = 0; i < 600; i++) many.set(["many", i], new Uint8Array(15_000));
    const [small, large, next] = await Promise.allSettled([db.set(["a"], 1), many.commit(), db.set(["b"], 2)]);
    expect([small.status, next.status]).toEqual(["fulfilled", "fulfilled"]);
    expect(large).toMatchObject({
      status: "rejected",
      reason: { code: "CommitTooLarge", outcome: "not committed" },
    });
  });

  test("deletes more keys than one commit holds in several, where that may be, and says so where it may not", async () => {
    await using db = await KV.open(objectLedger(memoryStore({ now: Date.now })), still);
    const long = "k".repeat(1900);
    for (let from = 0; from < 5000; from += 1000) {
      const some = db.atomic();
      for (let i = from; i < from + 1000; i++) some.set([long, i], i);
      await some.commit();
    }
    const refused = db.deleteAll([long]);
    await expect(refused).rejects.toMatchObject({ code: "CommitTooLarge", outcome: "not committed" });
    await expect(refused).rejects.toThrow("{ atomic: false }");
    expect(await db.count([])).toBe(5000);
    expect(await db.deleteAll([long], { atomic: false })).toBe(5000);
    expect(await db.count([])).toBe(0);
  });

  test("keeps values of up to 64 MiB, whoever reads them", async () => {
    const ledger = objectLedger(memoryStore({ now: Date.now }));
    await using db = await KV.open(ledger, still);
    const value = Uint8Array.from({ length: 20 * MIB }, (_, i) => i % 251);
    await db.atomic().set(["large"], value).set(["small"], "s").sum(["n"], 1).commit();
    await using other = await KV.open(ledger, still);
    for (const each of [db, other]) {
      const read = await each.get<Uint8Array>(["large"]);
      expect(Buffer.compare(read as Uint8Array, value)).toBe(0);
      expect(await each.get(["small"])).toBe("s");
      expect(await each.get(["n"])).toBe(1);
    }
  });

  test("goes on without the right to delete, removes nothing, and says nothing of it", async () => {
    const bucket = new Bucket();
    const error = new KVError("AccessDenied", "no right to delete");
    const store: ObjectStore = {
      ...bucket.counting,
      delete: async () => ({ status: "denied", error, time: undefined }),
    };
    // The probe that goes before a first commit deletes what it has written.
    expect(await failure(openDatabase(bucket, { store }))).toBe("AccessDenied");
    await (await bucket.environment.until(openDatabase(bucket))).close();
    const db = await openDatabase(bucket, { store, graceMs: HOUR });
    const told: unknown[] = [];
    db.on("error", (each) => told.push(each));
    for (let round = 0; round < 6; round++) {
      await setKeys(bucket, db, 20 * round, 20 * round + 20);
      await bucket.environment.pass(2 * HOUR);
    }
    expect(db.stats().session).toMatchObject({ checkpoints: 7, slotsDeleted: 0, runsDeleted: 0 });
    expect((await bucket.root()).floor).toBeGreaterThan(1);
    expect(await bucket.store.get(slotKey((await bucket.root()).nonce, 1))).toMatchObject({ status: "found" });
    expect(told).toEqual([]);
    await bucket.environment.until(db.close());
  });

  test("tells watches large values of others whole", async () => {
    const ledger = objectLedger(memoryStore({ now: Date.now }));
    await using db = await KV.open(ledger, still);
    await using other = await KV.open(ledger, still);
    const seen: unknown[] = [];
    other.watch(["large"], ({ value }) => seen.push(value));
    await db.set(["large"], new Uint8Array(MIB).fill(7));
    await other.sync();
    expect(seen).toEqual([new Uint8Array(MIB).fill(7)]);
  });

  test("commits what is written at once in one request, and reads it without any", async () => {
    const store = countingStore(memoryStore({ now: Date.now }));
    await using db = await KV.open(objectLedger(store), still);
    const before = store.counts().requests;
    await Promise.all(Array.from({ length: 1000 }, (_, i) => db.set(["k", i], { i })));
    expect(await db.get(["k", 500])).toEqual({ i: 500 });
    expect(await db.count([])).toBe(1000);
    expect(store.counts().requests).toEqual({ ...before, create: before.create + 1 });
  });

  test.each([
    ["with files", KV],
    ["without files", EdgeKV],
  ])("reads no slot again that it has in memory, in the entry %s", async (_, Entry) => {
    const store = countingStore(memoryStore({ now: Date.now }));
    await using db = await Entry.open(objectLedger(store), still);
    const { requests: before } = store.counts();
    const some = db.atomic();
    for (let i = 0; i < 100; i++) some.set(["text", i], "t".repeat(100));
    await some.commit();
    for (let i = 0; i < 100; i++) expect(await db.get(["text", i])).toHaveLength(100);
    expect(store.counts().requests.get - before.get).toBe(0);
    for (let i = 0; i < 16; i++) await db.set(["one", i], { name: "text" });
    // That of the root, for the checkpoint.
    expect(store.counts().requests.get - before.get).toBe(1);
    expect(store.counts().requests.replace).toBe(before.replace + 1);
  });

  test("answers a conflict only when nothing can have changed it, by one request", async () => {
    const store = countingStore(memoryStore({ now: Date.now }));
    await using db = await KV.open(objectLedger(store), still);
    await db.set(["a"], 1);
    const before = store.counts().requests;
    const result = await db
      .atomic()
      .check({ key: ["a"], version: null })
      .set(["a"], 2)
      .commit();
    expect(result).toEqual({ ok: false });
    expect(store.counts().requests).toEqual({ ...before, get: before.get + 1 });
  });

  test("counts its requests in stats", async () => {
    await using db = await KV.open(objectLedger(memoryStore({ now: Date.now })), still);
    await db.set(["a"], 1);
    const { session } = db.stats();
    expect(session).toMatchObject({ slotsWritten: 1, slotsRead: 0, hasUnsettledSlot: false });
    expect(session.createRequests).toBeGreaterThan(0);
    expect(session.bytesSent).toBeGreaterThan(0);
  });
});
