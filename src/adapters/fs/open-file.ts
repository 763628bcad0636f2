import type { LedgerOpenOptions } from "../../core/ledger.ts";
import { closeLarge, type FileHandle } from "./file.ts";
import type { Generation } from "./generation.ts";
import { ValuePages } from "./value-pages.ts";

/** One generation's file, open as long as somebody reads from it: the session while it is the present one, snapshots, a vacuum under way. */
export class OpenFile {
  readonly file: FileHandle;
  readonly generation: Generation;
  readonly device: bigint;
  readonly inode: bigint;
  readonly values: ValuePages;
  #holds = 1;
  #closed = false;
  #syncs: Promise<void> = Promise.resolve();
  #syncsUnderWay = 0;

  /** Held once, by whoever makes it. */
  constructor(file: FileHandle, generation: Generation, cache: LedgerOpenOptions["cache"]) {
    this.file = file;
    this.values = new ValuePages(file, cache);
    this.generation = generation;
    const { device, inode } = file.identity();
    this.device = device;
    this.inode = inode;
  }

  get isOpen(): boolean {
    return !this.#closed;
  }

  /** Keeps the file, which is open, open until the returned function is called. */
  hold(): () => void {
    this.#holds++;
    let held = true;
    return () => {
      if (held) this.release();
      held = false;
    };
  }

  /** Gives up the hold that came with the constructor. */
  release(): void {
    if (--this.#holds > 0 || this.#closed) return;
    this.#closed = true;
    this.values.release();
    closeLarge(this.file);
  }

  /**
   * Makes durable what was written so far. One after the other: the system tells of a failure once, and whoever else is waiting must not hear of
   * success in its stead before the failure is known.
   */
  syncData(): Promise<void> {
    this.#syncsUnderWay++;
    const sync = this.#syncs.then(() => this.file.syncData());
    this.#syncs = sync.then(
      () => void this.#syncsUnderWay--,
      () => void this.#syncsUnderWay--,
    );
    return sync;
  }

  /** True if nobody waits for a sync: only then may one be made that nobody waits for. */
  get isSyncingNothing(): boolean {
    return this.#syncsUnderWay === 0;
  }
}
