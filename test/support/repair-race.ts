import { logFolder, parseSlotKey, runKey, SLOT_VERSIONS, slotKey } from "../../src/adapters/object/layout.ts";
import { objectLedger } from "../../src/adapters/object/ledger.ts";
import { memoryStore } from "../../src/adapters/object/memory-store.ts";
import type { ObjectStore, StoreRequest } from "../../src/adapters/object/object-store.ts";
import { decodeRoot, type Root } from "../../src/adapters/object/root.ts";
import { KVError } from "../../src/core/errors.ts";
import { fileWork } from "../../src/core/file-work.ts";
import { CoreKV } from "../../src/core/kv.ts";
import type { OpenOptions } from "../../src/core/options.ts";
import { FaultyStore, seededFates, type StoreFate } from "../../src/testing/faulty-store.ts";
import { randomSource } from "./random.ts";
import { SimulatedTime } from "./simulated-time.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
/** A slot so far above the last one that a repair has taken over is of the next incarnation. */
const SLOTS_APART = 1_000_000;
/** So long anything takes at most, once nothing disturbs it. */
const PATIENCE_MS = 2 * HOUR;
/** What may be said of a bucket in which objects are damaged while others write. */
const CODES = new Set(
  ["Contention", "InputOutput", "LedgerDamaged", "LedgerMissing", "CommitOutcomeUnknown", "SnapshotExpired"].concat([
    "StoreInconsistent",
    "Closed",
    "VacuumRefused",
    "TransactionConflict",
  ]),
);

/** What is damaged of an incarnation: what one kind does can be made good, or be left out by a repair. A run that is damaged and a root that is lost are too much at once. */
type Harm = "runs" | "slots";

interface Told {
  readonly key: string;
  readonly version: number;
}

interface Process {
  readonly name: string;
  readonly db: CoreKV;
  readonly store: FaultyStore;
  isGone: boolean;
}

/**
 * Writers, collectors and repairers of one bucket in simulated time, by a seed: objects rot, the root is lost, processes die and stand still, requests are late, lost
 * or refused. What was acknowledged has to be there in the end, once, unless a repair has left it out: behind the last slot that it took over.
 */
export class RepairRace {
  readonly found: string[] = [];
  readonly counts = {
    told: 0,
    unknown: 0,
    repairs: 0,
    restored: 0,
    left: 0,
    harmed: 0,
    codes: new Map<string, number>(),
  };
  readonly #time: SimulatedTime;
  readonly #random: () => number;
  readonly #bucket: ObjectStore;
  readonly #processes: Process[] = [];
  readonly #told: Told[] = [];
  /** By incarnation: the last slot that was taken over. */
  readonly #lastSlots = new Map<string, number>();
  readonly #harms = new Map<string, Harm>();
  /** By incarnation that was left: versions that the report says could not be kept. */
  readonly #reported = new Map<string, readonly { readonly from: number; readonly to: number }[]>();
  #root: Root | undefined;
  #isCalm = false;
  /** Nothing rots in the middle of that: what it has read it builds from. */
  readonly #repairing = new Set<{ readonly nonce: string | undefined }>();
  #begunAt = -Infinity;
  #number = 0;
  readonly #trace: boolean;
  /** Hours go by, in which slots that nobody needs are deleted: then a damaged run is lost. */
  readonly #isLong: boolean;

  constructor(seed: number, trace = false) {
    this.#time = new SimulatedTime(seed);
    this.#random = randomSource(seed * 31 + 7);
    this.#trace = trace;
    this.#isLong = this.#chance(0.4);
    const store = memoryStore(this.#chance(0.7) ? { now: this.#time.now } : {});
    this.#bucket = {
      ...store,
      create: async (key, bytes) => {
        const answer = await store.create(key, bytes);
        if (key === "root" && answer.status === "created") this.#sawRoot(bytes);
        return answer;
      },
      replace: async (key, bytes, etag) => {
        const answer = await store.replace(key, bytes, etag);
        if (key === "root" && answer.status === "replaced") this.#sawRoot(bytes);
        return answer;
      },
    };
  }

  /** As many as there were. */
  get incarnations(): number {
    return this.#lastSlots.size + 1;
  }

  play(): Promise<void> {
    return this.#time.until(this.#play());
  }

