import type { Commit } from "./commit.ts";
import { type KVError, KVError as Failure } from "./errors.ts";
import type { EncodedKey } from "./key.ts";
import type { CommitRecord } from "./ledger.ts";
import type { CompiledQuery } from "./query.ts";

/** What became of a commit that is in the ledger. */
export type Verdict = "applied" | "conflict" | "mismatch";

/** A commit on its way: from the call that made it until its fate is known. */
export class PendingCommit implements CommitRecord {
  readonly writer: Uint8Array;
  readonly counter: number;
  readonly timestamp: number;
  readonly payload: Uint8Array;
  readonly commit: Commit;
  readonly #settled: (verdict: Verdict, version: number) => void;
  readonly #rejected: (error: unknown) => void;
  #done = false;
  /** Its fate is known: it holds up no reads any more. */
  released = false;
  /** Set where this keeps a place for commits that are not known yet, and touch these keys: nothing behind it is appended before they are. */
  keeps: ((key: EncodedKey) => boolean) | undefined;
  #waiters: (() => void)[] | undefined;

  constructor(
    writer: Uint8Array,
    counter: number,
    timestamp: number,
    payload: Uint8Array,
    commit: Commit,
    settled: (verdict: Verdict, version: number) => void,
    rejected: (error: unknown) => void,
  ) {
    this.writer = writer;
    this.counter = counter;
    this.timestamp = timestamp;
    this.payload = payload;
    this.commit = commit;
    this.#settled = settled;
    this.#rejected = rejected;
  }

  get done(): boolean {
    return this.#done;
  }

  settle(verdict: Verdict, version: number): void {
    this.#settled(verdict, version);
    this.#finish();
  }

  reject(error: unknown): void {
    this.#rejected(error);
    this.#finish();
  }

