import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { fsLedger } from "../../../src/adapters/fs/index.ts";
import { memoryLedger } from "../../../src/adapters/memory/index.ts";
import { objectLedger } from "../../../src/adapters/object/ledger.ts";
import { memoryStore } from "../../../src/adapters/object/memory-store.ts";
import type { ObjectStore, StoreRequest } from "../../../src/adapters/object/object-store.ts";
import { storeLedger } from "../../../src/adapters/object/store-ledger.ts";
import type { CoreKV } from "../../../src/core/kv.ts";
import type { Ledger } from "../../../src/core/ledger.ts";
import { KV } from "../../../src/index.node.ts";
import { KV as WorkerKV } from "../../../src/index.ts";
import { Bucket, failure } from "../../support/bucket.ts";
import { openDatabase, setKeys } from "../../support/bucket-database.ts";
import { inFolder } from "../../support/folder.ts";
import { smallDisk } from "../../support/small-disk.ts";

const MIB = 1024 * 1024;
const HOUR = 3_600_000;
const disk = smallDisk(2 * MIB);
if ("reason" in disk) console.warn(`A test of a full disk is skipped: ${disk.reason}`);
else afterAll(() => disk[Symbol.dispose]());

const keysIn = async (store: ObjectStore, prefix = ""): Promise<string[]> => {
  const listed = await store.list(prefix);
  if (listed.status !== "listed") throw listed.error;
  return listed.objects.map(({ key }) => key);
};

/** The keys of the runs of the present root, newest first. */
async function runsOf(bucket: Bucket): Promise<string[]> {
  const { nonce, runs } = await bucket.root();
  const keys = await keysIn(bucket.store, `${nonce}/run/`);
  return runs.map(({ random }) => keys.find((key) => key.endsWith(random)) as string);
}

async function flip({ store }: Bucket, key: string, at: (length: number) => number): Promise<void> {
  const found = await store.get(key);
  if (found.status !== "found") throw new Error(found.status);
  found.bytes[at(found.bytes.length)] ^= 1;
  await store.delete([key]);
  await store.create(key, found.bytes);
}

/** A database in a bucket whose state lies in a large run, two small ones, and some slots. */
async function filled(bucket: Bucket): Promise<CoreKV> {
  const { environment } = bucket;
  const db = await openDatabase(bucket);
  for (let i = 0; i < 16; i++) await environment.until(db.set(["large", i], new Uint8Array(100_000).fill(i)));
  await setKeys(bucket, db, 0, 38);
  await environment.pass(0);
  return db;
}

