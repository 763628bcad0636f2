import type { ReplacingCalls } from "./replacing.ts";

/**
 * The system calls that the file ledger needs, each exactly one call. One implementation for each runtime; the simulation has its own.
 * Errors carry the system's `code` ("ENOENT", "ENOSPC", ...) as Node's do.
 */
export interface FileSystemCalls {
  /** False where an open file cannot be replaced by renaming another over it. */
  readonly posix: boolean;
  /** Opens for reading, with `write` for appending too (O_APPEND); creates only with `create`. */
  open(path: string, options: { readonly write: boolean; readonly create: boolean }): FileHandle;
  /** What the path leads to, links followed; undefined if to nothing. */
  stat(path: string): PathStatus | undefined;
  /** Creates a directory and those above it, as far as they are missing. Returns those it created, the uppermost first. */
  makeDirectories(path: string): readonly string[];
  /** fsync of a directory: makes the names in it durable. */
  syncDirectory(path: string): Promise<void>;
  /** The magic number of the file system (`statfs`), undefined where the runtime does not tell. */
  fileSystemType(path: string): number | undefined;
  /**
   * Calls back with a file's name when something happens to it in a directory, until the returned function is called. Undefined if
   * there is no such service or none left. Never keeps the process alive.
   */
  watchDirectory(path: string, listener: (name: string | undefined) => void): (() => void) | undefined;
  /** Left out where a file that others have open cannot be replaced: such a ledger is never vacuumed, and keeps no side index. */
  readonly replacing?: ReplacingCalls;
  /** The absolute form of a path, and its directory and last part. No call to the system. */
  resolve(path: string): { readonly path: string; readonly directory: string; readonly name: string };
}

export interface PathStatus {
  readonly device: bigint;
  readonly inode: bigint;
  readonly kind: "file" | "directory" | "other";
  /** Of a file, in bytes. */
  readonly size: number;
}

/** A file that is open for reading at least. */
export interface ReadableFile {
  /** One positional read into `target`; the number of bytes read, 0 at the end. */
  read(target: Uint8Array, position: number): number;
  /** Size in bytes, and how many names the file has. */
  status(): { readonly size: number; readonly links: number };
  identity(): { readonly device: bigint; readonly inode: bigint };
  /** fdatasync: contents and size are durable. */
  syncData(): Promise<void>;
  /** The same, in one call that returns when it is done. Left out where a runtime has none: then all syncs are waited for. */
  syncDataNow?(): void;
  /** fsync. */
  sync(): Promise<void>;
  close(): void;
  /** As `close`, in another thread; what goes wrong is told to nobody. Left out where a runtime has none for it. */
  closeAside?(): void;
}

/** A ledger's file, open for reading and, unless read-only, for appending. */
export interface FileHandle extends ReadableFile {
  /** One write of all of `bytes` at the end of the file; the number of bytes written, which may be less. */
  append(bytes: Uint8Array): number;
}

/**
 * Closes a file that may be large. Who is the last to close one that has no name any more has to wait until the system has freed all of it, 50 ms for
 * 200 MB: another thread does that, where there is one.
 */
export function closeLarge(file: ReadableFile): void {
  if (file.closeAside === undefined || hasName(file)) file.close();
  else file.closeAside();
}

function hasName(file: ReadableFile): boolean {
  try {
    return file.status().links > 0;
  } catch {
    // Whoever cannot tell closes it all the same.
    return true;
  }
}

/** The `code` of a system error. */
export function errorCode(error: unknown): string | undefined {
  const code = typeof error === "object" && error !== null ? (error as { code?: unknown }).code : undefined;
  return typeof code === "string" ? code : undefined;
}

/**
 * Reads exactly `length` bytes at `position`, or fewer if the file ends before. The bytes are fresh, or lie at the beginning of `target`, which is
 * long enough.
 */
export function readAt(
  file: Pick<ReadableFile, "read">,
  position: number,
  length: number,
  target?: Uint8Array,
): Uint8Array {
  const bytes =
    target === undefined ? new Uint8Array(length) : target.length === length ? target : target.subarray(0, length);
  let filled = 0;
  while (filled < length) {
    const count = file.read(filled === 0 ? bytes : bytes.subarray(filled), position + filled);
    if (count === 0) return bytes.subarray(0, filled);
    filled += count;
  }
  return bytes;
}
