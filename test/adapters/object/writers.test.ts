import { describe, expect, test } from "vitest";
import { memoryStore } from "../../../src/adapters/object/memory-store.ts";
import type { StoreFaultRates } from "../../../src/testing/faulty-store.ts";
import { BucketRace } from "../../support/bucket-race.ts";
import { SimulatedTime } from "../../support/simulated-time.ts";

const HOUR = 3_600_000;

const faults: StoreFaultRates = {
  unsent: 0.02,
  answerLost: 0.02,
  late: 0.01,
  conflict: 0.02,
  truncated: 0.02,
  storm: 0.0005,
  stormMs: 20_000,
  delayMsMax: 60,
};

async function race(
  seed: number,
  options: { readonly rates?: StoreFaultRates; readonly tellsTime?: boolean } = {},
): Promise<BucketRace> {
  const { rates = faults, tellsTime = true } = options;
  const time = new SimulatedTime(seed);
  const store = memoryStore(tellsTime ? { now: time.now } : {});
  const run = new BucketRace({
    environment: time,
    seed,
    storeOf: () => store,
    writers: 8,
    commits: 500,
    rates,
    // Now and then somebody sleeps for hours.
    pauseMs: (random) => (random() < 0.02 ? 3 * HOUR * random() : 500 * random()),
    restMs: 2 * HOUR,
    syncIntervalMs: 20_000,
  });
  await time.until(run.run());
  return run;
}

describe("eight writers of a bucket, 500 commits each", () => {
  test.each([1, 2])(
    "with every fault there is (%i): nothing acknowledged is lost, nothing is there twice",
    async (seed) => {
      const run = await race(seed);
      expect(run.count("committed")).toBeGreaterThan(1000);
      expect(run.count("conflict")).toBeGreaterThan(100);
      console.info(`seed ${seed}: ${run.summary}`);
    },
  );

  test("with outages that last longer than anybody waits: what nobody knows is said to be unknown", async () => {
    const run = await race(5, { rates: { ...faults, storm: 0.005, stormMs: 45_000 } });
    expect(run.count("unknown")).toBeGreaterThan(0);
  });

  test("on a store that tells no time", async () => {
    const run = await race(4, { tellsTime: false });
    expect(run.count("committed")).toBeGreaterThan(1000);
  });
});
