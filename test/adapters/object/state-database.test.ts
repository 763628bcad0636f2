import { describe, expect, test } from "vitest";
import { runKey, slotKey } from "../../../src/adapters/object/layout.ts";
import type { StoreRequest } from "../../../src/adapters/object/object-store.ts";
import { Bucket, isCreateOfSlot } from "../../support/bucket.ts";
import { openDatabase, roundsOf, setKeys } from "../../support/bucket-database.ts";

const HOUR = 3_600_000;

describe("opening a database in a bucket", () => {
  test("takes two requests one after the other, the root and everything else", async () => {
    const bucket = new Bucket();
    const db = await openDatabase(bucket);
    await setKeys(bucket, db, 0, 40);
    await bucket.environment.until(db.close());
    const { result: other, rounds } = await roundsOf(bucket, () =>
      openDatabase(bucket).then(async (opened) => {
        expect(await opened.get(["k", 3])).toBe(3);
        expect(await opened.get(["k", 39])).toBe(39);
        return opened;
      }),
    );
    expect(rounds).toBe(2);
    expect(other.stats().session).toMatchObject({ runs: 2, checkpointSlot: 32 });
    await bucket.environment.until(other.close());
  });

  test("costs the root, the runs and the last slots", async () => {
    const bucket = new Bucket();
    const db = await openDatabase(bucket);
    await setKeys(bucket, db, 0, 40);
    await bucket.environment.until(db.close());
    const before = bucket.counting.counts().requests.get;
    await bucket.environment.until((await openDatabase(bucket)).close());
    expect(bucket.counting.counts().requests.get - before).toBeLessThanOrEqual(1 + 2 + 16 + 1);
  });
});

