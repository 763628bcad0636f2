import { createHash } from "node:crypto";
import { posix } from "node:path";
import { hasCode } from "../../src/core/errors.ts";
import { SYNC_MS_MAX, System, type SystemFaults } from "./calls.ts";
import { Client, clockOf, type Expected } from "./client.ts";
import { Ghost } from "./ghost.ts";
import type { Inode, Loss } from "./inode.ts";
import { type Check, Journal } from "./journal.ts";
import { headerOf, LedgerFile } from "./ledger-file.ts";
import { listingFits } from "./listing.ts";
import { Model } from "./model.ts";
import { drawProfile, expectedOf, type Leaning, type Profile } from "./profile.ts";
import { makeReplica, type ReplicaOptions } from "./replica.ts";
import { verify, verifyLoss, verifyReplaced } from "./verify.ts";
import { work } from "./workload.ts";
import { describe, Process, World } from "./world.ts";

/**
 * Several databases over one simulated file, under one scheduler, by one seed.
 *
 * What is real: everything in `src`, from the calls that a program makes down to the file adapter, but for some constants (sources.ts): what
 * happens once in many commits or megabytes happens here every few. What is simulated: the system calls (`FileSystemCalls`, `ReplacingCalls`)
 * and time, timers and randomness (`Environment`), each process its own.
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
 * - A process can be killed at any moment: between two steps, and in any system call, before it is done or behind it. In the middle of a write, the part that is visible stays, and others append behind it; what
 *   it has done behind the call is undone with it, for nobody has heard of it.
 * - A write may take fewer bytes than it was given, with the disk full or not, and may fail without a trace. A read may give fewer bytes than
 *   there are, and may fail. A disk that was full has room again later. A sync takes time, and may fail; what it has failed to make durable,
 *   another one may, or none does any more: each descriptor that was open is told of that once, and whoever opens the file later is not.
 * - The power fails at any moment, several times in a run. All processes are gone, and what everybody saw is not what is left: a file is as it was
 *   when it was last synced; of what was written since, a seed keeps all, nothing, all up to some byte, with zeros behind it or without, or, in
 *   some runs, any sectors of 512 bytes, with zeros in place of the others. A directory's names are as they were at some time since it was synced:
 *   new files, renames and deletions are lost in the order in which they were made, whether what they lead to is durable or not. A file that
 *   nothing leads to is gone. Then others open what is left.
 * - A process can be stopped, and go on later with its own clock hours ahead. Wall clocks differ, jump forwards and backwards; monotonic ones
 *   only leap.
 * - A notification can be late, lost, or for nothing.
 * - In some runs somebody deletes the file, or puts an older copy in its place, under everybody's hands; in some what lies beside it: files of
 *   the index, or a sibling that a seal names.
 * - Processes are opened and closed at any time; several create the same ledger at once.
 *
 * Not simulated: bytes that change by themselves, files cut in place, what becomes of those who trust what a failed sync had thrown away before they came, names of one directory that
 * become durable out of order, vacuums of a file that somebody else replaces.
 *
 * What must hold afterwards stands in verify.ts and, for reads, where the workload makes them. Besides: every call of a living process is
 * answered within bounded time, no contract between engine and ledger is broken, nothing is reported as damaged that is not, no descriptor leaks,
 * none of a generation that has passed stays open, and vacuums leave no sibling behind.
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
const SIBLING = /^ledger\.db\.\d+-/;
const INDEX = /^ledger\.db\.idx/;
/** What creates a ledger appends so much. */
const NEW_BYTES = 262;
/** Simulated ms within which everything that is under way must be over, once nothing disturbs it. */
const PATIENCE_MS = 30_000;

export async function simulate(
  seed: number,
  options: { readonly traced?: boolean; readonly leaning?: Leaning | undefined } = {},
): Promise<RunResult> {
  const run = new Run(seed, options.traced === true, options.leaning);
  try {
    await run.play();
  } catch (error) {
    // What was written made no sense to the checks either.
    run.report([describe(error)]);
  }
  return run.result(seed);
}

class Run {
  readonly #world: World;
  readonly #profile: Profile;
  readonly #system: System;
  #journal = new Journal();
  #ghost: Ghost;
  #expected: Expected;
  #clients: { readonly client: Client; done: boolean }[] = [];
  #started = 0;
  #calm = false;
  readonly #mayHaveStopped: boolean;
  #isDamaged = false;
  /** Files of which a power failure kept what was written later and lost what was written before. */
  readonly #outOfOrder = new Set<Inode>();
  /** What everybody must agree on at the end, whatever has happened. */
  readonly #ends: Check[] = [];
  /** What a backup has kept. */
  #backup: Uint8Array | undefined;
  #found: readonly string[] = [];
  #commits = 0;
  #digest = "";

