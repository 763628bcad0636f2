import { describe, expect, test } from "vitest";
import { memoryLedger } from "../../../src/adapters/memory/index.ts";
import { nonceOf, runKey } from "../../../src/adapters/object/layout.ts";
import { objectLedger } from "../../../src/adapters/object/ledger.ts";
import type { ObjectStore, StoreRequest } from "../../../src/adapters/object/object-store.ts";
import { fileWork } from "../../../src/core/file-work.ts";
import { CoreKV } from "../../../src/core/kv.ts";
import type { BackupResult } from "../../../src/core/maintenance.ts";
import type { CopyRequest, Ledger } from "../../../src/core/ledger.ts";
import type { BackupOptions, OpenOptions } from "../../../src/core/options.ts";
import { Bucket, failure } from "../../support/bucket.ts";
import { openWith } from "../../support/database.ts";

const KEYS = 400;
const upTo = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

const isCreateOfRoot = ({ kind, keys }: StoreRequest): boolean => kind === "create" && keys[0] === "root";
const isCreateOfRun = ({ kind, keys }: StoreRequest): boolean => kind === "create" && /\/run\//.test(keys[0]);

/** A database that is to be copied into the bucket, in its time. */
async function original({ environment }: Bucket): Promise<CoreKV> {
  const db = await environment.until(openWith(environment, memoryLedger(), { autoSync: false }));
  for (let i = 0; i < KEYS; i++) void db.set(["k", i], { i, text: "x".repeat(1000) });
  await environment.until(db.set(["last"], 1));
  return db;
}

/** A ledger that is given small runs, so that there are several. */
function inSmallRuns(ledger: Ledger, partBytes = 60_000): Ledger {
  const createFrom = (request: CopyRequest): Promise<{ readonly bytes: number }> =>
    (ledger as Required<Ledger>).createFrom({ ...request, buildRuns: () => request.buildRuns(partBytes) });
  return { ...ledger, createFrom };
}

const target = (bucket: Bucket): Ledger => inSmallRuns(objectLedger(bucket.counting));

function backup(bucket: Bucket, db: CoreKV, options: BackupOptions = {}): Promise<BackupResult> {
  return bucket.environment.until(db.backup(target(bucket), options));
}

function open(bucket: Bucket, options: OpenOptions = {}): Promise<CoreKV> {
  const ledgerAt = (): never => {
    throw new Error("there are no files here");
  };
  const db = new CoreKV({ autoSync: false }, { environment: bucket.environment, ledgerAt, fileWork });
  return bucket.environment.until(db.open(objectLedger(bucket.counting), options).then(() => db));
}

/** Everything that was copied is there, and it goes on as any other. */
async function isWhole(bucket: Bucket): Promise<void> {
  const { environment } = bucket;
  const db = await open(bucket, { createIfMissing: false });
  expect(await environment.until(db.listKeys(["k"]))).toEqual(upTo(KEYS).map((i) => ["k", i]));
  expect(await environment.until(db.get(["k", 17]))).toEqual({ i: 17, text: "x".repeat(1000) });
  for (let i = 0; i < 40; i++) await environment.until(db.set(["k", i * 7], i));
  await environment.until(db.delete(["last"]));
  await environment.until(db.vacuum());
  expect((await bucket.root()).runs).toHaveLength(1);
  const other = await open(bucket);
  expect(other.stats().damage).toEqual([]);
  expect(await environment.until(other.count([]))).toBe(KEYS);
  expect(await environment.until(other.get(["k", 7]))).toBe(1);
  for (const each of [db, other]) await environment.until(each.close());
}

async function keysIn(store: ObjectStore): Promise<string[]> {
  const listed = await store.list("");
  if (listed.status !== "listed") throw listed.error;
  return listed.objects.map(({ key }) => key);
}

const shapesOf = (keys: readonly string[]): string[] =>
  keys.map((key) => key.replaceAll(/[0-9a-f]{32}/g, "N").replaceAll(/run\/.*/g, "run")).toSorted();

