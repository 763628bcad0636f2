import { equalBytes } from "../../core/bytes.ts";
import type { MaybePromise } from "../../core/environment.ts";
import { KVError } from "../../core/errors.ts";
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
  ReopenResult,
  StateRequest,
  StateWork,
} from "../../core/ledger.ts";
import { type BuiltBatch, buildBatch } from "./batch.ts";
import type { ObjectState } from "./checkpoint.ts";
import type { Confirmation } from "./confirmation.ts";
import type { CountingStore } from "./counting-store.ts";
import { Fairness } from "./fairness.ts";
import type { Follower } from "./follow.ts";
import type { CreateAnswer } from "./object-store.ts";
import type { OwnTurn } from "./own-turn.ts";
import { placesOf, versionOf } from "./place.ts";
import { type Batch, type Fate, Settler, type WriteSlot } from "./settle.ts";
import { pause, type Site } from "./site.ts";
import { payloadOf } from "./slot.ts";
import { type ReadSlot, readSlot } from "./slot-reader.ts";
import { Stager } from "./staged.ts";
import type { Tail } from "./tail.ts";
import { ValueReader } from "./value-reader.ts";

/** One frame of a file: what a commit with all its values has at most, on every ledger. */
const PAYLOAD_BYTES_MAX = 65 * 1024 * 1024;
/** While an author lets others have their turn it looks so often what they have written. */
const YIELD_LOOK_MS = 500;

/** What a session is made of, once it is known that there is a ledger. */
export interface SessionParts {
  readonly site: Site;
  /** Where values are read: by whoever wants one, whose turn it is or not. */
  readonly values: { readonly site: Site; readonly confirmation: Confirmation };
  readonly identity: LedgerIdentity;
  readonly readOnly: boolean;
  readonly confirmation: Confirmation;
  readonly follower: Follower;
  readonly turn: OwnTurn;
  readonly counting: CountingStore;
  readonly cache: LedgerOpenOptions["cache"];
  readonly tail: Tail;
  readonly state: ObjectState;
  /** Where reading begins, and the hash of the slot there. */
  readonly start: Position;
  readonly startHash: Uint8Array;
  /** Writes a slot where the store would overwrite one: `predecessor` is the hash of the one before, `mayBeWritten` says of these bytes that they may be there. */
  readonly writeAlone?: (
    batch: Batch,
    context: { readonly predecessor: Uint8Array; readonly mayBeWritten: boolean },
  ) => Promise<CreateAnswer>;
}

/**
 * A ledger of slots, opened. A position is the number of the last slot that was read. The calls of the contract that change anything follow each
 * other; what a call that was given up leaves behind is `#pending` alone.
 */
export class ObjectSession implements LedgerSession {
  readonly identity: LedgerIdentity;
  readonly start: Position;
  readonly payloadBytesMax: number = PAYLOAD_BYTES_MAX;
  readonly #site: Site;
  readonly #readOnly: boolean;
  readonly #confirmation: Confirmation;
  readonly #follower: Follower;
  readonly #turn: OwnTurn;
  readonly #counting: CountingStore;
  readonly #settler: Settler;
  readonly #stager: Stager;
  readonly #fairness: Fairness;
  readonly #values: ValueReader;
  readonly #tail: Tail;
  readonly #state: ObjectState;
  readonly #startHash: Uint8Array;
  /** Bytes that may be on their way to a slot: what became of them is found out before anything else is written. */
  #pending: BuiltBatch | undefined;
  /** Somebody has taken over from whoever was at it, and nobody has been told yet what became of `#pending`. */
  #isAbandoned = false;
  /** What was read is not what everybody goes on with. */
  #moved = false;
  readonly #figures = { slotsRead: 0, slotsWritten: 0, slotsLost: 0, settledLater: 0 };