describe("a checkpoint of a database in a bucket", () => {
  test("costs two writes and a read every sixteen commits", async () => {
    const bucket = new Bucket();
    const db = await openDatabase(bucket);
    const { requests: before } = bucket.counting.counts();
    await setKeys(bucket, db, 0, 64);
    await bucket.environment.pass(0);
    const { requests } = bucket.counting.counts();
    expect(requests).toEqual({
      ...before,
      create: before.create + 64 + 4,
      replace: before.replace + 4,
      get: before.get + 4,
    });
  });

  test("comes every sixteen slots, and what it covers leaves the memory", async () => {
    const bucket = new Bucket();
    const db = await openDatabase(bucket);
    const other = await openDatabase(bucket);
    for (let i = 0; i < 5; i++) {
      await setKeys(bucket, db, i * 16, i * 16 + 16);
      await bucket.environment.pass(0);
      expect((await bucket.root()).checkpointSlot).toBe(16 * (i + 1));
      expect(db.stats().index.runs).toBe(i + 1);
    }
    const { overlayBytes } = db.stats().index;
    expect(overlayBytes).toBeLessThan(other.stats().index.overlayBytes + 5000);
    await bucket.environment.until(other.sync());
    await bucket.environment.pass(6 * 60_000);
    await bucket.environment.until(other.sync());
    for (const each of [db, other]) {
      expect(each.stats()).toMatchObject({ keys: 80, index: { runs: 5 } });
      expect((await bucket.environment.until(each.listAll([]))).map(({ value }) => value)).toEqual(
        Array.from({ length: 80 }, (_, i) => i),
      );
    }
  });

  test("holds what was deleted, changed and large, whoever writes it", async () => {
    const bucket = new Bucket();
    const dbs = [await openDatabase(bucket), await openDatabase(bucket)];
    const expected = new Map<number, unknown>();
    for (let i = 0; i < 300; i++) {
      const db = dbs[i % 3 === 0 ? 0 : 1];
      const key = (i * 7) % 60;
      const value = i % 10 === 0 ? "large ".repeat(4000) : `value ${i}`;
      if (i % 5 === 4) {
        await bucket.environment.until(db.delete(["k", key]));
        expected.delete(key);
      } else {
        await bucket.environment.until(db.set(["k", key], value));
        expected.set(key, value);
      }
    }
    await bucket.environment.pass(6 * 60_000);
    const fresh = await openDatabase(bucket);
    for (const db of [...dbs, fresh]) {
      await bucket.environment.until(db.sync());
      const entries = await bucket.environment.until(db.listAll([]));
      expect(entries.map(({ key, value }) => [key[1], value])).toEqual([...expected].sort(([a], [b]) => a - b));
    }
    const { runs, checkpointSlot } = await bucket.root();
    expect(checkpointSlot).toBeGreaterThan(280);
    expect(runs.length).toBeLessThan(16);
  });

  test("that is far too late makes commits wait", async () => {
    const bucket = new Bucket();
    const db = await openDatabase(bucket);
    await setKeys(bucket, db, 0, 15);
    const isRun = ({ kind, keys }: StoreRequest): boolean => kind === "create" && keys[0].includes("/run/");
    const gate = bucket.faulty.gate(isRun, "before");
    await setKeys(bucket, db, 15, 48);
    await bucket.environment.until(gate.arrived);
    let isSet = false;
    const set = db.set(["k", 48], 48).then(() => (isSet = true));
    await bucket.environment.pass(1000);
    expect(isSet).toBe(false);
    gate.open();
    await bucket.environment.until(set);
    expect((await bucket.root()).runs.at(-1)).toMatchObject({ from: 1, to: 16 });
  });

  test("is taken over without changing what was frozen", async () => {
    const bucket = new Bucket();
    const db = await openDatabase(bucket);
    await setKeys(bucket, db, 0, 10);
    const iterator = db.iterate([]);
    const first = await bucket.environment.until(iterator.next());
    expect(first.value).toMatchObject({ value: 0 });
    await setKeys(bucket, db, 10, 40);
    for (let i = 0; i < 10; i++) await bucket.environment.until(db.set(["k", i], "changed"));
    await bucket.environment.pass(0);
    expect(db.stats().index.runs).toBe(3);
    const rest: unknown[] = [];
    for (;;) {
      const next = await bucket.environment.until(iterator.next());
      if (next.done === true) break;
      rest.push(next.value.value);
    }
    expect(rest).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9]);
  });
});

describe("a history of a database in a bucket", () => {
  test("reaches back to the first slot that there is, however many there are", async () => {
    const bucket = new Bucket();
    const db = await openDatabase(bucket);
    await setKeys(bucket, db, 0, 300);
    const told: unknown[] = [];
    const scan = async (): Promise<void> => {
      for await (const { value } of db.scan(["k"])) told.push(value);
    };
    await bucket.environment.until(scan());
    expect(told).toEqual(Array.from({ length: 300 }, (_, i) => i));
  });
});

