import type { ReadableFile } from "./file.ts";

/**
 * The system calls that replace a ledger's file by a sibling: what a vacuum, its helpers and a repair need beside those of `file.ts`.
 * Errors carry the system's `code`.
 */
export interface ReplacingCalls {
  /**
   * Creates a file that must not exist yet, for positional writes, with the owner, group and mode of the file at `like`. If any of
   * that fails, nothing is left behind.
   */
  createLike(path: string, like: string): WritableFile;
  /** Creates a file that must not exist yet, for positional writes, as the process would create any. */
  createNew(path: string): WritableFile;
  /** Opens what exists for positional writes: creates nothing, cuts nothing. Undefined if there is nothing. */
  openWritable(path: string): WritableFile | undefined;
  /** Renames over whatever is there. False if there is nothing at `from`. */
  rename(from: string, to: string): boolean;
  /** Renames to where there must be nothing: throws `EEXIST` if there is. Whoever dies in the middle may leave both names. */
  renameNew(from: string, to: string): void;
  /** The path with all links resolved. */
  realPath(path: string): string;
  /** False if there was nothing. */
  unlink(path: string): boolean;
  /** The names in a directory. */
  list(directory: string): string[];
  /** When the file was last written to, ms since the epoch; undefined if there is none. */
  modifiedAt(path: string): number | undefined;
  /** Why the file at `path`, links resolved, could not be replaced by renaming another one over it; undefined if nothing speaks against it. */
  obstacle(path: string): string | undefined;
}

/** An open file that can be written to at any place. */
export interface WritableFile extends ReadableFile {
  /** Writes all of `bytes` at `position`. Whoever else writes the same bytes there does no harm. */
  writeAt(bytes: Uint8Array, position: number): void;
}
