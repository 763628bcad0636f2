import {
  logFolder,
  parseRunKey,
  parseSlotKey,
  parseStagedKey,
  runFolder,
  runKey,
  slotKey,
  stagedFolder,
  STAGED_SLOTS_MAX,
} from "./layout.ts";
import type { ListedObject } from "./object-store.ts";
import type { Root } from "./root.ts";
import { deleteAll } from "./several.ts";
import { readRoot, replaceRoot, type SeenRoot, type StateSite } from "./state-site.ts";

/** Deleted in one pass, at most. */
const DELETES_MAX = 1000;
/**
 * In so many requests, at most, where few are allowed (50 on the way to one answer of a Worker). More than one for each slot that a checkpoint covers:
 * what is written has to be overtaken.
 */
const ISOLATED_REQUESTS_MAX = 32;
/** Parts of these that are for slots, and for large values and runs each. */
const PARTS = { slots: 3 / 4, others: 1 / 8 } as const;
/** So long a run stays that another one has taken the place of: iterators may read from it. */
const RUN_GRACE_MS = 3_600_000;
/** The floor is raised in steps of a part of the grace: finding out how old slots are takes requests. */
const STEPS_OF_GRACE = 8;
/** A pass that came to nothing is not repeated sooner. */
const PASS_MS = 60_000;
/**
 * Own runs remembered whose fate is not known. A replace names the root that it replaces: what was not put into the root while so many others were uploaded
 * is kept by the other rules, as long as that root stands, and never will be afterwards.
 */
const UNSETTLED_MAX = 256;
/** Pages of a list that one pass goes through. */
const PAGES_MAX = 4;

/**
 * Removes what nobody needs any more, in passing, for whoever writes down the state. The rules and their reasons: a slot may be read by everybody who
 * has read a root whose floor was not above it, and such a root may be as old as the grace. So the floor is raised first, past slots that are old; then
 * some answer has to show that it was in force at a time; and only when the grace has gone by since, slots below are deleted, and that is noted before the
 * floor is raised again.
 */
export class Garbage {
  readonly #state: StateSite;
  /** Runs that were uploaded here, and of which it is not known whether a replace is still going to put them into the root. */
  readonly #unsettled = new Set<string>();
  /** This session writes down the state, and so it also tidies up. */
  #isCollector = false;
  /** The slot up to which the floor may be raised once it is old enough, where the store tells no time; and since when it is known here. */
  #watched: { readonly slot: number; readonly since: number } | undefined;
  /** Nothing below the floor's slot can be old enough before this time. */
  #youngUntil = -Infinity;
  /** When runs that a merge has replaced may be looked for, by the monotonic clock. */
  #runsDue: number | undefined;
  /** Since when runs are known to be named, where the store tells no time. */
  #namedSince: ReadonlyMap<string, number> = new Map();
  /** The latest time that was told, and when. */
  #clock: { readonly at: number; readonly monotonic: number } | undefined;
  #passedAt = -Infinity;
  readonly figures = { slotsDeleted: 0, runsDeleted: 0, stagedDeleted: 0 };

  constructor(state: StateSite) {
    this.#state = state;
  }

