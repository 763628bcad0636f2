import type { Entry } from "../../src/core/entry.ts";
import { encodeKey, type Key } from "../../src/core/key.ts";
import type { VacuumOptions } from "../../src/core/options.ts";
import type { CoreKV } from "../../src/core/kv.ts";
import type { Ledger } from "../../src/core/ledger.ts";
import { encodeValue } from "../../src/core/value.ts";
import type { WatchEntry } from "../../src/core/watch.ts";
import type { Check, Journal, Log, Outcome, Seen, Write } from "./journal.ts";
import type { Model, ModelRow } from "./model.ts";
import { describe, type Process, type World } from "./world.ts";

/** Errors that a run's faults explain. Any other one is a finding. */
export interface Expected {
  readonly codes: ReadonlySet<string>;
  /** True if something in this run can leave a commit's fate in the dark. */
  readonly unknown: boolean;
  /** True if somebody replaces the file: then a replica reloads, and goes back to what it finds. */
  readonly replaced: boolean;
  /** True if a replica may find out that it has missed a generation: then it reloads, and goes on from where that is. */
  readonly reloads: boolean;
  /** True if nothing keeps the next generation from taking its place, once nobody is disturbed any more. */
  readonly sealsEnd: boolean;
  /** Whether something had happened that leaves the fate of just this commit in the dark; left out where that cannot be told. */
  readonly leavesOpen?: (write: Write) => boolean;
}

/** Whoever can help with a seal has done so after so long, in simulated ms. */
const HELP_MS_MAX = 3000;

/** What is older is seen by every read of a file with `autoSync`, in ms. */
const LOOK_MS = 1;

/** What a reader may see: a range of versions, and of readings of its clock. */
interface Window {
  readonly from: number;
  /** So many of the commits that were acknowledged first have to be seen. */
  readonly acknowledged: number;
  readonly readings: number;
  readonly after: Write | undefined;
  /** Its place among all calls of its process: nothing is seen that came later there. */
  readonly number: number;
}

/** One process as its program sees it: a database, and the record of what it was told. */
export class Client {
  readonly process: Process;
  readonly world: World;
  readonly db: CoreKV;
  readonly ledger: Ledger;
  readonly log: Log;
  readonly #journal: Journal;
  readonly #expected: Expected;
  #tokens = 0;
  #calls = 0;
  #numbers = 0;
  #version = 0;
  /** The newest version among own commits that the caller was told of. */
  #acknowledged = 0;
  /** The last queued write to each key. */
  readonly #lastWrite = new Map<string, Write>();
  /** A transaction between begin and end is open: reads belong to it. */
  inTransaction = false;
  /** Loops that go on writing without waiting. */
  issuing = 0;
  isOpen = false;
  /** Read-only replicas and those without an index never do. */
  readonly mayVacuum: boolean;
  /** It may begin a vacuum at any time. */
  autoVacuum = false;
  isClosed = false;
  /** Its reads see what is so old, whatever they ask for. */
  looksAtReads = false;

