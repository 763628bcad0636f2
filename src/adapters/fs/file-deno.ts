import * as fs from "node:fs";
import type { FileHandle, FileSystemCalls, PathStatus } from "./file.ts";
import { nodeReplacing } from "./replacing-node.ts";
import { fileSystemType, makeDirectories, resolvePath, toStatus, watchDirectory } from "./file-node.ts";

/** As much of `Deno` as is used here. */
interface DenoNamespace {
  openSync(path: string, options: { read: boolean; append?: boolean; create?: boolean; mode?: number }): DenoFile;
  readonly SeekMode: { readonly Start: number };
}

interface DenoFile {
  readSync(target: Uint8Array): number | null;
  writeSync(bytes: Uint8Array): number;
  seekSync(offset: number, whence: number): number;
  statSync(): {
    readonly size: number;
    readonly nlink: number | null;
    readonly dev: number;
    readonly ino: number | null;
  };
  syncData(): Promise<void>;
  syncDataSync(): void;
  sync(): Promise<void>;
  close(): void;
}

/**
 * Deno: its `node:fs` goes on after a short write and so could put a piece of a frame behind another process's; `Deno.FsFile` makes one
 * system call and tells its count. Its reads have no position: a seek goes before each, which an append is not affected by.
 */
export function denoFileSystem(): FileSystemCalls | undefined {
  const deno = (globalThis as { Deno?: DenoNamespace }).Deno;
  return deno && (made ??= callsOf(deno));
}

/** One for all: what is known of files is known by the calls that they were opened with. */
let made: FileSystemCalls | undefined;

function callsOf(deno: DenoNamespace): FileSystemCalls {
  return {
    posix: process.platform !== "win32",
    open: (path, { write, create }) => {
      const options = write ? { read: true, append: true, create, mode: 0o666 } : { read: true };
      const file = deno.openSync(path, options);
      try {
        return new DenoHandle(deno, file, identify(file, stat(path)));
      } catch (error) {
        file.close();
        throw error;
      }
    },
    stat,
    makeDirectories,
    syncDirectory: async (directory) => {
      const handle = deno.openSync(directory, { read: true });
      try {
        await handle.sync();
      } finally {
        handle.close();
      }
    },
    fileSystemType,
    watchDirectory,
    resolve: resolvePath,
    replacing: nodeReplacing,
  };
}

function stat(path: string): PathStatus | undefined {
  const stats = fs.statSync(path, { bigint: true, throwIfNoEntry: false });
  return stats === undefined ? undefined : toStatus(stats);
}

/**
 * Which file it is. Deno tells the inode of an open file as a number, which is rounded above 2^53 (overlay file systems have such inodes), and of a
 * path exactly: if the path still leads to what agrees as far as the number goes, it is that.
 */
function identify(file: DenoFile, path: PathStatus | undefined): { readonly device: bigint; readonly inode: bigint } {
  const { dev, ino } = file.statSync();
  const isPath = path !== undefined && Number(path.device) === dev && Number(path.inode) === ino;
  return isPath ? { device: path.device, inode: path.inode } : { device: BigInt(dev), inode: BigInt(ino ?? 0) };
}

class DenoHandle implements FileHandle {
  readonly #deno: DenoNamespace;
  readonly #file: DenoFile;
  readonly #identity: { readonly device: bigint; readonly inode: bigint };
  #closed = false;

  constructor(deno: DenoNamespace, file: DenoFile, identity: { readonly device: bigint; readonly inode: bigint }) {
    this.#deno = deno;
    this.#file = file;
    this.#identity = identity;
  }

  read(target: Uint8Array, position: number): number {
    if (target.length === 0) return 0;
    this.#file.seekSync(position, this.#deno.SeekMode.Start);
    return this.#file.readSync(target) ?? 0;
  }

  append(bytes: Uint8Array): number {
    return this.#file.writeSync(bytes);
  }

  status(): { readonly size: number; readonly links: number } {
    const { size, nlink } = this.#file.statSync();
    return { size, links: nlink ?? 1 };
  }

  identity(): { readonly device: bigint; readonly inode: bigint } {
    return this.#identity;
  }

  syncData(): Promise<void> {
    return this.#file.syncData();
  }

  syncDataNow(): void {
    this.#file.syncDataSync();
  }

  sync(): Promise<void> {
    return this.#file.sync();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#file.close();
  }
}
