import { expect, test } from "vitest";
import { objectLedger } from "../../src/adapters/object/ledger.ts";
import { memoryStore } from "../../src/adapters/object/memory-store.ts";
import { KVError } from "../../src/core/errors.ts";
import { CoreKV } from "../../src/core/kv.ts";
import type { Ledger } from "../../src/core/ledger.ts";
import { FaultyStore, type StoreFate } from "../../src/testing/faulty-store.ts";
import { randomSource } from "../support/random.ts";
import { Requests } from "../support/requests.ts";
import { SimulatedTime } from "../support/simulated-time.ts";

/**
 * Isolates on one bucket, each with an instance that many requests share, in simulated time, by a seed. Requests come at any time and die at any moment:
 * what they have asked for is done, or not, and never answered. What is sent arrives late, twice or not at all. Whoever lives has to be answered, and what was told has to be true.
 */

const SEEDS = 40;
const PATIENCE_MS = 10 * 60_000;
/** So long after the last fault everything that is under way has landed. */
const CALM_MS = 3 * 60_000;

type Kind = "sum" | "transaction" | "read" | "sync" | "vacuum";

/** One request, and what its program was told. */
interface Call {
  readonly id: number;
  readonly kind: Kind;
  outcome: "open" | "gone" | "done" | "not committed" | "unknown";
}

interface Isolate {
  readonly requests: Requests;
  readonly db: CoreKV;
  readonly ledger: Ledger;
}

class Run {
  readonly found: string[] = [];
  readonly #time: SimulatedTime;
  readonly #random: () => number;
  readonly #store: FaultyStore;
  readonly #calls: Call[] = [];
  #isCalm = true;

