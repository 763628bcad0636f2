import { equalBytes } from "../../core/bytes.ts";
import type { MaybePromise } from "../../core/environment.ts";
import { hasCode, KVError } from "../../core/errors.ts";
import type {
  AppendResult,
  Checkpoint,
  CommitRecord,
  LedgerCommit,
  LedgerIdentity,
  LedgerOpenOptions,
  LedgerSession,
  Position,
  ReadBudget,
  ReadResult,
  RepairedState,
  RepairStateRequest,
  ReopenResult,
  StateRequest,
  StateWork,
} from "../../core/ledger.ts";
import { type BuiltBatch, buildBatch, refuseLarge } from "./batch.ts";
import { ObjectState } from "./checkpoint.ts";
import { Confirmation } from "./confirmation.ts";
import type { CountingStore } from "./counting-store.ts";
import { Fairness } from "./fairness.ts";
import { Follower } from "./follow.ts";
import { SLOT_VERSIONS } from "./layout.ts";
import type { Mending } from "./mending.ts";
import type { OpenedRoot, Writers } from "./opening.ts";
import type { OwnTurn } from "./own-turn.ts";
import { placesOf, slotOfVersion, versionOf } from "./place.ts";
import { retryReads } from "./retry-reads.ts";
import type { Root } from "./root.ts";
import { type FoundRoot, RootObject } from "./root-object.ts";
import { type Batch, type Fate, Settler, type WriteSlot } from "./settle.ts";
import { createAlone } from "./single-writer.ts";
import { pause, type Site } from "./site.ts";
import { payloadOf, PLAIN_PAYLOAD_BYTES_MAX } from "./slot.ts";
import { type ReadSlot, readSlot } from "./slot-reader.ts";
import { Stager } from "./staged.ts";
import { Tail } from "./tail.ts";
import { ValueReader } from "./value-reader.ts";

/** One frame of a file: what a commit with all its values has at most, on every ledger. */
const PAYLOAD_BYTES_MAX = 65 * 1024 * 1024;

/** What a session is made of, once it is known that there is a ledger. */
export interface SessionParts extends Pick<LedgerOpenOptions, "readOnly" | "environment" | "cache"> {
  readonly counting: CountingStore;
  /** For what the engine asks for; values and the state are reached whoever's turn it is. */
  readonly turn: OwnTurn;
  readonly rootObject: RootObject;
  readonly opened: OpenedRoot;
  readonly writers: Writers;
  readonly graceMs: number;
  readonly mending: Mending | undefined;
}

/**
 * A ledger of slots, opened. A position is the number of the last slot that was read; behind some commits of the next one, that and a fraction. The calls of the contract that change anything follow each
 * other; what a call that was given up leaves behind is `#pending` alone.
 */
export class ObjectSession implements LedgerSession {
  readonly identity: LedgerIdentity;
  readonly restored: LedgerSession["restored"];
  readonly start: Position;
  readonly payloadBytesMax: number = PAYLOAD_BYTES_MAX;
  readonly deletesBytesMax: number = PLAIN_PAYLOAD_BYTES_MAX;
  readonly #site: Site;
  readonly #readOnly: boolean;
  readonly #turn: OwnTurn;
  readonly #counting: CountingStore;
  readonly #confirmation: Confirmation;
  readonly #follower: Follower;
  readonly #settler: Settler;
  readonly #stager: Stager;
  readonly #fairness: Fairness;
  readonly #values: ValueReader;
  readonly #tail = new Tail();
  readonly #state: ObjectState;
  /** That with which it was opened. */
  readonly #root: Root;
  /** The newest one that is known. */
  #newest: FoundRoot;
  /** Bytes that may be on their way to a slot: what became of them is found out before anything else is written. */
  #pending: BuiltBatch | undefined;
  /** Somebody has taken over from whoever was at it, and nobody has been told yet what became of `#pending`. */
  #isAbandoned = false;
  /** The last batch of this session that is in the ledger. The engine may not know it yet: whoever was to be told may have been given up. */
  #committed: Batch | undefined;
  /** What lies before the state is read as well: that is a history, of which nothing is passed over. */
  #isHistory = false;
  /** What was read is not what everybody goes on with. */
  #moved = false;
  readonly #figures = { slotsRead: 0, slotsWritten: 0, slotsLost: 0, settledLater: 0 };

