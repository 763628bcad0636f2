import { describe, expect, test } from "vitest";
import { objectLedger } from "../../../src/adapters/object/ledger.ts";
import { memoryStore } from "../../../src/adapters/object/memory-store.ts";
import type { ObjectStore } from "../../../src/adapters/object/object-store.ts";
import { type CommitOutcome, KVError } from "../../../src/core/errors.ts";
import type { CoreKV } from "../../../src/core/kv.ts";
import { FaultyStore, seededFates, type StoreFaultRates } from "../../../src/testing/faulty-store.ts";
import { openWith } from "../../support/database.ts";
import { randomSource } from "../../support/random.ts";
import { SimulatedTime } from "../../support/simulated-time.ts";

const HOUR = 3_600_000;
const WRITERS = 8;
const COMMITS = 500;
const SHARED_KEYS = 5;

/** What a commit's author was told. */
type Told = "committed" | "conflict" | CommitOutcome;

interface Made {
  readonly writer: number;
  readonly number: number;
  readonly told: Told;
  readonly version: number | undefined;
}

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

class Race {
  readonly time: SimulatedTime;
  readonly store: ObjectStore;
  readonly made: Made[] = [];
  readonly problems: string[] = [];
  readonly #random: () => number;

  constructor(seed: number, tellsTime: boolean) {
    this.time = new SimulatedTime(seed);
    this.store = memoryStore(tellsTime ? { now: this.time.now } : {});
    this.#random = randomSource(seed);
  }

  pause(ms: number): Promise<void> {
    return new Promise((resolve) => void this.time.setTimer(resolve, ms));
  }

  async open(store: ObjectStore = this.store): Promise<CoreKV> {
    const ledger = objectLedger(store, { graceMs: HOUR });
    const db = await openWith(this.time, ledger, { syncIntervalMs: 20_000 });
    db.on("error", (error) => this.problems.push(error instanceof KVError ? error.code : String(error)));
    return db;
  }

  /** Commits of every kind, some at once; now and then everybody sleeps for hours. */
  async write(writer: number, db: CoreKV): Promise<void> {
    for (let number = 0; number < COMMITS;) {
      const some = Math.min(COMMITS - number, 1 + Math.floor(this.#random() * 20));
      await Promise.all(Array.from({ length: some }, (_, i) => this.#commit(writer, number + i, db)));
      number += some;
      await this.pause(this.#random() < 0.02 ? 3 * HOUR * this.#random() : 500 * this.#random());
    }
  }

  /** Sets a key of its own and adds one to the sum of all; every other one on condition that a shared key is what it was. */
  async #commit(writer: number, number: number, db: CoreKV): Promise<void> {
    const atomic = db.atomic().set(["own", writer, number], number).sum(["sum"], 1);
    if (number % 2 === 0) {
      const key = ["shared", Math.floor(this.#random() * SHARED_KEYS)];
      const entry = await db.getEntry<number>(key);
      atomic.check({ key, version: entry?.version ?? null }).set(key, (entry?.value ?? 0) + 1);
    }
    const made = (told: Told, version?: number): void => void this.made.push({ writer, number, told, version });
    try {
      const result = await atomic.commit();
      made(result.ok ? "committed" : "conflict", result.ok ? result.version : undefined);
    } catch (error) {
      if (!(error instanceof KVError) || error.outcome === undefined) throw error;
      made(error.outcome);
    }
  }
}

async function race(
  seed: number,
  options: { readonly rates?: StoreFaultRates; readonly tellsTime?: boolean } = {},
): Promise<Race> {
  const { rates = faults, tellsTime = true } = options;
  const run = new Race(seed, tellsTime);
  await run.time.until(
    (async () => {
      const first = await run.open();
      await first.close();
      const stores = Array.from(
        { length: WRITERS },
        (_, i) =>
          new FaultyStore(run.store, { environment: run.time, fate: seededFates(seed * 100 + i, rates, run.time) }),
      );
      const all = await Promise.all(stores.map((store) => opened(run, store)));
      await Promise.all(all.map((db, writer) => run.write(writer, db)));
      // What is late is over.
      await run.pause(2 * HOUR);
      for (const store of stores) store.fate = () => undefined;
      await check(run, all);
      await Promise.all(all.map((db) => db.close()));
    })(),
  );
  return run;
}

/** Opens as often as it takes. */
async function opened(run: Race, store: ObjectStore): Promise<CoreKV> {
  for (;;) {
    try {
      return await run.open(store);
    } catch (error) {
      if (!(error instanceof KVError)) throw error;
      await run.pause(1000);
    }
  }
}

async function check(run: Race, all: readonly CoreKV[]): Promise<void> {
  const fresh = await run.open();
  const truth = await stateOf(fresh);
  await Promise.all(all.map((db) => db.sync()));
  for (const db of all) expect(await stateOf(db)).toEqual(truth);

  const present = new Map<string, number>();
  for await (const { key, version } of fresh.iterate(["own"])) present.set(key.join(), version as number);
  for (const { writer, number, told, version } of run.made) {
    const found = present.get(`own,${writer},${number}`);
    if (told === "committed") expect([writer, number, found]).toEqual([writer, number, version]);
    if (told === "conflict" || told === "not committed")
      expect([writer, number, found]).toEqual([writer, number, undefined]);
  }
  expect(run.made).toHaveLength(WRITERS * COMMITS);
  // Each one was added once.
  expect(await fresh.get(["sum"])).toBe(present.size);
  const conditional = [...present.keys()].filter((key) => Number(key.split(",")[2]) % 2 === 0).length;
  const shared = await fresh.listAll<number>(["shared"]);
  expect(shared.reduce((sum, { value }) => sum + value, 0)).toBe(conditional);
  await fresh.close();
}

async function stateOf(db: CoreKV): Promise<unknown> {
  return (await db.listAll([])).map(({ key, value, version }) => [key, value, version]);
}

function countOf(run: Race, told: Told): number {
  return run.made.filter((each) => each.told === told).length;
}

describe("eight writers of a bucket, 500 commits each", () => {
  test.each([1, 2])(
    "with every fault there is (%i): nothing acknowledged is lost, nothing is there twice",
    async (seed) => {
      const run = await race(seed);
      expect(countOf(run, "committed")).toBeGreaterThan(1000);
      expect(countOf(run, "conflict")).toBeGreaterThan(100);
      console.info(
        `seed ${seed}:`,
        ["committed", "conflict", "not committed", "unknown"]
          .map((told) => `${told} ${countOf(run, told as Told)}`)
          .join(", "),
        [...new Set(run.problems)].join(),
      );
    },
  );

  test("with outages that last longer than anybody waits: what nobody knows is said to be unknown", async () => {
    const run = await race(5, { rates: { ...faults, storm: 0.002, stormMs: 45_000 } });
    expect(countOf(run, "unknown")).toBeGreaterThan(0);
  });

  test("on a store that tells no time", async () => {
    const run = await race(4, { tellsTime: false });
    expect(countOf(run, "committed")).toBeGreaterThan(1000);
  });
});
