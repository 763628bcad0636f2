import { describe, expect, test } from "vitest";
import { memoryStore } from "../../src/adapters/object/memory-store.ts";
import type { StoreRequest } from "../../src/adapters/object/object-store.ts";
import { FaultyStore, type StoreFault, type StoreFate, seededFates } from "../../src/testing/faulty-store.ts";
import { ManualEnvironment } from "../support/manual-environment.ts";

const HOUR = 3_600_000;
const bytes = Uint8Array.of(1, 2, 3, 4);

/** A store below a faulty one, where the fates are given in turn. */
function faulty(...fates: (StoreFate | undefined)[]) {
  const environment = new ManualEnvironment();
  const below = memoryStore({ now: environment.now });
  const store = new FaultyStore(below, { environment, fate: () => fates.shift() });
  return { environment, below, store };
}

const fault = (kind: Exclude<StoreFault["kind"], "late">): StoreFate => ({ fault: { kind } });

describe("a faulty store", () => {
  test("loses an answer after the write has landed", async () => {
    const { store, below } = faulty(fault("answer-lost"));
    expect(await store.create("a", bytes)).toMatchObject({ status: "ambiguous", error: { code: "InputOutput" } });
    expect((await below.get("a")).status).toBe("found");
  });

  test.each(["unsent", "overloaded"] as const)(
    "does not let a write land that is %s, and does not say so",
    async (kind) => {
      const { store, below } = faulty(fault(kind), fault(kind));
      expect((await store.create("a", bytes)).status).toBe("ambiguous");
      expect((await below.get("a")).status).toBe("absent");
      expect((await store.get("a")).status).toBe("unavailable");
    },
  );

  test("answers a write with a conflict and does nothing, and leaves reads alone", async () => {
    const { store, below } = faulty(fault("conflict"), fault("conflict"), fault("conflict"));
    expect((await store.create("a", bytes)).status).toBe("conflict");
    expect((await store.replace("a", bytes, "etag")).status).toBe("conflict");
    expect((await below.get("a")).status).toBe("absent");
    expect((await store.get("a")).status).toBe("absent");
  });

  test("cuts what is read in half, and says nothing", async () => {
    const { store, below } = faulty(fault("truncated"));
    await below.create("a", bytes);
    expect(await store.get("a")).toMatchObject({ status: "found", bytes: bytes.subarray(0, 2), size: 4 });
  });

  test("lets a write land hours after its sender has given up, with the bytes that were sent", async () => {
    const { store, below, environment } = faulty({ fault: { kind: "late", givesUpMs: 1000, landsMs: 5 * HOUR } });
    const sent = bytes.slice();
    const answer = await environment.until(store.create("a", sent));
    sent.fill(0);
    expect(answer.status).toBe("ambiguous");
    expect(store.underWay).toBe(1);

    await environment.pass(4 * HOUR);
    expect((await below.get("a")).status).toBe("absent");
    await environment.pass(HOUR);
    expect(await below.get("a")).toMatchObject({ status: "found", bytes });
    expect(store.underWay).toBe(0);
  });

  test("delays both ways, and tells the time at which the store answered", async () => {
    const { store, environment } = faulty({ delayMs: { there: HOUR, back: 2 * HOUR } });
    const began = environment.now();
    const answer = await environment.until(store.get("a"));
    expect(environment.now() - began).toBe(3 * HOUR);
    expect(answer.time).toBe(began + HOUR);
  });

  test("lets others go on while one request stands at a gate", async () => {
    const { store, below } = faulty();
    const gate = store.gate(({ kind }) => kind === "create", "before");
    const parked = store.create("a", bytes);
    expect(await gate.arrived).toMatchObject({ kind: "create", keys: ["a"] });

    expect((await store.create("a", Uint8Array.of(9))).status).toBe("created");
    gate.open();
    expect((await parked).status).toBe("exists");
    expect(await below.get("a")).toMatchObject({ bytes: Uint8Array.of(9) });
  });

  test("keeps an answer at a gate, and loses it if asked to", async () => {
    const { store, below } = faulty();
    const isA = ({ keys }: StoreRequest): boolean => keys[0] === "a";
    for (const [key, lose] of [
      ["a", false],
      ["a", true],
    ] as const) {
      const gate = store.gate(isA, "after");
      const parked = store.create(key, bytes);
      await gate.arrived;
      expect((await below.get(key)).status).toBe("found");
      gate.open({ lose });
      expect((await parked).status).toBe(lose ? "ambiguous" : "created");
      await below.delete([key]);
    }
  });

  test("parks nobody at a gate that was opened before", async () => {
    const { store } = faulty();
    store.gate(() => true, "before").open();
    expect((await store.get("a")).status).toBe("absent");
  });
});

describe("seeded fates", () => {
  const request: StoreRequest = { kind: "get", keys: ["a"] };
  const rates = { unsent: 0.1, answerLost: 0.1, late: 0.1, conflict: 0.1, truncated: 0.1, delayMsMax: 100 };

  function drawn(seed: number): StoreFate[] {
    const fates = seededFates(seed, rates, new ManualEnvironment());
    return Array.from({ length: 500 }, () => fates(request));
  }

  test("are the same for the same seed, and others for another", () => {
    expect(drawn(7)).toEqual(drawn(7));
    expect(drawn(7)).not.toEqual(drawn(8));
  });

  test("are of every kind, and good ones too", () => {
    const kinds = new Set(drawn(1).map((fate) => fate.fault?.kind ?? "none"));
    expect(kinds).toEqual(new Set(["answer-lost", "conflict", "late", "truncated", "unsent", "none"]));
  });

  test("overload everybody while a storm lasts", () => {
    const environment = new ManualEnvironment();
    const fates = seededFates(1, { storm: 0.01, stormMs: 1000 }, environment);
    let requests = 0;
    while (fates(request).fault === undefined) requests++;
    const during = Array.from({ length: 50 }, () => fates(request).fault?.kind);
    expect(requests).toBeLessThan(2000);
    expect(new Set(during)).toEqual(new Set(["overloaded"]));
  });

  test("let a storm end", async () => {
    const environment = new ManualEnvironment();
    let rate = 1;
    const fates = seededFates(
      1,
      {
        stormMs: 1000,
        get storm() {
          return rate;
        },
      },
      environment,
    );
    expect(fates(request).fault?.kind).toBe("overloaded");
    rate = 0;
    await environment.pass(999);
    expect(fates(request).fault?.kind).toBe("overloaded");
    await environment.pass(1);
    expect(fates(request).fault).toBeUndefined();
  });
});
