import { createHash } from "node:crypto";
import { objectLedger } from "../../src/adapters/object/ledger.ts";
import type { Entry } from "../../src/core/entry.ts";
import { fileWork } from "../../src/core/file-work.ts";
import { CoreKV } from "../../src/core/kv.ts";
import type { Ledger } from "../../src/core/ledger.ts";
import type { KVOptions } from "../../src/core/options.ts";
import { Bucket } from "./bucket.ts";
import { SLOT_VERSIONS } from "./bucket-slot.ts";
import { BucketModel } from "./bucket-model.ts";
import { Network } from "./bucket-network.ts";
import { type BucketLeaning, type BucketProfile, drawBucketProfile } from "./bucket-profile.ts";
import { Client, clockOf, type Expected } from "./client.ts";
import { type Check, Journal } from "./journal.ts";
import { listingFits } from "./listing.ts";
import { type Pace, pace } from "./paced-session.ts";
import type { RunResult } from "./simulation.ts";
import { verify, verifyReplaced } from "./verify.ts";
import { work } from "./workload.ts";
import { describe, Process, World } from "./world.ts";

/**
 * Several databases over one simulated bucket, under one scheduler, by one seed: what `simulation.ts` does for a file.
 *
 * What is real: everything in `src`, from the calls that a program makes down to the object ledger, and the fault layer, but for some constants
 * (sources.ts): a checkpoint is due every few slots, values are large that are none, and so on. What is simulated: the store, which remembers
 * everything that was ever created, and time, timers and randomness, each process its own.
 *
 * The fault model:
 *
 * - A request takes its time there and back, and others may come in between. It may never reach the store, be refused (503 in storms for everybody,
 *   409 and 429), be done and its answer be lost; its sender may give it up and it lands hours later; something below the client may send it twice; half of what was read may arrive; it or its
 *   answer may be held up for hours.
 * - A process can be killed at any moment: between two steps, as it sends a request, and as that is under way, which lands nevertheless.
 * - A process can be frozen for days, in the middle of anything, while others commit, checkpoint, merge and collect garbage.
 * - Time leaps for everybody, by seconds or by days. Wall clocks differ and jump; some monotonic ones stand still while their process is frozen. The
 *   store has a clock of its own, which it tells, or does not.
 * - Processes are opened and closed at any time; several create the same ledger at once.
 * - In some runs somebody deletes the whole prefix, and somebody else begins another ledger there.
 *
 * Not simulated: stores that lie, objects that change by themselves, credentials that may not do everything. Requests that share an instance have a test of
 * their own by seeds (`test/core/shared-instances-by-seed.test.ts`).
 *
 * What must hold afterwards stands in verify.ts and, for reads, where the workload makes them; what nobody may ever do to the store, in bucket.ts. Besides:
 * every call of a living process is answered in time, no contract between engine and ledger is broken, nothing is reported as damaged, and nobody
 * who has followed has missed what lay in the store when he was asked to.
 */

const HOUR = 3_600_000;
const SAVED_MS = 6 * 60_000;
/** Simulated ms within which everything that is under way must be over, once nothing disturbs it. */
const PATIENCE_MS = 10 * 60_000;
const CODES = ["Closed", "TransactionConflict", "ReadOnly", "Contention", "SnapshotExpired", "VacuumRefused"];

export async function simulateBucket(
  seed: number,
  options: { readonly traced?: boolean; readonly leaning?: BucketLeaning | undefined } = {},
): Promise<RunResult> {
  const run = new BucketRun(seed, options.traced === true, options.leaning);
  try {
    await run.play();
  } catch (error) {
    // What was written made no sense to the checks either.
    run.report([error instanceof Error ? (error.stack ?? describe(error)) : describe(error)]);
  }
  return run.result(seed);
}

interface Options extends Pace {
  readonly kv: KVOptions;
  readonly readOnly: boolean;
}

class BucketRun {
  readonly #world: World;
  readonly #profile: BucketProfile;
  readonly #bucket: Bucket;
  readonly #network: Network;
  readonly #journal = new Journal();
  readonly #expected: Expected;
  readonly #clients: { readonly client: Client; done: boolean }[] = [];
  readonly #frozen = new Map<Process, { readonly until: number; readonly since: number }>();
  /** The step at which something last happened to a process that may leave an outcome open. */
  readonly #troubleAt = new Map<Process, number>();
  readonly #ends: Check[] = [];
  #started = 0;
  #calm = false;
  #found: readonly string[] = [];
  #commits = 0;
  #digest = "";