  constructor(seed: number) {
    this.#time = new SimulatedTime(seed);
    this.#random = randomSource(seed * 31);
    const store = memoryStore(this.#chance(0.6) ? { now: this.#time.now } : {});
    const fates = this.#fates();
    this.#store = new FaultyStore(store, { environment: this.#time, fate: () => (this.#isCalm ? undefined : fates()) });
  }

  play(): Promise<void> {
    return this.#time.until(this.#play());
  }

  async #play(): Promise<void> {
    const creating = await this.#process();
    await creating.close();
    this.#isCalm = false;
    const isolates = Array.from({ length: this.#between(1, 3) }, () => this.#isolate());
    const dying = this.#random() * 0.5;
    const answers: Promise<void>[] = [];
    for (let i = this.#between(20, 80); i > 0; i--) {
      answers.push(this.#request(isolates[this.#between(0, isolates.length - 1)], this.#chance(dying)));
      if (this.#chance(0.6)) await this.#pass(this.#random() * [5, 100, 1000][this.#between(0, 2)]);
    }
    await this.#within(answers);
    this.#isCalm = true;
    await this.#pass(CALM_MS);
    await this.#within(isolates.map((isolate) => this.#request(isolate, false)));
    await this.#check();
  }

  // --- what happens ------------------------------------------------------------------------------------------------

  #isolate(): Isolate {
    const requests = new Requests(this.#time);
    const db = new CoreKV({ syncIntervalMs: [1, 200, 1000][this.#between(0, 2)] }, platform(requests.environment));
    return { requests, db, ledger: objectLedger(requests.bound(this.#store)) };
  }

  async #process(): Promise<CoreKV> {
    return await new CoreKV({ autoSync: false }, platform(this.#time)).open(objectLedger(this.#store));
  }

  /** Resolves when it has answered, or is gone. */
  #request({ requests, db, ledger }: Isolate, dies: boolean): Promise<void> {
    const kinds: readonly Kind[] = [
      "sum",
      "sum",
      "sum",
      "transaction",
      "transaction",
      "read",
      "read",
      "sync",
      "vacuum",
    ];
    const call: Call = { id: this.#calls.length, kind: kinds[this.#between(0, kinds.length - 1)], outcome: "open" };
    const known = this.#calls.filter(
      ({ outcome, kind }) => outcome === "done" && (kind === "sum" || kind === "transaction"),
    );
    this.#calls.push(call);
    const { response, end } = requests.begin(async () => this.#handle(await db.open(ledger), call, known));
    const over = (outcome: Call["outcome"]): void => {
      if (call.outcome === "open") call.outcome = outcome;
      // A response is the end of everything that its request has not awaited.
      end();
    };
    const answered = response.then(
      () => over("done"),
      (error: unknown) => {
        if (!(error instanceof KVError))
          this.found.push(`request ${call.id} (${call.kind}) has failed: ${String(error)}`);
        over(error instanceof KVError && error.outcome === "unknown" ? "unknown" : "not committed");
      },
    );
    if (!dies) return answered;
    const death = this.#pass(this.#random() * [50, 500, 3000][this.#between(0, 2)]).then(() => over("gone"));
    return Promise.race([answered, death]);
  }

  async #handle(db: CoreKV, { id, kind }: Call, known: readonly Call[]): Promise<unknown> {
    if (kind === "sum") return await db.atomic().set(["sum", id], id).sum(["sums"], 1).commit();
    if (kind === "sync") return await db.sync();
    if (kind === "vacuum") return await db.vacuum();
    if (kind === "transaction") {
      return await db.transaction(async (transaction) => {
        transaction.set(["transactions"], ((await transaction.get<number>(["transactions"])) ?? 0) + 1);
        transaction.set(["transaction", id], id);
      });
    }
    const listed = await db.listKeys([], { consistency: "strong" });
    for (const call of known) {
      if (listed.some(([first, second]) => first === call.kind && second === call.id)) continue;
      this.found.push(`request ${id} does not see what request ${call.id} was told is committed`);
    }
    return undefined;
  }

  #fates(): () => StoreFate {
    const often = (value: number): number => (this.#chance(0.5) ? value * this.#random() : 0);
    const [unsent, lost, late, overloaded, conflict, slow] = [0.1, 0.15, 0.08, 0.1, 0.15, 0.1].map(often);
    const delayMs = [1, 20, 100, 400][this.#between(0, 3)];
    // Slower than another request waits for one that makes no progress.
    const delay = (): number => this.#random() * (this.#chance(slow) ? 4000 : delayMs);
    const faults: readonly (readonly [number, () => StoreFate["fault"]])[] = [
      [unsent, () => ({ kind: "unsent" })],
      [lost, () => ({ kind: "answer-lost" })],
      [late, () => ({ kind: "late", givesUpMs: 1000 + this.#random() * 9000, landsMs: this.#random() * 60_000 })],
      [overloaded, () => ({ kind: "overloaded" })],
      [conflict, () => ({ kind: "conflict" })],
    ];
    return () => {
      const fault = faults.find(([chance]) => this.#chance(chance))?.[1]();
      return { delayMs: { there: delay(), back: delay() }, ...(fault && { fault }) };
    };
  }

  // --- what must hold ----------------------------------------------------------------------------------------------

  async #within(answers: readonly Promise<void>[]): Promise<void> {
    await Promise.race([Promise.all(answers), this.#pass(PATIENCE_MS)]);
    for (const { id, kind, outcome } of this.#calls) {
      if (outcome === "open") this.found.push(`request ${id} (${kind}) is not answered`);
    }
  }

  async #check(): Promise<void> {
    const db = await this.#process();
    for (const kind of ["sum", "transaction"] as const) {
      const there = new Set((await db.listKeys([kind])).map(([, id]) => id));
      const count = (await db.get<number>([`${kind}s`])) ?? 0;
      if (count !== there.size) this.found.push(`${count} were counted of ${there.size} commits (${kind})`);
      for (const { id, outcome } of this.#calls.filter((call) => call.kind === kind)) {
        if (outcome === "done" && !there.has(id)) this.found.push(`commit ${id} (${kind}) is lost`);
        if (outcome === "not committed" && there.has(id))
          this.found.push(`commit ${id} (${kind}) is there all the same`);
      }
    }
    await db.close();
  }

  // --- chance and time ---------------------------------------------------------------------------------------------

  #chance(probability: number): boolean {
    return this.#random() < probability;
  }

  #between(from: number, to: number): number {
    return from + Math.floor(this.#random() * (to - from + 1));
  }

  #pass(ms: number): Promise<void> {
    return new Promise((resolve) => void this.#time.setTimer(resolve, ms));
  }
}

function platform(environment: Requests["environment"]): ConstructorParameters<typeof CoreKV>[1] {
  const ledgerAt = (): never => {
    throw new Error("there are no files");
  };
  return { environment, ledgerAt };
}

test("whoever shares an instance is answered, and told what is true, whatever becomes of the others", async () => {
  const found: string[] = [];
  for (let seed = 1; seed <= SEEDS; seed++) {
    const run = new Run(seed);
    await run.play();
    found.push(...run.found.map((each) => `seed ${seed}: ${each}`));
  }
  expect(found).toEqual([]);
}, 240_000);
