import { type Amount, Backlog } from "./backlog.ts";
import type { Environment } from "./environment.ts";
import { whenLoaded } from "./bytes-at.ts";
import { isPromise, type MaybePromise } from "./environment.ts";
import { hasCode, KVError } from "./errors.ts";
import { type HeldRun, IndexDamaged, type OpenedRuns, openRuns } from "./held-run.ts";
import { mergedCursor } from "./layers.ts";
import type { Checkpoint, CheckpointStore, Position, StoredRun } from "./ledger.ts";
import { countToMerge } from "./tiers.ts";
import { memoryRun } from "./memory-run.ts";
import type { Overlay } from "./overlay.ts";
import type { Pacer } from "./pacer.ts";
import type { Replica } from "./replica.ts";
import { RowCopy } from "./row-copy.ts";
import { fileRunBuilder } from "./file-run.ts";
import { SortedRows } from "./sorted-rows.ts";

/**
 * A save is due when so many operations, or so many bytes of commits, have come since what is saved, by this replica or another one: what the next open
 * reads again if it never comes to closing.
 */
const OPERATIONS_DUE = 8 * 1024;
const BYTES_DUE = 8 * 1024 * 1024;
const DUE: Amount = { operations: OPERATIONS_DUE, bytes: BYTES_DUE };
/** An overlay takes no more than so many times as much: whoever writes faster than can be saved has larger runs made, and fewer. */
const BUSY_FACTOR = 4;
const OVERLAY_MAX: Amount = { operations: BUSY_FACTOR * OPERATIONS_DUE, bytes: BUSY_FACTOR * BYTES_DUE };
/** How exactly it is known where what came lies. */
const MARK: Amount = { operations: OPERATIONS_DUE / 8, bytes: BYTES_DUE / 8 };
/** And on closing after so much: reading as much again is what the next open may take without anybody noticing. */
const DUE_ON_CLOSING: Amount = { operations: 256, bytes: 256 * 1024 };
const ANYTHING: Amount = { operations: 1, bytes: 1 };
/**
 * Several processes come to that at the same time: each waits a while of its own, and as a rule finds that another has saved, or is at it. Who has
 * written all of it need not wait at first, who has written nothing waits longest.
 */
const WAIT_MS = 250;
/** How often, at most: whoever is at it may never come to its end, and what is ahead may never be followed. */
const WAITS_MAX = 16;
/** Commits have to wait for a save when so much has come. */
const OVERDUE: Amount = { operations: 4 * OVERLAY_MAX.operations, bytes: 4 * OVERLAY_MAX.bytes };
/** Saves that may come to nothing, because others are quicker, before this replica does without a store. */
const TRIES_MAX = 8;
/** How long a save goes on at a time, as long as it keeps up with what comes: commits wait for no more than that, and a busy system lets that pass. */
const SLICE_MS = 2;
/** Others write too if so much of what is not saved is theirs. */
const FOREIGN_PART = 1 / 8;

export interface CheckpointerHost {
  readonly environment: Environment;
  readonly pacer: Pacer;
  readonly replica: Replica;
  /** Where the commits end that the replica has applied. */
  readonly position: Position;
  /** Where checkpoints are kept; undefined if this replica may not save any: then runs stay in memory. */
  readonly store: CheckpointStore | undefined;
  openRun(stored: StoredRun): MaybePromise<HeldRun>;
  /** A run underneath cannot be read: the state has to be built anew. */
  indexDamaged(): void;
  problem(error: KVError): void;
}

/** An overlay that takes no more changes, and what it reaches up to. */
interface Closed {
  readonly overlay: Overlay;
  readonly position: Position;
  readonly version: number;
}

/**
 * Turns what lies in memory into runs: in the checkpoint store, so that the next open begins there; where there is none in memory, where a run
 * takes a fraction of what an overlay does. One save at a time, in slices, of layers in which nothing changes any more.
 */
