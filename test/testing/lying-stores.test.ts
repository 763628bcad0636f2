import { describe, expect, test } from "vitest";
import { memoryStore } from "../../src/adapters/object/memory-store.ts";
import { probeStore } from "../../src/object/index.ts";
import { nodeEnvironment } from "../../src/platform/environment-node.ts";
import { lyingStores } from "../../src/testing/lying-stores.ts";
import { objectStoreCases, objectStoreConformance } from "../../src/testing/object-store-conformance.ts";

const environment = nodeEnvironment;

describe.each(lyingStores)("a store that $name", ({ breaks, failsCase, make }) => {
  test(`is refused by the probe: ${breaks}`, async () => {
    const store = make(memoryStore({ now: environment.now }), environment);
    const report = await probeStore(store, { environment, keys: 3, racers: 10 });
    expect(report.suitable).toBe(false);
    expect(report.verdicts).toContainEqual(expect.objectContaining({ property: breaks, verdict: "fails" }));
  });

  test(`fails "${failsCase}"`, async () => {
    const failed: string[] = [];
    const runs: Promise<void>[] = [];
    objectStoreConformance({
      test: (name, run) => {
        const passed = (): void => undefined;
        runs.push(run().then(passed, () => void failed.push(name)));
      },
      environment,
      create: async () => {
        const store = make(memoryStore({ now: environment.now }), environment);
        return { store, other: store, neighbour: memoryStore(), dispose: async () => undefined };
      },
    });
    await Promise.all(runs);
    expect(failed).toContain(failsCase);
    expect(failed.length).toBeLessThan(objectStoreCases().length / 2);
  });
});
