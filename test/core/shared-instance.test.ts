import { expect, test } from "vitest";
import { memoryLedger } from "../../src/adapters/memory/index.ts";
import { objectLedger } from "../../src/adapters/object/ledger.ts";
import { memoryStore } from "../../src/adapters/object/memory-store.ts";
import type { CreateAnswer, GetAnswer, ObjectStore } from "../../src/adapters/object/object-store.ts";
import { CoreKV } from "../../src/core/kv.ts";
import type { Ledger } from "../../src/core/ledger.ts";
import type { KVOptions } from "../../src/core/options.ts";
import { macrotask, settles, signal } from "../support/database.ts";
import { Requests, type RunningRequest } from "../support/requests.ts";

/** One instance in a module, requests that share it, and the bucket behind it. */
class Isolate {
  readonly requests = new Requests();
  readonly bucket: ObjectStore;
  readonly ledger: Ledger;
  readonly db: CoreKV;
  /** Names of slots, for each time that somebody has asked to create one. */
  readonly creates: string[] = [];
  /** What becomes of a read of a slot, likewise. */
  onGet: (get: () => Promise<GetAnswer>) => Promise<GetAnswer> = (get) => get();
  /** What becomes of a read of a run. */
  onRun: (get: () => Promise<GetAnswer>) => Promise<GetAnswer> = (get) => get();
  /** What becomes of a create of anything else. */
  onStage: (create: () => Promise<CreateAnswer>) => Promise<CreateAnswer> = (create) => create();
  /** What becomes of a create of a slot, if not what becomes of it in the bucket. */
  onCreate: (key: string, create: () => Promise<CreateAnswer>) => Promise<CreateAnswer> = (_, create) => create();

  constructor(options: KVOptions = {}, bucket: ObjectStore = memoryStore()) {
    this.bucket = bucket;
    const create: ObjectStore["create"] = (key, bytes) => {
      const now = (): Promise<CreateAnswer> => this.bucket.create(key, bytes);
      if (!key.includes("/log/")) return this.onStage(now);
      this.creates.push(key.replace(/.*0(?=\d)/, ""));
      return this.onCreate(key, now);
    };
    const store: ObjectStore = {
      name: bucket.name,
      capabilities: bucket.capabilities,
      get: async (key, range) => {
        // Long enough for a request to be gone meanwhile.
        await macrotask();
        const now = (): Promise<GetAnswer> => bucket.get(key, range);
        if (key.includes("/run/")) return this.onRun(now);
        return key.includes("/log/") ? this.onGet(now) : now();
      },
      create,
      replace: (key, bytes, etag) => bucket.replace(key, bytes, etag),
      list: (prefix, listed) => bucket.list(prefix, listed),
      delete: (keys) => bucket.delete(keys),
    };
    this.ledger = objectLedger(this.requests.bound(store));
    this.db = this.instance(options);
  }

  instance(options: KVOptions = {}): CoreKV {
    return new CoreKV(options, {
      environment: this.requests.environment,
      ledgerAt: () => {
        throw new Error("there are no files");
      },
    });
  }

  /** A request, as every handler begins. */
  request<T>(handle: (db: CoreKV) => Promise<T>): RunningRequest<T> {
    return this.requests.begin(async () => handle(await this.db.open(this.ledger)));
  }

  /** What somebody reads who has nothing to do with this isolate. */
  async stored(key: string): Promise<unknown> {
    const other = await this.instance().open(objectLedger(this.bucket));
    const value = await other.get([key]);
    await other.close();
    return value;
  }

  async serve<T>(handle: (db: CoreKV) => Promise<T>): Promise<T> {
    const request = this.request(handle);
    const value = await request.response;
    // A response is the end of everything that its request has not awaited.
    request.end();
    return value;
  }
}

const increment = (db: CoreKV): Promise<number> =>
  db.transaction(async (transaction) => {
    const value = ((await transaction.get<number>(["n"])) ?? 0) + 1;
    transaction.set(["n"], value);
    return value;
  });

test("one request after the other finds the instance as the last one has left it", async () => {
  const isolate = new Isolate();
  for (let i = 0; i < 5; i++) {
    await isolate.serve((db) => db.set(["k", i], i));
    expect(await isolate.serve((db) => db.count(["k"]))).toBe(i + 1);
  }
  expect(isolate.creates).toEqual(["1", "2", "3", "4", "5"]);
});