  constructor(process: Process, db: CoreKV, ledger: Ledger, log: Log, journal: Journal, expected: Expected) {
    this.process = process;
    this.world = process.world;
    this.db = db;
    this.ledger = ledger;
    this.log = log;
    this.mayVacuum = log.indexed && !log.readOnly;
    // From the beginning: opening tells what it has found too.
    db.on("error", (error) => {
      const { code, ranges } = error as { code?: string; ranges?: unknown };
      // Where an older copy of the file lies beside a newer index; a power failure must not leave such a thing.
      const isCut = code === "LedgerDamaged" && ranges === undefined;
      if (isCut && !this.#expected.replaced) this.process.fail(`error event: ${describe(error)}`);
      if (!isCut) this.allow("error event", error);
    });
    this.#journal = journal;
    this.#expected = expected;
  }

  /** Called as soon as the database is open: from here on everything is to be told. */
  begin(): void {
    this.isOpen = true;
    const { db, log, process } = this;
    db.on("sync", (event) => {
      this.world.note(process.name, () => `sync event ${event.result}, ${event.applied} applied`);
      process.record(() => (log.applied += event.applied));
      if (event.result === "error") this.allow("sync event", event.error);
      if (event.result === "ledgerInvalidated" && !this.#expected.reloads)
        process.fail("ledgerInvalidated without reason");
    });
    if (!log.indexed) return;
    const from = this.version();
    process.record(() => (log.watchedFrom = from));
    db.watch([], (entry) => this.#saw(entry));
  }

  #saw(entry: WatchEntry): void {
    const isReload = entry.reset === true || entry.reloaded === true;
    if (isReload && !this.#expected.reloads) this.process.fail("a reload without reason");
    const seen: Seen =
      entry.reset === true
        ? { as: "reset", to: entry.version, key: "", version: entry.version, timestamp: 0, value: undefined }
        : {
            as: isReload ? "reloaded" : "commit",
            // Whoever is closing cannot ask any more.
            to: isReload ? (this.db.isOpen() ? this.db.stats().version : undefined) : entry.version,
            key: encodeKey(entry.key),
            version: entry.version,
            timestamp: entry.timestamp,
            value: stored(entry.value),
          };
    this.world.note(this.process.name, () => `is told of ${seen.as} ${seen.key} at ${seen.version}`);
    this.process.record(() => this.log.seen.push(seen));
    if (entry.reset === true) return;
    if (seen.to !== undefined) this.#noteVersion(seen.to);
    if (this.process.random.chance(0.05) && !this.inTransaction && this.isOpen)
      void this.get(entry.key, { least: entry.version });
  }

  /** The version that reads see now. */
  version(): number {
    const { version } = this.db.stats();
    this.#noteVersion(version);
    return version;
  }

  #noteVersion(version: number): void {
    if (version < this.#version && !this.#expected.replaced)
      this.process.fail(`the version went back from ${this.#version} to ${version}`);
    this.#version = version;
    this.process.record(() => this.#journal.see(version));
  }

  newToken(): string {
    return `${this.process.name}.${++this.#tokens}`;
  }

  // --- writes --------------------------------------------------------------------------------------------------------

  /** Puts a write on record, and what becomes of it. Resolves, whatever that is, when the caller was told. */
  async write(
    what: string,
    token: string | undefined,
    keys: readonly Key[],
    run: (write: Write) => Promise<unknown>,
    options: { readonly queued: boolean } = { queued: true },
  ): Promise<Write> {
    const { process, log } = this;
    const write: Write = {
      process,
      what,
      token,
      queued: options.queued,
      number: ++this.#numbers,
      calledAt: this.world.steps,
      toldAt: undefined,
      behindFailedSyncs: [...process.failedSyncs],
      outcome: undefined,
      version: undefined,
      error: undefined,
      reads: new Map(),
      combines: [],
      from: this.#version,
      to: Infinity,
    };
    process.record(() => log.writes.push(write));
    if (options.queued) for (const key of keys) this.#lastWrite.set(encodeKey(key), write);
    let outcome: Outcome;
    let version: number | undefined;
    const call = this.#call(what);
    try {
      const result = await run(write);
      outcome = result === 0 ? "nothing" : "committed";
      if (typeof result === "object" && result !== null) {
        if ("ok" in result && result.ok === false) outcome = "conflict";
        if ("version" in result && typeof result.version === "number") version = result.version;
      }
    } catch (error) {
      write.error = error;
      outcome = this.#outcomeOf(write, error);
    }
    this.log.pending.delete(call);
    this.world.note(
      process.name,
      () =>
        `${what} ${token ?? ""} is ${outcome} ${version ?? ""} ${write.error === undefined ? "" : describe(write.error)}`,
    );
    if (version !== undefined) this.#acknowledged = Math.max(this.#acknowledged, version);
    const toldAt = this.world.steps;
    const to = this.#journal.newest();
    process.record(() => {
      write.outcome = outcome;
      write.version = version;
      write.toldAt = toldAt;
      write.to = to;
      const commit = version ?? (outcome === "committed" ? token : undefined);
      if (commit !== undefined) this.#journal.acknowledge(commit, this.world.now);
    });
    return write;
  }

  /** As `write`, for what deletes the keys that `matching` finds in a state: of those that were there for long enough, none stays as it was. */
  async deleteAll(
    what: string,
    run: () => Promise<number>,
    matching: (model: Model, version: number) => readonly string[],
  ): Promise<void> {
    const known = this.looksAtReads && !this.inTransaction ? this.#knownUntil(LOOK_MS) : 0;
    const { outcome } = await this.write(what, undefined, [], run);
    if (!this.isOpen || (outcome !== "committed" && outcome !== "nothing")) return;
    const to = this.version();
    this.#later(what, (model) => {
      const from = this.#journal.newestOf(known, model);
      const left = matching(model, from).filter((key) => {
        const row = model.at(key, from);
        return row?.expiresAt === 0 && row.version === model.at(key, to)?.version;
      });
      return left.length === 0
        ? undefined
        : `at version ${to} there still is what was there at ${from}: ${left.join(", ")}`;
    });
  }

  /** How many commits were acknowledged so long ago. */
  #knownUntil(ms: number): number {
    return this.#journal.acknowledgedUntil(this.world.now - ms);
  }

  #outcomeOf(write: Write, error: unknown): Outcome {
    const { what } = write;
    const { code, outcome } = error as { code?: string; outcome?: string };
    if (code === "TypeMismatch") return "mismatch";
    this.allow(what, error);
    const isExplained = this.#expected.unknown && this.#expected.leavesOpen?.(write) !== false;
    if (outcome === "unknown" && !isExplained)
      this.process.fail(`${what}: an unknown outcome without reason: ${describe(error)}`);
    if (outcome !== "not committed" && outcome !== "unknown")
      this.process.fail(`${what}: an error that tells no outcome: ${describe(error)}`);
    return outcome === "unknown" ? "unknown" : "not committed";
  }