  async #play(): Promise<void> {
    const count = 2 + this.#below(3);
    for (let i = 0; i < count; i++) await this.#start();
    const working = this.#processes.map((process) => this.#work(process));
    const end = this.#time.now() + (3 + this.#below(15)) * this.#scale * MINUTE;
    while (this.#time.now() < end) {
      await this.#pause(this.#random() * 20_000 * this.#scale);
      await this.#disturb(working);
    }
    this.#isCalm = true;
    this.#note("calm");
    const over = Promise.all(working).then(() => true);
    if (!(await Promise.race([over, this.#pause(PATIENCE_MS).then(() => false)]))) this.found.push("somebody hangs");
    await this.#pause(2 * HOUR);
    await this.#check();
  }

  // --- who is there --------------------------------------------------------------------------------------------------

  async #start(options: OpenOptions = {}): Promise<Process | undefined> {
    const name = `p${++this.#number}`;
    const environment = this.#time;
    const rates = { unsent: 0.01, answerLost: 0.02, late: 0.005, conflict: 0.02, truncated: 0.005 };
    const given = { ...rates, storm: 0.0005, delayMsMax: 150, lateMsMax: 20 * MINUTE };
    const fates = seededFates(this.#number * 1000 + this.#below(1000), given, environment);
    const fate = (request: StoreRequest): StoreFate | undefined => {
      if (this.#isCalm) return undefined;
      const drawn = fates(request);
      if (!this.#chance(0.002)) return drawn;
      return { ...drawn, delayMs: { there: this.#random() * 12 * MINUTE, back: this.#random() * 12 * MINUTE } };
    };
    const store = new FaultyStore(this.#bucket, { environment, fate });
    const process = {
      name,
      store,
      isGone: false,
      db: new CoreKV({ autoSync: this.#chance(0.5), syncIntervalMs: 30_000 }, this.#platform()),
    };
    process.db.on("error", (error) => this.#allow(name, error));
    const reach: ObjectStore = new Proxy(store, {
      get: (target, property) => {
        const value: unknown = Reflect.get(target, property, target);
        if (typeof value !== "function") return value;
        return async (...given: unknown[]): Promise<unknown> => {
          if (process.isGone) return await new Promise(() => undefined);
          const answer = (await (value as (...all: unknown[]) => unknown).apply(target, given)) as { status: string };
          if (this.#trace && property !== "get")
            this.#note(`${name} ${String(property)} ${JSON.stringify(given[0])} ${answer.status}`);
          return process.isGone ? await new Promise(() => undefined) : answer;
        };
      },
    });
    for (let tries = 0; tries < 60; tries++) {
      const repairing = { nonce: this.#root?.nonce };
      this.#repairing.add(repairing);
      try {
        await process.db.open(objectLedger(reach, this.#isLong ? { graceMs: HOUR } : {}), options);
        this.#processes.push(process);
        this.#note(`${name} is open`);
        return process;
      } catch (error) {
        this.#allow(name, error);
        this.#note(`${name} cannot open: ${String(error)}`);
        await this.#pause(5000);
      } finally {
        this.#repairing.delete(repairing);
      }
    }
    return undefined;
  }

  #platform() {
    return {
      environment: this.#time,
      fileWork,
      ledgerAt: (): never => {
        throw new Error("there are no files");
      },
    };
  }

  async #work(process: Process): Promise<void> {
    for (let number = 0; !this.#isCalm && !process.isGone; number++) {
      const some = this.#chance(0.2) ? 1 + this.#below(20) : 1;
      await Promise.race([
        Promise.all(Array.from({ length: some }, (_, i) => this.#commit(process, `${number}-${i}`))),
        this.#whenGone(process),
      ]);
      await this.#pause(this.#random() * 8000 * this.#scale);
    }
  }

  async #whenGone(process: Process): Promise<void> {
    while (!process.isGone) await this.#pause(60_000);
  }

  async #commit({ name, db }: Process, id: string): Promise<void> {
    const key = `${name} ${id}`;
    try {
      const value = this.#chance(0.03) ? "x".repeat(300_000) : this.#chance(0.3) ? "y".repeat(3000) : id;
      const result = await db.atomic().set(["own", key], value).sum(["sum"], 1).commit();
      if (!result.ok) return void this.found.push(`${key} is a conflict`);
      this.counts.told++;
      this.#told.push({ key, version: result.version });
    } catch (error) {
      this.#allow(name, error);
      if (error instanceof KVError && error.outcome === "unknown") this.counts.unknown++;
      else if (!(error instanceof KVError) || error.outcome === undefined) this.found.push(`${key}: ${String(error)}`);
    }
  }

  // --- what goes wrong -----------------------------------------------------------------------------------------------

  async #disturb(working: Promise<void>[]): Promise<void> {
    const living = this.#processes.filter(({ isGone }) => !isGone);
    const one = living[this.#below(living.length)];
    const draw = this.#random();
    if (draw < 0.4) await this.#harm();
    else if (draw < 0.52) void this.#repair(one);
    else if (draw < 0.6) void one.db.vacuum().catch((error: unknown) => this.#allow(one.name, error));
    else if (draw < 0.66 && living.length > 1) {
      this.#note(`${one.name} is gone`);
      one.isGone = true;
      void this.#join(working);
    } else if (draw < 0.74) void this.#join(working);
    else if (draw < 0.8) await this.#pause(this.#random() * 10 * MINUTE);
    else if (draw < 0.84) await this.#loseRoot();
  }

  async #join(working: Promise<void>[]): Promise<void> {
    const process = await this.#start({ repair: this.#chance(0.5) });
    if (process !== undefined) working.push(this.#work(process));
  }

  async #repair({ name, db }: Process): Promise<void> {
    this.#note(`${name} repairs`);
    const repairing = { nonce: this.#root?.nonce };
    this.#repairing.add(repairing);
    try {
      const report = await db.repair();
      this.counts.repairs++;
      const left = report.copy?.slice(0, 32) ?? "";
      if (this.#lastSlots.has(left)) this.#reported.set(left, report.dropped);
      this.#note(`${name} has repaired: ${JSON.stringify(report)}`);
    } catch (error) {
      this.#allow(name, error);
      this.#note(`${name} cannot repair: ${String(error)}`);
    } finally {
      this.#repairing.delete(repairing);
    }
  }

  /** Only what can be made good: runs whose slots are there, or slots that a repair may leave out. */
  async #harm(): Promise<void> {
    const root = this.#root;
    // What is read to be repaired stays as it was read: nobody reads it twice.
    const isRead = [...this.#repairing].some(({ nonce: read }) => read === root?.nonce);
    if (root === undefined || isRead || this.#time.now() - this.#begunAt < MINUTE / 2) return;
    const { nonce } = root;
    const slots = await this.#slotsOf(nonce);
    const harm = this.#harmOf(nonce);
    if (harm === "runs") {
      const whole = root.runs.filter(({ from, to }) => {
        for (let slot = from; slot <= to; slot++) if (!slots.has(slot)) return false;
        return true;
      });
      const run = whole[this.#below(whole.length)] as (typeof whole)[number] | undefined;
      if (run !== undefined) await this.#ruin(runKey(nonce, run));
    } else if (harm === "slots") {
      const tail = [...slots].filter((slot) => slot > root.checkpointSlot);
      const slot = tail[this.#below(tail.length)] as number | undefined;
      if (slot !== undefined) await this.#ruin(slotKey(nonce, slot));
    }
  }

  #harmOf(nonce: string): Harm {
    const known = this.#harms.get(nonce) ?? (!this.#isLong && this.#chance(0.6) ? "runs" : "slots");
    this.#harms.set(nonce, known);
    return known;
  }

  /** A slot that is gone at the end of the ledger nobody could tell from one that has yet to come. */
  async #ruin(key: string): Promise<void> {
    const answer = await this.#bucket.get(key);
    if (answer.status !== "found") return;
    this.counts.harmed++;
    this.#note(`${key} is ruined`);
    if (key.includes("/run/") && this.#chance(0.4)) return void (await this.#bucket.delete([key]));
    const bytes = answer.bytes.slice();
    for (let i = 0; i < 1 + this.#below(3); i++) bytes[this.#below(bytes.length)] ^= 1 + this.#below(255);
    await this.#bucket.replace(key, bytes, answer.etag);
  }

  async #loseRoot(): Promise<void> {
    if (this.#root === undefined || this.#harmOf(this.#root.nonce) !== "slots") return;
    this.counts.restored++;
    this.#note("the root is lost");
    await this.#bucket.delete(["root"]);
  }

  async #slotsOf(nonce: string): Promise<Set<number>> {
    const slots = new Set<number>();
    for (let after = "", more = true; more;) {
      const answer = await this.#bucket.list(logFolder(nonce), { after });
      if (answer.status !== "listed") throw answer.error;
      for (const { key } of answer.objects) slots.add(parseSlotKey(nonce, key) ?? 0);
      after = answer.objects.at(-1)?.key ?? after;
      ({ more } = answer);
    }
    return slots;
  }

  #sawRoot(bytes: Uint8Array): void {
    const { root } = decodeRoot(bytes, this.#time.crc32, "bucket");
    const before = this.#root;
    this.#root = root;
    this.#note(
      `root ${root.nonce.slice(0, 4)} checkpoint ${root.checkpointSlot} first ${root.firstSlot} epoch ${root.epoch} runs ${root.runs.length}`,
    );
    if (before === undefined || before.nonce === root.nonce) return;
    this.#begunAt = this.#time.now();
    const [former] = root.formers;
    // A repair, and no root made anew.
    if (former?.nonce === before.nonce && before.ledgerId === root.ledgerId) {
      this.#lastSlots.set(before.nonce, former.lastSlot);
    }
  }

  // --- what must hold ------------------------------------------------------------------------------------------------

  async #check(): Promise<void> {
    const fresh = await this.#start({ repair: true });
    if (fresh === undefined) return void this.found.push("nobody can open it any more");
    const { db } = fresh;
    await db.repair().catch((error: unknown) => this.found.push(`the last repair: ${String(error)}`));
    // Until then not everybody has heard of it.
    await this.#pause(6 * MINUTE);
    await db.sync();
    const entries = await db.listAll(["own"]);
    const there = new Map(entries.map(({ key, version }) => [key[1] as string, version]));
    const sum = await db.get<number>(["sum"]);
    if ((sum ?? 0) !== there.size) this.found.push(`the sum is ${sum}, of ${there.size}`);
    for (const { key, version } of this.#told) {
      if (there.get(key) === version) continue;
      const left = this.#leftOut(version);
      const reported = this.#reported.get(left ?? "");
      if (left !== undefined) this.counts.left++;
      if (reported?.some(({ from, to }) => from <= version && version < to) === false)
        this.found.push(`${key} of version ${version} was left out, and no report says so`);
      if (left === undefined)
        this.found.push(
          `${key} of version ${version} (slot ${Math.floor(version / SLOT_VERSIONS)}) is ${there.get(key)}`,
        );
    }
    const truth = JSON.stringify(entries.map(({ key, version }) => [key, version]));
    for (const process of this.#processes) {
      if (process.isGone || process === fresh) continue;
      try {
        await process.db.sync();
        const own = await process.db.listAll(["own"], { consistency: "strong" });
        if (JSON.stringify(own.map(({ key, version }) => [key, version])) !== truth)
          this.found.push(`${process.name} sees something else`);
        await process.db.set(["last", process.name], 1);
      } catch (error) {
        this.found.push(`${process.name} at the end: ${String(error)}`);
      }
    }
  }

  /** The incarnation that a repair has left it behind in: it lay behind what that took over, and before what it began. */
  #leftOut(version: number): string | undefined {
    const slot = Math.floor(version / SLOT_VERSIONS);
    return [...this.#lastSlots].find(([, last]) => slot > last && slot < last + SLOTS_APART)?.[0];
  }

  // --- the rest ------------------------------------------------------------------------------------------------------

  #allow(name: string, error: unknown): void {
    const code = error instanceof KVError ? error.code : String(error);
    this.counts.codes.set(code, (this.counts.codes.get(code) ?? 0) + 1);
    if (!CODES.has(code)) this.found.push(`${name}: ${String(error)}`);
  }

  #note(text: string): void {
    if (this.#trace) console.log(`${this.#time.now() - 1_700_000_000_000} ${text}`);
  }

  get #scale(): number {
    return this.#isLong ? 40 : 1;
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => void this.#time.setTimer(resolve, ms));
  }

  #chance(part: number): boolean {
    return this.#random() < part;
  }

  #below(count: number): number {
    return Math.floor(this.#random() * count);
  }
}