  constructor(seed: number, traced: boolean, leaning: Leaning | undefined) {
    this.#world = new World(seed, traced);
    const { random } = this.#world;
    this.#profile = drawProfile(random, leaning);
    this.#system = new System(this.#world, this.#profile.system);
    this.#system.crashed = () => this.#replace();
    this.#ghost = new Ghost(this.#world, this.#system, this.#journal);
    this.#expected = expectedOf(this.#profile, false);
    this.#mayHaveStopped = this.#profile.system.readError > 0;
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
    world.disturb = () => this.#disturb();
    world.interfere = (caller) => this.#interfere(caller);
    for (let i = 0; i < this.#profile.processes; i++) this.#start();
    for (const steps of this.#profile.losses) {
      const until = world.steps + steps;
      await world.runUntil(() => world.steps >= until, 600_000);
      if (world.violations.length > 0 || !this.#losePower()) return;
    }
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
    const model = this.#model();
    this.#commits = model.commits.length;
    if (model.isSealed && this.#mayVacuum()) this.report(["the ledger stays sealed"]);
    this.report([
      ...(this.#expected.replaced
        ? verifyReplaced(this.#journal, [...this.#otherModels(), model])
        : verify(this.#journal, model)),
      ...this.#ends.flatMap((check) => check(model) ?? []),
    ]);
  }

  report(found: readonly string[]): void {
    this.#found = [...this.#found, ...found];
    for (const each of found) this.#world.note("!", () => each);
  }

  // --- the ledger as it is -------------------------------------------------------------------------------------------

  /** What lies at the path, and all generations that led to it. */
  #model(): Model {
    const at = this.#world.disk.lookup(PATH);
    const files = at === undefined ? [] : [new LedgerFile(at.read(undefined, 0, Infinity))];
    for (let header = files[0]?.header; header !== undefined && header.generation > 1; header = files[0].header) {
      const { nonce } = header;
      const before = this.#ledgerFiles().find((each) => each.seal?.siblingNonce === nonce);
      if (before === undefined) {
        this.#world.fail(`generation ${header.generation} is in its place, and no seal names it`);
        break;
      }
      files.unshift(before);
    }
    return new Model(files);
  }

  /** All files that ever were a generation. */
  #ledgerFiles(): LedgerFile[] {
    return this.#world.disk.inodes
      .map((inode) => inode.read(undefined, 0, Infinity))
      .filter((bytes) => headerOf(bytes) !== undefined)
      .map((bytes) => new LedgerFile(bytes));
  }

  /** Of those where no generation leads to another. */
  #otherModels(): Model[] {
    return this.#ledgerFiles().map((file) => new Model([file]));
  }

  // --- processes -----------------------------------------------------------------------------------------------------

  #start(): void {
    const { random } = this.#world;
    const process = new Process(this.#world, `p${++this.#started}`);
    process.wallOffset = random.chance(0.3) ? random.between(-1, 1) * random.next() * 3_600_000 : random.next() * 10;
    const strict = random.chance(this.#profile.strict);
    const readOnly = random.chance(this.#profile.readOnly);
    const options: ReplicaOptions = {
      kv: {
        autoSync: random.chance(0.85),
        syncIntervalMs: random.pick(this.#profile.pollsMs),
        disableIndex: random.chance(0.06) && !readOnly,
        sideIndex: random.chance(this.#profile.sideIndex),
        cacheBytesMax: random.pick([0, 3000, 32 * 1024 * 1024]),
        purgeAfterMs: random.pick([1, 100, 24 * 3_600_000]),
        autoVacuum: this.#profile.vacuum > 0 && !readOnly && random.chance(0.2),
      },
      readOnly,
      durability: strict ? "strict" : "relaxed",
      readBytes: random.pick([64, 300, 4000, 1_000_000]),
      asynchronous: this.#profile.asynchronous,
    };
    process.strict = strict && !readOnly;
    process.ledgerPath = PATH;
    const { db, ledger } = makeReplica(process, this.#system.callsFor(process), PATH, options);
    const log = this.#journal.begin(process, { readOnly, indexed: options.kv.disableIndex !== true, strict });
    const entry = { client: new Client(process, db, ledger, log, this.#journal, this.#expected), done: false };
    entry.client.autoVacuum = options.kv.autoVacuum === true;
    // A ledger that cannot be followed can still be read.
    entry.client.looksAtReads = options.kv.autoSync === true && !this.#mayHaveStopped;
    this.#clients.push(entry);
    this.#world.note(process.name, () => `starts ${JSON.stringify(options)}`);
    process.later("main", random.next() * 20, () => {
      void this.#main(entry.client, options, random.between(1, this.#profile.actions)).then(
        () => (entry.done = true),
        (error: unknown) => process.fail(describe(error)),
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
          client.process.fail(`open: ${describe(error)}`);
        if (tries > 20 || !client.process.isAlive) return;
        await client.process.sleep(50);
      }
    }
    client.begin();
    if (this.#isDamaged && client.mayVacuum && client.process.random.chance(0.5)) await client.repair();
    await work(client, actions, this.#profile);
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
    if (random.chance(profile.tidyIndex)) this.#deleteOne(INDEX);
    if (random.chance(profile.tidySiblings)) this.#deleteOne(SIBLING);
    if (random.chance(profile.clock)) {
      const client = random.pick(this.#living());
      if (client !== undefined)
        client.process.wallOffset += (random.next() - 0.5) * random.pick([10, 1000, 7_200_000, 30_000_000]);
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

  #deleteOne(pattern: RegExp): void {
    const { disk, random } = this.#world;
    const name = random.pick(disk.list(posix.dirname(PATH)).filter((each) => pattern.test(each)));
    if (name === undefined) return;
    this.#world.note("world", () => `deletes ${name}`);
    disk.unlink(posix.join(posix.dirname(PATH), name));
  }

  /** All processes are gone, and not all that they wrote is left. False if that was the end of it. */
  #losePower(): boolean {
    const world = this.#world;
    const { random, disk } = world;
    for (const { process } of this.#living()) process.kill();
    for (const inode of disk.inTransit()) this.#ghost.die(inode);
    const before = this.#model();
    this.report(verify(this.#journal, before).filter(() => !this.#expected.replaced));
    const losses: Loss[] = ["all", "tail", "tail in zeros"];
    if (this.#profile.unordered) losses.push("sectors", "sectors", "sectors");
    const all = random.chance(0.3) ? random.pick(losses) : undefined;
    const kinds = new Map<Inode, Loss>();
    const hadFailures = new Set(disk.inodes.filter(({ failures }) => failures > 0));
    disk.losePower(random, (inode) => {
      const loss = all ?? random.pick(losses);
      kinds.set(inode, loss);
      return loss;
    });
    const path = disk.lookup(PATH);
    const bytes = path?.read(undefined, 0, Infinity) ?? new Uint8Array(0);
    // The beginning is gone, before anybody had it synced: what is left is nobody's ledger, and none that has yet to begin unless it is the zeros that creators leave.
    const isBlank = bytes.length % NEW_BYTES === 0 && bytes.every((byte) => byte === 0);
    const isNone = headerOf(bytes) === undefined && !isBlank;
    const after = isNone ? new Model([]) : this.#model();
    world.note("world", () => `the power fails: ${after.commits.length} of ${before.commits.length} commits are left`);
    world.note("world", () => [...kinds].map(([inode, kind]) => `${inode.number} loses ${kind}`).join(", "));
    for (const [inode, loss] of kinds) if (loss === "sectors" || hadFailures.has(inode)) this.#outOfOrder.add(inode);
    const inOrder = path === undefined || !this.#outOfOrder.has(path);
    this.report(verifyLoss(this.#journal, before, after, inOrder));
    // Whoever has trusted what was lost may have saved an index of it, or copied it: of what comes of that nothing is promised.
    if (isNone || world.hasTrusted.size > 0) return false;
    // What is lost of a sealed file the next generation may hold in its snapshot, which the model does not read.
    if (after.isSealed && hadFailures.has(path as Inode)) return false;
    this.#beginAgain(after.damage > 0);
    return true;
  }

  #beginAgain(damaged: boolean): void {
    const world = this.#world;
    world.now += world.random.pick([1, 1000, 7_200_000]);
    world.processes = [];
    this.#clients = [];
    this.#stopped.clear();
    this.#system.open.clear();
    this.#journal = new Journal();
    this.#ghost = new Ghost(world, this.#system, this.#journal);
    this.#expected = expectedOf(this.#profile, damaged);
    this.#isDamaged = damaged;
    for (let i = 0; i < this.#profile.processes; i++) this.#start();
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
      if ((error as { code?: string }).code !== "TransactionOpen") process.fail(`close: ${describe(error)}`);
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
    const slept = this.#world.random.next() * this.#world.random.pick([100, 7_200_000]);
    process.monotonicOffset += slept;
    process.wallOffset += slept;
    this.#world.note(process.name, () => "goes on");
  }

  // --- the end -------------------------------------------------------------------------------------------------------

  #calmDown(): void {
    this.#world.note("world", () => "calm");
    this.#calm = true;
    this.#world.calmSince = this.#world.now;
    this.#world.disk.freeBytes = Infinity;
    for (const process of this.#stopped.keys()) this.#goOn(process);
    for (const name of Object.keys(this.#profile.system) as (keyof SystemFaults)[]) {
      if (name !== "hintLateMs") this.#profile.system[name] = 0;
    }
  }

  /** Everybody who lives follows to the end and says what it sees; so do some who come only now. */
  async #bringToEnd(): Promise<void> {
    const world = this.#world;
    if (this.#expected.replaced) await this.#openFirst(this.#newcomer("first", true));
    await this.#endAll(this.#living().filter((client) => client.autoVacuum && client.isOpen));
    if (this.#profile.cleanUp && this.#mayVacuum()) await this.#cleanUp();
    if (world.violations.length > 0) return;
    const plain = this.#newcomer("plain", false);
    const indexed = this.#newcomer("indexed", true);
    const clients = [...this.#living().filter((client) => client.isOpen), plain, indexed];
    let ended = 0;
    for (const client of clients) {
      client.process.later("the end", 0, () => {
        const opened = client.isOpen ? Promise.resolve() : this.#openNewcomer(client);
        void opened
          .then(() => {
            if (client === plain) this.#compareVerdicts(client);
            return this.#unsealed(client);
          })
          .then(() => this.#look(client))
          .then(
            () => ended++,
            (error: unknown) => client.process.fail(`at the end: ${describe(error)}`),
          );
      });
    }
    const over = (): boolean =>
      ended === clients.length &&
      clients.every(({ log: { pending }, process }) => pending.size === 0 || !process.isAlive);
    if (!(await world.runUntil(over, PATIENCE_MS))) this.#reportHanging("at the end");
    const left = (): string[] =>
      this.#living()
        .filter(({ isClosed }) => isClosed)
        .flatMap(({ log, process }) =>
          [...(this.#system.open.get(process) ?? [])].map(({ path }) => `${log.name}: open after close: ${path}`),
        );
    // What is being made durable stays open until that is done.
    await world.runUntil(() => left().length === 0, SYNC_MS_MAX * 10);
    for (const message of left()) world.fail(message);
  }

  async #endAll(clients: readonly Client[]): Promise<void> {
    for (const client of clients) client.process.later("ends", 0, () => void this.#end(client));
    const over = (): boolean => clients.every(({ isClosed, process }) => isClosed || !process.isAlive);
    if (!(await this.#world.runUntil(over, PATIENCE_MS))) this.#reportHanging("closed");
  }

  /** Nothing is wrong with the ledger that would forbid it. */
  #mayVacuum(): boolean {
    return !this.#expected.replaced && this.#profile.tidySiblings === 0 && this.#model().damage === 0;
  }

  #newcomer(name: string, sideIndex: boolean): Client {
    const process = new Process(this.#world, name);
    const options: ReplicaOptions = {
      kv: { sideIndex },
      readOnly: false,
      durability: "relaxed",
      readBytes: 1_000_000,
      asynchronous: 0,
    };
    const { db, ledger } = makeReplica(process, this.#system.callsFor(process), PATH, options);
    const log = this.#journal.begin(process, { readOnly: false, indexed: true, strict: false });
    const client = new Client(process, db, ledger, log, this.#journal, this.#expected);
    this.#clients.push({ client, done: true });
    return client;
  }

  /** So that there is a file for the others to find. */
  async #openFirst(client: Client): Promise<void> {
    client.process.later("comes", 0, () => void this.#openNewcomer(client));
    await this.#world.runUntil(() => client.isOpen, PATIENCE_MS);
  }

  async #openNewcomer(client: Client): Promise<void> {
    await client.db.open(PATH);
    client.begin();
  }

  /** Resolves when nobody has to help any more; at some time too if nobody can. */
  async #unsealed({ process }: Client): Promise<void> {
    for (let tries = 0; tries < 100; tries++) {
      const bytes = this.#world.disk.lookup(PATH)?.read(undefined, 0, Infinity);
      if (bytes === undefined || new LedgerFile(bytes).seal === undefined) return;
      await process.sleep(100);
    }
  }

  /** Two vacuums by somebody who comes for that: the second one finds every generation passed that anybody had begun. */
  async #cleanUp(): Promise<void> {
    const client = this.#newcomer("cleaner", true);
    let done = false;
    let isDamaged = false;
    client.process.later("cleans up", 0, () => {
      void this.#openNewcomer(client)
        .then(() => client.db.vacuum())
        .then(() => client.db.vacuum())
        .then(
          () => (done = true),
          (error: unknown) => {
            // What a power failure has left of the next generation, whose name it took away, is seen by whoever gives it that name again.
            isDamaged = hasCode(error, "LedgerDamaged") && this.#model().damage > 0;
            if (isDamaged) done = true;
            else client.process.fail(`cleaning up: ${describe(error)}`);
          },
        );
    });
    if (!(await this.#world.runUntil(() => done, PATIENCE_MS))) this.#reportHanging("cleaned up");
    if (isDamaged) return;
    const siblings = this.#world.disk.list(posix.dirname(PATH)).filter((name) => SIBLING.test(name));
    if (siblings.length > 0) this.#world.fail(`siblings stay: ${siblings.join(", ")}`);
  }

  /** The verdicts on what was torn or lost are those of the model. */
  #compareVerdicts({ db }: Client): void {
    const { counts, damage, generation } = db.stats();
    this.#ends.push((model) => {
      // What it found was in the file that was sealed then.
      if (generation !== Math.max(1, model.bases.length)) return undefined;
      if (counts.stumps !== model.stumps) return `${counts.stumps} stumps were counted, there are ${model.stumps}`;
      if (counts.lostBytes !== model.lostBytes)
        return `${counts.lostBytes} lost bytes were counted, there are ${model.lostBytes}`;
      return damage.length === model.damage
        ? undefined
        : `${damage.length} of ${model.damage} damaged places were found`;
    });
  }

  async #look(client: Client): Promise<void> {
    const { db, log } = client;
    let allTold = !log.strict;
    try {
      await db.sync();
    } catch (error) {
      allTold = false;
      if (!this.#expected.unknown) throw error;
      // A value that was needed could not be read: it has stopped there for good.
      if (this.#mayHaveStopped) return this.#end(client);
    }
    if (log.indexed) {
      const everything = { query: [], limit: Infinity, reverse: false, order: "key" } as const;
      const readings = client.process.clockReadings.length;
      client.process.environment.now();
      const entries = await db.listAll([], { consistency: "strong" });
      const count = await db.count([]);
      const clock = clockOf(client.process.clockReadings.slice(Math.max(0, readings - 1)));
      const version = client.version();
      for (const entry of entries) {
        const again = await db.getEntry(entry.key);
        if (again !== null && again.version !== entry.version)
          client.process.fail(
            `${entry.key.join("/")} is listed at version ${entry.version} and got at ${again.version}`,
          );
      }
      this.#ends.push((model) => {
        if (version !== model.lastVersion) return `${log.name} ends at version ${version} of ${model.lastVersion}`;
        const fits = listingFits(entries, everything, model, version, clock);
        return fits && count <= entries.length ? undefined : `${log.name} ends in another state`;
      });
      const { reloads } = db.stats().counts;
      client.process.record(() => (log.final = { version, allTold, reloads }));
    }
    // What was being made durable is by then.
    await client.process.sleep(SYNC_MS_MAX);
    this.#compareOpenFiles(client);
    await this.#end(client);
  }

  /** Nobody reads what generations that have passed held any more. */
  #compareOpenFiles({ process, log }: Client): void {
    const present = this.#world.disk.lookup(PATH);
    for (const { inode, path } of this.#system.open.get(process) ?? []) {
      if (inode !== present && headerOf(inode.read(undefined, 0, Infinity)) !== undefined && !this.#expected.replaced)
        this.#world.fail(`${log.name} has ${path} open, which is no longer the ledger`);
    }
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
