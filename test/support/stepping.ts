import type { FileHandle, FileSystemCalls } from "../../src/adapters/fs/file.ts";
import type { ReplacingCalls, WritableFile } from "../../src/adapters/fs/replacing.ts";

/**
 * Called before each call to the system that changes anything: its number, counted from 1, and its name. `writeHalf`: does half of the write that
 * is to come.
 */
export type Step = (step: number, name: string, writeHalf: (() => void) | undefined) => void;

/** The system's calls, with a hook at each that changes anything, or makes it durable, from `begin` on. */
export function stepping(calls: FileSystemCalls, hook: Step): { readonly calls: FileSystemCalls; begin(): void } {
  const replacing = calls.replacing as ReplacingCalls;
  let begun = false;
  let count = 0;
  const step = (name: string, writeHalf?: () => void): void => {
    if (begun) hook(++count, name, writeHalf);
  };
  const half = (bytes: Uint8Array): Uint8Array => bytes.subarray(0, bytes.length >>> 1);
  const handle = (file: FileHandle): FileHandle => ({
    read: (target, position) => file.read(target, position),
    append: (bytes) => {
      step("append", () => file.append(half(bytes)));
      return file.append(bytes);
    },
    status: () => file.status(),
    identity: () => file.identity(),
    syncData: () => {
      step("fdatasync");
      return file.syncData();
    },
    sync: () => {
      step("fsync");
      return file.sync();
    },
    close: () => file.close(),
  });
  const writable = (file: WritableFile): WritableFile => ({
    read: (target, position) => file.read(target, position),
    writeAt: (bytes, position) => {
      step("write", () => file.writeAt(half(bytes), position));
      file.writeAt(bytes, position);
    },
    status: () => file.status(),
    identity: () => file.identity(),
    syncData: () => {
      step("fdatasync");
      return file.syncData();
    },
    sync: () => {
      step("fsync");
      return file.sync();
    },
    close: () => file.close(),
  });
  return {
    begin: () => {
      begun = true;
    },
    calls: {
      ...calls,
      open: (path, options) => handle(calls.open(path, options)),
      syncDirectory: (path) => {
        step("fsync of the directory");
        return calls.syncDirectory(path);
      },
      replacing: {
        ...replacing,
        createLike: (path, like) => {
          step("create");
          return writable(replacing.createLike(path, like));
        },
        createNew: (path) => {
          step("create");
          return writable(replacing.createNew(path));
        },
        openWritable: (path) => {
          const file = replacing.openWritable(path);
          return file === undefined ? undefined : writable(file);
        },
        rename: (from, to) => {
          step("rename");
          return replacing.rename(from, to);
        },
        renameNew: (from, to) => {
          step("rename");
          replacing.renameNew(from, to);
        },
        unlink: (path) => {
          step("unlink");
          return replacing.unlink(path);
        },
      },
    },
  };
}