  constructor(parts: SessionParts) {
    const { environment, turn, counting, rootObject, graceMs, mending } = parts;
    const { found, restored } = parts.opened;
    const { ledgerId, nonce, formers, floor } = found.root;
    this.identity = { ledgerId, nonce, generation: formers.length + 1 };
    this.restored = restored && { ...restored, isSame: false };
    this.start = floor - 1;
    this.#readOnly = parts.readOnly;
    this.#turn = turn;
    this.#counting = counting;
    this.#root = found.root;
    this.#newest = found;
    const saw = (root: FoundRoot): void => void (this.#newest = root);
    const gone = (): void => this.gone();
    const { name } = counting;
    const site = { name, nonce, store: turn.store, environment: turn.environment };
    this.#site = site;
    const confirmation = new Confirmation(rootObject, found, saw);
    this.#confirmation = confirmation;
    this.#follower = new Follower(site, confirmation);
    const writeAlone: WriteSlot = (batch, mayBeWritten) =>
      createAlone(site, batch, { before: this.#before(batch), mayBeWritten });
    this.#settler = new Settler(site, confirmation, parts.writers === "single" ? writeAlone : undefined);
    this.#stager = new Stager(site);
    this.#fairness = new Fairness(turn.environment);
    const anytime: Site = { name, nonce, store: retryReads(counting, { environment }), environment };
    const roots = new RootObject(anytime.store, environment);
    const ofValues = new Confirmation(roots, found, () => undefined);
    this.#values = new ValueReader(anytime, { confirmation: ofValues, cache: parts.cache, gone });
    this.#state = new ObjectState({
      site: anytime,
      rootObject: roots,
      graceMs,
      mending,
      found: () => this.#newest,
      took: (root) => {
        saw(root);
        // One that was written here tells no time, and confirms nothing for longer than the one before.
        if (root.time !== undefined) confirmation.take(root);
      },
      facts: (slot) => this.#tail.get(slot),
      gone,
    });
  }

  /** Reads so many slots behind the state, before anybody knows whether they exist. */
  async prefetch(slots: number): Promise<void> {
    try {
      await this.#follower.prefetch(this.#root.checkpointSlot + 1, slots);
    } catch (error) {
      // What is damaged, reading will tell: who wants to repair it has to open it.
      if (!hasCode(error, "LedgerDamaged")) throw error;
    }
  }

  // --- reading -----------------------------------------------------------------------------------------------------

  async read(position: Position, budget: ReadBudget): Promise<ReadResult> {
    if (this.#pending !== undefined && this.#isAbandoned) await this.#settleFirst(this.#pending, position);
    if (this.#moved) return { commits: [], next: position, status: "moved" };
    if (budget.verify) this.#follower.lookAnew();
    const after = Math.floor(position);
    if (after < this.#root.checkpointSlot) this.#isHistory = true;
    const { slots, status } = await this.#follower.next(after + 1, {
      bytes: budget.bytes,
      predecessor: this.#hashOf(after),
      // What is committed here is to be met, not passed over: else it would be appended again.
      mayPassOver: budget.passesOver !== false && !this.#isHistory && !this.#isUnmet(position),
    });
    if (status === "moved") {
      this.#moved = true;
      return { commits: [], next: position, status };
    }
    const commits: LedgerCommit[] = [];
    for (const read of slots) this.#met(read, commits);
    const skipped = countWithin(position);
    const next = after + slots.length;
    const taken = commitsWithin(commits.slice(skipped), budget.bytes);
    if (taken.length < commits.length - skipped) {
      for (const read of slots) this.#follower.put(read);
      return { commits: taken, next: positionBehind(taken[taken.length - 1].version, commits), status: "more" };
    }
    const state = this.#state.newerState(next);
    return { commits: taken, next, status, ...(state && { state }) };
  }

  /** A slot is handed up. */
  #met(read: ReadSlot, commits: LedgerCommit[]): void {
    const { slot, bytes } = read;
    const pending = this.#pending;
    if (pending !== undefined && slot.slot >= pending.slot) this.#pending = undefined;
    const isOwn = pending !== undefined && slot.slot === pending.slot && equalBytes(pending.bytes, bytes);
    if (this.#tail.get(slot.slot) === undefined) {
      if (isOwn) this.#state.wrote(slot.slot);
      else this.#fairness.seen(slot.author, ageOf(read));
      this.#figures.slotsRead++;
      this.#remember(slot.slot, { ...read, batchId: slot.batchId, count: slot.commits.length });
    }
    const places = placesOf(slot.slot, slot.commits);
    // What is handed up is the receiver's own, and the slot itself may be kept.
    const own = bytes.slice();
    for (const [i, commit] of slot.commits.entries()) {
      commits.push({
        writer: slot.author.slice(),
        counter: commit.counter,
        timestamp: commit.timestamp,
        payload: payloadOf(own, commit),
        version: versionOf(slot.slot, i),
        place: places[i],
        ...(commit.holes.length === 0 ? {} : { isPartial: true }),
      });
    }
  }

  #remember(
    slot: number,
    facts: Pick<BuiltBatch, "bytes" | "hash" | "batchId"> & {
      readonly count: number;
      readonly lastModified: number | undefined;
    },
  ): void {
    const { bytes, hash, batchId, count, lastModified } = facts;
    const lastVersion = versionOf(slot, count - 1);
    this.#tail.add({ slot, hash, batchId, bytes: bytes.length, lastVersion, lastModified });
    this.#values.keep(slot, bytes);
  }