describe("a ledger in a bucket that is created with a state", () => {
  test("has its runs first, without a key in two of them, and its root last", async () => {
    const bucket = new Bucket();
    const db = await original(bucket);
    const { version } = await backup(bucket, db);
    const root = await bucket.root();
    expect(root.runs.length).toBeGreaterThan(3);
    // A slot each, and the last one those up to that of the version.
    const last = Math.floor(version / 65_536);
    expect(root.runs.map(({ from, to }) => [from, to]).toReversed()).toEqual(
      root.runs.map((_, i) => [i + 1, i + 1 === root.runs.length ? last : i + 1]),
    );
    expect(root).toMatchObject({
      ledgerId: db.stats().ledgerId,
      verdict: "suitable",
      checkpointVersion: version,
      firstSlot: last + 1,
    });
    const created = bucket.requests.filter((each) => /^create (?:run|root|unfinished)/.test(each));
    expect(created.map((each) => each.replace(/run\/.*-/, "run "))).toEqual([
      "create unfinished created",
      ...root.runs.map(() => expect.stringMatching(/^create run /)),
      "create root created",
    ]);
    expect(shapesOf(await keysIn(bucket.store))).toEqual([...root.runs.map(() => "N/run"), "root"]);
    await isWhole(bucket);
  });

  test("looks into one run for a key, however many there are", async () => {
    const bucket = new Bucket();
    await backup(bucket, await original(bucket));
    const db = await open(bucket);
    const { get } = bucket.counting.counts().requests;
    await bucket.environment.until(db.get(["k", 150]));
    // A page of its filter, and the block.
    expect(bucket.counting.counts().requests.get - get).toBeLessThanOrEqual(2);
  });

  test("is made anew from a list when its root is lost", async () => {
    const bucket = new Bucket();
    await backup(bucket, await original(bucket));
    const { runs } = await bucket.root();
    await bucket.store.delete(["root"]);
    await expect(open(bucket)).rejects.toMatchObject({ code: "LedgerDamaged" });
    await bucket.environment.until((await open(bucket, { repair: true })).close());
    const names = (some: typeof runs): string[] => some.map(({ random, from, to }) => `${from} ${to} ${random}`);
    expect(names((await bucket.root()).runs)).toEqual(names(runs));
    await isWhole(bucket);
  });

  test("begins above a version that lies in a high slot", async () => {
    const bucket = new Bucket();
    const from = memoryLedger();
    const version = 70_000 * 65_536 + 5;
    const db = await original(bucket);
    const moved: Ledger = {
      ...from,
      createFrom: (request) => (from as Required<Ledger>).createFrom({ ...request, version }),
    };
    await bucket.environment.until(db.backup(moved));
    const high = await bucket.environment.until(openWith(bucket.environment, from, { autoSync: false }));
    await bucket.environment.until(high.set(["k", 0], "high"));
    const backedUp = await backup(bucket, high);
    expect(backedUp.version).toBeGreaterThan(version);
    const root = await bucket.root();
    expect([root.firstSlot, root.runs[0].to]).toEqual([70_001, 70_000]);
    const copy = await open(bucket);
    const entry = await bucket.environment.until(copy.getEntry(["k", 0]));
    expect(entry).toMatchObject({ value: "high", version: backedUp.version });
    const next = await bucket.environment.until(copy.set(["k", 0], 1));
    expect(next.version).toBe(70_001 * 65_536);
  });
});

describe("where there is something already", () => {
  test.each([
    ["a ledger", async (bucket: Bucket) => await bucket.environment.until((await open(bucket)).close())],
    ["another object of that name", (bucket: Bucket) => bucket.store.create("root", Uint8Array.of(1, 2, 3))],
    [
      "a ledger whose root is lost",
      async (bucket: Bucket) => {
        const db = await open(bucket);
        await bucket.environment.until(db.set(["a"], 1));
        await bucket.environment.until(db.close());
        await bucket.store.delete(["root"]);
      },
    ],
  ])("%s, nothing is written", async (_, make) => {
    const bucket = new Bucket();
    const db = await original(bucket);
    await make(bucket);
    const before = await keysIn(bucket.store);
    const { create } = bucket.counting.counts().requests;
    expect(await failure(backup(bucket, db))).toBe("TargetExists");
    expect(await keysIn(bucket.store)).toEqual(before);
    expect(bucket.counting.counts().requests.create).toBe(create);
  });

  test("since the copy was begun, that stays, and the copy is nothing", async () => {
    const bucket = new Bucket();
    const db = await original(bucket);
    const gate = bucket.faulty.gate(isCreateOfRoot, "before");
    const copying = failure(backup(bucket, db));
    await gate.arrived;
    const other = await open(bucket);
    await bucket.environment.until(other.set(["other"], 1));
    gate.open();
    expect(await copying).toBe("TargetExists");
    const { nonce } = await bucket.root();
    expect((await keysIn(bucket.store)).map(nonceOf).filter((each) => each !== undefined)).toEqual([nonce]);
    expect(await bucket.environment.until(other.listKeys([], { consistency: "strong" }))).toEqual([["other"]]);
  });

  test("of several copies at once one is first, and nothing is left of the others", async () => {
    const bucket = new Bucket();
    const db = await original(bucket);
    const others = [await original(bucket), await original(bucket)];
    const results = await bucket.environment.until(
      Promise.all([db, ...others].map((each) => failure(each.backup(target(bucket))))),
    );
    expect(results.toSorted()).toEqual(["TargetExists", "TargetExists", "nothing"]);
    const { nonce, runs } = await bucket.root();
    const folders = (await keysIn(bucket.store)).map(nonceOf).filter((each) => each !== undefined);
    expect(folders).toEqual(runs.map(() => nonce));
    await isWhole(bucket);
  });
});

