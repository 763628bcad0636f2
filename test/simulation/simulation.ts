import { createHash } from "node:crypto";
import { System, type SystemFaults } from "./calls.ts";
import { Client, clockOf, type Expected } from "./client.ts";
import { Ghost } from "./ghost.ts";
import { type Check, Journal } from "./journal.ts";
import { Model } from "./model.ts";
import type { Random } from "./random.ts";
import { makeReplica, type ReplicaOptions } from "./replica.ts";
import { verify, verifyReplaced } from "./verify.ts";
import { listingFits, work } from "./workload.ts";
import { describe, Process, World } from "./world.ts";

/**
 * Several databases over one simulated file, under one scheduler, by one seed.
 *
 * What is real: everything in `src`, from the calls that a program makes down to the file adapter. What is simulated: the system calls
 * (`FileSystemCalls`) and time, timers and randomness (`Environment`), each process its own.
 *
 * A process runs as an event loop does: one callback, then all microtasks that follow. Between two such steps anybody else may do
 * anything, and within a step, between two system calls, the ghost may: frames made by hand that stand for all processes of which
 * nobody looks at the inside.
 *
 * The fault model:
 *
 * - A write becomes visible to others prefix by prefix, over many steps; nobody sees later bytes over incomplete earlier ones (FACTS: ext4,
 *   xfs, btrfs, tmpfs, overlay). Writers of one file take turns: who appends waits until the write under way is over. Its author goes on
 *   at once in its own step, because a call returns only once; but nothing of that goes on record, and no further step is its turn, until
 *   the write is over. So everything that it does behind the call counts as having happened behind the write.
 * - A process can be killed at any moment. In the middle of a write, the part that is visible stays, and others append behind it; what
 *   it has done behind the call is undone with it, for nobody has heard of it.
 * - A write may take fewer bytes than it was given, with the disk full or not, and may fail without a trace. A read may give fewer bytes than
 *   there are, and may fail. A disk that was full has room again later. A sync may fail.
 * - A process can be stopped, and go on later with its own clock hours ahead. Wall clocks differ, jump forwards and backwards; monotonic ones
 *   only leap.
 * - A notification can be late, lost, or for nothing.
 * - In some runs somebody deletes the file, or puts an older copy in its place, under everybody's hands.
 * - Processes are opened and closed at any time; several create the same ledger at once.
 *
 * Not simulated: loss of power (bytes written are never taken back), bytes that change by themselves, files cut in place.
 *
 * What must hold afterwards stands in verify.ts and, for reads, where the workload makes them. Besides: every call of a living process is
 * answered within bounded time, no contract between engine and ledger is broken, nothing is reported as damaged, no descriptor leaks.
 */
export interface RunResult {
  readonly seed: number;
  /** What does not hold; empty if all is well. */
  readonly violations: readonly string[];
  readonly trace: readonly string[];
  readonly steps: number;
  readonly commits: number;
  /** Equal for two runs of one seed, and hardly ever for two seeds. */
  readonly digest: string;
}

const PATH = "/data/ledger.db";
/** Simulated ms within which everything that is under way must be over, once nothing disturbs it. */
const PATIENCE_MS = 30_000;

/** What happens in one run, and how often. */
interface Profile {
  readonly system: SystemFaults;
  readonly processes: number;
  readonly processesMax: number;
  readonly actions: number;
  readonly kill: number;
  readonly tear: number;
  readonly close: number;
  readonly stop: number;
  readonly fill: number;
  readonly clock: number;
  readonly ghost: number;
  readonly asynchronous: number;
  readonly strict: number;
  readonly replace: number;
}

/** Each fault is on in some runs and off in others: one that is always on hides what others would show. */
function drawProfile(random: Random): Profile {
  const sometimes = (probability: number, value: number): number =>
    random.chance(probability) ? value * random.next() : 0;
  return {
    system: {
      slowWrite: sometimes(0.7, 1),
      shortWrite: sometimes(0.2, 0.1),
      writeError: sometimes(0.2, 0.05),
      readError: sometimes(0.1, 0.01),
      shortRead: sometimes(0.3, 0.2),
      syncError: sometimes(0.2, 0.1),
      hintLost: sometimes(0.5, 1),
      hintLateMs: random.pick([0.1, 1, 50]),
    },
    processes: random.between(1, 4),
    processesMax: random.between(4, 9),
    actions: random.chance(0.03) ? 150 : random.between(4, 30),
    kill: sometimes(0.5, 0.01),
    tear: sometimes(0.6, 0.1),
    close: sometimes(0.4, 0.01),
    stop: sometimes(0.3, 0.02),
    fill: sometimes(0.25, 0.02),
    clock: sometimes(0.3, 0.02),
    ghost: sometimes(0.5, 0.02),
    asynchronous: sometimes(0.2, 0.3),
    strict: random.chance(0.3) ? 1 : sometimes(0.3, 1),
    replace: sometimes(0.12, 0.04),
  };
}

