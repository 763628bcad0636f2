import * as fs from "node:fs";
import { promisify } from "node:util";
import type { ReadableFile } from "./file.ts";

const fdatasync = promisify(fs.fdatasync);
const fsync = promisify(fs.fsync);

/** An open descriptor of `node:fs`. */
export class NodeReadableFile implements ReadableFile {
  /** -1 once it is closed: the system gives numbers out again. */
  #fd: number;

  constructor(fd: number) {
    this.#fd = fd;
  }

  /** For one more kind of call. */
  get descriptor(): number {
    return this.#fd;
  }

  read(target: Uint8Array, position: number): number {
    return fs.readSync(this.#fd, target, 0, target.length, position);
  }

  status(): { readonly size: number; readonly links: number } {
    const { size, nlink } = fs.fstatSync(this.#fd);
    return { size, links: nlink };
  }

  identity(): { readonly device: bigint; readonly inode: bigint } {
    const { dev, ino } = fs.fstatSync(this.#fd, { bigint: true });
    return { device: dev, inode: ino };
  }

  syncData(): Promise<void> {
    return fdatasync(this.#fd);
  }

  syncDataNow(): void {
    fs.fdatasyncSync(this.#fd);
  }

  sync(): Promise<void> {
    return fsync(this.#fd);
  }

  close(): void {
    if (this.#fd < 0) return;
    fs.closeSync(this.#fd);
    this.#fd = -1;
  }

  closeAside(): void {
    if (this.#fd < 0) return;
    fs.close(this.#fd, () => undefined);
    this.#fd = -1;
  }
}