describe("a copy that comes to nothing", () => {
  test("leaves nothing behind when it is given up, or when a run cannot be uploaded", async () => {
    const bucket = new Bucket();
    const db = await original(bucket);
    const control = new AbortController();
    let told = 0;
    const given = backup(bucket, db, {
      signal: control.signal,
      onProgress: () => void (++told === 3 && control.abort()),
    });
    expect(await given.catch((error: unknown) => error)).toBe(control.signal.reason);
    expect(told).toBe(3);
    expect(await keysIn(bucket.store)).toEqual([]);
    const thrown = new Error("from onProgress");
    const throwing = backup(bucket, db, {
      onProgress: () => {
        throw thrown;
      },
    });
    await expect(throwing).rejects.toBe(thrown);
    expect(await keysIn(bucket.store)).toEqual([]);
    bucket.faulty.fate = (request) => (isCreateOfRun(request) ? { fault: { kind: "conflict" } } : undefined);
    expect(await failure(backup(bucket, db))).toBe("InputOutput");
    bucket.faulty.fate = () => undefined;
    expect(await keysIn(bucket.store)).toEqual([]);
    await backup(bucket, db);
    await isWhole(bucket);
  });

  test("is told as unfinished as long as something of it may still arrive", async () => {
    const bucket = new Bucket();
    const db = await original(bucket);
    const late = { fault: { kind: "late", givesUpMs: 1000, landsMs: 600_000 } } as const;
    let runs = 0;
    bucket.faulty.fate = (request) => (isCreateOfRun(request) && ++runs > 1 ? late : undefined);
    expect(await failure(backup(bucket, db))).toBe("InputOutput");
    bucket.faulty.fate = () => undefined;
    expect(shapesOf(await keysIn(bucket.store))).toEqual(["N/unfinished"]);
    await bucket.environment.pass(3_600_000);
    expect(shapesOf(await keysIn(bucket.store))).toEqual(["N/run", "N/unfinished"]);
    await expect(open(bucket, { createIfMissing: false })).rejects.toMatchObject({ code: "LedgerMissing" });
    await backup(bucket, db);
    const { nonce } = await bucket.root();
    expect(new Set((await keysIn(bucket.store)).map(nonceOf))).toEqual(new Set([nonce, undefined]));
    await isWhole(bucket);
  });

  test.each([
    ["is done all the same if the root was written and the answer is lost", { kind: "answer-lost" }, "nothing"],
    [
      "becomes a whole ledger if its root arrives later",
      { kind: "late", givesUpMs: 1000, landsMs: 600_000 },
      "InputOutput",
    ],
  ] as const)("%s", async (_, fault, expected) => {
    const bucket = new Bucket();
    const db = await original(bucket);
    bucket.befalls(isCreateOfRoot, [{ fault }]);
    expect(await failure(backup(bucket, db))).toBe(expected);
    await bucket.environment.pass(3_600_000);
    await isWhole(bucket);
    expect(await failure(backup(bucket, db))).toBe("TargetExists");
  });

  test("whose root may still arrive never takes the place of one that was begun again", async () => {
    const bucket = new Bucket();
    const db = await original(bucket);
    bucket.befalls(isCreateOfRoot, [{ fault: { kind: "late", givesUpMs: 1000, landsMs: 600_000 } }]);
    expect(await failure(backup(bucket, db))).toBe("InputOutput");
    await backup(bucket, db);
    const { nonce, runs } = await bucket.root();
    await bucket.environment.pass(3_600_000);
    expect((await bucket.root()).nonce).toBe(nonce);
    expect(shapesOf(await keysIn(bucket.store))).toEqual([...runs.map(() => "N/run"), "root"]);
    await isWhole(bucket);
  });
});

