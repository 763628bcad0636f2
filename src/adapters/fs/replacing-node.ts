import * as fs from "node:fs";
import * as path from "node:path";
import { errorCode } from "./file.ts";
import { NodeReadableFile } from "./node-file.ts";
import type { ReplacingCalls, WritableFile } from "./replacing.ts";

const { O_CREAT, O_EXCL, O_RDWR } = fs.constants;
const PERMISSIONS = 0o7777;
const STICKY = 0o1000;

/**
 * All runtimes: positional writes may be repeated and overlap, so that a `node:fs` which goes on after a short write (Deno's) is as good
 * as one that does not.
 */
export const nodeReplacing: ReplacingCalls = {
  createLike,
  createNew: (file) => new NodeWritableFile(fs.openSync(file, O_RDWR | O_CREAT | O_EXCL, 0o666)),
  openWritable: (file) => {
    try {
      return new NodeWritableFile(fs.openSync(file, O_RDWR));
    } catch (error) {
      if (errorCode(error) === "ENOENT") return undefined;
      throw error;
    }
  },
  rename: (from, to) => unlessMissing(() => fs.renameSync(from, to)),
  renameNew,
  unlink: (file) => unlessMissing(() => fs.unlinkSync(file)),
  realPath: (file) => fs.realpathSync(file),
  list: (directory) => fs.readdirSync(directory),
  modifiedAt: (file) => fs.statSync(file, { throwIfNoEntry: false })?.mtimeMs,
  obstacle,
};

function unlessMissing(call: () => void): boolean {
  try {
    call();
    return true;
  } catch (error) {
    if (errorCode(error) === "ENOENT") return false;
    throw error;
  }
}

function renameNew(from: string, to: string): void {
  try {
    fs.linkSync(from, to);
  } catch (error) {
    if (errorCode(error) === "EEXIST" || errorCode(error) === "ENOENT") throw error;
    // Not every file system has hard links, nor every process the right to make them.
    fs.closeSync(fs.openSync(to, O_RDWR | O_CREAT | O_EXCL));
    fs.renameSync(from, to);
    return;
  }
  fs.unlinkSync(from);
}

function createLike(file: string, like: string): WritableFile {
  const { mode, uid, gid } = fs.statSync(like);
  const created = fs.openSync(file, O_RDWR | O_CREAT | O_EXCL, mode & PERMISSIONS);
  try {
    const own = fs.fstatSync(created);
    if (process.platform !== "win32") {
      // Before the mode: a change of owner clears some of its bits. Through the descriptor: somebody may delete the file meanwhile.
      if (own.uid !== uid || own.gid !== gid) fs.fchownSync(created, uid, gid);
      fs.fchmodSync(created, mode & PERMISSIONS);
    }
    return new NodeWritableFile(created);
  } catch (error) {
    fs.closeSync(created);
    unlessMissing(() => fs.unlinkSync(file));
    throw error;
  }
}

function obstacle(file: string): string | undefined {
  if (process.platform === "win32") return obstacleOnWindows(file);
  const stats = fs.statSync(file);
  if (stats.nlink > 1) return `it has ${stats.nlink} hard links, and the others would keep the old file`;
  const directory = fs.statSync(path.dirname(file));
  const self = process.getuid?.() ?? 0;
  if ((directory.mode & STICKY) !== 0 && self !== 0 && self !== stats.uid && self !== directory.uid) {
    return "it lies in a sticky directory and belongs to somebody else";
  }
  return isMountPoint(file) ? "it is a mount point itself" : undefined;
}

/** A single file can be mounted somewhere; renaming over it is EBUSY. Linux lists the mounts (proc(5), mountinfo). */
function isMountPoint(file: string): boolean {
  if (process.platform !== "linux") return false;
  return fs
    .readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .some((line) => unescapeOctal(line.split(" ")[4] ?? "") === file);
}

const unescapeOctal = (text: string): string =>
  text.replaceAll(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));

/** Some file systems there replace a file that others have open, some do not: tried out on two scratch files. */
function obstacleOnWindows(file: string): string | undefined {
  const names = ["a", "b"].map((each) => `${file}.trial-${process.pid}-${each}`);
  const [from, to] = names;
  let open: number | undefined;
  try {
    fs.writeFileSync(from, "");
    fs.writeFileSync(to, "");
    open = fs.openSync(to, "r");
    fs.renameSync(from, to);
    return undefined;
  } catch (error) {
    return `an open file cannot be replaced here: ${String(error)}`;
  } finally {
    if (open !== undefined) fs.closeSync(open);
    for (const name of names) fs.rmSync(name, { force: true });
  }
}

class NodeWritableFile extends NodeReadableFile implements WritableFile {
  writeAt(bytes: Uint8Array, position: number): void {
    for (let done = 0; done < bytes.length;) {
      done += fs.writeSync(this.descriptor, bytes, done, bytes.length - done, position + done);
    }
  }
}