describe("a database whose slots are gone", () => {
  /** Everything up to some slot is covered, old and deleted. */
  async function deleteOld(bucket: Bucket, collector: Awaited<ReturnType<typeof openDatabase>>): Promise<void> {
    for (let i = 0; i < 40; i++) {
      await bucket.environment.pass(10 * 60_000);
      await bucket.environment.until(collector.sync());
    }
    const { floor, swept } = await bucket.root();
    expect(swept).toBe(floor);
    expect(floor).toBeGreaterThan(60);
  }

  test("says so when it wakes up, and goes on with the checkpoint", async () => {
    const bucket = new Bucket();
    const db = await openDatabase(bucket, { graceMs: HOUR });
    await setKeys(bucket, db, 0, 20);
    const sleeper = await openDatabase(bucket);
    const events: string[] = [];
    const watched: unknown[] = [];
    sleeper.on("sync", ({ result }) => void events.push(result));
    sleeper.watch(["k", 3], (entry) => void watched.push(entry));
    sleeper.watch(["k", 4], (entry) => void watched.push(entry));
    await bucket.environment.until(db.set(["k", 3], "changed"));
    await setKeys(bucket, db, 20, 100);
    await deleteOld(bucket, db);
    await bucket.environment.until(sleeper.sync());
    expect(events).toEqual(["ledgerInvalidated"]);
    expect(await bucket.environment.until(sleeper.get(["k", 99]))).toBe(99);
    expect(sleeper.stats().version).toBe(db.stats().version);
    expect(watched).toMatchObject([{ key: ["k", 3], value: "changed", reloaded: true }]);
    await bucket.environment.until(sleeper.set(["k", 100], 100));
    await bucket.environment.until(db.sync());
    expect(await db.get(["k", 100])).toBe(100);
  });

  test("goes on with the checkpoint too when it wakes up as it was about to read a large value", async () => {
    const bucket = new Bucket();
    const db = await openDatabase(bucket, { graceMs: HOUR });
    const sleeper = await openDatabase(bucket);
    const events: string[] = [];
    const watched: unknown[] = [];
    sleeper.on("sync", ({ result }) => void events.push(result));
    sleeper.watch(["large"], ({ value }) => void watched.push(value));
    const large = "v".repeat(300_000);
    await bucket.environment.until(db.set(["large"], large));
    const gate = bucket.faulty.gate(({ kind, keys }) => kind === "get" && keys[0].includes("/staged/"), "before");
    const synced = sleeper.sync();
    await bucket.environment.until(gate.arrived);
    await setKeys(bucket, db, 0, 120);
    await deleteOld(bucket, db);
    gate.open();
    await bucket.environment.until(synced);
    expect(events).toEqual(["ledgerInvalidated"]);
    expect(watched).toEqual([large]);
  });

  test("tells watches to read again where one of the new values cannot be read, rather than leave it out", async () => {
    const bucket = new Bucket();
    const db = await openDatabase(bucket, { graceMs: HOUR });
    await setKeys(bucket, db, 0, 20);
    const sleeper = await openDatabase(bucket, { cacheBytesMax: 0 });
    const watched: unknown[] = [];
    sleeper.watch([], (entry) => void watched.push(entry));
    await setKeys(bucket, db, 20, 100);
    await deleteOld(bucket, db);
    await bucket.environment.until(db.set(["k", "last"], "text"));
    const last = slotKey((await bucket.root()).nonce, Math.floor((db.stats().version ?? 0) / 65_536));
    // Whoever follows reads it once; for its values it is asked for again.
    let asked = 0;
    bucket.faulty.fate = ({ keys }) => (keys[0] === last && ++asked > 1 ? { fault: { kind: "unsent" } } : undefined);
    const errors: unknown[] = [];
    sleeper.on("error", (error) => void errors.push(error));
    await bucket.environment.until(sleeper.sync());
    expect(watched.at(-1)).toEqual({ reset: true, version: db.stats().version });
    expect(errors).toMatchObject([{ code: "InputOutput" }]);
  });

  test("and whose runs are gone tells watches to read again, and iterators that they have expired", async () => {
    const bucket = new Bucket();
    const db = await openDatabase(bucket, { graceMs: HOUR });
    for (let i = 0; i < 20; i++) await bucket.environment.until(db.set(["k", i], "v".repeat(15_000)));
    const sleeper = await openDatabase(bucket, { cacheBytesMax: 0 });
    expect(sleeper.stats().index.runBytes).toBeGreaterThan(64 * 1024);
    const watched: unknown[] = [];
    sleeper.watch([], (entry) => void watched.push(entry));
    const iterator = sleeper.iterate([]);
    expect((await bucket.environment.until(iterator.next())).value).toMatchObject({ key: ["k", 0] });
    const merger = await openDatabase(bucket, { graceMs: HOUR });
    await bucket.environment.until(merger.vacuum());
    await setKeys(bucket, db, 100, 200);
    await bucket.environment.until(merger.vacuum());
    await deleteOld(bucket, db);
    // Its author never deletes a run.
    await deleteOld(bucket, merger);
    await expect(bucket.environment.until(exhaust(iterator))).rejects.toMatchObject({ code: "SnapshotExpired" });
    const errors: unknown[] = [];
    sleeper.on("error", (error) => void errors.push(error));
    await bucket.environment.until(sleeper.sync());
    expect(watched).toEqual([{ reset: true, version: db.stats().version }]);
    expect(errors).toEqual([]);
    expect(await bucket.environment.until(sleeper.get(["k", 199]))).toBe(199);
  });

  test("tells a vacuum so whose runs are gone each time that it reads them", async () => {
    const bucket = new Bucket();
    const writer = await openDatabase(bucket);
    for (let i = 0; i < 10; i++)
      await bucket.environment.until(writer.set(["large", i], new Uint8Array(20_000).fill(i)));
    await bucket.environment.until(writer.vacuum());
    let vacuums = 0;
    const beginAnew = async (): Promise<void> => {
      await writer.set(["n"], ++vacuums);
      await writer.vacuum();
      const { nonce, runs } = await bucket.root();
      const listed = await bucket.store.list(`${nonce}/run/`);
      if (listed.status !== "listed") throw new Error(listed.status);
      const named = runs.map((run) => runKey(nonce, run));
      await bucket.store.delete(listed.objects.map(({ key }) => key).filter((key) => !named.includes(key)));
    };
    let isVacuuming = false;
    const db = await openDatabase(bucket, {
      cacheBytesMax: 0,
      store: {
        ...bucket.counting,
        get: async (key, range) => {
          const { nonce, runs } = await bucket.root();
          const run = runs.find((each) => runKey(nonce, each) === key);
          // A block, not what is read as a run is opened.
          if (isVacuuming && run !== undefined && range !== undefined && range.from < run.footerPlace)
            await beginAnew();
          return bucket.counting.get(key, range);
        },
      },
    });
    isVacuuming = true;
    await expect(bucket.environment.until(db.vacuum())).rejects.toMatchObject({ code: "SnapshotExpired" });
    expect(vacuums).toBeGreaterThan(1);
    isVacuuming = false;
    expect(await bucket.environment.until(db.vacuum())).toMatchObject({ author: true });
    expect(await bucket.environment.until(db.get(["n"]))).toBe(vacuums);
  });

  test("and whose runs are gone reads and writes on the newest state, without following first", async () => {
    const bucket = new Bucket();
    const db = await openDatabase(bucket, { graceMs: HOUR });
    for (let i = 0; i < 20; i++)
      await bucket.environment.until(db.set(["k", i], "v".repeat(i % 2 === 0 ? 4000 : 9000)));
    const merger = await openDatabase(bucket, { graceMs: HOUR });
    const sleepers = [
      await openDatabase(bucket, { cacheBytesMax: 0 }),
      await openDatabase(bucket, { cacheBytesMax: 0 }),
    ];
    await bucket.environment.until(db.set(["k", 3], "changed"));
    await setKeys(bucket, db, 100, 200);
    await bucket.environment.until(merger.vacuum());
    await deleteOld(bucket, merger);
    const [reader, writer] = sleepers;
    const results: string[] = [];
    reader.on("sync", ({ result }) => void results.push(result));
    expect(await bucket.environment.until(reader.get(["k", 3]))).toBe("changed");
    expect(await bucket.environment.until(reader.listKeys(["k"]))).toHaveLength(120);
    const added = writer
      .atomic()
      .sum(["sum"], 1)
      .check({ key: ["k", 3], version: null })
      .commit();
    expect(await bucket.environment.until(added)).toEqual({ ok: false });
    await bucket.environment.until(writer.atomic().sum(["sum"], 1).commit());
    await bucket.environment.until(reader.sync());
    expect(await bucket.environment.until(reader.get(["sum"]))).toBe(1);
  });

  async function parked(place: "before" | "after"): Promise<{
    readonly bucket: Bucket;
    readonly writer: Awaited<ReturnType<typeof openDatabase>>;
    readonly outcome: Promise<unknown>;
    readonly open: (options?: { readonly lose: boolean }) => void;
  }> {
    const bucket = new Bucket();
    const others = await openDatabase(bucket, { graceMs: HOUR });
    await setKeys(bucket, others, 0, 20);
    const writer = await openDatabase(bucket);
    const isOwn = (request: StoreRequest): boolean =>
      isCreateOfSlot(request) && request.keys[0].endsWith("/000000000021");
    const gate = bucket.faulty.gate(isOwn, place);
    const outcome = writer.atomic().sum(["sum"], 1).commit();
    outcome.catch(() => undefined);
    await bucket.environment.until(gate.arrived);
    await setKeys(bucket, others, 20, 120);
    await bucket.environment.until(others.set(["sum"], 10, {}).then(() => undefined));
    await setKeys(bucket, others, 120, 170);
    await deleteOld(bucket, others);
    return { bucket, writer, outcome, open: (options) => gate.open(options) };
  }

  test("commits behind everything else what was sent to a slot that others have written and deleted", async () => {
    const { bucket, writer, outcome, open } = await parked("before");
    open();
    const { version } = (await bucket.environment.until(outcome)) as { version: number };
    const fresh = await openDatabase(bucket);
    expect(await bucket.environment.until(fresh.getEntry(["sum"]))).toMatchObject({ value: 11, version });
    expect(await bucket.environment.until(writer.get(["sum"]))).toBe(11);
    expect(await bucket.environment.until(writer.count(["k"]))).toBe(170);
  });

  test("acknowledges what was committed in a slot that was covered and deleted meanwhile", async () => {
    const { bucket, writer, outcome, open } = await parked("after");
    open({ lose: true });
    const { version } = (await bucket.environment.until(outcome)) as { version: number };
    expect(Math.floor(version / 65_536)).toBe(21);
    await bucket.environment.until(writer.sync());
    for (const each of [writer, await openDatabase(bucket)]) {
      expect(await bucket.environment.until(each.get(["sum"]))).toBe(10);
      expect(await bucket.environment.until(each.count(["k"]))).toBe(170);
    }
  });

  test("says that nobody knows when no run tells any more", async () => {
    const { bucket, outcome, open } = await parked("after");
    await bucket.changeRoot(({ runs }) => ({ runs: runs.map((run) => ({ ...run, batchIds: 0 })) }));
    open({ lose: true });
    await expect(bucket.environment.until(outcome)).rejects.toMatchObject({
      code: "CommitOutcomeUnknown",
      outcome: "unknown",
    });
  });

  test("says that nobody knows when the run that tells cannot be read", async () => {
    const { bucket, outcome, open } = await parked("after");
    bucket.faulty.fate = ({ kind, keys }) =>
      kind === "get" && keys[0].includes("/run/") ? { fault: { kind: "unsent" } } : undefined;
    open({ lose: true });
    await expect(bucket.environment.until(outcome)).rejects.toMatchObject({
      code: "CommitOutcomeUnknown",
      outcome: "unknown",
    });
  });

  test("leaves no slot behind that it wrote below the floor to anybody who opens", async () => {
    const { bucket, outcome, open } = await parked("before");
    open();
    await bucket.environment.until(outcome);
    const { nonce, floor } = await bucket.root();
    expect(floor).toBeGreaterThan(21);
    expect((await bucket.store.get(slotKey(nonce, 21))).status).toBe("found");
    const fresh = await openDatabase(bucket);
    expect(await bucket.environment.until(fresh.count(["k"]))).toBe(170);
  });
});

async function exhaust(iterator: AsyncIterator<unknown>): Promise<void> {
  while ((await iterator.next()).done !== true);
}