test("any number of requests open at once, and one that dies while it opens keeps nobody out", async () => {
  const isolate = new Isolate();
  const first = isolate.request((db) => db.set(["a"], 1));
  await macrotask();
  first.end();
  const others = Array.from({ length: 10 }, (_, i) => isolate.serve((db) => db.set(["b", i], i)));
  await Promise.all(others);
  expect(await isolate.serve((db) => db.count([]))).toBe(10);
});

test("a close while others wait for one that opens is final for all of them", async () => {
  const ledger = memoryLedger();
  const go = signal();
  let opens = 0;
  const slow: Ledger = {
    ...ledger,
    open: async (options) => {
      if (++opens === 1) await go.given;
      return ledger.open(options);
    },
  };
  let elapsed = 0;
  const { environment } = new Requests();
  const db = new CoreKV(undefined, {
    environment: { ...environment, monotonic: () => environment.monotonic() + elapsed },
    ledgerAt: () => {
      throw new Error("there are no files");
    },
  });
  const closed = { code: "Closed" };
  const first = expect(db.open(slow)).rejects.toMatchObject(closed);
  const second = expect(db.open(slow)).rejects.toMatchObject(closed);
  // So long that the second would open by itself now.
  elapsed = 60_000;
  await db.close();
  await second;
  await expect(db.get(["a"])).rejects.toMatchObject(closed);
  expect(opens).toBe(1);
  go.give();
  await first;
  await expect(db.get(["a"])).rejects.toMatchObject(closed);
});

test("a ledger of another name is refused to whoever opens what is open", async () => {
  const isolate = new Isolate();
  await isolate.serve((db) => db.set(["a"], 1));
  const other = isolate.requests.begin(() => isolate.db.open(objectLedger(isolate.bucket, { prefix: "other" })));
  await expect(other.response).rejects.toMatchObject({ code: "AlreadyOpen" });
});

test("fifty requests share slots, and each is told of its own commit", async () => {
  const isolate = new Isolate();
  await isolate.serve((db) => db.set(["first"], 0));
  isolate.creates.length = 0;
  const results = await Promise.all(Array.from({ length: 50 }, (_, i) => isolate.serve((db) => db.set(["k", i], i))));
  expect(new Set(results.map(({ version }) => version)).size).toBe(50);
  expect(isolate.creates.length).toBeLessThan(10);
  expect(await isolate.serve((db) => db.count(["k"]))).toBe(50);
});

test("concurrent increments in requests of one isolate are exact", async () => {
  const isolate = new Isolate();
  const values = await Promise.all(Array.from({ length: 20 }, () => isolate.serve(increment)));
  expect(values.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 20 }, (_, i) => i + 1));
  expect(await isolate.stored("n")).toBe(20);
});

/** Parks the first create of a slot; `lands`: it reaches the bucket, and only the answer is missing. */
function parkFirstCreate(isolate: Isolate, { lands }: { readonly lands: boolean }): Promise<void> {
  const parked = signal();
  let first = true;
  isolate.onCreate = async (_, create) => {
    if (!first) return create();
    first = false;
    if (lands) await create();
    parked.give();
    return new Promise(() => undefined);
  };
  return parked.given;
}

for (const lands of [true, false]) {
  const what = lands ? "whose slot was written" : "whose slot was never written";

  test(`a request that dies in mid-create, ${what}, breaks nobody`, async () => {
    const isolate = new Isolate();
    await isolate.serve((db) => db.set(["a"], 0));
    isolate.creates.length = 0;
    const parked = parkFirstCreate(isolate, { lands });
    const dying = isolate.request((db) => db.set(["dying"], 1));
    await parked;
    dying.end();
    const others = Array.from({ length: 10 }, (_, i) => isolate.serve((db) => db.set(["k", i], i)));
    await Promise.all(others);
    expect(await isolate.stored("dying")).toBe(1);
    expect(await isolate.serve((db) => db.count(["k"]))).toBe(10);
    expect(await settles(dying.response)).toBe(false);
    // The same slot once more, with the same bytes, and one for everybody else.
    expect(isolate.creates).toEqual(["2", "2", "3"]);
  });

  test(`increments of a request that dies in mid-create, ${what}, are neither lost nor doubled`, async () => {
    const isolate = new Isolate();
    await isolate.serve(increment);
    const parked = parkFirstCreate(isolate, { lands });
    const dying = isolate.request(async (db) => Promise.all([increment(db), db.atomic().sum(["s"], 1).commit()]));
    await parked;
    dying.end();
    await Promise.all(Array.from({ length: 5 }, () => isolate.serve((db) => db.atomic().sum(["s"], 1).commit())));
    await isolate.serve(increment);
    expect(await isolate.stored("s")).toBe(6);
    expect(await isolate.serve((db) => db.get(["s"]))).toBe(6);
  });
}