export class Checkpointer {
  readonly #host: CheckpointerHost;
  /** Newest first. */
  #closed: readonly Closed[] = [];
  readonly #backlog: Backlog;
  /** When an overlay was closed last. */
  #closedAt: Amount;
  /** When a save failed last. */
  #failedAt: Amount | undefined;
  /** The replica's version where its position was known to be in accord with it. */
  #checkedVersion: number;
  #saving: Promise<void> | undefined;
  #sliceBegan = -Infinity;
  #hurry: (() => void) | undefined;
  #hurried = false;
  /** Some of the runs underneath cannot be named by this generation's checkpoint: they are another one's, or lie in memory. */
  #mergeAll = false;
  /** Position up to which the runs hold everything. */
  #covered: Position;
  /** Another number when the layers underneath have been exchanged. */
  #epoch = 0;
  #unsaveable = false;
  #stopped = false;
  #relief: (() => void)[] = [];
  readonly counts = { saved: 0, adopted: 0, merged: 0 };

  /** `covered`: up to where the replica's runs reach. */
  constructor(host: CheckpointerHost, covered: Position) {
    this.#host = host;
    this.#covered = covered;
    this.#checkedVersion = host.replica.version;
    this.#backlog = new Backlog(covered, this.#checkedVersion);
    this.#closedAt = this.#backlog.lastMark;
  }

  /** Counts what one commit has added. */
  count(operations: number, bytes: number): void {
    this.#backlog.count(operations, bytes);
  }

  /** So many of the operations that were counted were written here. */
  countOwn(operations: number): void {
    this.#backlog.countOwn(operations);
  }