  allow(what: string, error: unknown): void {
    const { cause } = (error ?? {}) as { cause?: unknown };
    if (cause instanceof RangeError || cause instanceof TypeError)
      this.process.fail(`${what}: a mistake of its own: ${describe(cause)}`);
    const code = (error as { code?: string } | undefined)?.code;
    if (code === undefined || !this.#expected.codes.has(code)) this.process.fail(`${what}: ${describe(error)}`);
    const isCalm = this.world.now - this.world.calmSince > HELP_MS_MAX;
    if (code === "LedgerSealed" && this.#expected.sealsEnd && isCalm)
      this.process.fail(`${what}: nobody helped, and nothing hindered anybody: ${describe(error)}`);
  }

  #call(what: string): string {
    const call = `${what} #${++this.#calls}`;
    this.log.pending.add(call);
    this.world.note(this.process.name, () => `calls ${what}`);
    return call;
  }

  /** Follows to the end; with a strict replica that is durable then. */
  async sync(): Promise<void> {
    await this.read(
      "sync",
      async () => {
        const version = this.version();
        await this.db.sync();
        if (this.log.strict && !this.log.readOnly && !this.world.hasTrusted.has(this.process))
          this.process.record(() => (this.#journal.synced = Math.max(this.#journal.synced, version)));
      },
      () => true,
      { strong: true },
    );
  }

  /** Lets the ledger begin anew, as far as it comes. */
  async vacuum(options: VacuumOptions): Promise<void> {
    const call = this.#call(`vacuum ${JSON.stringify(options)}`);
    try {
      const { author, generation, purged } = await this.db.vacuum(options);
      this.world.note(
        this.process.name,
        () => `vacuum is over, generation ${generation}, ${author ? "own" : "another's"}, ${purged} purged`,
      );
    } catch (error) {
      this.world.note(this.process.name, () => `vacuum failed: ${describe(error)}`);
      if (options.signal?.aborted !== true) this.allow("vacuum", error);
    }
    this.log.pending.delete(call);
  }

  /** Lets a damaged ledger begin anew with what is whole. */
  async repair(): Promise<void> {
    const call = this.#call("repair");
    const { looksAtReads } = this;
    // Nothing is followed between what it keeps and the seal that it writes; if that has no successor yet, not later either.
    this.looksAtReads = false;
    try {
      const { dropped, generation } = await this.db.repair();
      this.looksAtReads = looksAtReads;
      this.world.note(this.process.name, () => `has repaired, generation ${generation}, ${dropped.length} dropped`);
    } catch (error) {
      this.world.note(this.process.name, () => `repair failed: ${describe(error)}`);
      this.allow("repair", error);
    }
    this.log.pending.delete(call);
  }

  // --- reads ---------------------------------------------------------------------------------------------------------

  /** Runs a read and puts a check of its result on record. Undefined if it failed for a reason that the run explains. */
  async read<T>(
    what: string,
    run: () => Promise<T>,
    check: (result: T, model: Model, version: number, clock: Clock) => boolean,
    options: {
      readonly strong?: boolean;
      readonly key?: Key;
      readonly least?: number;
      readonly asIs?: boolean;
      /** It takes effect at the end, as a transaction does, not when it is called. */
      readonly late?: boolean;
    } = {},
  ): Promise<T | undefined> {
    const { process } = this;
    const window: Window = {
      from: Math.max(
        this.version(),
        options.least ?? 0,
        options.strong === true ? Math.max(this.#journal.newest(), this.#acknowledged) : 0,
      ),
      acknowledged: this.#journal.acknowledgedUntil(
        options.strong === true ? Infinity : this.looksAtReads && options.asIs !== true ? this.world.now - LOOK_MS : -1,
      ),
      readings: Math.max(0, process.clockReadings.length - 1),
      after: options.key === undefined ? undefined : this.#lastWrite.get(encodeKey(options.key)),
      number: ++this.#numbers,
    };
    const { rebuilds } = this.db.stats().counts;
    process.environment.now();
    const call = this.#call(what);
    let result: T;
    try {
      result = await run();
    } catch (error) {
      this.log.pending.delete(call);
      this.allow(what, error);
      return undefined;
    }
    this.log.pending.delete(call);
    if (!this.isOpen) return result;
    const to = this.version();
    // What it had to read was gone, and it was made again when the state had been built anew.
    const isMadeAgain = this.db.stats().counts.rebuilds > rebuilds;
    const readings = process.clockReadings.slice(window.readings);
    const clock = clockOf(readings);
    this.world.note(process.name, () => `${what} answers, between versions ${window.from} and ${to}`);
    this.#later(what, (model) => {
      const own = window.after?.outcome === "committed" ? (window.after.version ?? 0) : 0;
      const from = Math.max(window.from, own, this.#journal.newestOf(window.acknowledged, model));
      const until = options.late === true || isMadeAgain ? to : Math.min(to, this.#versionBefore(window.number, model));
      if (from > until) return `read at version ${until}, though ${from} was to be seen`;
      if (model.versionsBetween(from, until).some((version) => check(result, model, version, clock))) return undefined;
      return `fits no version from ${from} to ${until}: ${JSON.stringify(result, (_, value: unknown) => (typeof value === "bigint" ? `${value}n` : value)).slice(0, 300)}`;
    });
    return result;
  }

  /** The last version before the first own commit that was called later. */
  #versionBefore(number: number, model: Model): number {
    const versions = this.log.writes
      .filter((write) => write.number > number && write.outcome === "committed")
      .map(({ version, token }) => version ?? (token === undefined ? undefined : model.versionOf(token)) ?? Infinity);
    return Math.min(...versions) - 1;
  }

  #later(what: string, check: Check): void {
    this.process.record(() => this.#journal.checks.push({ who: this.process.name, what, check }));
  }

  get(
    key: Key,
    options: { readonly strong?: boolean; readonly least?: number } = {},
  ): Promise<Entry | null | undefined> {
    const consistency = options.strong === true ? "strong" : "eventual";
    return this.read(
      `get ${key.join("/")}`,
      () => this.db.getEntry(key, { consistency }),
      (entry, model, version, clock) => entryFits(entry, model, encodeKey(key), version, clock),
      { ...options, key },
    );
  }
}

/** Readings of a clock while something was going on. */
export interface Clock {
  readonly from: number;
  readonly to: number;
}

export function clockOf(readings: readonly number[]): Clock {
  return { from: Math.min(...readings), to: Math.max(...readings) };
}

/** True if an entry, or null, is what the model holds. An entry that expires within the clock's readings may be there or not. */
export function entryFits(entry: Entry | null, model: Model, key: string, version: number, clock: Clock): boolean {
  const row = model.at(key, version);
  const isGone = row === undefined || (row.expiresAt !== 0 && row.expiresAt <= clock.from);
  const mayBeGone = isGone || (row.expiresAt !== 0 && row.expiresAt <= clock.to);
  if (entry === null) return mayBeGone;
  return row !== undefined && !isGone && sameEntry(entry, row);
}

export function sameEntry(entry: Entry, row: ModelRow): boolean {
  return (
    entry.version === row.version &&
    entry.timestamp === row.timestamp &&
    (entry.expiresAt ?? 0) === row.expiresAt &&
    Object.is(stored(entry.value), row.value)
  );
}

/** A value in the form in which the model keeps it. */
export function stored(value: unknown): number | bigint | string | undefined {
  if (value === undefined || typeof value === "number" || typeof value === "bigint") return value;
  return Buffer.from(encodeValue(value)).toString("hex");
}
