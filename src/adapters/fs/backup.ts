import { toHex } from "../../core/bytes.ts";
import type { Environment, MaybePromise } from "../../core/environment.ts";
import { KVError } from "../../core/errors.ts";
import type { BackupRequest } from "../../core/ledger.ts";
import { fromSystem } from "./errors.ts";
import { errorCode, type FileSystemCalls, type ReadableFile, readAt } from "./file.ts";
import type { Generation } from "./generation.ts";
import { ID_BYTES } from "./payloads.ts";
import type { ReplacingCalls, WritableFile } from "./replacing.ts";
import { writeSnapshot } from "./vacuum.ts";

/** Copied in one go, without a break for the event loop. */
const CHUNK_BYTES = 256 * 1024;

export interface BackupHost {
  readonly calls: FileSystemCalls;
  readonly replacing: ReplacingCalls;
  readonly environment: Environment;
  readonly file: ReadableFile;
  readonly generation: Generation;
}

/**
 * Writes a vacuumed copy to a new file: under another name until it is whole and durable. Resolves with its size.
 *
 * @throws KVError `TargetExists`, `NoSpace`, `AccessDenied`, ...: then nothing is left behind
 */
export async function writeBackup(host: BackupHost, target: string, request: BackupRequest): Promise<number> {
  const { calls, replacing, environment, generation } = host;
  const { path, directory } = calls.resolve(target);
  const temporary = `${path}.${toHex(environment.randomBytes(8))}`;
  let file: WritableFile | undefined;
  try {
    calls.makeDirectories(directory);
    // As a rule that is known before there is anything to write. It is not reserved: who is killed must not keep the next one from it.
    if (calls.stat(path) !== undefined) throw targetExists(path);
    file = replacing.createNew(temporary);
    const { header } = generation;
    const identity = {
      ledgerId: request.newLedgerId ? toHex(environment.randomBytes(ID_BYTES)) : header.ledgerId,
      generation: header.generation,
      nonce: toHex(environment.randomBytes(ID_BYTES)),
    };
    const bytes = await writeSnapshot(
      host,
      file,
      {
        base: request.position,
        writeRun: (write, extra) => request.writeRun(write, extra),
        progress: (doneBytes, ofBytes) => request.progress({ doneBytes, ofBytes }),
      },
      identity,
    );
    request.progress({ doneBytes: bytes, ofBytes: bytes });
    request.check();
    await file.sync();
    request.check();
    takeName(replacing, temporary, path);
    await calls.syncDirectory(directory);
    return bytes;
  } catch (error) {
    if (file !== undefined) replacing.unlink(temporary);
    throw fromSystem(error, `The backup ${path} could not be written`);
  } finally {
    file?.close();
  }
}

/** Nothing that somebody else has put there meanwhile is overwritten. */
function takeName(replacing: ReplacingCalls, temporary: string, path: string): void {
  try {
    replacing.renameNew(temporary, path);
  } catch (error) {
    throw errorCode(error) === "EEXIST" ? targetExists(path, error) : error;
  }
}

function targetExists(path: string, cause?: unknown): KVError {
  return new KVError("TargetExists", `There is something at ${path} already`, { cause });
}

/** Copies a file as it is, durably, to a new one beside it with the same owner, group and mode. Returns its path. */
export async function copyAside(
  { replacing, environment, file }: Pick<BackupHost, "replacing" | "environment" | "file">,
  realPath: string,
  { rest, check }: { readonly rest: () => MaybePromise<void>; readonly check: () => void },
): Promise<string> {
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