test("a request that is slow, and not gone, is told what another one has found out", async () => {
  const isolate = new Isolate();
  await isolate.serve((db) => db.set(["a"], 0));
  const parked = signal();
  const go = signal();
  let first = true;
  isolate.onCreate = async (_, create) => {
    if (!first) return create();
    first = false;
    parked.give();
    await go.given;
    return create();
  };
  const slow = isolate.serve((db) => db.set(["slow"], 1));
  await parked.given;
  const other = await isolate.serve((db) => db.set(["other"], 2));
  const { version } = await slow;
  expect(version).toBeLessThan(other.version as number);
  go.give();
  await macrotask();
  await isolate.serve((db) => db.set(["later"], 3));
  expect(await isolate.serve((db) => db.count([]))).toBe(4);
  expect(await isolate.stored("slow")).toBe(1);
});

test("a request that is slow before it has sent anything sends nothing once another one has taken over", async () => {
  const isolate = new Isolate();
  await isolate.serve((db) => db.set(["a"], 0));
  isolate.creates.length = 0;
  const parked = signal();
  const go = signal();
  let first = true;
  isolate.onStage = async (create) => {
    if (first) {
      first = false;
      parked.give();
      await go.given;
    }
    return create();
  };
  isolate.onCreate = async (_, create) => {
    // The slow one goes on right before the other one's slot is there.
    go.give();
    for (let i = 0; i < 20; i++) await macrotask();
    return create();
  };
  const large = new Uint8Array(300 * 1024);
  const slow = isolate.serve((db) => db.atomic().set(["large"], large).sum(["s"], 1).commit());
  await parked.given;
  await isolate.serve((db) => db.atomic().sum(["s"], 1).commit());
  await slow;
  expect(isolate.creates).toEqual(["2"]);
  expect(await isolate.stored("s")).toBe(2);
});

test("those who wait for the round of a request that is gone are served by the next", async () => {
  const isolate = new Isolate();
  await isolate.serve((db) => db.set(["a"], 0));
  const parked = signal();
  const go = signal();
  isolate.onCreate = async (_, create) => {
    parked.give();
    await go.given;
    return create();
  };
  const writing = isolate.serve((db) => db.set(["b"], 1));
  await parked.given;
  const reads = Array.from({ length: 3 }, () => isolate.serve((db) => db.get(["a"], { consistency: "strong" })));
  await macrotask();
  await macrotask();
  let first = true;
  isolate.onGet = (get) => {
    if (!first) return get();
    first = false;
    return new Promise(() => undefined);
  };
  go.give();
  await writing;
  expect(await Promise.all(reads)).toEqual([0, 0, 0]);
  expect(first).toBe(false);
});

test("a read follows though the request that followed before has died on the way", async () => {
  const isolate = new Isolate({ syncIntervalMs: 1 });
  await isolate.serve((db) => db.set(["a"], 0));
  const other = await isolate.instance().open(objectLedger(isolate.bucket));
  await other.set(["a"], 1);
  await other.close();
  const dying = isolate.request((db) => db.get(["a"], { consistency: "strong" }));
  await macrotask();
  dying.end();
  expect(await isolate.serve((db) => db.get(["a"], { consistency: "strong" }))).toBe(1);
});

/** An isolate of which a request has ended in the midst of a checkpoint, after 17 commits. */
async function amidCheckpoint(): Promise<Isolate> {
  const isolate = new Isolate();
  for (let i = 0; i < 16; i++) await isolate.serve((db) => db.set(["k", i], i));
  const parked = signal();
  let first = true;
  isolate.onStage = (create) => {
    if (!first) return create();
    first = false;
    parked.give();
    return new Promise(() => undefined);
  };
  // The one that made it due was answered, and so gone, before it came to that.
  const dying = isolate.request((db) => db.set(["k", 16], 16));
  await parked.given;
  dying.end();
  return isolate;
}

test("commits wait for no checkpoint that another request was at, however late that is", async () => {
  const isolate = await amidCheckpoint();
  // From the 32nd slot behind it on, commits wait for a checkpoint of their own.
  for (let i = 17; i < 70; i++) await isolate.serve((db) => db.set(["k", i], i));
  expect(await isolate.serve((db) => db.count([]))).toBe(70);
});

