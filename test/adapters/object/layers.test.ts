import { describe, expect, test } from "vitest";
import { countingStore } from "../../../src/adapters/object/counting-store.ts";
import { memoryStore } from "../../../src/adapters/object/memory-store.ts";
import type { ObjectStore } from "../../../src/adapters/object/object-store.ts";
import { retryReads } from "../../../src/adapters/object/retry-reads.ts";
import { nodeEnvironment } from "../../../src/platform/environment-node.ts";
import { FaultyStore } from "../../../src/testing/faulty-store.ts";
import { objectStoreConformance } from "../../../src/testing/object-store-conformance.ts";
import { ManualEnvironment } from "../../support/manual-environment.ts";

const environment = nodeEnvironment;
const one = Uint8Array.of(1);

const layers: Readonly<Record<string, (store: ObjectStore) => ObjectStore>> = {
  countingStore: (store) => countingStore(store),
  retryReads: (store) => retryReads(store, { environment }),
  FaultyStore: (store) => new FaultyStore(store, { environment }),
};

describe.each(Object.keys(layers))("%s changes nothing of a good store", (layer) => {
  objectStoreConformance({
    test,
    environment,
    create: async () => {
      const make = () => layers[layer](memoryStore({ now: environment.now }));
      const store = make();
      return { store, other: store, neighbour: make(), dispose: async () => undefined };
    },
  });
});

describe("countingStore", () => {
  test("counts requests by kind, also those in vain, and bytes of objects both ways", async () => {
    const store = countingStore(memoryStore());
    await store.create("a", new Uint8Array(10));
    await store.create("a", new Uint8Array(10));
    const answer = await store.get("a");
    await store.get("a", { from: 8, length: 5 });
    await store.get("nothing");
    await store.replace("a", new Uint8Array(5), answer.status === "found" ? answer.etag : "");
    await store.list("");
    await store.delete(["a", "b"]);

    expect(store.counts()).toEqual({
      requests: { get: 3, create: 2, replace: 1, list: 1, delete: 1 },
      failures: { get: 0, create: 0, replace: 0, list: 0, delete: 0 },
      bytesSent: 25,
      bytesReceived: 12,
    });
  });

  test("counts what was handed out before no more, and tells of failures", async () => {
    const observed: string[] = [];
    const faulty = new FaultyStore(memoryStore(), { environment, fate: () => ({ fault: { kind: "answer-lost" } }) });
    const store = countingStore(faulty, ({ kind, keys }, status) => observed.push(`${kind} ${keys.join()} ${status}`));
    const before = store.counts();
    await store.create("a", one);
    await store.get("a");

    expect(before.requests.create).toBe(0);
    expect(store.counts()).toMatchObject({
      requests: { create: 1, get: 1 },
      failures: { create: 1, get: 1 },
      bytesReceived: 0,
    });
    expect(observed).toEqual(["create a ambiguous", "get a unavailable"]);
  });
});

describe("retryReads", () => {
  /** A store that is unavailable so many times, and what is asked of it. */
  function failing(times: number) {
    const manual = new ManualEnvironment();
    let left = times;
    const fate = () => (left-- > 0 ? { fault: { kind: "overloaded" as const } } : undefined);
    const counted = countingStore(new FaultyStore(memoryStore(), { environment: manual, fate }));
    return { manual, counted, store: retryReads(counted, { environment: manual, triesMax: 4 }) };
  }

  test("asks again until a read is answered", async () => {
    for (const ask of [
      (store: ObjectStore): Promise<{ readonly status: string }> => store.get("a"),
      (store: ObjectStore) => store.list(""),
      (store: ObjectStore) => store.delete(["a"]),
    ]) {
      const { manual, counted, store } = failing(3);
      const { status } = await manual.until(ask(store));

      expect(["absent", "listed", "deleted"]).toContain(status);
      expect(Object.values(counted.counts().requests)).toContain(4);
    }
  });

  test("asks again for what has arrived in part, and says that it has not when that goes on", async () => {
    for (const [times, status] of [
      [3, "found"],
      [4, "unavailable"],
    ] as const) {
      const manual = new ManualEnvironment();
      const inner = memoryStore();
      await inner.create("a", new Uint8Array(100));
      let left: number = times;
      const fate = () => (left-- > 0 ? { fault: { kind: "truncated" as const } } : undefined);
      const faulty = new FaultyStore(inner, { environment: manual, fate });
      const store = retryReads(faulty, { environment: manual, triesMax: 4 });
      expect(await manual.until(store.get("a"))).toMatchObject({ status });
      left = times;
      expect(await manual.until(store.get("a", { from: 90, length: 50 }))).toMatchObject({ status });
    }
  });

  test("hands up the last answer when all tries are used up", async () => {
    const { manual, counted, store } = failing(100);

    expect((await manual.until(store.get("a"))).status).toBe("unavailable");
    expect(counted.counts().requests.get).toBe(4);
  });

  test("never repeats a write", async () => {
    const { counted, store } = failing(100);

    expect((await store.create("a", one)).status).toBe("ambiguous");
    expect((await store.replace("a", one, "etag")).status).toBe("ambiguous");
    expect(counted.counts().requests).toMatchObject({ create: 1, replace: 1 });
  });
});