  constructor(seed: number, traced: boolean, leaning: BucketLeaning | undefined) {
    this.#world = new World(seed, traced);
    const { random } = this.#world;
    this.#profile = drawBucketProfile(random, leaning);
    const { tellsTime, network } = this.#profile;
    const clockOffset = (random.next() - 0.5) * random.pick([1000, HOUR, 1000 * HOUR]);
    this.#bucket = new Bucket(this.#world, { tellsTime, clockOffset, graceMs: HOUR });
    this.#network = new Network(this.#world, this.#bucket.store, network);
    this.#network.died = () => this.#replace();
    this.#network.trouble = (process) => void this.#troubleAt.set(process, this.#world.steps);
    this.#journal.newest = () => this.#bucket.newest;
    this.#expected = this.#expect();
    this.#world.note("world", () => JSON.stringify(this.#profile));
  }

  result(seed: number): RunResult {
    const { violations, trace, steps } = this.#world;
    const all = [...violations.map((each) => each.message), ...this.#found];
    return { seed, violations: all, trace, steps, commits: this.#commits, digest: this.#digest };
  }

  async play(): Promise<void> {
    const world = this.#world;
    world.disturb = () => this.#disturb();
    for (let i = 0; i < this.#profile.processes; i++) this.#start();
    await world.runUntil(() => this.#clients.every(({ client, done }) => done || !client.process.isAlive), Infinity);
    this.#calmDown();
    const idle = (): boolean =>
      this.#clients.every(({ client, done }) => !client.process.isAlive || (done && client.log.pending.size === 0));
    if (!(await world.runUntil(idle, PATIENCE_MS))) this.#reportHanging("answered");
    // What the dead have sent arrives as well, before anybody looks for the last time.
    await world.runUntil(() => this.#network.isQuiet, PATIENCE_MS);
    await this.#bringToEnd();
    if (world.violations.length > 0) return;
    const hash = createHash("sha256").update(`${world.steps} ${world.now} ${this.#bucket.digest()}`);
    this.#digest = hash.digest("hex").slice(0, 16);
    const models = this.#models();
    const model = models[models.length - 1];
    this.#commits = model.commits.length;
    this.report([
      ...(this.#expected.replaced
        ? verifyReplaced(this.#journal, models, this.#strays())
        : verify(this.#journal, model)),
      ...this.#ends.flatMap((check) => check(model) ?? []),
    ]);
  }

  report(found: readonly string[]): void {
    this.#found = [...this.#found, ...found];
    for (const each of found) this.#world.note("!", () => each);
  }

  /** What a run of this profile explains. */
  #expect(): Expected {
    const { network, clear, freeze, leap } = this.#profile;
    const codes = new Set(CODES);
    const { unsent, answerLost, late, conflict, twice, truncated, storm, parked } = network;
    const isFaulty = unsent + answerLost + late + conflict + twice + truncated + storm + parked > 0;
    if (isFaulty) codes.add("InputOutput");
    const replaced = clear > 0;
    if (replaced)
      for (const code of ["LedgerMissing", "LedgerDamaged", "StoreInconsistent", "InputOutput"]) codes.add(code);
    const unknown = isFaulty || replaced || freeze + leap > 0;
    if (unknown) codes.add("CommitOutcomeUnknown");
    return {
      codes,
      unknown,
      replaced,
      reloads: true,
      sealsEnd: false,
      leavesOpen: ({ process, calledAt, from }) => {
        const isTroubled = (this.#troubleAt.get(process) ?? -1) >= calledAt;
        // Whoever writes there may find that nobody remembers any more what was.
        const isFarBehind = (this.#bucket.root?.floor ?? 1) > Math.floor(from / SLOT_VERSIONS) + 1;
        return replaced || isTroubled || isFarBehind;
      },
    };
  }

  /** Each ledger that ever lay here, the last one last. */
  #models(): BucketModel[] {
    const bucket = this.#bucket;
    const whole = bucket.incarnations.map(({ slots, floors }) => new BucketModel(bucket, slots, floors));
    return whole.length === 0 ? [new BucketModel(bucket, [], [])] : whole;
  }

  /** What others have continued one with when it was deleted already. */
  #strays(): BucketModel[] {
    return this.#bucket.strays.map((slot) => new BucketModel(this.#bucket, this.#bucket.chainTo(slot), []));
  }

  // --- processes -----------------------------------------------------------------------------------------------------

  #start(): void {
    const { random } = this.#world;
    const profile = this.#profile;
    const process = new Process(this.#world, `p${++this.#started}`);
    process.wallOffset = random.chance(0.3) ? random.between(-1, 1) * random.next() * HOUR : random.next() * 10;
    const readOnly = random.chance(profile.readOnly);
    const options: Options = {
      kv: {
        autoSync: random.chance(0.6),
        syncIntervalMs: random.pick([1000, 30_000, HOUR]),
        disableIndex: random.chance(0.06) && !readOnly,
        cacheBytesMax: random.pick([0, 3000, 32 * 1024 * 1024]),
        purgeAfterMs: random.pick([1, 100, 24 * HOUR]),
        compaction: random.chance(profile.compaction),
      },
      readOnly,
      readBytes: random.pick([64, 1000, 1_000_000]),
      asynchronous: profile.asynchronous,
    };
    const entry = { client: this.#makeClient(process, options), done: false };
    this.#clients.push(entry);
    this.#world.note(process.name, () => `starts ${JSON.stringify(options)}`);
    process.later("main", random.next() * 20, () => {
      void this.#main(entry.client, options, random.between(1, profile.actions)).then(
        () => (entry.done = true),
        (error: unknown) => process.fail(describe(error)),
      );
    });
  }

  #makeClient(process: Process, options: Options): Client {
    const object = objectLedger(this.#network.storeFor(process), { graceMs: HOUR });
    const ledger: Ledger = {
      name: object.name,
      ordering: object.ordering,
      open: async (given) => pace(await object.open(given), process, options),
    };
    const platform = {
      environment: process.environment,
      ledgerAt: () => ledger,
      fileWork,
    };
    const db = new CoreKV(options.kv, platform);
    const { readOnly } = options;
    const log = this.#journal.begin(process, { readOnly, indexed: options.kv.disableIndex !== true, strict: false });
    return new Client(process, db, ledger, log, this.#journal, this.#expected);
  }

  async #main(client: Client, options: Options, actions: number): Promise<void> {
    for (let tries = 0; !(await this.#open(client, options.readOnly)); tries++) {
      if (tries > 20 || !client.process.isAlive) return;
      await client.process.sleep(1000);
    }
    client.begin();
    await work(client, actions, this.#profile);
  }

  async #open(client: Client, readOnly: boolean): Promise<boolean> {
    client.log.pending.add("open");
    try {
      await client.db.open(client.ledger, { readOnly });
      return true;
    } catch (error) {
      const { code } = error as { code?: string };
      // As much may be left, where everything was deleted while others wrote, that it seems to be a ledger without its root: who wants another deletes that.
      const isLeft = code === "LedgerDamaged" && this.#expected.replaced && this.#bucket.root === undefined;
      if (isLeft) await this.#bucket.clearRest();
      // What was deleted in the middle of a probe looks as if the store had lost it.
      const isPassing = isLeft || code === "LedgerMissing" || (code === "StoreUnsuitable" && this.#expected.replaced);
      if (!isPassing) client.allow("open", error);
      this.#world.note(client.process.name, () => `cannot open: ${describe(error)}`);
      return false;
    } finally {
      client.log.pending.delete("open");
    }
  }

  #living(): Client[] {
    return this.#clients.map(({ client }) => client).filter(({ process }) => process.isAlive);
  }

  // --- what goes wrong -----------------------------------------------------------------------------------------------

  #disturb(): void {
    if (this.#calm) return;
    const { random } = this.#world;
    const profile = this.#profile;
    for (const [process, { until }] of this.#frozen) if (until <= this.#world.steps) this.#thaw(process);
    if (random.chance(profile.kill)) this.#kill(random.pick(this.#living()));
    if (random.chance(profile.close)) this.#close(random.pick(this.#living()));
    if (random.chance(profile.freeze)) this.#freeze(random.pick(this.#living()));
    if (random.chance(profile.leap)) this.#leap();
    if (random.chance(profile.clear)) this.#clear();
    if (random.chance(profile.clock)) {
      const client = random.pick(this.#living());
      if (client !== undefined)
        client.process.wallOffset += (random.next() - 0.5) * random.pick([10, 1000, 2 * HOUR, 10 * HOUR]);
    }
  }

  #kill(client: Client | undefined): void {
    client?.process.kill();
    if (client !== undefined) this.#replace();
  }

  #replace(): void {
    if (!this.#calm && this.#clients.length < this.#profile.processesMax) this.#start();
  }

  #close(client: Client | undefined): void {
    if (client === undefined || !client.isOpen || client.process.state !== "running") return;
    client.process.later("close", 0, () => void (this.#calm || this.#end(client)));
    this.#replace();
  }

  async #end(client: Client): Promise<void> {
    if (!client.isOpen) return;
    client.isOpen = false;
    client.log.pending.add("close");
    try {
      await client.db.close();
    } catch (error) {
      // What an open transaction had staged is dropped, and that is told.
      if ((error as { code?: string }).code !== "TransactionOpen") client.process.fail(`close: ${describe(error)}`);
    }
    client.log.pending.delete("close");
    client.isClosed = true;
  }

  #freeze(client: Client | undefined): void {
    if (client?.process.state !== "running") return;
    const { random, now, steps } = this.#world;
    client.process.state = "stopped";
    this.#world.note(client.process.name, () => "is frozen");
    const until = steps + random.between(5, random.pick([50, 400, 2500]));
    this.#frozen.set(client.process, { until, since: now });
  }

  #thaw(process: Process): void {
    const { since = 0 } = this.#frozen.get(process) ?? {};
    this.#frozen.delete(process);
    if (process.state !== "stopped") return;
    process.state = "running";
    this.#troubleAt.set(process, this.#world.steps);
    // Some clocks stand still with their machine.
    if (process.random.chance(0.5)) process.monotonicOffset -= this.#world.now - since;
    this.#world.note(process.name, () => `thaws after ${Math.round(this.#world.now - since)} ms`);
  }

  #leap(): void {
    const world = this.#world;
    const { random } = world;
    const ms = random.pick([10_000, 0.1 * HOUR, 1.1 * HOUR, 1.5 * HOUR, 5 * HOUR, 72 * HOUR]) * (0.5 + random.next());
    world.now += ms;
    for (const { process } of this.#living()) this.#troubleAt.set(process, world.steps);
    world.note("world", () => `leaps by ${Math.round(ms)} ms`);
  }

  #clear(): void {
    this.#world.note("world", () => "deletes everything");
    void this.#bucket.clear();
    this.#replace();
  }

  // --- the end -------------------------------------------------------------------------------------------------------

  #calmDown(): void {
    this.#world.note("world", () => "calm");
    this.#calm = true;
    this.#world.calmSince = this.#world.now;
    for (const process of this.#frozen.keys()) this.#thaw(process);
    this.#network.heal();
  }

  /** Everybody who lives follows to the end and says what it sees; so does somebody who comes only now. */
  async #bringToEnd(): Promise<void> {
    const world = this.#world;
    if (world.violations.length > 0) return;
    const process = new Process(world, "newcomer");
    const newcomer = this.#makeClient(process, { kv: {}, readOnly: false, readBytes: 1_000_000, asynchronous: 0 });
    this.#clients.push({ client: newcomer, done: true });
    let opened = false;
    process.later("comes", 0, () => {
      void this.#open(newcomer, false)
        // What was left of another ledger is out of the way then.
        .then((done) => done || this.#open(newcomer, false))
        .then((done) => {
          if (done) newcomer.begin();
          else process.fail("the ledger cannot be opened");
          opened = true;
        });
    });
    await world.runUntil(() => opened, PATIENCE_MS);
    // A root that somebody has read a short while ago serves for so long, wherever it is now.
    if (this.#expected.replaced) world.now += SAVED_MS;
    const clients = this.#living().filter((client) => client.isOpen);
    let ended = 0;
    for (const client of clients) {
      client.process.later("the end", 0, () => {
        void this.#look(client).then(
          () => ended++,
          (error: unknown) => client.process.fail(`at the end: ${describe(error)}`),
        );
      });
    }
    const over = (): boolean =>
      ended === clients.length && clients.every(({ log, process: { isAlive } }) => log.pending.size === 0 || !isAlive);
    if (!(await world.runUntil(over, PATIENCE_MS))) this.#reportHanging("at the end");
  }

  async #look(client: Client): Promise<void> {
    const { db, log, process } = client;
    await db.sync();
    if (log.indexed) {
      const everything = { query: [], limit: Infinity, reverse: false, order: "key" } as const;
      const readings = process.clockReadings.length;
      process.environment.now();
      // The first one may be of a state that refers to slots which are kept no longer.
      const list = (): Promise<Entry[]> => db.listAll([], { consistency: "strong" });
      const entries = await list().catch((error: { code?: string }) => {
        if (error.code !== "SnapshotExpired") throw error;
        return list();
      });
      const clock = clockOf(process.clockReadings.slice(Math.max(0, readings - 1)));
      const version = client.version();
      for (const entry of entries) {
        const again = await db.getEntry(entry.key);
        if (again !== null && again.version !== entry.version)
          process.fail(`${entry.key.join("/")} is listed at version ${entry.version} and got at ${again.version}`);
      }
      this.#ends.push((model) => {
        if (version !== model.lastVersion) return `${log.name} ends at version ${version} of ${model.lastVersion}`;
        return listingFits(entries, everything, model, version, clock)
          ? undefined
          : `${log.name} ends in another state`;
      });
      const { reloads } = db.stats().counts;
      process.record(() => (log.final = { version, allTold: true, reloads }));
    }
    await this.#end(client);
  }

  #reportHanging(when: string): void {
    if (this.#world.violations.length > 0) return;
    const hanging = this.#clients.filter(
      ({ client, done }) => client.process.isAlive && (!done || client.log.pending.size > 0),
    );
    const calls = hanging.map(({ client }) => `${client.log.name}: ${[...client.log.pending].join(", ")}`);
    this.#world.fail(`not ${when} within ${PATIENCE_MS} ms: ${calls.join("; ")}`);
  }
}
