import { describe, expect, test } from "vitest";
import { countingStore } from "../../../src/adapters/object/counting-store.ts";
import { memoryStore } from "../../../src/adapters/object/memory-store.ts";
import { PROBED } from "../../../src/adapters/object/probe.ts";
import { probeStore, requireSuitable } from "../../../src/object/index.ts";
import { hasCode } from "../../../src/core/errors.ts";
import { nodeEnvironment } from "../../../src/platform/environment-node.ts";
import { FaultyStore, seededFates } from "../../../src/testing/faulty-store.ts";
import { lyingStores } from "../../../src/testing/lying-stores.ts";
import { ManualEnvironment } from "../../support/manual-environment.ts";

const environment = nodeEnvironment;

describe("probeStore", () => {
  test("finds every property of a good store, and leaves nothing behind", async () => {
    const store = memoryStore();
    const report = await probeStore(store, { environment, keys: 5 });

    expect(report.suitable).toBe(true);
    expect(report.verdicts).toEqual(PROBED.map((property) => ({ property, verdict: "holds", details: [] })));
    expect(await store.list("")).toMatchObject({ objects: [] });
    expect(() => requireSuitable(report)).not.toThrow();
  });

  test("races as many creates and replaces as it is told to, over all connections", async () => {
    const below = memoryStore();
    const connections = [countingStore(below), countingStore(below), countingStore(below)];
    await probeStore(connections[0], { environment, connections: connections.slice(1), keys: 4, racers: 30 });

    for (const { requests } of connections.map((each) => each.counts())) {
      expect(requests.create).toBeGreaterThanOrEqual(40);
      expect(requests.replace).toBeGreaterThanOrEqual(40);
    }
  });

  test("says by name what is missing, as StoreUnsuitable", async () => {
    const { make } = lyingStores.find(({ breaks }) => breaks === "replace") as (typeof lyingStores)[number];
    const report = await probeStore(make(memoryStore(), environment), { environment, keys: 2 });
    let thrown: unknown;
    try {
      requireSuitable(report);
    } catch (error) {
      thrown = error;
    }

    expect(hasCode(thrown, "StoreUnsuitable")).toBe(true);
    expect((thrown as Error).message).toContain("replace");
    expect(report.verdicts.filter(({ verdict }) => verdict === "fails").map(({ property }) => property)).toContain(
      "replace",
    );
  });

  test("does not mistake lost answers, conflicts and delays for lies", async () => {
    for (let seed = 0; seed < 20; seed++) {
      const manual = new ManualEnvironment();
      const rates = { unsent: 0.05, answerLost: 0.05, conflict: 0.2, delayMsMax: 500 };
      const store = new FaultyStore(memoryStore(), { environment: manual, fate: seededFates(seed, rates, manual) });
      const report = await manual.until(probeStore(store, { environment: manual, keys: 3, racers: 10 }));

      expect(report.verdicts.filter(({ verdict }) => verdict === "fails")).toEqual([]);
    }
  });

  test("says of a store that does not answer that nothing is clear", async () => {
    const manual = new ManualEnvironment();
    const fate = () => ({ fault: { kind: "unsent" as const } });
    const store = new FaultyStore(memoryStore(), { environment: manual, fate });
    const report = await manual.until(probeStore(store, { environment: manual, keys: 2, racers: 5 }));

    expect(new Set(report.verdicts.map(({ verdict }) => verdict))).toEqual(new Set(["unclear"]));
    expect(report.suitable).toBe(false);
  });
});
