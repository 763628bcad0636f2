import { describe, expect, test } from "vitest";
import { countingStore } from "../../../src/adapters/object/counting-store.ts";
import { memoryStore } from "../../../src/adapters/object/memory-store.ts";
import type { ObjectStore } from "../../../src/adapters/object/object-store.ts";
import { probeStore, requireSuitable } from "../../../src/object/index.ts";
import { KVError } from "../../../src/core/errors.ts";
import { FaultyStore, seededFates, type StoreFault } from "../../../src/testing/faulty-store.ts";
import { Bucket, failure } from "../../support/bucket.ts";
import { openDatabase, setKeys } from "../../support/bucket-database.ts";
import { ManualEnvironment } from "../../support/manual-environment.ts";

/** What passes is no verdict on a store, whichever request it befalls. */

const FAULTS: readonly StoreFault[] = [
  { kind: "unsent" },
  { kind: "answer-lost" },
  { kind: "conflict" },
  { kind: "truncated" },
  { kind: "late", givesUpMs: 1000, landsMs: 1500 },
];

/** The races of a probe ask for the same again and again: of the requests before the last ones every fifth fails, with each kind of failure others. */
const LAST = 25;
const STEP = FAULTS.length;

type Prepare = (bucket: Bucket) => Promise<unknown>;

/** Ledgers that have to be created, or whose root is made anew. */
const PREPARED: readonly (readonly [string, Prepare])[] = [
  ["nothing", () => Promise.resolve()],
  [
    "slots without a root",
    async (bucket) => {
      await setKeys(bucket, await openDatabase(bucket), 0, 3);
      await bucket.store.delete(["root"]);
    },
  ],
  [
    "a root that is damaged",
    async (bucket) => {
      await setKeys(bucket, await openDatabase(bucket), 0, 3);
      await bucket.store.delete(["root"]);
      await bucket.store.create("root", new Uint8Array(200));
    },
  ],
];

/** What `write` of a request is told, whatever it does. */
function altered(store: ObjectStore, kinds: readonly ("create" | "replace" | "delete")[]): ObjectStore {
  const denied = { status: "denied" as const, error: new KVError("AccessDenied", "no"), time: undefined };
  return { ...store, ...Object.fromEntries(kinds.map((kind) => [kind, () => Promise.resolve(denied)])) };
}

describe.each(PREPARED)("opening where there is %s", (_, prepare) => {
  test.each(FAULTS.map((fault, first) => [fault.kind, fault, first] as const))(
    "whichever request is %s, it comes to be, or the failure is told",
    async (_kind, fault, first) => {
      const told = new Map<string, number>();
      for (let at = first, requests = Infinity; at < requests; at += at < requests - LAST ? STEP : 1) {
        const bucket = new Bucket();
        await prepare(bucket);
        let seen = 0;
        bucket.faulty.fate = () => (seen++ === at ? { fault } : undefined);
        const opened = await failure(bucket.open({ repair: true }));
        requests = Math.max(at + 1, seen);
        told.set(opened, (told.get(opened) ?? 0) + 1);
        bucket.faulty.fate = () => undefined;
        // And nothing is in the way of whoever tries again.
        if (opened !== "nothing") expect(await failure(bucket.open({ repair: true }))).toBe("nothing");
        if (seen <= at) break;
      }
      const codes = [...told.keys()];
      // Of the one write of a new root that was not answered nobody says more.
      expect(codes.filter((code) => code !== "nothing" && code !== "InputOutput")).toEqual([]);
      expect(told.get("InputOutput") ?? 0).toBeLessThanOrEqual(1);
      expect(told.get("nothing")).toBeGreaterThan(30);
    },
  );
});

describe("a probe", () => {
  test("on the way to a ledger gives up with what the store said, while that goes on", async () => {
    const bucket = new Bucket();
    for (const kinds of [["create"], ["replace"], ["delete"], ["create", "replace"]]) {
      bucket.faulty.fate = ({ kind }) => (kinds.includes(kind) ? { fault: { kind: "overloaded" } } : undefined);
      expect(await failure(bucket.open())).toBe("InputOutput");
    }
    bucket.faulty.fate = ({ kind }) => (kind === "create" ? { fault: { kind: "conflict" } } : undefined);
    expect(await failure(bucket.open())).toBe("InputOutput");
    bucket.faulty.fate = () => undefined;
    expect(await failure(bucket.open())).toBe("nothing");
  });

  test("judges no replace of which nobody knows whether it took place, over bytes that nobody could read", async () => {
    const bucket = new Bucket();
    let first: string | undefined;
    let gets = 0;
    let hasReplaced = false;
    bucket.faulty.fate = ({ kind, keys: [key] }) => {
      if (key?.endsWith("/replace") !== true || key !== (first ??= key)) return undefined;
      if (kind === "replace") hasReplaced = true;
      if (kind === "replace") return { fault: { kind: "unsent" } };
      // Its etag can be read, what it holds not before somebody has tried to replace it.
      return kind === "get" && ++gets > 1 && !hasReplaced ? { fault: { kind: "overloaded" } } : undefined;
    };
    expect(await failure(bucket.open())).toBe("nothing");
    expect({ hasReplaced, isAsked: gets > 2 }).toEqual({ hasReplaced: true, isAsked: true });
  });

  test.each([[["create", "replace", "delete"] as const], [["replace"] as const], [["delete"] as const]])(
    "says of a credential that may not %s that it may not, and nothing of the store",
    async (kinds) => {
      const bucket = new Bucket();
      const store = altered(bucket.counting, kinds);
      expect(await failure(bucket.open({ store }))).toBe("AccessDenied");
      const report = await bucket.environment.until(
        probeStore(store, { environment: bucket.environment, keys: 2, racers: 5 }),
      );
      expect(report.suitable).toBe(false);
      expect(() => requireSuitable(report)).toThrow(expect.objectContaining({ code: "AccessDenied" }));
    },
  );

  test("finds every property of a good store behind a network that loses, delays, cuts and doubles", async () => {
    let suitable = 0;
    for (let seed = 0; seed < 40; seed++) {
      const environment = new ManualEnvironment();
      const rates = { unsent: 0.03, answerLost: 0.03, conflict: 0.1, late: 0.03, truncated: 0.05, delayMsMax: 500 };
      const given = { ...rates, lateMsMax: 20_000, storm: 0.001 };
      const store = new FaultyStore(twice(memoryStore(), seed), {
        environment,
        fate: seededFates(seed, given, environment),
      });
      const report = await environment.until(probeStore(countingStore(store), { environment, keys: 3, racers: 10 }));
      expect(report.verdicts.filter(({ verdict }) => verdict === "fails")).toEqual([]);
      if (report.suitable) suitable++;
    }
    expect(suitable).toBeGreaterThan(30);
  });
});

/** Something below the client that sends one write of seven a second time, when its answer was lost. */
function twice(store: ObjectStore, seed: number): ObjectStore {
  let count = seed;
  const isSentTwice = (): boolean => ++count % 7 === 0;
  return {
    ...store,
    create: async (key, bytes) => {
      if (isSentTwice()) await store.create(key, bytes);
      return await store.create(key, bytes);
    },
    replace: async (key, bytes, etag) => {
      if (isSentTwice()) await store.replace(key, bytes, etag);
      return await store.replace(key, bytes, etag);
    },
  };
}