  /** Resolves once the fate is known, whatever it is. */
  whenDone(): Promise<void> {
    if (this.#done) return Promise.resolve();
    return new Promise((resolve) => (this.#waiters ??= []).push(resolve));
  }

  #finish(): void {
    this.#done = true;
    const waiters = this.#waiters;
    this.#waiters = undefined;
    if (waiters !== undefined) for (const waiter of waiters) waiter();
  }
}

const NONE: readonly PendingCommit[] = [];

/** The one queue of an instance: commits not yet appended, those under way, and which keys they touch. */
export class CommitQueue {
  #waiting: PendingCommit[] = [];
  #head = 0;
  /** What was taken last, to be appended: commits of it may be pending still. */
  #taken = NONE;
  /** Appended and not yet met in the ledger, by counter. */
  readonly inFlight = new Map<number, PendingCommit>();
  /** The latest pending commit that touches a key, as far as anybody has asked: who only writes never pays for it. */
  readonly #byKey = new Map<EncodedKey, PendingCommit>();
  /** The number of the last commit whose keys are in there. */
  #indexedTo = 0;
  /** Places that are kept. */
  readonly #kept = new Set<PendingCommit>();
  #bytes = 0;
  #count = 0;
  #last: PendingCommit | undefined;

  /** Payload bytes of all commits whose fate is not known yet. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Commits whose fate is not known yet. */
  get count(): number {
    return this.#count;
  }

  /** Commits not yet appended. */
  get waiting(): number {
    return this.#waiting.length - this.#head;
  }

  /** The commit that was added last, while its fate is not known. Everything before it is settled before it. */
  get last(): PendingCommit | undefined {
    return this.#last?.done === false ? this.#last : undefined;
  }

  add(pending: PendingCommit): void {
    this.#waiting.push(pending);
    this.#bytes += pending.payload.length;
    this.#count++;
    this.#last = pending;
  }

  /** True if there is something that can be appended. */
  get canTake(): boolean {
    return this.waiting > 0 && this.#waiting[this.#head].keeps === undefined;
  }

  /** Keeps a place behind everything that was added. */
  keepPlace(place: PendingCommit): void {
    this.add(place);
    this.#kept.add(place);
  }

  /** Adds commits in the place that was kept for them. False if it was rejected meanwhile. */
  fill(place: PendingCommit, commits: readonly PendingCommit[]): boolean {
    this.#kept.delete(place);
    const at = this.#waiting.indexOf(place, this.#head);
    if (at < 0) return false;
    this.#waiting.splice(at, 1, ...commits);
    this.#index();
    for (const pending of commits) {
      this.#bytes += pending.payload.length;
      this.#count++;
      // What was added behind the place comes later.
      for (const { key } of pending.commit.operations) {
        const known = this.#byKey.get(key);
        if (known === undefined || known.counter < pending.counter) this.#byKey.set(key, pending);
      }
    }
    return true;
  }

  /** Takes the oldest waiting commits to be appended, at least one, up to `bytesMax` of payload and `countMax` of them. */
  take(limits: { readonly bytesMax: number; readonly countMax: number }): PendingCommit[] {
    const batch = this.#takeUpTo(limits);
    this.#taken = batch;
    return batch;
  }

  #takeUpTo({ bytesMax, countMax }: { readonly bytesMax: number; readonly countMax: number }): PendingCommit[] {
    let end = this.#head;
    let bytes = 0;
    const endMax = Math.min(this.#waiting.length, this.#head + countMax);
    while (end < endMax) {
      if (this.#waiting[end].keeps !== undefined && countMax !== Infinity) break;
      bytes += this.#waiting[end].payload.length;
      if (bytes > bytesMax && end > this.#head) break;
      end++;
    }
    const batch =
      this.#head === 0 && end === this.#waiting.length ? this.#waiting : this.#waiting.slice(this.#head, end);
    if (end === this.#waiting.length) {
      this.#waiting = [];
      this.#head = 0;
    } else {
      this.#head = end;
      if (end > 1024 && end > this.#waiting.length / 2) {
        this.#waiting = this.#waiting.slice(end);
        this.#head = 0;
      }
    }
    return batch;
  }

  /** Puts back what was taken and is certain not to be in this generation, before everything that waits. */
  putBack(batch: readonly PendingCommit[]): void {
    if (batch.length === 0) return;
    const again = new Set(batch);
    // The others may be pending still: reads wait for them.
    this.#taken = this.#taken.filter((pending) => !again.has(pending));
    this.#waiting = [...batch, ...this.#waiting.slice(this.#head)];
    this.#head = 0;
  }

  /** Takes the commits that were appended and not met, oldest first. */
  takeInFlight(): PendingCommit[] {
    const batch = [...this.inFlight.values()];
    this.inFlight.clear();
    return batch;
  }

  /** Forgets a commit whose fate is about to be told. */
  release(pending: PendingCommit): void {
    pending.released = true;
    this.#bytes -= pending.payload.length;
    this.#count--;
    if (this.#count === 0) this.#taken = NONE;
    if (this.#byKey.size === 0) return;
    for (const { key } of pending.commit.operations) {
      if (this.#byKey.get(key) === pending) this.#byKey.delete(key);
    }
  }

  reject(batch: readonly PendingCommit[], error: KVError): void {
    for (const pending of batch) {
      this.#kept.delete(pending);
      this.release(pending);
      pending.reject(error);
    }
  }

  /** Rejects everything that was never appended: certainly not committed. */
  rejectWaiting(error: KVError): void {
    const failure =
      error.outcome === "not committed"
        ? error
        : new Failure(error.code === "CommitOutcomeUnknown" ? "InputOutput" : error.code, error.message, {
            cause: error,
            outcome: "not committed",
          });
    this.reject(this.#takeUpTo({ bytesMax: Infinity, countMax: Infinity }), failure);
  }

  /** All pending commits, in order. */
  *pending(): Generator<Commit> {
    for (const pending of this.#taken) if (!pending.released) yield pending.commit;
    for (let i = this.#head; i < this.#waiting.length; i++) yield this.#waiting[i].commit;
  }

  /** The latest pending commit that touches `key`. */
  touching(key: EncodedKey): PendingCommit | undefined {
    if (this.#count === 0) return undefined;
    this.#index();
    let latest = this.#byKey.get(key);
    for (const place of this.#kept) if (isLater(place, latest) && place.keeps?.(key) === true) latest = place;
    return latest;
  }

  /** The latest pending commit that touches anything that `query` matches. */
  touchingRange(query: CompiledQuery): PendingCommit | undefined {
    let latest: PendingCommit | undefined;
    this.#index();
    for (const [key, pending] of this.#byKey) {
      if (latest !== undefined && latest.counter >= pending.counter) continue;
      if (query.matches(key)) latest = pending;
    }
    // What they touch may be anything.
    for (const place of this.#kept) if (isLater(place, latest)) latest = place;
    return latest;
  }

  #index(): void {
    this.#indexNew(this.#taken, 0);
    this.#indexNew(this.#waiting, this.#head);
    if (this.#last !== undefined) this.#indexedTo = this.#last.counter;
  }

  #indexNew(commits: readonly PendingCommit[], from: number): void {
    let at = commits.length;
    while (at > from && commits[at - 1].counter > this.#indexedTo) at--;
    for (; at < commits.length; at++) {
      const pending = commits[at];
      if (pending.released) continue;
      for (const { key } of pending.commit.operations) this.#byKey.set(key, pending);
    }
  }
}

function isLater(one: PendingCommit, other: PendingCommit | undefined): boolean {
  return other === undefined || one.counter > other.counter;
}
