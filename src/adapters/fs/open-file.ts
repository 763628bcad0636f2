import type { FileHandle } from "./file.ts";
import type { Generation } from "./generation.ts";

/** One generation's file, open as long as somebody reads from it: the session while it is the present one, snapshots, a vacuum under way. */
export class OpenFile {
  readonly file: FileHandle;
  readonly generation: Generation;
  readonly device: bigint;
  readonly inode: bigint;
  #holds = 1;

  /** Held once, by whoever makes it. */
  constructor(file: FileHandle, generation: Generation) {
    this.file = file;
    this.generation = generation;
    const { device, inode } = file.identity();
    this.device = device;
    this.inode = inode;
  }

  get isOpen(): boolean {
    return this.#holds > 0;
  }

  /** Keeps the file open until the returned function is called. */
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
    if (--this.#holds === 0) this.file.close();
  }

  /** Closes the file whoever holds it. */
  close(): void {
    this.#holds = 0;
    this.file.close();
  }
}
