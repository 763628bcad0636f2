import { describe, expect, test } from "vitest";
import { objectLedger } from "../../src/adapters/object/ledger.ts";
import { memoryStore } from "../../src/adapters/object/memory-store.ts";
import type { ObjectStore } from "../../src/adapters/object/object-store.ts";
import { CoreKV } from "../../src/core/kv.ts";
import type { KVOptions } from "../../src/core/options.ts";
import { openWith } from "../support/database.ts";
import { Requests, type RunningRequest } from "../support/requests.ts";
import { SimulatedTime } from "../support/simulated-time.ts";

/** An instance that many requests share, in simulated time, and a process beside it that writes to the same bucket. */
class Isolate {
  readonly time = new SimulatedTime(1);
  readonly bucket = memoryStore({ now: this.time.now });
  readonly db: CoreKV;
  /** Names of objects that the isolate has asked for. */
  readonly gets: string[] = [];
  /** What becomes of a create of a slot. */
  onCreate: () => Promise<unknown> | undefined = () => undefined;
  readonly #requests = new Requests(this.time);
  readonly #ledger;

  constructor(options: KVOptions = {}) {
    const store: ObjectStore = {
      ...this.bucket,
      get: async (key, range) => {
        this.gets.push(key);
        await new Promise<void>((resolve) => void this.time.setTimer(resolve, 20));
        return await this.bucket.get(key, range);
      },
      create: async (key, bytes) => {
        if (key.includes("/log/")) await this.onCreate();
        return await this.bucket.create(key, bytes);
      },
    };
    this.#ledger = objectLedger(this.#requests.bound(store));
    const platform = {
      environment: this.#requests.environment,
      ledgerAt: () => {
        throw new Error("there are no files");
      },
    };
    this.db = new CoreKV({ syncIntervalMs: 3_600_000, ...options }, platform);
  }

  request<T>(handle: (db: CoreKV) => Promise<T>): RunningRequest<T> {
    return this.#requests.begin(async () => handle(await this.db.open(this.#ledger)));
  }

  process(): Promise<CoreKV> {
    return openWith(this.time, objectLedger(this.bucket), { autoSync: false });
  }

  /** What lies in the bucket, for whoever looks. */
  async keys(): Promise<unknown[]> {
    const process = await this.process();
    return (await process.listKeys(["k"])).map(([, key]) => key);
  }

  /** A process has written as many keys of `k`, in a run too, and the isolate has followed. */
  async begin(count: number): Promise<CoreKV> {
    const process = await this.process();
    for (let i = 0; i < count; i++) await process.set(["k", i], i);
    expect(await this.request((db) => db.count(["k"])).response).toBe(count);
    this.gets.length = 0;
    return process;
  }
}

function inIsolate(work: (isolate: Isolate) => Promise<void>, options: KVOptions = {}): Promise<void> {
  const isolate = new Isolate(options);
  return isolate.time.until(work(isolate));
}

describe.each([3, 20])("deleteAll of %i keys and more, in an isolate", (count) => {
  test("deletes what others were told is there", () =>
    inIsolate(async (isolate) => {
      const process = await isolate.begin(count);
      await process.set(["k", "late"], 1);
      expect(await isolate.request((db) => db.deleteAll(["k"])).response).toBe(count + 1);
      expect(await isolate.keys()).toEqual([]);
    }));

  test("asks for one slot before, where there is nothing new", () =>
    inIsolate(async (isolate) => {
      await isolate.begin(count);
      const { response } = isolate.request((db) => db.deleteAll(["k"]));
      expect(await response).toBe(count);
      expect(isolate.gets.filter((key) => key.includes("/log/"))).toHaveLength(1);
      expect(isolate.gets.filter((key) => key === "root").length).toBeLessThanOrEqual(1);
    }));

  test("looks at what is visible alone where nothing is followed unasked", () =>
    inIsolate(
      async (isolate) => {
        const process = await isolate.begin(count);
        await process.set(["k", "late"], 1);
        expect(await isolate.request((db) => db.deleteAll(["k"])).response).toBe(count);
        expect(await isolate.keys()).toEqual(["late"]);
      },
      { autoSync: false },
    ));

  test("keeps its place in the order of calls: what was set before goes, and what is set behind stays", () =>
    inIsolate(async (isolate) => {
      const process = await isolate.begin(count);
      await process.set(["k", "late"], 1);
      const { response } = isolate.request(async (db) => {
        const calls = [
          db.set(["k", "before"], 1),
          db.deleteAll(["k"]),
          db.set(["k", 1], "behind"),
          db.set(["k", "new"], "behind"),
        ];
        return await Promise.all(calls);
      });
      expect((await response)[1]).toBe(count + 2);
      expect(await isolate.keys()).toEqual(["new", 1]);
      const left = isolate.request((db) => db.get(["k", 1], { consistency: "strong" }));
      expect(await left.response).toBe("behind");
    }));

  test("leaves alone what another request writes behind it, however long it waits", () =>
    inIsolate(async (isolate) => {
      await isolate.begin(count);
      const deleting = isolate.request((db) => db.deleteAll(["k"]));
      const writing = isolate.request(async (db) => {
        await new Promise<void>((resolve) => void isolate.time.setTimer(resolve, 5));
        for (let i = 0; i < 3; i++) await db.set(["k", i], "behind");
      });
      expect(await deleting.response).toBe(count);
      await writing.response;
      expect(await isolate.keys()).toEqual([0, 1, 2]);
    }));

  test("awaits nothing of a request that is gone", () =>
    inIsolate(async (isolate) => {
      await isolate.begin(count);
      let dying: RunningRequest<unknown> | undefined;
      const died = new Promise<void>((resolve) => {
        isolate.onCreate = () => {
          if (dying === undefined) return undefined;
          dying.end();
          dying = undefined;
          resolve();
          return new Promise<void>((later) => void isolate.time.setTimer(later, 50));
        };
      });
      dying = isolate.request((db) => db.set(["k", "dead"], 1));
      await died;
      expect(await isolate.request((db) => db.deleteAll(["k"])).response).toBe(count + 1);
      expect(await isolate.keys()).toEqual([]);
    }));
});
