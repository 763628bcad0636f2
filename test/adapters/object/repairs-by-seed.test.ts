import { expect, test } from "vitest";
import { RepairRace } from "../../support/repair-race.ts";

const SEEDS = [11, 12, 13, 14, 15, 17, 18, 24];

test("repairs beside writers, vacuums, deaths and faults leave out nothing that was acknowledged but what they say, by seeds", async () => {
  const counts = { told: 0, harmed: 0, repairs: 0, restored: 0, left: 0 };
  const begunAnew = new Set<number>();
  for (const seed of SEEDS) {
    const race = new RepairRace(seed);
    await race.play();
    expect({ seed, found: race.found }).toEqual({ seed, found: [] });
    for (const name of Object.keys(counts) as (keyof typeof counts)[]) counts[name] += race.counts[name];
    if (race.incarnations > 1) begunAnew.add(seed);
  }
  // It has come to what it is for.
  expect(begunAnew.size).toBeGreaterThan(SEEDS.length / 4);
  for (const count of Object.values(counts)) expect(count).toBeGreaterThan(0);
}, 240_000);
