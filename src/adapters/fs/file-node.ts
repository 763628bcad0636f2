import * as fs from "node:fs";
import * as path from "node:path";
import { promisify } from "node:util";
import type { FileHandle, FileSystemCalls, PathStatus } from "./file.ts";
import { NodeReadableFile } from "./node-file.ts";
import { nodeReplacing } from "./replacing-node.ts";

const { O_APPEND, O_CREAT, O_RDONLY, O_RDWR } = fs.constants;
const fsync = promisify(fs.fsync);

/** Node and Bun: `fs.writeSync` and `fs.readSync` make one system call and tell its count. */
export const nodeFileSystem: FileSystemCalls = {
  posix: process.platform !== "win32",
  open: (file, { write, create }) => {
    const flags = write ? O_RDWR | O_APPEND | (create ? O_CREAT : 0) : O_RDONLY;
    return new NodeFile(fs.openSync(file, flags, 0o666));
  },
  stat: (file) => {
    const stats = fs.statSync(file, { bigint: true, throwIfNoEntry: false });
    return stats === undefined ? undefined : toStatus(stats);
  },
  makeDirectories,
  syncDirectory: async (directory) => {
    // Windows opens no directories; it keeps names durable by itself.
    if (process.platform === "win32") return;
    const fd = fs.openSync(directory, O_RDONLY);
    try {
      await fsync(fd);
    } finally {
      fs.closeSync(fd);
    }
  },
  fileSystemType,
  watchDirectory,
  resolve: resolvePath,
  replacing: nodeReplacing,
};

export function toStatus(stats: fs.BigIntStats): PathStatus {
  const kind = stats.isFile() ? "file" : stats.isDirectory() ? "directory" : "other";
  return { device: stats.dev, inode: stats.ino, kind, size: Number(stats.size) };
}

export function makeDirectories(directory: string): readonly string[] {
  const missing: string[] = [];
  for (let at = directory; !fs.existsSync(at) && at !== path.dirname(at); at = path.dirname(at)) missing.unshift(at);
  fs.mkdirSync(directory, { recursive: true });
  return missing;
}

export function fileSystemType(file: string): number | undefined {
  if (process.platform !== "linux") return undefined;
  try {
    return fs.statfsSync(file).type;
  } catch {
    // A permission system (Deno without --allow-sys) or a runtime that has no statfs forbids to ask; the caller's stats say so.
    return undefined;
  }
}

export function watchDirectory(
  directory: string,
  listener: (name: string | undefined) => void,
): (() => void) | undefined {
  try {
    const watcher = fs.watch(directory, { persistent: false }, (_, name) => listener(name ?? undefined));
    // The directory is gone, or the system took the watch away: polling serves.
    watcher.on("error", () => watcher.close());
    return () => watcher.close();
  } catch {
    // No inotify instance left, or none at all: polling serves.
    return undefined;
  }
}

export function resolvePath(file: string): {
  readonly path: string;
  readonly directory: string;
  readonly name: string;
} {
  const resolved = path.resolve(file);
  return { path: resolved, directory: path.dirname(resolved), name: path.basename(resolved) };
}

class NodeFile extends NodeReadableFile implements FileHandle {
  append(bytes: Uint8Array): number {
    return fs.writeSync(this.descriptor, bytes, 0, bytes.length, null);
  }
}