  constructor(parts: SessionParts) {
    const { site, identity, confirmation, start } = parts;
    this.identity = identity;
    this.start = start;
    this.#site = site;
    this.#readOnly = parts.readOnly;
    this.#confirmation = confirmation;
    this.#follower = parts.follower;
    this.#turn = parts.turn;
    this.#counting = parts.counting;
    this.#startHash = parts.startHash;
    this.#tail = parts.tail;
    this.#state = parts.state;
    const { writeAlone } = parts;
    const write: WriteSlot | undefined =
      writeAlone &&
      ((batch, mayBeWritten) => writeAlone(batch, { predecessor: this.#hashOf(batch.slot - 1), mayBeWritten }));
    this.#settler = new Settler(site, confirmation, write);
    this.#stager = new Stager(site);
    this.#fairness = new Fairness(site.environment);
    const gone = (): void => this.gone();
    this.#values = new ValueReader(parts.values.site, {
      confirmation: parts.values.confirmation,
      cache: parts.cache,
      gone,
    });
  }

  // --- reading -----------------------------------------------------------------------------------------------------

  async read(position: Position, budget: ReadBudget): Promise<ReadResult> {
    if (this.#pending !== undefined && this.#isAbandoned) await this.#settleFirst(this.#pending, position);
    if (this.#moved) return { commits: [], next: position, status: "moved" };
    if (budget.verify) this.#follower.lookAnew();
    const predecessor = this.#hashOf(position);
    const followed = await this.#follower.next(position + 1, { bytes: budget.bytes, predecessor });
    if (followed.status === "moved") {
      this.#moved = true;
      return { commits: [], next: position, status: "moved" };
    }
    const commits: LedgerCommit[] = [];
    for (const read of followed.slots) this.#met(read, commits);
    const next = position + followed.slots.length;
    const state = this.#state.newerState(next);
    return { commits, next, status: followed.status, ...(state && { state }) };
  }

  /** A slot is handed up. */
  #met(read: ReadSlot, commits: LedgerCommit[]): void {
    const { slot, bytes } = read;
    const pending = this.#pending;
    if (pending !== undefined && slot.slot >= pending.slot) this.#pending = undefined;
    const isOwn = pending !== undefined && slot.slot === pending.slot && equalBytes(pending.bytes, bytes);
    if (isOwn) this.#state.wrote(slot.slot);
    else this.#fairness.seen(slot.author);
    this.#figures.slotsRead++;
    this.#remember(slot.slot, { ...read, batchId: slot.batchId, author: slot.author, count: slot.commits.length });
    const places = placesOf(slot.slot, slot.commits);
    for (const [i, commit] of slot.commits.entries()) {
      commits.push({
        writer: slot.author,
        counter: commit.counter,
        timestamp: commit.timestamp,
        payload: payloadOf(bytes, commit),
        version: versionOf(slot.slot, i),
        place: places[i],
        ...(commit.holes.length === 0 ? {} : { isPartial: true }),
      });
    }
  }

  #remember(
    slot: number,
    facts: Pick<BuiltBatch, "bytes" | "hash" | "batchId" | "author"> & {
      readonly count: number;
      readonly lastModified: number | undefined;
    },
  ): void {
    const { bytes, hash, batchId, author, count, lastModified } = facts;
    const lastVersion = versionOf(slot, count - 1);
    this.#tail.add({ slot, hash, batchId, author, bytes: bytes.length, lastVersion, lastModified });
    this.#values.keep(slot, bytes);
  }

  #hashOf(position: Position): Uint8Array {
    const hash = position === this.start ? this.#startHash : this.#tail.get(position)?.hash;
    if (hash === undefined) throw new RangeError(`Nothing is known of slot ${position}`);
    return hash;
  }

  // --- writing -----------------------------------------------------------------------------------------------------

  async append(commits: readonly CommitRecord[], position: Position): Promise<AppendResult> {
    if (this.#readOnly) {
      throw new KVError("ReadOnly", `${this.#site.name} was opened with readOnly`, { outcome: "not committed" });
    }
    if (this.#moved) return { status: "behind" };
    this.#follower.lookAnew();
    // Whatever became of it: what is there now was not known when these commits were made.
    if (this.#pending !== undefined) return await this.#settleFirst(this.#pending, position);
    if (commits.length === 0) return await this.#confirmEnd(position);
    if (!(await this.#waitForTurn(position))) return { status: "behind" };
    const next = { slot: position + 1, predecessor: this.#hashOf(position) };
    const batch = await buildBatch(this.#site, this.#stager, commits, next);
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
    this.#pending = undefined;
    if (fate.status === "other") this.#lost(fate.read);
    else if (fate.status === "moved") this.#moved = true;
    return { status: "behind" };
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
    this.#moved = true;
    const batchId = await this.#state.batchIdOf(batch.slot);
    if (batchId === undefined) {
      const message = `What became of slot ${batch.slot} of ${this.#site.name} is not known any more`;
      throw new KVError("CommitOutcomeUnknown", message, { outcome: "unknown" });
    }
    if (!equalBytes(batchId, batch.batchId)) return { status: "behind" };
    this.#won(batch, undefined);
    return this.#appended(batch, position);
  }

  /** Proves that there is nothing behind the position. */
  async #confirmEnd(position: Position): Promise<AppendResult> {
    const slot = position + 1;
    if (this.#follower.peek(slot) !== undefined) return { status: "behind" };
    const read = await readSlot(this.#site, slot);
    if ((await this.#confirmation.of(read, slot, this.#site.nonce)) === "moved") {
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
      await pause(environment, Math.min(yieldMs, YIELD_LOOK_MS));
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

  /** What was read here is not what everybody goes on with: the next read says so. */
  gone(): void {
    this.#moved = true;
  }

  // --- the rest ----------------------------------------------------------------------------------------------------

  /** There is no way from one incarnation, or from what lies below the floor, to the next but by the checkpoint. What was appended here is settled. */
  async reopen(): Promise<ReopenResult> {
    return { status: "replaced", ownCommits: "not committed" };
  }

  abandon(): void {
    this.#turn.takeOver();
    this.#isAbandoned = true;
  }

  stats(): Readonly<Record<string, number | string | boolean>> {
    const { requests, bytesSent, bytesReceived } = this.#counting.counts();
    const root = this.#state.root;
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