  /** A run was uploaded here. */
  uploaded(random: string): void {
    this.#unsettled.add(random);
    for (const oldest of this.#unsettled) {
      if (this.#unsettled.size <= UNSETTLED_MAX) break;
      this.#unsettled.delete(oldest);
    }
    if (!this.#isCollector) this.#passedAt = this.#monotonic;
    this.#isCollector = true;
  }

  /** The run was put into the root, or never will be: from now on it is garbage as soon as anybody else's would be. */
  settled(random: string): void {
    this.#unsettled.delete(random);
  }

  /** Runs were replaced by a merge of this session. */
  merged(): void {
    this.#runsDue = this.#monotonic + RUN_GRACE_MS * 1.01;
  }

  /** What a replace of this root, which is made anyway, is to change for the sake of what is to be removed. */
  async changes(seen: SeenRoot): Promise<Pick<Root, "floor" | "floorAt">> {
    const { root } = seen.found;
    const { floor, floorAt, swept } = root;
    this.#told(seen);
    if (swept < floor) return { floor, floorAt: floorAt ?? (seen.at && Math.ceil(seen.at)) };
    const raised = await this.#raisedFloor(seen);
    // When it was in force, nobody knows yet who only writes it.
    return raised > floor ? { floor: raised, floorAt: undefined } : { floor, floorAt };
  }

  /** True if a pass may come to something, as far as is known without asking. */
  get isDue(): boolean {
    const now = this.#monotonic;
    if (!this.#isCollector || now - this.#passedAt < PASS_MS) return false;
    if (this.#runsDue !== undefined && now >= this.#runsDue) return true;
    const { root } = this.#state.found();
    const { floor, floorAt, swept } = root;
    if (swept < floor) return floorAt === undefined || this.#estimate > floorAt + this.#state.graceMs;
    if (root.previousCheckpointSlot <= floor) return false;
    if (this.#watched !== undefined) return now - this.#watched.since >= this.#state.graceMs;
    const written = this.#state.facts(floor)?.lastModified ?? -Infinity;
    return this.#estimate >= Math.max(this.#youngUntil, written + this.#state.graceMs);
  }

  /** Reads the root, removes what may go, and notes it. */
  async pass(): Promise<void> {
    this.#passedAt = this.#monotonic;
    await this.sweep(await readRoot(this.#state));
  }

  /** As `pass`, with a root that was read or written just now. `told`: a time that an answer has told by now. */
  async sweep(seen: SeenRoot, told: number | undefined = seen.at): Promise<void> {
    this.#told(seen);
    const { root } = seen.found;
    const { floor, floorAt, swept } = root;
    const isSeen = swept < floor && floorAt !== undefined && told !== undefined;
    const isSweeping = isSeen && told > floorAt + this.#state.graceMs;
    const changed = isSweeping ? { swept: await this.#deleteBelowFloor(root) } : await this.changes(seen);
    if (isSweeping || (this.#runsDue !== undefined && this.#monotonic >= this.#runsDue)) await this.#deleteRuns(root);
    const next = { ...root, ...changed };
    // Where one pass may do little, the next commit goes on: else those with large values would be written faster than they are deleted.
    if (isSweeping && next.swept < floor && this.#isIsolated) this.#passedAt = -Infinity;
    if (next.swept === root.swept && next.floor === root.floor && next.floorAt === root.floorAt) return;
    await replaceRoot(this.#state, seen, next);
  }

  // --- the floor ---------------------------------------------------------------------------------------------------

  /** The floor as high as it may be: below the checkpoint before the last one, and above no slot that is young. */
  async #raisedFloor(seen: SeenRoot): Promise<number> {
    const { floor, previousCheckpointSlot } = seen.found.root;
    const highest = previousCheckpointSlot - 1;
    if (highest < floor || seen.at === undefined || seen.at < this.#youngUntil) return floor;
    const { graceMs } = this.#state;
    const written = await this.#writtenAt(floor);
    const at = written === "untold" ? "untold" : await this.#reached(seen);
    if (written === "untold" || at === "untold") return this.#watch(highest, floor);
    if (written === undefined || at === undefined) return floor;
    const oldestAge = at - written;
    if (oldestAge < graceMs) {
      this.#youngUntil = written + graceMs;
      return floor;
    }
    if (await this.#isOld(highest, at)) return highest + 1;
    if (oldestAge < graceMs + graceMs / STEPS_OF_GRACE) {
      this.#youngUntil = written + graceMs + graceMs / STEPS_OF_GRACE;
      return floor;
    }
    let old = floor;
    for (let young = highest; young - old > 1;) {
      const middle = (old + young) >>> 1;
      if (await this.#isOld(middle, at)) old = middle;
      else young = middle;
    }
    return old + 1;
  }

  async #isOld(slot: number, at: number): Promise<boolean> {
    const written = await this.#writtenAt(slot);
    return typeof written === "number" && at - written >= this.#state.graceMs;
  }

  /**
   * A time that the store's clock has reached. Answers that tell none may still tell when objects were written: then that of the checkpoint's slot serves,
   * so that collectors that live for seconds know what is old.
   */
  async #reached({ found }: SeenRoot): Promise<number | "untold" | undefined> {
    return found.time ?? (await this.#writtenAt(found.root.checkpointSlot));
  }

  /** When a slot was written, by the store's clock; undefined if that cannot be found out now. */
  async #writtenAt(slot: number): Promise<number | "untold" | undefined> {
    const facts = this.#state.facts(slot);
    if (facts?.lastModified !== undefined) return facts.lastModified;
    const { store, nonce } = this.#state.site;
    const answer = await store.get(slotKey(nonce, slot), { from: 0, length: 1 });
    return answer.status === "found" ? (answer.lastModified ?? "untold") : undefined;
  }

  /** Where the store tells no time: what this session has known for so long is so old at least. */
  #watch(highest: number, floor: number): number {
    const now = this.#monotonic;
    const watched = this.#watched;
    if (watched === undefined || watched.slot < floor) {
      this.#watched = { slot: highest, since: now };
      return floor;
    }
    if (now - watched.since < this.#state.graceMs) return floor;
    this.#watched = undefined;
    return watched.slot + 1;
  }

  // --- deleting ----------------------------------------------------------------------------------------------------

  #deletesMax(part: keyof typeof PARTS): number {
    const { deleteKeysMax } = this.#state.site.store.capabilities;
    const isolated = this.#isIsolated ? ISOLATED_REQUESTS_MAX * deleteKeysMax : DELETES_MAX;
    return Math.ceil(Math.min(DELETES_MAX, isolated) * PARTS[part]);
  }

  get #isIsolated(): boolean {
    return this.#state.site.environment.isolated === true;
  }

  /** Deletes slots and large values below the floor, as many as one pass may. Returns up to where all of it is gone. */
  async #deleteBelowFloor({ swept, floor }: Root): Promise<number> {
    const { site } = this.#state;
    const slotsMax = this.#deletesMax("slots");
    const upto = Math.min(floor, swept + slotsMax);
    const slots = Array.from({ length: upto - swept }, (_, i) => slotKey(site.nonce, swept + i));
    await deleteAll(site.store, slots);
    this.figures.slotsDeleted += slots.length;
    if (upto < floor) return upto;
    const left = slotsMax - slots.length;
    const strays = left > 0 ? await this.#deleteStrays(floor, left) : 0;
    // The last slot is noted as deleted when nothing else is left.
    return (await this.#deleteStaged(floor, left - strays + this.#deletesMax("others"))) ? floor : floor - 1;
  }

  /**
   * Deletes slots where others were deleted long ago: authors that have slept for longer than the grace create such, and are told by the root that they
   * count for nobody. Returns how many they were.
   */
  async #deleteStrays(floor: number, limit: number): Promise<number> {
    const { nonce } = this.#state.site;
    const isStray = (key: string): boolean => (parseSlotKey(nonce, key) ?? Infinity) < floor;
    const { count } = await this.#deleteListed(logFolder(nonce), limit, isStray);
    this.figures.slotsDeleted += count;
    return count;
  }

  /** True if no large value is left that was meant for a slot so far below the floor that no slot may refer to it. */
  async #deleteStaged(floor: number, limit: number): Promise<boolean> {
    const { nonce } = this.#state.site;
    const { count, mayGoOn } = await this.#deleteListed(stagedFolder(nonce), limit, (key) => {
      const staged = parseStagedKey(nonce, key);
      return staged !== undefined && staged.slot + STAGED_SLOTS_MAX < floor;
    });
    this.figures.stagedDeleted += count;
    return !mayGoOn;
  }

  /** Deletes some of the first objects in a folder. `mayGoOn`: all of them, and there are more. */
  async #deleteListed(
    folder: string,
    limit: number,
    isOld: (key: string) => boolean,
  ): Promise<{ readonly count: number; readonly mayGoOn: boolean }> {
    const answer = await this.#state.site.store.list(folder, { limit });
    if (answer.status !== "listed") throw answer.error;
    const keys = answer.objects.map(({ key }) => key);
    const old = keys.filter(isOld);
    await deleteAll(this.#state.site.store, old);
    return { count: old.length, mayGoOn: answer.more && old.length === keys.length };
  }

  /** Deletes runs that are named no more, or never were, once what has taken their place is old enough. */
  async #deleteRuns(root: Root): Promise<void> {
    const { site } = this.#state;
    const listed: ListedObject[] = [];
    let time: number | undefined;
    for (let page = 0, more = true; more && page < PAGES_MAX; page++) {
      const after = listed.at(-1)?.key;
      const answer = await site.store.list(runFolder(site.nonce), after === undefined ? {} : { after });
      if (answer.status !== "listed") throw answer.error;
      listed.push(...answer.objects);
      ({ more, time } = answer);
    }
    const isOld = this.#namedLongAgo(root, listed, time);
    let waiting = 0;
    const garbage = listed.filter(({ key }) => {
      const run = parseRunKey(site.nonce, key);
      if (run === undefined || this.#unsettled.has(run.random)) return false;
      if (root.runs.some(({ random }) => random === run.random)) return false;
      // What is of a later epoch is being merged.
      if (run.epoch > root.epoch) return false;
      const covering = root.runs.filter(({ from, to }) => from <= run.to && to >= run.from);
      // What reaches further may become the next checkpoint, or be of an author that goes on when it finds that it is not.
      if (run.to > root.checkpointSlot || covering.length === 0) return false;
      const isReady = covering.every(({ random }) => isOld.has(random));
      if (!isReady) waiting++;
      return isReady;
    });
    const now = garbage.slice(0, this.#deletesMax("others")).map(({ key }) => key);
    await deleteAll(site.store, now);
    this.figures.runsDeleted += now.length;
    if (now.length < garbage.length) this.#runsDue = this.#monotonic;
    else this.#runsDue = waiting > 0 ? this.#monotonic + RUN_GRACE_MS / 4 : undefined;
  }

  /** The random parts of named runs that were written over an hour ago: before `told`, or if that is not known before one of those listed. */
  #namedLongAgo(root: Root, listed: readonly ListedObject[], told: number | undefined): ReadonlySet<string> {
    const { nonce } = this.#state.site;
    const now = this.#monotonic;
    this.#namedSince = new Map(root.runs.map(({ random }) => [random, this.#namedSince.get(random) ?? now]));
    const written = new Map(listed.map(({ key, lastModified }) => [key, lastModified]));
    const time = told ?? Math.max(...listed.map(({ lastModified }) => lastModified ?? -Infinity));
    const old = root.runs.filter((run) => {
      const at = written.get(runKey(nonce, run));
      const age = at === undefined ? now - (this.#namedSince.get(run.random) ?? now) : time - at;
      return age > RUN_GRACE_MS;
    });
    return new Set(old.map(({ random }) => random));
  }

  // --- time --------------------------------------------------------------------------------------------------------

  get #monotonic(): number {
    return this.#state.site.environment.monotonic();
  }

  #told({ at }: SeenRoot): void {
    if (at !== undefined) this.#clock = { at, monotonic: this.#monotonic };
  }

  /** About what a store's answer would tell now: tells when to ask, and nothing else. */
  get #estimate(): number {
    const clock = this.#clock;
    return clock === undefined ? -Infinity : clock.at + (this.#monotonic - clock.monotonic);
  }
}
