import { DroppedNet, type Reference } from "./dropped.ts";
import type { Engine } from "./engine.ts";
import type { Environment } from "./environment.ts";
import { KVError } from "./errors.ts";
import type { Snapshot } from "./source.ts";
import type { KVStats } from "./stats.ts";

/** An iterator that has not ended. Nothing here leads to it: it may be dropped without a word. */
export interface OpenIterator {
  iterator: Reference<{ close(error: unknown): void }> | undefined;
  /** What it walks over, once it has begun. */
  snapshot: Snapshot | undefined;
  /** Lets go of what the transaction sees that it belongs to. */
  readonly letGo?: (() => void) | undefined;
}

/** The frozen versions of one instance that iterators and transactions hold, and the iterators, which may have to let go of them. */
export class Snapshots {
  readonly #pinnedBytesMax: number;
  readonly #taken = new Set<Snapshot>();
  readonly #iterators = new Set<OpenIterator>();
  readonly #dropped: DroppedNet<OpenIterator>;

  constructor(environment: Environment, pinnedBytesMax: number) {
    this.#pinnedBytesMax = pinnedBytesMax;
    this.#dropped = new DroppedNet(environment, (open) => this.#letGo(open));
  }

  /** `frozen`: where that has been done already. */
  take(engine: Engine, frozen?: Snapshot): Snapshot {
    if (this.#pinnedBytesMax < Infinity) this.#expireIterators(engine);
    const snapshot = frozen ?? engine.freeze();
    this.#taken.add(snapshot);
    return snapshot;
  }

  release(snapshot: Snapshot): void {
    if (this.#taken.delete(snapshot)) snapshot.release();
  }

  /** `open` counts as an iterator that holds a frozen version, or will. */
  addIterator(open: OpenIterator): void {
    this.#iterators.add(open);
  }

  removeIterator(open: OpenIterator): void {
    if (this.#iterators.delete(open)) open.letGo?.();
  }

  /** What `iterator` holds is released when it is dropped, too. */
  watchIterator(iterator: { close(error: unknown): void }, open: OpenIterator): void {
    open.iterator = this.#dropped.refer(iterator);
    this.#dropped.watch(iterator, open);
  }

  endIterators(failure: KVError): void {
    for (const open of [...this.#iterators]) this.#endIterator(open, failure);
  }

  /** `now`: on the monotonic clock. */
  stats(engine: Engine, now: number): KVStats["snapshots"] {
    let oldest = now;
    for (const { takenAt } of this.#taken) oldest = Math.min(oldest, takenAt);
    return { count: this.#taken.size, oldestAgeMs: now - oldest, pinnedBytes: this.#pinnedBytes(engine) };
  }

  #pinnedBytes({ replica }: Engine): number {
    return replica.pinnedBytes([...this.#taken].map(({ rows }) => rows));
  }

  /** Ends the oldest iterators as long as what is frozen takes too much. */
  #expireIterators(engine: Engine): void {
    for (const open of this.#iterators) {
      if (this.#pinnedBytes(engine) <= this.#pinnedBytesMax) return;
      const message = `Frozen versions keep more than ${this.#pinnedBytesMax} bytes: the oldest iterators were ended`;
      this.#endIterator(open, new KVError("SnapshotExpired", message));
    }
  }

  #endIterator(open: OpenIterator, failure: KVError): void {
    const iterator = open.iterator?.deref();
    if (iterator === undefined) this.#letGo(open);
    else iterator.close(failure);
  }

  /** An iterator was dropped without having ended. */
  #letGo(open: OpenIterator): void {
    this.removeIterator(open);
    if (open.snapshot !== undefined) this.release(open.snapshot);
  }
}