export async function simulate(
  seed: number,
  options: { readonly traced: boolean } = { traced: false },
): Promise<RunResult> {
  const run = new Run(seed, options.traced);
  await run.play();
  return run.result(seed);
}

class Run {
  readonly #world: World;
  readonly #profile: Profile;
  readonly #system: System;
  readonly #journal = new Journal();
  readonly #ghost: Ghost;
  readonly #expected: Expected;
  readonly #clients: { readonly client: Client; done: boolean }[] = [];
  #calm = false;
  /** What everybody must agree on at the end, whatever has happened. */
  readonly #ends: Check[] = [];
  /** What a backup has kept. */
  #backup: Uint8Array | undefined;
  #found: readonly string[] = [];
  #commits = 0;
  #digest = "";

  constructor(seed: number, traced: boolean) {
    this.#world = new World(seed, traced);
    const { random } = this.#world;
    this.#profile = drawProfile(random);
    this.#system = new System(this.#world, this.#profile.system);
    this.#ghost = new Ghost(this.#world, this.#system, this.#journal);
    this.#expected = expectedOf(this.#profile);
    this.#world.note("world", () => JSON.stringify(this.#profile));
  }

  result(seed: number): RunResult {
    const { violations, trace, steps } = this.#world;
    return {
      seed,
      violations: [...violations.map((each) => each.message), ...this.#found],
      trace,
      steps,
      commits: this.#commits,
      digest: this.#digest,
    };
  }

  async play(): Promise<void> {
    const world = this.#world;
    for (let i = 0; i < this.#profile.processes; i++) this.#start();
    world.disturb = () => this.#disturb();
    world.interfere = (caller) => this.#interfere(caller);
    await world.runUntil(() => this.#clients.every(({ client, done }) => done || !client.process.isAlive), 600_000);
    this.#calmDown();
    const idle = (): boolean =>
      world.disk.inTransit().length === 0 &&
      this.#clients.every(({ client, done }) => !client.process.isAlive || (done && client.log.pending.size === 0));
    if (!(await world.runUntil(idle, PATIENCE_MS))) this.#reportHanging("answered");
    await this.#bringToEnd();
    if (world.violations.length > 0) return;
    const files = world.disk.inodes.map((inode) => inode.read(undefined, 0, Infinity));
    const hash = createHash("sha256").update(`${world.steps} ${world.now}`);
    for (const bytes of files) hash.update(bytes);
    this.#digest = hash.digest("hex").slice(0, 16);
    const models = files.map((bytes) => new Model(bytes));
    this.#commits = models[models.length - 1].commits.length;
    this.#found = this.#expected.replaced
      ? verifyReplaced(this.#journal, models)
      : verify(this.#journal, models[models.length - 1]);
    this.#found = [...this.#found, ...this.#ends.flatMap((check) => check(models[models.length - 1]) ?? [])];
    for (const found of this.#found) world.note("!", () => found);
  }

  // --- processes -----------------------------------------------------------------------------------------------------

  #start(): void {
    const { random } = this.#world;
    const process = new Process(this.#world, `p${this.#clients.length + 1}`);
    process.wallOffset = random.chance(0.3) ? random.between(-1, 1) * random.next() * 3_600_000 : random.next() * 10;
    const strict = random.chance(this.#profile.strict);
    const readOnly = random.chance(0.1);
    const options: ReplicaOptions = {
      kv: {
        autoSync: random.chance(0.85),
        syncIntervalMs: random.pick([5, 50, 1000]),
        disableIndex: random.chance(0.06) && !readOnly,
      },
      readOnly,
      durability: strict ? "strict" : "relaxed",
      readBytes: random.pick([64, 300, 4000, 1_000_000]),
      asynchronous: this.#profile.asynchronous,
    };
    const { db, ledger } = makeReplica(process, this.#system.callsFor(process), PATH, options);
    const log = this.#journal.begin(process, { readOnly, indexed: options.kv.disableIndex !== true });
    const entry = { client: new Client(process, db, ledger, log, this.#journal, this.#expected), done: false };
    this.#clients.push(entry);
    this.#world.note(process.name, () => `starts ${JSON.stringify(options)}`);
    process.later("main", random.next() * 20, () => {
      void this.#main(entry.client, options, random.between(1, this.#profile.actions)).then(
        () => (entry.done = true),
        (error: unknown) => this.#world.fail(`${process.name}: ${describe(error)}`),
      );
    });
  }

  async #main(client: Client, options: ReplicaOptions, actions: number): Promise<void> {
    for (let tries = 0; ; tries++) {
      try {
        await client.db.open(PATH, { readOnly: options.readOnly });
        break;
      } catch (error) {
        const { code } = error as { code?: string };
        if (!this.#expected.codes.has(code ?? "") && code !== "LedgerMissing")
          this.#world.fail(`${client.log.name}: open: ${describe(error)}`);
        if (tries > 20) return;
        await client.process.sleep(50);
      }
    }
    client.begin();
    await work(client, actions);
  }

  #living(): Client[] {
    return this.#clients.map(({ client }) => client).filter(({ process }) => process.isAlive);
  }

  // --- what goes wrong -----------------------------------------------------------------------------------------------

  #disturb(): void {
    if (this.#calm) return;
    for (const [process, until] of this.#stopped) if (until <= this.#world.now) this.#goOn(process);
    const { random, disk } = this.#world;
    const profile = this.#profile;
    for (const inode of disk.inTransit()) {
      if (!random.chance(profile.tear)) continue;
      // Now and then within the first few bytes.
      if (random.chance(0.2)) inode.advance(random.between(1, 7));
      if (inode.transit?.author === this.#ghost) this.#ghost.die(inode);
      else this.#kill(this.#living().find(({ process }) => process === inode.transit?.author));
    }
    if (random.chance(profile.kill)) this.#kill(random.pick(this.#living()));
    if (random.chance(profile.close)) this.#close(random.pick(this.#living()));
    if (random.chance(profile.stop)) this.#stop(random.pick(this.#living()));
    if (random.chance(profile.fill)) disk.freeBytes = random.chance(0.5) ? Infinity : random.between(0, 3000);
    if (random.chance(profile.ghost)) this.#ghost.append(PATH, profile.system.slowWrite);
    if (random.chance(profile.replace)) this.#replaceFile();
    if (random.chance(profile.clock)) {
      const client = random.pick(this.#living());
      if (client !== undefined) client.process.wallOffset += (random.next() - 0.5) * random.pick([10, 1000, 7_200_000]);
    }
  }

  /** Deletes the file, takes a copy of it, or puts the copy back. */
  #replaceFile(): void {
    const { random, disk } = this.#world;
    const inode = disk.lookup(PATH);
    const what = random.pick(["copies", "deletes", "puts back"] as const);
    if (inode === undefined || (what === "puts back" && this.#backup === undefined)) return;
    this.#world.note("world", () => `${what} the file`);
    if (what === "copies") this.#backup = inode.read(undefined, 0, inode.size(undefined)).slice();
    else if (what === "deletes") disk.unlink(PATH);
    else if (this.#backup !== undefined) disk.create(PATH).append(this.#ghost, this.#backup, false);
    this.#system.changed("ledger.db");
  }

  /** In the middle of somebody's step. */
  #interfere(caller: Process): void {
    if (this.#calm) return;
    const { random, disk } = this.#world;
    for (const inode of disk.inTransit()) {
      if (inode.transit?.author !== caller && random.chance(0.3))
        inode.advance(random.between(1, random.pick([8, 60, 2000])));
    }
    if (random.chance(this.#profile.ghost)) this.#ghost.append(PATH, this.#profile.system.slowWrite);
  }

  #kill(client: Client | undefined): void {
    client?.process.kill();
    if (client !== undefined) this.#replace();
  }

  #replace(): void {
    if (this.#clients.length < this.#profile.processesMax) this.#start();
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
    const { process, db } = client;
    try {
      await db.close();
    } catch (error) {
      // What an open transaction had staged is dropped, and that is told.
      if ((error as { code?: string }).code !== "TransactionOpen")
        this.#world.fail(`${process.name}: close: ${describe(error)}`);
    }
    client.log.pending.delete("close");
    client.isClosed = true;
  }

  #stop(client: Client | undefined): void {
    if (client?.process.state !== "running") return;
    const { process } = client;
    const { random, disk } = this.#world;
    // The system finishes what it has begun for it.
    for (const inode of disk.inTransit()) if (inode.transit?.author === process) inode.finish();
    process.state = "stopped";
    this.#world.note(process.name, () => "stopped");
    const until = this.#world.now + random.next() * 300;
    this.#stopped.set(process, until);
  }

  readonly #stopped = new Map<Process, number>();

  #goOn(process: Process): void {
    this.#stopped.delete(process);
    if (process.state !== "stopped") return;
    process.state = "running";
    // How long it was is its own affair: the others need not live through it.
    process.monotonicOffset += this.#world.random.next() * this.#world.random.pick([100, 7_200_000]);
    this.#world.note(process.name, () => "goes on");
  }

  // --- the end -------------------------------------------------------------------------------------------------------

  #calmDown(): void {
    this.#world.note("world", () => "calm");
    this.#calm = true;
    this.#world.disk.freeBytes = Infinity;
    for (const process of this.#stopped.keys()) this.#goOn(process);
    for (const name of Object.keys(this.#profile.system) as (keyof SystemFaults)[]) {
      if (name !== "hintLateMs") this.#profile.system[name] = 0;
    }
  }

  /** Everybody who lives follows to the end and says what it sees; so does somebody who comes only now. */
  async #bringToEnd(): Promise<void> {
    const world = this.#world;
    const last = new Process(world, "last");
    const options: ReplicaOptions = {
      kv: {},
      readOnly: false,
      durability: "relaxed",
      readBytes: 1_000_000,
      asynchronous: 0,
    };
    const { db, ledger } = makeReplica(last, this.#system.callsFor(last), PATH, options);
    const log = this.#journal.begin(last, { readOnly: false, indexed: true });
    const newcomer = new Client(last, db, ledger, log, this.#journal, this.#expected);
    const clients = [...this.#living().filter((client) => client.isOpen), newcomer];
    let ended = 0;
    if (this.#expected.replaced) await this.#open(newcomer);
    for (const client of clients) {
      client.process.later("the end", 0, () => {
        const opened = client.isOpen ? Promise.resolve() : this.#openNewcomer(client);
        void opened
          .then(() => this.#look(client))
          .then(
            () => ended++,
            (error: unknown) => world.fail(`${client.log.name}: at the end: ${describe(error)}`),
          );
      });
    }
    const over = (): boolean =>
      ended === clients.length &&
      clients.every(({ log: { pending }, process }) => pending.size === 0 || !process.isAlive);
    if (!(await world.runUntil(over, PATIENCE_MS))) this.#reportHanging("at the end");
    for (const client of [...this.#living(), newcomer]) {
      const open = this.#system.open.get(client.process) ?? 0;
      if (client.isClosed && open !== 0) world.fail(`${client.log.name}: ${open} descriptors are open after close`);
    }
  }

  /** First of all, so that there is a file for the others to find. */
  async #open(client: Client): Promise<void> {
    client.process.later("comes", 0, () => void this.#openNewcomer(client));
    await this.#world.runUntil(() => client.isOpen, PATIENCE_MS);
  }

  async #openNewcomer(client: Client): Promise<void> {
    await client.db.open(PATH);
    client.begin();
    // Its verdicts on what was torn must be those of the model.
    const { counts } = client.db.stats();
    this.#ends.push((model) =>
      counts.stumps === model.stumps ? undefined : `${counts.stumps} stumps were counted, there are ${model.stumps}`,
    );
  }

  async #look(client: Client): Promise<void> {
    const { db, log } = client;
    let allTold = db.stats().session.durability !== "strict";
    try {
      await db.sync();
    } catch (error) {
      allTold = false;
      if (!this.#expected.unknown) throw error;
    }
    if (log.indexed) {
      const everything = { query: [], limit: Infinity, reverse: false, order: "key" } as const;
      const readings = client.process.clockReadings.length;
      client.process.environment.now();
      const entries = await db.listAll([], { consistency: "strong" });
      const clock = clockOf(client.process.clockReadings.slice(Math.max(0, readings - 1)));
      const version = client.version();
      this.#ends.push((model) => {
        if (version !== model.lastVersion) return `${log.name} ends at version ${version} of ${model.lastVersion}`;
        return listingFits(entries, everything, model, version, clock)
          ? undefined
          : `${log.name} ends in another state`;
      });
      log.final = { version, allTold };
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

function expectedOf(profile: Profile): Expected {
  const { system } = profile;
  const codes = new Set(["Closed", "TransactionConflict", "ReadOnly"]);
  if (profile.fill > 0 || system.shortWrite > 0) codes.add("NoSpace");
  if (system.writeError + system.readError + system.syncError > 0) codes.add("InputOutput");
  const replaced = profile.replace > 0;
  if (replaced) for (const code of ["LedgerMissing", "SnapshotExpired"]) codes.add(code);
  const unknown = replaced || system.readError + system.syncError > 0;
  if (unknown) codes.add("CommitOutcomeUnknown");
  return { codes, unknown, replaced };
}