describe("a backup of a bucket", () => {
  test("is of one version, whatever is written meanwhile, and writes nothing to the bucket", async () => {
    const bucket = new Bucket();
    const db = await filled(bucket);
    const other = await openDatabase(bucket);
    const { environment } = bucket;
    await environment.until(db.sync());
    const before = await environment.until(db.listAll([]));
    const ledger = memoryLedger();
    let isTold = false;
    const { version } = await environment.until(
      db.backup(ledger, {
        onProgress: () => {
          if (isTold) return;
          isTold = true;
          for (let i = 0; i < 20; i++) void other.set(["k", i], "later");
          void other.delete(["large", 3]);
        },
      }),
    );
    await environment.until(other.set(["end"], 1));
    await using copy = await KV.open(ledger);
    expect(await copy.listAll([])).toEqual(before);
    expect(copy.stats().version).toBe(version);
    expect((await copy.set(["end"], 2)).version).toBe(version + 1);
  });

  test("by who may only read writes nothing, and reads runs in large parts", () =>
    inFolder(async (folder) => {
      const bucket = new Bucket();
      const db = await filled(bucket);
      await bucket.environment.until(db.close());
      const reader = await openDatabase(bucket, { cacheBytesMax: 0 });
      const { requests: before } = bucket.counting.counts();
      const path = join(folder, "copy.db");
      const { bytes } = await bucket.environment.until(reader.backup(path));
      expect(statSync(path).size).toBe(bytes);
      const { requests } = bucket.counting.counts();
      expect(requests).toMatchObject({ create: before.create, replace: before.replace, delete: before.delete });
      // Of each run its end and, of the large one, the rest; a few slots; and what makes sure that this is all.
      expect(requests.get - before.get).toBeLessThanOrEqual(14);
      await using copy = await KV.open(path);
      expect(await copy.count([])).toBe(54);
      expect(await copy.get(["large", 15])).toEqual(new Uint8Array(100_000).fill(15));
    }));

  test.each([
    ["a large value in a run", (key: string) => /run/.test(key), () => 50_000],
    ["a run's last entries", (key: string) => /run/.test(key), (length: number) => Math.floor(length * 0.98)],
    ["a large value beside a slot", (key: string) => /staged/.test(key), (length: number) => length - 5],
  ] as const)("fails with the address of what is damaged, and leaves nothing: %s", (what, wants, at) =>
    inFolder(async (folder) => {
      const bucket = new Bucket();
      const { environment } = bucket;
      const db = await filled(bucket);
      for (let i = 0; i < 3; i++) await environment.until(db.set(["staged", i], new Uint8Array(400_000).fill(i)));
      await environment.until(db.close());
      const reader = await openDatabase(bucket, { cacheBytesMax: 0 });
      const [oldest] = (await runsOf(bucket)).toReversed();
      const keys = await keysIn(bucket.store);
      const key = what.includes("slot") ? keys.filter(wants).at(-1) : oldest;
      await flip(bucket, key as string, at);
      const store = memoryStore();
      for (const target of [fsLedger(join(folder, "copy.db")), objectLedger(store), memoryLedger()]) {
        const error: unknown = await environment.until(reader.backup(target).catch((reason: unknown) => reason));
        expect(error).toMatchObject({ code: "LedgerDamaged" });
        expect((error as { ranges?: readonly unknown[] }).ranges?.length).toBeGreaterThan(0);
      }
      expect(readdirSync(folder)).toEqual([]);
      expect(await keysIn(store)).toEqual([]);
    }),
  );

  test("fails with SnapshotExpired when others have removed what it reads, and leaves nothing", () =>
    inFolder(async (folder) => {
      const bucket = new Bucket();
      const { environment } = bucket;
      const db = await filled(bucket);
      const store = memoryStore();
      const targets: Ledger[] = [fsLedger(join(folder, "copy.db")), objectLedger(store), memoryLedger()];
      for (const target of targets) {
        const reader = await openDatabase(bucket, { cacheBytesMax: 0 });
        const [large] = (await runsOf(bucket)).toReversed();
        // After its end, which is read to open it.
        let reads = 0;
        const isRead = ({ kind, keys }: StoreRequest): boolean => kind === "get" && keys[0] === large && ++reads === 2;
        const gate = bucket.faulty.gate(isRead, "before");
        const copying = failure(reader.backup(target));
        await environment.until(gate.arrived);
        // All runs are one, and those that they were are old.
        await environment.until(db.set(["more"], new Uint8Array(100_000)));
        await environment.until(db.vacuum());
        await environment.pass(2 * HOUR);
        await environment.until(db.set(["more"], 1));
        await environment.pass(0);
        expect(await keysIn(bucket.store)).not.toContain(large);
        gate.open();
        expect(await environment.until(copying)).toBe("SnapshotExpired");
      }
      expect(readdirSync(folder)).toEqual([]);
      expect(await keysIn(store)).toEqual([]);
    }));

  test("is begun with the newest state where the one in use is kept no longer", async () => {
    const bucket = new Bucket();
    const { environment } = bucket;
    const db = await filled(bucket);
    const sleeper = await openDatabase(bucket);
    const before = await runsOf(bucket);
    await environment.until(db.vacuum());
    // As if it had slept for an hour, and not heard of the newer root yet.
    const [merged] = await runsOf(bucket);
    await bucket.store.delete(before.filter((key) => key !== merged));
    const ledger = memoryLedger();
    await environment.until(sleeper.backup(ledger));
    await using copy = await KV.open(ledger);
    expect(await copy.count([])).toBe(54);
  });
});

test.skipIf("reason" in disk)(
  "a backup of a bucket to a disk that is full leaves nothing, and works when there is room",
  async () => {
    if ("reason" in disk) return;
    await using db = await KV.open(objectLedger(memoryStore({ now: Date.now })));
    for (let i = 0; i < 15; i++) await db.set([i], new Uint8Array(100_000).fill(i));
    for (let i = 0; i < 15; i++) await db.set(["more", i], new Uint8Array(100_000).fill(i));
    await expect(db.backup(disk.file("copy.db"))).rejects.toMatchObject({ code: "NoSpace" });
    await disk.empty();
    await db.deleteAll(["more"]);
    await db.backup(disk.file("copy.db"));
    await using copy = await KV.open(disk.file("copy.db"), { readOnly: true });
    expect(await copy.count([])).toBe(15);
  },
);

describe("where a backup cannot be made", () => {
  test("a Worker says who does it", async () => {
    const store = memoryStore({ now: Date.now });
    const db = await new WorkerKV({ autoSync: false }).open(objectLedger(store));
    await db.set(["a"], 1);
    for (const target of ["copy.db", memoryLedger(), objectLedger(memoryStore())])
      await expect(db.backup(target)).rejects.toMatchObject({ code: "UnsupportedTarget" });
    await db.close();
  });

  test("a ledger that cannot be written whole is none of its targets", async () => {
    await using db = await KV.open(memoryLedger());
    await expect(db.backup(storeLedger(memoryStore(), {}, "r2Ledger"))).rejects.toMatchObject({
      code: "UnsupportedTarget",
    });
  });

  test("to itself", async () => {
    const bucket = memoryStore();
    for (const ledger of [memoryLedger(), objectLedger(bucket)]) {
      await using db = await KV.open(ledger);
      await expect(db.backup(ledger)).rejects.toMatchObject({ code: "TargetExists" });
    }
  });
});