  /** Undefined for a slot that was not read. */
  #hashOf(position: Position): Uint8Array | undefined {
    const { checkpointSlot, checkpointHash } = this.#root;
    return this.#tail.get(position)?.hash ?? (position === checkpointSlot ? checkpointHash : undefined);
  }

  /** The slot before that of a batch, which is one's own or was read; undefined where there is none. */
  #before({ slot }: Batch): { readonly slot: number; readonly hash: Uint8Array } | undefined {
    const hash = slot > this.#root.firstSlot ? this.#hashOf(slot - 1) : undefined;
    return hash && { slot: slot - 1, hash };
  }

  // --- writing -----------------------------------------------------------------------------------------------------

  refuses(payload: Uint8Array): KVError | undefined {
    return refuseLarge(payload, this.#site.name);
  }

  async append(commits: readonly CommitRecord[], position: Position): Promise<AppendResult> {
    if (this.#readOnly) {
      throw new KVError("ReadOnly", `${this.#site.name} was opened with readOnly`, { outcome: "not committed" });
    }
    if (this.#moved || countWithin(position) > 0) return { status: "behind" };
    for (const { payload } of commits) if (payload.length > PAYLOAD_BYTES_MAX) throw tooLarge(payload, this.#site.name);
    this.#follower.lookAnew();
    // Whatever became of it: what is there now was not known when these commits were made.
    if (this.#pending !== undefined) return await this.#settleFirst(this.#pending, position);
    if (commits.length === 0) return await this.#confirmEnd(position);
    if (!(await this.#waitForTurn(position))) return { status: "behind" };
    const predecessor = this.#hashOf(position);
    if (predecessor === undefined) throw new RangeError(`Slot ${position} was never read here`);
    const batch = await buildBatch(this.#site, this.#stager, commits, { slot: position + 1, predecessor });
    this.#pending = batch;
    const fate = await this.#settle(batch);
    return await this.#told(batch, fate, position);
  }

  /** What an earlier call has left. Nothing new was sent yet. */
  async #settleFirst(pending: BuiltBatch, position: Position): Promise<AppendResult> {
    this.#isAbandoned = false;
    if (pending.slot <= position) {
      this.#pending = undefined;
      return { status: "behind" };
    }
    let fate: Fate;
    try {
      fate = await this.#settle(pending);
    } catch (error) {
      const message = `What became of an earlier commit could not be found out yet: ${String(error)}`;
      const isKnown = error instanceof KVError && error.code !== "CommitOutcomeUnknown";
      throw new KVError(isKnown ? error.code : "InputOutput", message, { cause: error, outcome: "not committed" });
    }
    this.#figures.settledLater++;
    if (fate.status === "other") this.#lost(fate.read);
    else if (fate.status === "mine") this.#committed = pending;
    else await this.#notMet(pending);
    this.#pending = undefined;
    return { status: "behind" };
  }

  /** What is left of a batch whose slot cannot be read any more. Unless the runs tell that it was another's slot, it may be in the ledger. */
  async #notMet(pending: BuiltBatch): Promise<void> {
    if ((await this.#isCovered(pending).catch(() => undefined)) !== false) this.#committed = pending;
  }

  /** Whether the slot below the checkpoint was that of this batch, as the runs tell; undefined if they do not any more. */
  async #isCovered({ slot, batchId }: BuiltBatch): Promise<boolean | undefined> {
    this.#moved = true;
    const covered = await this.#state.batchIdOf(slot);
    return covered && equalBytes(covered, batchId);
  }

  #isUnmet(position: Position): boolean {
    return this.#committed !== undefined && position < this.#committed.slot;
  }

  async #settle(batch: Batch): Promise<Fate> {
    try {
      return await this.#settler.settle(batch);
    } catch (error) {
      // Nothing of it is on its way.
      if (!batch.ambiguous) this.#pending = undefined;
      throw error;
    }
  }

  async #told(batch: BuiltBatch, fate: Fate, position: Position): Promise<AppendResult> {
    this.#pending = undefined;
    if (fate.status === "other") {
      this.#lost(fate.read);
      if (!this.#fairness.isContended) {
        // Before the others' slots are read, not behind that: what is read last has to be fresh.
        await pause(this.#site.environment, this.#fairness.drawWaitMs());
        return { status: "behind" };
      }
      this.#fairness.gaveUp();
      throw new KVError("Contention", `Others were always faster to write to ${this.#site.name}`, {
        outcome: "not committed",
      });
    }
    if (fate.status === "moved") return await this.#toldByRuns(batch, position);
    this.#won(batch, fate.lastModified);
    return this.#appended(batch, position);
  }

  #won(batch: BuiltBatch, lastModified: number | undefined): void {
    this.#committed = batch;
    this.#figures.slotsWritten++;
    this.#fairness.won();
    this.#stager.settled();
    this.#state.wrote(batch.slot);
    this.#remember(batch.slot, { ...batch, count: batch.versions.length, lastModified });
  }

  #appended({ versions, places }: BuiltBatch, position: Position): AppendResult {
    return { status: "appended", versions, places, next: position + 1 };
  }

  #lost(read: ReadSlot): void {
    this.#figures.slotsLost++;
    this.#fairness.lost();
    this.#follower.put(read);
  }

  /** The slot is below the floor, or of an incarnation that is over: the runs that cover it remember whose it was. */
  async #toldByRuns(batch: BuiltBatch, position: Position): Promise<AppendResult> {
    let cause: unknown;
    const isMine = await this.#isCovered(batch).catch((error: unknown) => void (cause = error));
    if (isMine === undefined) {
      const message = `What became of slot ${batch.slot} of ${this.#site.name} is not known any more`;
      throw new KVError("CommitOutcomeUnknown", message, { cause, outcome: "unknown" });
    }
    if (!isMine) return { status: "behind" };
    this.#won(batch, undefined);
    return this.#appended(batch, position);
  }

  /** Proves that there is nothing behind the position. */
  async #confirmEnd(position: Position): Promise<AppendResult> {
    const slot = position + 1;
    if (this.#follower.peek(slot) !== undefined) return { status: "behind" };
    const read = await readSlot(this.#site, slot);
    if ((await this.#confirmation.of(read, slot)) === "moved") {
      this.#moved = true;
      return { status: "behind" };
    }
    if (read.status === "absent") return { status: "appended", versions: [], places: [], next: position };
    this.#follower.put(read);
    return { status: "behind" };
  }

  /** Lets others write where it is their turn. False if they have: their slots are to be read first. */
  async #waitForTurn(position: Position): Promise<boolean> {
    const { environment } = this.#site;
    this.#fairness.begin();
    for (;;) {
      if (this.#follower.peek(position + 1) !== undefined) return false;
      const yieldMs = this.#fairness.yieldMs(position + 1);
      if (yieldMs === 0) break;
      await pause(environment, Math.min(yieldMs, this.#fairness.lookMs));
      if ((await this.#confirmEnd(position)).status !== "appended") return false;
    }
    return true;
  }

  // --- values ------------------------------------------------------------------------------------------------------

  readValue(
    version: number,
    place: number,
    length: number,
    options?: { readonly again: true },
  ): MaybePromise<Uint8Array> {
    return this.#values.read(version, place, length, options?.again ?? false);
  }

  complete(commit: LedgerCommit): Promise<Uint8Array> {
    return this.#values.complete(commit);
  }

  // --- the state ---------------------------------------------------------------------------------------------------

  openState(): Checkpoint | undefined {
    return this.#state.openState();
  }

  keepState(request: StateRequest): StateWork | undefined {
    return this.#readOnly || this.#moved ? undefined : this.#state.keepState(request);
  }

  compactState(...[request, progress]: Parameters<ObjectState["compactState"]>): Promise<void> {
    return this.#state.compactState(request, progress);
  }

  repairState(request: RepairStateRequest): Promise<RepairedState | undefined> {
    return this.#state.repairState(request);
  }

  /** What was read here is not what everybody goes on with: the next read says so. */
  gone(): void {
    this.#moved = true;
  }

  // --- the rest ----------------------------------------------------------------------------------------------------

  /**
   * There is no way from one incarnation, or from what lies below the floor, to the next but by the checkpoint. What was appended here is settled; it is not
   * in the ledger if it was not met, unless its slot can be read no more.
   */
  async reopen(position: Position): Promise<ReopenResult> {
    return { status: "replaced", ownCommits: this.#isUnmet(position) ? "unknown" : "not committed" };
  }

  abandon(): void {
    this.#turn.takeOver();
    this.#isAbandoned = true;
  }

  stats(): Readonly<Record<string, number | string | boolean>> {
    const { requests, bytesSent, bytesReceived } = this.#counting.counts();
    const { root } = this.#newest;
    return {
      ...this.#figures,
      ...this.#state.figures,
      getRequests: requests.get,
      createRequests: requests.create,
      replaceRequests: requests.replace,
      listRequests: requests.list,
      deleteRequests: requests.delete,
      bytesSent,
      bytesReceived,
      checkpointSlot: root.checkpointSlot,
      floor: root.floor,
      runs: root.runs.length,
      bytes: root.runs.reduce((sum, { size }) => sum + size, 0),
      hasUnsettledSlot: this.#pending !== undefined,
    };
  }

  close(): void {
    this.#turn.takeOver();
    this.#values.release();
  }
}

/** How many commits of the slot behind the last whole one lie before a position. */
function countWithin(position: Position): number {
  return (position - Math.floor(position)) * SLOT_VERSIONS;
}

/** The first of these commits, about so many bytes and at least one. */
function commitsWithin(commits: readonly LedgerCommit[], bytes: number): readonly LedgerCommit[] {
  let sum = 0;
  const end = commits.findIndex(
    ({ payload }, i) => i > 0 && (sum += commits[i - 1].payload.length) + payload.length > bytes,
  );
  return end < 0 ? commits : commits.slice(0, end);
}

/** The position behind a commit that is not the last of all these. */
function positionBehind(version: number, commits: readonly LedgerCommit[]): Position {
  const slot = slotOfVersion(version);
  const next = commits.find((each) => each.version > version);
  const isLastOfSlot = next === undefined || slotOfVersion(next.version) > slot;
  return isLastOfSlot ? slot : slot - 1 + (version - versionOf(slot, 0) + 1) / SLOT_VERSIONS;
}

/** How long ago a slot was written, in ms; undefined where the store does not tell. */
function ageOf({ time, lastModified }: ReadSlot): number | undefined {
  return time === undefined || lastModified === undefined ? undefined : time - lastModified;
}

function tooLarge(payload: Uint8Array, name: string): KVError {
  const message = `The commit has ${payload.length} bytes; ${name} takes at most ${PAYLOAD_BYTES_MAX}`;
  return new KVError("CommitTooLarge", message, { outcome: "not committed" });
}
