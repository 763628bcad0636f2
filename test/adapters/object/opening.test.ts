import { describe, expect, test } from "vitest";
import { objectLedger } from "../../../src/adapters/object/ledger.ts";
import { memoryStore } from "../../../src/adapters/object/memory-store.ts";
import type { ObjectStore } from "../../../src/adapters/object/object-store.ts";
import { InvalidArgumentError, KVError } from "../../../src/core/errors.ts";
import { lyingStores } from "../../../src/testing/lying-stores.ts";
import { Bucket, failure } from "../../support/bucket.ts";

const denied = { status: "denied" as const, error: new KVError("AccessDenied", "no"), time: undefined };

/** A store through which nothing can be written. */
function readable(store: ObjectStore): ObjectStore {
  return { ...store, create: async () => denied, replace: async () => denied, delete: async () => denied };
}

describe("opening", () => {
  test("where there is nothing creates a ledger, once, whoever else does so at the same time", async () => {
    const bucket = new Bucket();
    const [a, b, c] = await Promise.all([bucket.open(), bucket.open(), bucket.open()]);
    const ids = [a, b, c].map(({ session }) => session.identity?.ledgerId);
    expect(new Set(ids).size).toBe(1);
    expect(ids[0]).toMatch(/^[0-9a-f]{32}$/);
  });

  test("without createIfMissing, or to read only, creates nothing", async () => {
    const bucket = new Bucket();
    expect(await failure(bucket.open({ createIfMissing: false }))).toBe("LedgerMissing");
    expect(await failure(bucket.open({ readOnly: true }))).toBe("LedgerMissing");
    expect(await bucket.store.list("")).toMatchObject({ objects: [] });
  });

  test("takes two round trips while the tail is short", async () => {
    const bucket = new Bucket();
    const a = await bucket.open();
    for (let i = 0; i < 10; i++) await a.append(a.commit());
    let trips = 0;
    let under = false;
    bucket.faulty.fate = () => {
      if (!under) trips++;
      under = true;
      void bucket.environment.setTimer(() => (under = false), 10);
      return { delayMs: { there: 10, back: 10 } };
    };
    const b = await bucket.open();
    await bucket.environment.until(Promise.resolve(b.session.read(0, { bytes: 1 << 20, verify: false })));
    expect(trips).toBe(2);
  });

  test("to read only works with a credential that may only read", async () => {
    const bucket = new Bucket();
    const a = await bucket.open();
    await a.append(a.commit());
    const reader = await bucket.open({ readOnly: true, store: readable(bucket.counting) });
    expect(await reader.follow()).toBe("end");
    expect(reader.commits).toHaveLength(1);
    expect(bucket.requests.filter((each) => !each.startsWith("get"))).toEqual([]);
    expect(await failure(reader.append(reader.commit()))).toBe("ReadOnly, not committed");
  });

  test.each([0, 3, 20])(
    "names the right to list, where a store says denied of what is not there: behind %i slots",
    async (slots) => {
      const bucket = new Bucket();
      const a = await bucket.open();
      for (let i = 0; i < slots; i++) await a.append(a.commit());
      const shut = {
        ...bucket.counting,
        get: async (key: string) => {
          const answer = await bucket.counting.get(key);
          return answer.status === "absent" ? denied : answer;
        },
      };
      const reading = bucket.open({ store: shut }).then((author) => author.follow());
      expect(await failure(reading)).toBe("NeedsListPermission");
    },
  );

  test("does not name the right to list where a credential is revoked that could read before", async () => {
    const bucket = new Bucket();
    let isRevoked = false;
    const revoked: ObjectStore = {
      ...bucket.counting,
      get: async (key, range) => (isRevoked ? denied : bucket.counting.get(key, range)),
    };
    const a = await bucket.open({ store: revoked });
    isRevoked = true;
    expect(await failure(a.follow())).toBe("AccessDenied");
  });

  test.each([
    ["LedgerMissing", "a bucket that is not there"],
    ["InvalidOption", "a wrong region"],
    ["StoreInconsistent", "an answer out of a cache"],
  ] as const)("fails with %s for %s", async (code, _why) => {
    const bucket = new Bucket();
    const refusing = {
      ...bucket.counting,
      get: async () => ({ status: "refused" as const, error: new KVError(code, "no"), time: undefined }),
    };
    expect(await failure(bucket.open({ store: refusing }))).toBe(code);
  });

  test("creates nothing where the store does not tell whether something is left of a ledger without a root", async () => {
    const bucket = new Bucket();
    const a = await bucket.open();
    await a.append(a.commit());
    await bucket.store.delete(["root"]);
    bucket.faulty.fate = ({ kind }) => (kind === "list" ? { fault: { kind: "overloaded" } } : undefined);
    expect(await failure(bucket.open())).toBe("InputOutput");
    bucket.faulty.fate = () => undefined;
    expect(await failure(bucket.open())).toBe("LedgerDamaged");
  });

  test("fails for a credential that may do nothing", async () => {
    const bucket = new Bucket();
    const shut = { ...bucket.counting, get: async () => denied };
    expect(await failure(bucket.open({ store: shut }))).toBe("AccessDenied");
  });

  test("leaves alone what is not ours", async () => {
    const bucket = new Bucket();
    await bucket.store.create("root", new TextEncoder().encode("not a ledger"));
    expect(await failure(bucket.open())).toBe("NotALedger");
  });

  test.each([...lyingStores])("refuses a store that $name", async ({ make, breaks }) => {
    const bucket = new Bucket();
    expect(await failure(bucket.open({ store: make(bucket.counting, bucket.environment) }))).toBe(
      // Of one that denies what is not there nobody can tell whether it holds a ledger.
      breaks === "absent" ? "AccessDenied" : "StoreUnsuitable",
    );
    expect((await bucket.store.get("root")).status).toBe("absent");
  });

  test("probes a store for several writers also where the ledger was made by one", async () => {
    const bucket = new Bucket();
    await bucket.open({ writers: "single" });
    const probed: string[] = [];
    bucket.faulty.fate = ({ keys }) => void (keys[0].startsWith("probe-") && probed.push(keys[0]));
    await bucket.open({ readOnly: true });
    await bucket.open({ writers: "single" });
    expect(probed).toEqual([]);
    await bucket.open();
    expect(probed).not.toEqual([]);
    const [{ make }] = lyingStores.filter(({ breaks }) => breaks === "create");
    const lying = make(bucket.store, bucket.environment);
    expect(await failure(bucket.open({ store: lying }))).toBe("StoreUnsuitable");
  });

  // As real ones do: what races for one object is mostly decided well.
  test.each(["looks first and writes then when it creates", "compares first and writes then when it replaces"])(
    "refuses a store that %s, also where few of the objects show it",
    async (name) => {
      const { make } = lyingStores.find((each) => each.name === name) as (typeof lyingStores)[number];
      const outcomes: string[] = [];
      for (let n = 0; n < 20; n++) {
        const bucket = new Bucket();
        const { counting, environment } = bucket;
        const lying = make(counting, environment);
        const lies = new Map<string, boolean>();
        const storeOf = (key: string): ObjectStore => {
          if (!lies.has(key)) lies.set(key, environment.random() < 0.4);
          return lies.get(key) === true ? lying : counting;
        };
        const store: ObjectStore = {
          ...counting,
          create: (key, bytes) => storeOf(key).create(key, bytes),
          replace: (key, bytes, etag) => storeOf(key).replace(key, bytes, etag),
        };
        outcomes.push(await failure(bucket.open({ store })));
      }
      expect(new Set(outcomes)).toEqual(new Set(["StoreUnsuitable"]));
    },
  );

  test("refuses a store that does not know the etags which it gives, as one does that wants them without quotes", async () => {
    const bucket = new Bucket();
    const store: ObjectStore = {
      ...bucket.counting,
      replace: (key, bytes, etag) => bucket.counting.replace(key, bytes, `"${etag}"`),
    };
    expect(await failure(bucket.open({ store }))).toBe("StoreUnsuitable");
  });

  test("refuses a store that declares not to create for several writers, and takes it for one, or for reading", async () => {
    const bucket = new Bucket();
    const weak = { ...bucket.counting, capabilities: { ...bucket.counting.capabilities, create: false } };
    expect(await failure(bucket.open({ store: weak }))).toBe("StoreUnsuitable");
    const a = await bucket.open({ store: weak, writers: "single" });
    expect(await a.append(a.commit())).toMatchObject({ status: "appended" });
    const reader = await bucket.open({ store: weak, readOnly: true });
    expect(await reader.follow()).toBe("end");
  });
});

describe("objectLedger", () => {
  test("keeps a ledger in each prefix", async () => {
    const bucket = new Bucket();
    const a = await bucket.open({ prefix: "one/a" });
    const b = await bucket.open({ prefix: "one/b" });
    expect(a.session.identity?.ledgerId).not.toBe(b.session.identity?.ledgerId);
    await a.append(a.commit());
    expect(await b.follow()).toBe("end");
    expect(b.commits).toEqual([]);
    expect(objectLedger(memoryStore(), { prefix: "one/a" })).toMatchObject({
      name: "memory/one/a",
      ordering: "compare-and-swap",
    });
  });

  test.each([
    { prefix: "" },
    { prefix: "a/../b" },
    { prefix: "a//b" },
    { prefix: "é" },
    { writers: "many" },
    { graceMs: 3_599_999 },
    { graceMs: Infinity },
    { graceMs: "1" },
    { grace: 1 },
  ])("refuses %o", (options) => {
    const make = (): unknown => objectLedger(memoryStore(), options as object);
    expect(make).toThrow(InvalidArgumentError);
    expect(make).toThrow(expect.objectContaining({ code: "InvalidOption" }));
  });
});
