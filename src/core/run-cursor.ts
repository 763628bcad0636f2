import type { EncodedKey } from "./key.ts";
import type { OrderedCursor } from "./ordered-view.ts";
import type { Row } from "./resolve.ts";
import type { Run, RunWindow } from "./run.ts";
import type { RunBlock } from "./run-block.ts";
import { EntryView } from "./run-entry.ts";

/** From so many blocks in a row on, a walk is a scan: it reads ahead, and leaves the cache alone. */
const SCAN_BLOCKS = 8;

/**
 * Walks a run in either direction. A call that throws (`NotLoaded`, or damage) leaves the cursor where it was. Tombstones are entries like
 * others. `value` is decoded when it is asked for.
 */
export class RunCursor implements OrderedCursor<Row> {
  readonly #run: Run;
  readonly #window: RunWindow = { place: 0, bytes: new Uint8Array(0) };
  #block: RunBlock | undefined;
  #index = 0;
  readonly #entry = new EntryView();
  readonly #looking = new EntryView();
  #key: EncodedKey | undefined;
  /** Blocks walked through forward, one after the other. */
  #inRow = 0;

  /** Made by `Run.cursor`. */
  constructor(run: Run) {
    this.#run = run;
  }

  get key(): EncodedKey {
    const block = this.#block;
    if (block === undefined) return this.#key ?? "";
    return (this.#key ??= this.#entry.key(block.bytes, block.prefix));
  }

  get value(): Row {
    return this.#run.rowOf(this.#block as RunBlock, this.#entry);
  }

  /** The version of the present entry; cheaper than that of `value`. */
  get version(): number {
    return this.#entry.version(this.#block as RunBlock);
  }

  seek(key: EncodedKey): boolean {
    return this.#seek(key, false);
  }

  seekBefore(key: EncodedKey | undefined): boolean {
    return this.#seek(key, true);
  }

  next(): boolean {
    const block = this.#block;
    if (block === undefined) return false;
    if (this.#index + 1 === block.count) return this.#enter(block.number + 1, 1);
    this.#read(block, this.#entry.end);
    this.#index++;
    return true;
  }

  previous(): boolean {
    const block = this.#block;
    if (block === undefined) return false;
    if (this.#index === 0) return this.#enter(block.number - 1, -1);
    return this.#settle(block, this.#index - 1);
  }

  /** Moves on to the next entry that has this version or a higher one. Blocks without any are skipped unread. */
  nextSince(version: number): boolean {
    while (this.#block !== undefined) {
      if (this.#index + 1 < this.#block.count && this.#block.highestVersion >= version) {
        this.next();
      } else {
        let number = this.#block.number + 1;
        while (number < this.#run.blocks && this.#run.blockVersion(number) < version) number++;
        if (!this.#enter(number, 1)) return false;
      }
      if (this.version >= version) return true;
    }
    return false;
  }

  #seek(key: EncodedKey | undefined, before: boolean): boolean {
    const run = this.#run;
    this.#inRow = 0;
    // A key below the first separator belongs into the first block all the same.
    const number = key === undefined ? run.blocks - 1 : Math.max(0, run.findBlock(key));
    if (run.blocks === 0) return this.#end();
    const block = this.#block?.number === number ? this.#block : run.block(number);
    const found = key === undefined ? block.count : this.#search(block, key);
    if (!before && found === block.count) return this.#enter(number + 1, 1);
    if (before && found === 0) return this.#enter(number - 1, -1);
    return this.#settle(block, before ? found - 1 : found);
  }

  #search(block: RunBlock, key: EncodedKey): number {
    try {
      return block.search(key, this.#looking);
    } catch (error) {
      throw this.#run.failure(error);
    }
  }

  /** Moves to the first entry of a block, or to the last one. */
  #enter(number: number, step: 1 | -1): boolean {
    const run = this.#run;
    if (number < 0 || number >= run.blocks) return this.#end();
    if (step === -1) {
      const block = run.block(number);
      this.#inRow = 0;
      return this.#settle(block, block.count - 1);
    }
    const block = this.#inRow < SCAN_BLOCKS ? run.block(number) : run.blockAhead(number, this.#window);
    this.#read(block, block.entriesFrom);
    this.#inRow++;
    this.#block = block;
    this.#index = 0;
    return true;
  }

  #settle(block: RunBlock, index: number): boolean {
    try {
      block.readEntry(index, this.#entry);
    } catch (error) {
      throw this.#run.failure(error);
    }
    this.#block = block;
    this.#index = index;
    this.#key = undefined;
    return true;
  }

  #read(block: RunBlock, at: number): void {
    try {
      block.readEntryAt(at, this.#entry);
    } catch (error) {
      throw this.#run.failure(error);
    }
    this.#key = undefined;
  }

  #end(): false {
    // The last key stays, as with other cursors.
    this.#key = this.key;
    this.#block = undefined;
    return false;
  }
}