test("close waits for no checkpoint that another request was at", async () => {
  const isolate = await amidCheckpoint();
  await isolate.serve((db) => db.close());
  expect(isolate.db.isOpen()).toBe(false);
  expect(await isolate.stored("none")).toBe(null);
});

test("a read looks into the bucket first where the last look is older than the interval, and no sooner", async () => {
  for (const syncIntervalMs of [2 ** 31 - 1, 1]) {
    const isolate = new Isolate({ syncIntervalMs });
    await isolate.serve((db) => db.set(["a"], 0));
    const other = await isolate.instance().open(objectLedger(isolate.bucket));
    await other.set(["a"], 1);
    await other.close();
    const pass = async (ms: number): Promise<void> => {
      for (const began = performance.now(); performance.now() - began < ms;) await macrotask();
    };
    await pass(5);
    // An answer takes longer than the interval: the look ends with the request, which has to wait for it.
    isolate.onGet = async (get) => {
      await pass(20);
      return get();
    };
    expect(await isolate.serve((db) => db.get(["a"]))).toBe(syncIntervalMs === 1 ? 1 : 0);
  }
});

test("a read waits for nothing that the read of another request has asked for", async () => {
  const before = new Isolate();
  const large = new Uint8Array(10_000).fill(7);
  for (let i = 0; i < 40; i++) await before.serve((db) => db.set(["k", i], large));
  const isolate = new Isolate({}, before.bucket);
  await isolate.serve((db) => db.count([]));
  expect(isolate.db.stats().index.runs).toBeGreaterThan(0);
  const parked = signal();
  let first = true;
  isolate.onRun = (get) => {
    if (!first) return get();
    first = false;
    parked.give();
    return new Promise(() => undefined);
  };
  const dying = isolate.request((db) => db.get(["k", 0]));
  await parked.given;
  dying.end();
  expect(await isolate.serve((db) => db.get(["k", 0]))).toEqual(large);
});

test("a vacuum comes to its end though others, who are gone with their answers, have made the steps that it waited for", async () => {
  const isolate = new Isolate();
  for (let i = 0; i < 20; i++) await isolate.serve((db) => db.set(["k", i], i));
  for (let i = 0; i < 12; i++) {
    const parked = signal();
    const go = signal();
    isolate.onCreate = async (_, create) => {
      parked.give();
      await go.given;
      return create();
    };
    const writing = isolate.serve((db) => db.set(["w"], i));
    await parked.given;
    // All of them wait for the next step, which one of them makes for all.
    const reads = Array.from({ length: 8 }, () => isolate.serve((db) => db.get(["w"], { consistency: "strong" })));
    const vacuum = isolate.serve((db) => db.vacuum());
    for (let turns = 0; turns < 5; turns++) await macrotask();
    go.give();
    expect(await Promise.all(reads)).toEqual(Array.from({ length: 8 }, () => i));
    expect(await vacuum).toMatchObject({ author: true });
    await writing;
  }
  expect(await isolate.stored("w")).toBe(11);
});

test("a watch that is awaited in one request gets what another one commits", async () => {
  const isolate = new Isolate();
  const watching = isolate.request(async (db) => {
    const watch = db.watch(["w"]);
    const { value } = await watch.next();
    await watch.return?.();
    return value as unknown;
  });
  await macrotask();
  await isolate.serve(async (db) => {
    while (db.stats().watches === 0) await macrotask();
    await db.set(["w"], "news");
  });
  expect(await watching.response).toMatchObject({ key: ["w"], value: "news" });
});

test("commits that nobody awaits are told to waitUntil", async () => {
  const told: Promise<unknown>[] = [];
  const isolate = new Isolate({ waitUntil: (promise) => void told.push(promise) });
  const request = isolate.request(async (db) => {
    for (let i = 0; i < 10; i++) void db.set(["k", i], i);
  });
  await request.response;
  await Promise.all(told);
  request.end();
  expect(told).toHaveLength(10);
  expect(await isolate.stored("k")).toBe(null);
  expect(await isolate.serve((db) => db.count(["k"]))).toBe(10);
  expect(isolate.creates).toEqual(["1"]);
});

test("what may wait is bounded by 32 MiB", async () => {
  const isolate = new Isolate();
  const request = isolate.request(async (db) => {
    const value = new Uint8Array(7 * 1024 * 1024);
    const sets = Array.from({ length: 5 }, (_, i) => db.set(["k", i], value));
    return (await Promise.allSettled(sets)).map(({ status }) => status);
  });
  expect((await request.response).filter((status) => status === "rejected")).toHaveLength(1);
});
