import { toHex } from "../../core/bytes.ts";
import type { Environment, MaybePromise } from "../../core/environment.ts";
import { InvalidArgumentError, KVError } from "../../core/errors.ts";
import type { CopyRequest } from "../../core/ledger.ts";
import { fromSystem } from "./errors.ts";
import { errorCode, type FileSystemCalls, type ReadableFile, readAt } from "./file.ts";
import { ledgerOfSibling } from "./garbage.ts";
import { ID_BYTES } from "./payloads.ts";
import type { ReplacingCalls, WritableFile } from "./replacing.ts";
import { writeSnapshot } from "./vacuum.ts";

/** Copied in one go, without a break for the event loop. */
const CHUNK_BYTES = 256 * 1024;

/** What a copy is called until it is whole: of no use to anybody, and removed by the next one that is written to the same path. */
const UNFINISHED = /^\.unfinished-[0-9a-f]{16}$/;

/** Where a copy is to be. */
export interface BackupPlace {
  readonly calls: FileSystemCalls;
  /** Absolute, and its directory and last part. */
  readonly path: string;
  readonly directory: string;
  readonly name: string;
}

/**
 * Writes a vacuumed ledger to a new file: under another name until it is whole and durable. See `Ledger.createFrom`.
 *
 * @throws KVError `TargetExists`, `NoSpace`, `AccessDenied`, ...: then nothing is left behind
 */
export async function writeBackup(place: BackupPlace, request: CopyRequest): Promise<{ readonly bytes: number }> {
  const { calls, path, directory } = place;
  const { environment, ledgerId, generation, version, expectedBytes } = request;
  const { replacing } = calls;
  if (replacing === undefined) throw new KVError("UnsupportedTarget", "There is no way to write a backup here");
  refuseOwnName(place);
  const unfinished = `${path}.unfinished-${toHex(environment.randomBytes(8))}`;
  let file: WritableFile | undefined;
  try {
    calls.makeDirectories(directory);
    // As a rule that is known before there is anything to write. It is not reserved: who is killed must not keep the next one from it.
    if (calls.stat(path) !== undefined) throw targetExists(path);
    file = replacing.createNew(unfinished);
    const bytes = await writeSnapshot(
      environment,
      file,
      {
        // Versions are addresses: what is appended gets higher ones.
        base: version + 1,
        writeRun: (write, extra) => request.writeRun(write, extra),
        progress: (doneBytes, ofBytes) => request.progress({ doneBytes, ofBytes }),
        expectedBytes: () => expectedBytes,
      },
      { ledgerId, generation, nonce: toHex(environment.randomBytes(ID_BYTES)) },
    );
    request.progress({ doneBytes: bytes, ofBytes: bytes });
    request.check();
    await file.sync();
    request.check();
    takeName(place, replacing, unfinished);
    await calls.syncDirectory(directory);
    removeUnfinished(replacing, place);
    return { bytes };
  } catch (error) {
    if (file !== undefined) replacing.unlink(unfinished);
    throw fromSystem(error, `The backup ${path} could not be written`);
  } finally {
    file?.close();
  }
}

/** Nothing that somebody else has put there meanwhile is overwritten. */
function takeName({ calls, path }: BackupPlace, replacing: ReplacingCalls, unfinished: string): void {
  try {
    replacing.renameNew(unfinished, path);
  } catch (error) {
    const code = errorCode(error);
    // Whoever has finished one meanwhile has removed this one.
    const isOvertaken = code === "EEXIST" || (code === "ENOENT" && calls.stat(path) !== undefined);
    throw isOvertaken ? targetExists(path, error) : error;
  }
}

/** Whoever is still at work on one finds the path taken. */
function removeUnfinished(replacing: ReplacingCalls, { directory, name }: BackupPlace): void {
  try {
    for (const found of replacing.list(directory)) {
      if (found.startsWith(name) && UNFINISHED.test(found.slice(name.length)))
        replacing.unlink(`${directory}/${found}`);
    }
  } catch {
    // It takes room, and no more; the copy is there.
  }
}

/** What bears the name of a sibling or of a part of the index is replaced or removed when its time comes, if there is a ledger that it may be of. */
function refuseOwnName({ calls, path, directory, name }: BackupPlace): void {
  const of = /^(.+)\.(?:idx|idx-.*)$/.exec(name)?.[1] ?? ledgerOfSibling(name);
  if (of === undefined || calls.stat(`${directory}/${of}`)?.kind !== "file") return;
  const message = `backup: ${path} is a name that the ledger ${of} would use for files of its own`;
  throw new InvalidArgumentError("InvalidArgument", message);
}

function targetExists(path: string, cause?: unknown): KVError {
  return new KVError("TargetExists", `There is something at ${path} already`, { cause });
}

/** Copies a file as it is, durably, to a new one beside it with the same owner, group and mode. Returns its path. */
export async function copyAside(
  host: { readonly replacing: ReplacingCalls; readonly environment: Environment; readonly file: ReadableFile },
  realPath: string,
  { rest, check }: { readonly rest: () => MaybePromise<void>; readonly check: () => void },
): Promise<string> {
  const { replacing, environment, file } = host;
  const path = `${realPath}.damaged-${toHex(environment.randomBytes(8))}`;
  let copy: WritableFile | undefined;
  try {
    copy = replacing.createLike(path, realPath);
    const { size } = file.status();
    for (let at = 0; at < size; at += CHUNK_BYTES) {
      copy.writeAt(readAt(file, at, Math.min(CHUNK_BYTES, size - at)), at);
      await rest();
      check();
    }
    await copy.sync();
    return path;
  } catch (error) {
    if (copy !== undefined) replacing.unlink(path);
    throw fromSystem(error, `${realPath} could not be copied to ${path}`);
  } finally {
    copy?.close();
  }
}
