import type { EncodedKey } from "./key.ts";
import type { OrderedCursor } from "./ordered-view.ts";
import type { Row } from "./resolve.ts";
import { type Run, RunWindow } from "./run.ts";
import type { RunBlock } from "./run-block.ts";
import { EntryView } from "./run-entry.ts";

/** From so many blocks in a row on, a walk is a scan: it reads ahead, and leaves the cache alone. */
const SCAN_BLOCKS = 8;

/**
 * Walks a run in either direction. A call that throws (`NotLoaded`, or damage) leaves the cursor where it was, and so does asking for `value` or
 * `version`, which may have to load a block again that the cache has let go. Tombstones are entries like others.
 */
export class RunCursor implements OrderedCursor<Row> {
  readonly #run: Run;
  /** Read ahead in turns, so that the present block stays where it is. */
  #window: RunWindow | undefined;
  #otherWindow: RunWindow | undefined;
  #block: RunBlock | undefined;
  #index = 0;
  readonly #entry = new EntryView();
  readonly #looking = new EntryView();
  key: EncodedKey = "";
  /** Blocks walked through forward, one after the other. */
  #inRow = 0;
  readonly #told: ((error: unknown) => unknown) | undefined;

  /** Made by `Run.cursor`. */
  constructor(run: Run, told: ((error: unknown) => unknown) | undefined) {
    this.#run = run;
    this.#told = told;
  }

  get value(): Row {
    try {
      return this.#run.rowOf(this.#here(), this.#entry);
    } catch (error) {
      throw this.#failure(error);
    }
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
    try {
      if (this.#index + 1 === block.count) return this.enter(block.number + 1, 1);
      return this.#read(this.#here(), this.#index + 1, this.#entry.end);
    } catch (error) {
      throw this.#failure(error);
    }
  }

  previous(): boolean {
    const block = this.#block;
    if (block === undefined) return false;
    try {
      if (this.#index === 0) return this.enter(block.number - 1, -1);
      return this.#settle(this.#here(), this.#index - 1);
    } catch (error) {
      throw this.#failure(error);
    }
  }

  /** The number of the present block; -1 if there is none. */
  get blockNumber(): number {
    return this.#block?.number ?? -1;
  }

  #seek(key: EncodedKey | undefined, before: boolean): boolean {
    const run = this.#run;
    this.#inRow = 0;
    try {
      // A key below the first separator belongs into the first block all the same.
      const number = key === undefined ? run.blocks - 1 : Math.max(0, run.findBlock(key));
      if (run.blocks === 0) return false;
      const block = this.#block?.number === number ? this.#here() : run.block(number);
      const found = key === undefined ? block.count : block.search(key, this.#looking);
      if (!before && found === block.count) return this.enter(number + 1, 1);
      if (before && found === 0) return this.enter(number - 1, -1);
      return this.#settle(block, before ? found - 1 : found);
    } catch (error) {
      throw this.#failure(error);
    }
  }

  #failure(error: unknown): unknown {
    const failure = this.#run.failure(error);
    return this.#told === undefined ? failure : this.#told(failure);
  }

  /** The present block, loaded again if it has to be. */
  #here(): RunBlock {
    const block = this.#block as RunBlock;
    if (!block.isDropped) return block;
    return (this.#block = this.#run.block(block.number));
  }

  /** @internal Moves to the first entry of a block, or to the last one. Throws as it comes what keeps it from being read. */
  enter(number: number, step: 1 | -1): boolean {
    const run = this.#run;
    if (number < 0 || number >= run.blocks) {
      this.#block = undefined;
      return false;
    }
    if (step === -1) {
      const block = run.block(number);
      this.#inRow = 0;
      return this.#settle(block, block.count - 1);
    }
    const block = this.#inRow < SCAN_BLOCKS ? run.block(number) : this.#ahead(number);
    this.#read(block, 0, block.entriesFrom);
    this.#inRow++;
    return true;
  }

  #ahead(number: number): RunBlock {
    const run = this.#run;
    this.#window ??= new RunWindow();
    const block = run.blockWithin(number, this.#window);
    if (block !== undefined) return block;
    const window = (this.#otherWindow ??= new RunWindow());
    run.readWindow(number, window);
    this.#otherWindow = this.#window;
    this.#window = window;
    // It begins with the block.
    return run.blockWithin(number, window) as RunBlock;
  }

  #settle(block: RunBlock, index: number): true {
    return this.#read(block, index, block.entryStart(index));
  }

  #read(block: RunBlock, index: number, at: number): true {
    block.readEntryAt(at, this.#entry);
    this.key = this.#entry.key(block.bytes, block.prefix);
    this.#block = block;
    this.#index = index;
    return true;
  }
}
