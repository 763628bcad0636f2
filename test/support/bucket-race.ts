import { objectLedger } from "../../src/adapters/object/ledger.ts";
import type { ObjectStore } from "../../src/adapters/object/object-store.ts";
import type { Environment } from "../../src/core/environment.ts";
import { type CommitOutcome, KVError } from "../../src/core/errors.ts";
import { CoreKV } from "../../src/core/kv.ts";
import { assertEqual } from "../../src/testing/assert.ts";
import { FaultyStore, seededFates, type StoreFaultRates } from "../../src/testing/faulty-store.ts";
import { randomSource } from "./random.ts";

const HOUR = 3_600_000;
const SHARED_KEYS = 5;
const AT_ONCE_MAX = 20;
/** Before an open that has failed is tried again. */
const OPEN_AGAIN_MS = 1000;

/** What a commit's author was told. */
export type Told = "committed" | "conflict" | CommitOutcome;

interface Made {
  readonly writer: number;
  readonly number: number;
  readonly told: Told;
  readonly version: number | undefined;
}

export interface RaceOptions {
  readonly environment: Environment;
  readonly seed: number;
  /** The bucket over a connection of each writer's own; without a number, of whoever only looks. No faults yet. */
  readonly storeOf: (writer?: number) => ObjectStore;
  readonly writers: number;
  /** Of each writer. */
  readonly commits: number;
  /** What befalls requests of writers. */
  readonly rates: StoreFaultRates;
  /** How long a writer rests after some commits. */
  readonly pauseMs: (random: () => number) => number;
  /** After so long nothing that was late is under way any more. */
  readonly restMs: number;
  readonly syncIntervalMs: number;
}

/** Writers of one bucket that all want to commit, each with faults on its way to it: in whatever runtime, for which it imports nothing of one. */
export class BucketRace {
  readonly #options: RaceOptions;
  readonly #made: Made[] = [];
  readonly #problems = new Set<string>();
  readonly #random: () => number;

  constructor(options: RaceOptions) {
    this.#options = options;
    this.#random = randomSource(options.seed);
  }

  /**
   * Lets everybody write. Throws unless every acknowledged commit is there once, with its version, nothing is there that its author was told is not,
   * sums are exact, and all replicas are equal.
   */
  async run(): Promise<void> {
    const { environment, seed, storeOf, writers, rates, restMs } = this.#options;
    await (await this.#open(storeOf())).close();
    const stores = Array.from(
      { length: writers },
      (_, i) => new FaultyStore(storeOf(i), { environment, fate: seededFates(seed * 100 + i, rates, environment) }),
    );
    const all = await Promise.all(stores.map((store) => this.#opened(store)));
    await Promise.all(all.map((db, writer) => this.#write(writer, db)));
    await this.#pause(restMs);
    for (const store of stores) store.fate = () => undefined;
    await this.#check(all);
    await Promise.all(all.map((db) => db.close()));
  }

  count(told: Told): number {
    return this.#made.filter((each) => each.told === told).length;
  }

  /** How many were told what, and the codes of what was reported beside. */
  get summary(): string {
    const counts = (["committed", "conflict", "not committed", "unknown"] as const).map(
      (told) => `${told} ${this.count(told)}`,
    );
    return [...counts, ...this.#problems].join(", ");
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => void this.#options.environment.setTimer(resolve, ms, { ref: true }));
  }

  async #open(store: ObjectStore): Promise<CoreKV> {
    const { environment, syncIntervalMs } = this.#options;
    const db = await new CoreKV({ syncIntervalMs }, { environment, ledgerAt: noPaths }).open(
      objectLedger(store, { graceMs: HOUR }),
    );
    db.on("error", (error) => this.#problems.add(error instanceof KVError ? error.code : String(error)));
    return db;
  }

  /** Opens as often as it takes. */
  async #opened(store: ObjectStore): Promise<CoreKV> {
    for (;;) {
      try {
        return await this.#open(store);
      } catch (error) {
        if (!(error instanceof KVError)) throw error;
        await this.#pause(OPEN_AGAIN_MS);
      }
    }
  }

  /** Commits of every kind, some at once. */
  async #write(writer: number, db: CoreKV): Promise<void> {
    const { commits, pauseMs } = this.#options;
    for (let number = 0; number < commits;) {
      const some = Math.min(commits - number, 1 + Math.floor(this.#random() * AT_ONCE_MAX));
      await Promise.all(Array.from({ length: some }, (_, i) => this.#commit(writer, number + i, db)));
      number += some;
      await this.#pause(pauseMs(this.#random));
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
    const made = (told: Told, version?: number): void => void this.#made.push({ writer, number, told, version });
    try {
      const result = await atomic.commit();
      made(result.ok ? "committed" : "conflict", result.ok ? result.version : undefined);
    } catch (error) {
      if (!(error instanceof KVError) || error.outcome === undefined) throw error;
      made(error.outcome);
    }
  }

  async #check(all: readonly CoreKV[]): Promise<void> {
    const { storeOf, writers, commits } = this.#options;
    const fresh = await this.#open(storeOf());
    const truth = await stateOf(fresh);
    await Promise.all(all.map((db) => db.sync()));
    for (const db of all) assertEqual(await stateOf(db), truth, "the state of a writer");

    const present = new Map<string, number>();
    for await (const { key, version } of fresh.iterate(["own"])) present.set(key.join(), version as number);
    for (const { writer, number, told, version } of this.#made) {
      const found = present.get(`own,${writer},${number}`);
      const what = `the version of commit ${number} of writer ${writer}, who was told "${told}"`;
      if (told === "committed") assertEqual(found, version, what);
      if (told === "conflict" || told === "not committed") assertEqual(found, undefined, what);
    }
    assertEqual(this.#made.length, writers * commits, "commits that were made");
    // Each one was added once.
    assertEqual((await fresh.get(["sum"])) ?? 0, present.size, "the sum of all");
    const conditional = [...present.keys()].filter((key) => Number(key.split(",")[2]) % 2 === 0).length;
    const shared = await fresh.listAll<number>(["shared"]);
    const counted = shared.reduce((sum, { value }) => sum + value, 0);
    assertEqual(counted, conditional, "the sum of the shared keys");
    await fresh.close();
  }
}

function noPaths(): never {
  throw new TypeError("a ledger is opened here, and never a path");
}

async function stateOf(db: CoreKV): Promise<unknown> {
  return (await db.listAll([])).map(({ key, value, version }) => [key, value, version]);
}