describe("a copy whose process was killed", () => {
  /** At the first request, and at each after it, that changes anything: before the store has got it, or when it has done it and nobody hears of it. */
  test.each(["before", "after"] as const)(
    "at any step, %s the store has done it, is no ledger or a whole one, and begun again it works",
    async (place) => {
      let ledgers = 0;
      for (let step = 0; ; step++) {
        const bucket = new Bucket();
        const db = await original(bucket);
        let changes = 0;
        let isCopying = false;
        const gate = bucket.faulty.gate(
          ({ kind }) => isCopying && ["create", "replace", "delete"].includes(kind) && changes++ === step,
          place,
        );
        // Not what the probe does.
        const copying = db.backup(target(bucket), { onProgress: () => void (isCopying = true) });
        copying.catch(() => undefined);
        const isOver = await bucket.environment.until(
          Promise.race([copying.then(() => true), gate.arrived.then(() => false)]),
        );
        if (isOver) break;
        // From here on nothing comes of it any more.
        const isThere = (await bucket.store.get("root")).status === "found";
        if (isThere) {
          ledgers++;
          expect(await failure(backup(bucket, await original(bucket)))).toBe("TargetExists");
        } else {
          await expect(open(bucket, { createIfMissing: false })).rejects.toMatchObject({ code: "LedgerMissing" });
          // Nor is there anything to repair.
          await expect(open(bucket, { createIfMissing: false, repair: true })).rejects.toMatchObject({
            code: "LedgerMissing",
          });
          await backup(bucket, await original(bucket));
          const { nonce } = await bucket.root();
          expect(new Set((await keysIn(bucket.store)).map(nonceOf))).toEqual(new Set([nonce, undefined]));
        }
        await isWhole(bucket);
        expect(step).toBeLessThan(100);
      }
      expect(ledgers).toBeGreaterThan(0);
    },
  );

  test("leaves a place where another ledger can be created, and what was written there counts", async () => {
    const bucket = new Bucket();
    const db = await original(bucket);
    const gate = bucket.faulty.gate(isCreateOfRoot, "before");
    const copying = db.backup(target(bucket));
    copying.catch(() => undefined);
    await bucket.environment.until(gate.arrived);
    const other = await open(bucket);
    await bucket.environment.until(other.set(["other"], 1));
    await bucket.environment.until(other.close());
    await bucket.store.delete(["root"]);
    const restored = await open(bucket, { repair: true });
    expect(await bucket.environment.until(restored.listKeys([]))).toEqual([["other"]]);
  });

  test("before it has said that it is finished is a ledger, also when its root is lost, once somebody has written to it", async () => {
    const bucket = new Bucket();
    const db = await original(bucket);
    const gate = bucket.faulty.gate(({ kind, keys }) => kind === "delete" && /unfinished/.test(keys[0]), "before");
    db.backup(target(bucket)).catch(() => undefined);
    await bucket.environment.until(gate.arrived);
    const copy = await open(bucket);
    await bucket.environment.until(copy.set(["own"], 1));
    await bucket.environment.until(copy.close());
    await bucket.store.delete(["root"]);
    expect(await failure(backup(bucket, await original(bucket)))).toBe("TargetExists");
    const restored = await open(bucket, { repair: true });
    expect(await bucket.environment.until(restored.count([]))).toBe(KEYS + 2);
    // Where more of it is lost, it is in nobody's way, and what is left stays.
    const { nonce, runs } = await bucket.root();
    await bucket.store.delete(["root", runKey(nonce, runs[runs.length - 1])]);
    const left = await keysIn(bucket.store);
    await backup(bucket, await original(bucket));
    expect(await keysIn(bucket.store)).toEqual(expect.arrayContaining(left));
  });
});

test("a store without create-if-absent is for one writer, who gets a copy too", async () => {
  const bucket = new Bucket();
  const { counting } = bucket;
  const weak: ObjectStore = { ...counting, capabilities: { ...counting.capabilities, create: false } };
  const db = await original(bucket);
  await bucket.environment.until(db.backup(inSmallRuns(objectLedger(weak, { writers: "single" }))));
  expect((await bucket.root()).verdict).toBe("single");
  const other = await bucket.environment.until(
    openWith(bucket.environment, objectLedger(weak, { writers: "single" }), { autoSync: false }),
  );
  expect(await bucket.environment.until(other.count([]))).toBe(KEYS + 1);
});