  /** To be called where the host's position is that of the replica's version. */
  check(): void {
    this.#checkedVersion = this.#host.replica.version;
    if (this.#stopped || !this.#backlog.hasCome(MARK, this.#backlog.lastMark)) return;
    this.#mark();
    const isDue = this.#saving === undefined && this.#isDue;
    if (isDue || this.#backlog.hasCome(OVERLAY_MAX, this.#closedAt)) this.#close();
    if (isDue) this.#saving = this.#saveAll();
  }

  #mark(): void {
    const { position, replica } = this.#host;
    this.#backlog.mark(position, replica.version);
  }

  get #isDue(): boolean {
    if (this.#hurried && this.#store !== undefined) return this.#backlog.hasCome(DUE_ON_CLOSING, this.#backlog.saved);
    if (this.#failedAt !== undefined && !this.#backlog.hasCome(DUE, this.#failedAt)) return false;
    return this.#backlog.hasCome(DUE, this.#backlog.saved);
  }

  /** Closes the newest overlay if there is something in it, and all of what it holds lies before the position. */
  #close(): void {
    const { replica, position } = this.#host;
    if (!this.#backlog.hasCome(ANYTHING, this.#closedAt) || replica.version !== this.#checkedVersion) return;
    this.#closed = [{ overlay: replica.close()[0], position, version: replica.version }, ...this.#closed];
    this.#mark();
    this.#closedAt = this.#backlog.lastMark;
  }

  /** So much waits for being saved that nothing should be added to it. */
  get isOverdue(): boolean {
    return this.#saving !== undefined && this.#backlog.hasCome(OVERDUE, this.#backlog.saved);
  }

  /** Resolves when that is no longer so. */
  whenRelieved(): Promise<void> {
    if (!this.isOverdue) return Promise.resolve();
    this.#hurry?.();
    return new Promise((resolve) => this.#relief.push(resolve));
  }

  /**
   * The replica has a new snapshot, of another generation: the present runs cannot be named by its checkpoint, and a save under way starts
   * again.
   */
  rebased(): void {
    this.#epoch++;
    this.#mergeAll = true;
    this.#unsaveable = false;
    const { replica } = this.#host;
    const below = replica.base?.below ?? 0;
    // What the snapshot covers is not to be saved any more, and no index of this generation could say that it reaches up to there.
    const covered = this.#closed.filter(({ version }) => version < below);
    this.#closed = this.#closed.filter((each) => !covered.includes(each));
    replica.replace(
      covered.map(({ overlay }) => overlay),
      replica.runs,
    );
    this.#mark();
    this.#backlog.forget(({ version }) => version < below);
  }

  /**
   * Completes a save that is due, or worth it so that the next open need not read much, and begins no other.
   */
  async stop(): Promise<void> {
    this.#hurried = true;
    if (!this.#stopped && this.#isDue && this.#store !== undefined) {
      this.#close();
      this.#saving ??= this.#saveAll();
    }
    this.#hurry?.();
    await this.#saving;
    this.#stopped = true;
  }

  /** Gives up a save under way: the replica is not the one in use any more. */
  abandon(): void {
    this.#epoch++;
    this.#stopped = true;
    this.#hurry?.();
  }

  // --- saving ------------------------------------------------------------------------------------------------------

  async #saveAll(): Promise<void> {
    try {
      for (let tries = 0; this.#isDue && !this.#stopped; tries++) {
        const covered = this.#covered;
        if (!(await this.#isSpared())) {
          // What has come meanwhile too: then those who have waited for this save, and closed an overlay later than this replica did, are spared theirs.
          this.#close();
          // A snapshot of another generation may have taken it all, or nobody wants it any more.
          if (this.#closed.length === 0 || this.#stopped) break;
          await this.#save();
        }
        if (this.#covered !== covered) tries = 0;
        else if (tries === TRIES_MAX) this.#doWithout(new Error("what others publish cannot be read"));
        if (!this.isOverdue) this.#relieve();
      }
    } catch (error) {
      if (error instanceof IndexDamaged) this.#host.indexDamaged();
      // Nothing is lost: the overlays stay, and commits go on. It is tried again when as much has come once more.
      else this.#report(error);
      this.#failedAt = { operations: this.#backlog.operations, bytes: this.#backlog.bytes };
    } finally {
      this.#saving = undefined;
      this.#relieve();
    }
  }

  #relieve(): void {
    for (const relieve of this.#relief.splice(0)) relieve();
  }

  /** Waits until it is this replica's turn to save. True if it took over meanwhile what another one has saved. */
  async #isSpared(): Promise<boolean> {
    for (let waits = 0; ; waits++) {
      const isLast = this.#store === undefined || this.#hurried || this.isOverdue || waits === WAITS_MAX;
      if (!isLast) await this.#wait(waits === 0 ? this.#backlog.foreignPart : 1);
      const found = await this.#adopt();
      if (found === "adopted") return true;
      if (isLast || this.#stopped || (found === "nothing" && this.#store?.isBusy?.() !== true)) return false;
    }
  }

  /** `part`: of the longest time. */
  #wait(part: number): Promise<void> {
    return new Promise((resolve) => {
      const { environment } = this.#host;
      const timer = environment.setTimer(resolve, environment.random() * part * WAIT_MS, { ref: false });
      this.#hurry = () => {
        timer.cancel();
        resolve();
      };
    });
  }

  get #store(): CheckpointStore | undefined {
    return this.#unsaveable ? undefined : this.#host.store;
  }

  /** Takes what another process has published, if that covers more than the runs here and no more than was applied. */
  async #adopt(): Promise<"adopted" | "ahead" | "nothing"> {
    let isAhead = false;
    const wanted = ({ position }: Checkpoint): boolean => {
      // What reaches further than this replica has come would be seen before its time, and sums added twice.
      isAhead = position > this.#host.position;
      return position > this.#covered && !isAhead;
    };
    const isAdopted = await this.#takeOver(wanted, ({ position, version }, runs) => {
      this.#install(position, version, runs);
      return true;
    });
    return isAdopted ? "adopted" : isAhead ? "ahead" : "nothing";
  }

  /**
   * Takes what another process has published if that reaches further than this replica has come, and returns up to where. For whoever does not want
   * to know of the commits in between, which `maySkip` is asked at last. Nothing must be applied meanwhile.
   */
  async skipAhead(maySkip: () => boolean): Promise<Position | undefined> {
    if (this.#saving !== undefined) return undefined;
    const wanted = ({ position }: Checkpoint): boolean => position > this.#host.position;
    let skipped: Position | undefined;
    await this.#takeOver(wanted, ({ position, version }, runs) => {
      // Whoever closes may have begun to save what lies here.
      if (this.#saving !== undefined || !maySkip()) return false;
      const { replica } = this.#host;
      replica.replace(replica.close(), runs);
      replica.voidVersions.clear();
      replica.version = version;
      this.#closed = [];
      this.#covered = position;
      this.#mergeAll = false;
      this.#mark();
      this.#backlog.forget(() => true);
      this.#closedAt = this.#backlog.saved;
      skipped = position;
      return true;
    });
    return skipped;
  }

  /**
   * Opens what another process has published, if it is `wanted` and can be read. `take` puts the runs in the place of the present ones, or says that it does
   * not. True if it did.
   */
  async #takeOver(
    wanted: (checkpoint: Checkpoint) => boolean,
    take: (checkpoint: Checkpoint, runs: readonly HeldRun[]) => boolean,
  ): Promise<boolean> {
    const store = this.#store;
    // Whoever has waited may find that the replica is not the one in use any more: it would hold for ever what it is given now.
    if (store === undefined || this.#stopped) return false;
    const epoch = this.#epoch;
    const loaded = store.load();
    const checkpoint = isPromise(loaded) ? await loaded : loaded;
    if (typeof checkpoint === "string") return false;
    if (epoch !== this.#epoch || !wanted(checkpoint)) {
      for (const stored of checkpoint.runs) stored.close();
      return false;
    }
    let opened: OpenedRuns;
    try {
      opened = await openRuns(checkpoint.runs, this.#host.replica.runs, (stored) => this.#host.openRun(stored));
    } catch (error) {
      if (!hasCode(error, "LedgerDamaged")) throw error;
      store.invalidate();
      return false;
    }
    // Meanwhile others may have been put in the place of what lies underneath. Nothing is awaited between that question and the taking.
    if (epoch !== this.#epoch || !take(checkpoint, opened.runs)) {
      opened.release();
      return false;
    }
    this.counts.adopted++;
    return true;
  }

  /** Writes the closed overlays, and the newest runs as far as they are to be merged, as one run. */
  async #save(): Promise<void> {
    const epoch = this.#epoch;
    const store = this.#store;
    const closed = this.#closed;
    const { position, version } = closed[0];
    const present = this.#host.replica.runs;
    const mergesAll = store !== undefined && this.#mergeAll;
    const merged = present.slice(
      0,
      mergesAll
        ? present.length
        : countToMerge(
            closed.reduce((sum, { overlay }) => sum + overlay.rows, 0),
            present,
          ),
    );
    for (const run of merged) run.hold();
    let stored: StoredRun | undefined;
    try {
      stored = await this.#build(store, closed, merged, epoch);
    } catch (error) {
      // What was read from or written to may have gone with its generation.
      if (epoch !== this.#epoch) return;
      if (store === undefined || error instanceof IndexDamaged) throw error;
      return this.#doWithout(error);
    } finally {
      for (const run of merged) run.release();
    }
    if (stored === undefined) return;
    if (epoch !== this.#epoch) {
      stored.close();
      return store?.discard([stored]);
    }
    let run: HeldRun | undefined;
    try {
      const opened = this.#host.openRun(stored);
      run = isPromise(opened) ? await opened : opened;
      const runs = [run, ...present.slice(merged.length)];
      const published = await this.#publish(store, { position, version, runs: runs.map((each) => each.stored) }, epoch);
      if (!published) store?.discard([stored]);
      if (!published && (await this.#adopt()) === "adopted") return;
      // Asked last: all that was awaited may have changed what lies underneath.
      if (epoch !== this.#epoch) return;
      this.counts.saved++;
      this.counts.merged += merged.length;
      this.#install(position, version, runs);
      // Others have come further, and so did their checkpoint: the run serves here, and no list can name it.
      this.#mergeAll = !published;
      run = undefined;
    } catch (error) {
      if (run === undefined) stored.close();
      throw error;
    } finally {
      // It did not become the replica's.
      run?.release();
    }
  }

  async #publish(store: CheckpointStore | undefined, checkpoint: Checkpoint, epoch: number): Promise<boolean> {
    if (store === undefined) return false;
    try {
      return (await store.publish(checkpoint)) === "published";
    } catch (error) {
      if (epoch === this.#epoch) this.#doWithout(error);
      return false;
    }
  }

  /** Undefined if it was given up. */
  async #build(
    store: CheckpointStore | undefined,
    closed: readonly Closed[],
    merged: readonly HeldRun[],
    epoch: number,
  ): Promise<StoredRun | undefined> {
    const { replica, environment } = this.#host;
    const sink = store === undefined ? memoryRun() : store.createRun();
    try {
      const inRuns = merged.reduce((sum, { run }) => sum + run.info.entries, 0);
      const entries = closed.reduce((sum, { overlay }) => sum + overlay.rows, inRuns);
      const builder = fileRunBuilder({ crc32: environment.crc32, sink: (bytes) => sink.write(bytes), entries });
      const below = replica.base?.below ?? 0;
      const sorted = closed.map(({ overlay }) => overlay.toBeSorted(SortedRows));
      for (const rows of sorted) while (rows.sortSome()) if (this.#isToRest()) await this.#rest();
      // Deleted keys too, at the bottom as well: the next generation's snapshot, which may be of any version, may come to lie underneath.
      const copy = new RowCopy(mergedCursor([...sorted, ...merged]), builder, below);
      for (let more = copy.some(); isPromise(more) ? await more : more; more = copy.some()) {
        if (!this.#isToRest()) continue;
        await this.#rest();
        if (epoch === this.#epoch) continue;
        await sink.abandon();
        return undefined;
      }
      for (const void_ of await voidVersions(replica, merged, closed[0].version, below)) builder.addVoidVersion(void_);
      const rest = builder.finish({ base: below, upto: closed[0].version });
      while (rest.next().done !== true) if (this.#isToRest()) await this.#rest();
      return await sink.finish();
    } catch (error) {
      await sink.abandon();
      throw error;
    }
  }

  #isToRest(): boolean {
    const now = this.#host.environment.monotonic();
    if (this.#host.pacer.dueInBackground(now)) return true;
    return now - this.#sliceBegan >= SLICE_MS && this.#keepsUp;
  }

  get #keepsUp(): boolean {
    if (this.#hurried) return false;
    // Where several processes write, each waits for all others, and longer the more each does at a time.
    if (this.#backlog.foreignPart > FOREIGN_PART) return !this.#backlog.hasCome(OVERLAY_MAX, this.#backlog.saved);
    return !this.#backlog.hasCome(MARK, this.#closedAt);
  }

  async #rest(): Promise<void> {
    await this.#host.pacer.restInBackground();
    this.#sliceBegan = this.#host.environment.monotonic();
  }

  #install(position: Position, version: number, runs: readonly HeldRun[]): void {
    const { replica } = this.#host;
    const covered = this.#closed.filter((each) => each.position <= position);
    this.#closed = this.#closed.filter((each) => each.position > position);
    this.#covered = position;
    this.#mergeAll = false;
    this.#backlog.forget((mark) => mark.position <= position);
    replica.replace(
      covered.map(({ overlay }) => overlay),
      runs,
    );
    for (const void_ of replica.voidVersions) if (void_ <= version) replica.voidVersions.delete(void_);
  }

  /** The store takes nothing: from now on runs stay in memory. */
  #doWithout(cause: unknown): void {
    this.#unsaveable = true;
    this.#report(cause);
  }

  #report(cause: unknown): void {
    const message = `The index could not be saved; the next open will take longer: ${cause instanceof Error ? cause.message : String(cause)}`;
    this.#host.problem(new KVError(cause instanceof KVError ? cause.code : "InputOutput", message, { cause }));
  }
}

/** The void versions that a run has to tell of, ascending. */
async function voidVersions(
  replica: Replica,
  merged: readonly HeldRun[],
  upto: number,
  below: number,
): Promise<number[]> {
  const versions = new Set([...replica.voidVersions].filter((version) => version <= upto));
  for (const run of merged) for (const version of await whenLoaded(() => run.voidVersions())) versions.add(version);
  return [...versions].filter((version) => version >= below).sort((a, b) => a - b);
}
