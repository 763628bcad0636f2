import type { Environment } from "../../core/environment.ts";
import { KVError } from "../../core/errors.ts";
import { fromSystem } from "./errors.ts";
import { type FileSystemCalls, type ReadableFile, readAt } from "./file.ts";
import { type Generation, readBeginning } from "./generation.ts";
import type { Seal } from "./payloads.ts";
import type { ReplacingCalls, WritableFile } from "./replacing.ts";

/**
 * What anybody does who reads a winning seal and may write: completes the sibling and puts it in the old file's place. Every step may be
 * done by several at once, and by somebody who slept for hours in the middle of it.
 */

const CHUNK_BYTES = 1024 * 1024;

export interface HelpHost {
  readonly calls: FileSystemCalls;
  readonly replacing: ReplacingCalls;
  readonly environment: Environment;
  readonly realPath: string;
  readonly directory: string;
  /** The sealed file. */
  readonly file: ReadableFile;
  /** Makes it durable. */
  readonly sync: () => Promise<void>;
  /** False if something else was written over it since its seal was read. */
  readonly isUntouched: () => boolean;
  readonly generation: Generation;
  readonly seal: Seal;
  /** Address of the seal. */
  readonly sealedAt: number;
}

/**
 * Resolves once the path no longer leads to the sealed file.
 *
 * @throws KVError `LedgerDamaged` if the sibling is lost or not what the seal says; `NoSpace`, `AccessDenied`, `InputOutput`
 */
export async function help(host: HelpHost): Promise<void> {
  const path = `${host.directory}/${host.seal.siblingName}`;
  let sibling: WritableFile | undefined;
  try {
    await host.sync();
    if (!host.isUntouched()) return;
    sibling = host.replacing.openWritable(path);
    if (sibling === undefined) return assertReplaced(host, path);
    checkHeader(host, sibling, path);
    const length = copyRest(host, sibling);
    await sibling.sync();
    const { size } = sibling.status();
    if (size < length) throw lost(host, `${path} has ${size} bytes and should have ${length}`);
    // Longer: it is the next generation already, and others append to it. If it goes by its own name again, a power failure has taken the
    // renaming and left some of what was appended behind it.
    if (size > length && !isAt(host, path, sibling)) return assertReplaced(host, path);
    // What the path leads to may no longer be what was sealed: somebody has put something else there, or taken it away, and means it.
    if (!isAt(host, host.realPath, host.file) || !host.isUntouched()) return;
    if (!host.replacing.rename(path, host.realPath)) assertReplaced(host, path);
  } catch (error) {
    throw fromSystem(error, `${path} could not be put in the place of ${host.realPath}`);
  } finally {
    sibling?.close();
  }
}

/** How many bytes whoever helps may have to write. */
export function bytesToCopy(seal: Seal, sealedAt: number): number {
  return Math.max(0, sealedAt - seal.syncedMark);
}

/** Copies everything behind what the author had synced, whatever is there already; returns the length that the sibling must have. */
function copyRest({ file, generation, seal, sealedAt }: HelpHost, sibling: WritableFile): number {
  const toOffset = (address: number): number => seal.framesAt + address - seal.base;
  for (let at = Math.max(seal.syncedMark, seal.base); at < sealedAt;) {
    const bytes = readAt(file, at - generation.delta, Math.min(CHUNK_BYTES, sealedAt - at));
    if (bytes.length === 0) throw new KVError("LedgerDamaged", `The sealed file ends before its seal`);
    sibling.writeAt(bytes, toOffset(at));
    at += bytes.length;
  }
  return toOffset(sealedAt);
}

function checkHeader(host: HelpHost, sibling: WritableFile, path: string): void {
  const beginning = readBeginning(sibling, path, host.environment.crc32);
  const { seal } = host;
  const old = host.generation.header;
  const header = beginning.is === "ledger" ? beginning.generation.header : undefined;
  const right =
    header?.ledgerId === old.ledgerId &&
    header.generation === old.generation + 1 &&
    header.nonce === seal.siblingNonce &&
    header.base === seal.base &&
    header.framesAt === seal.framesAt;
  if (!right) throw lost(host, `${path} is not what the seal of ${host.realPath} names`);
}

/** The sibling is gone: all is well if the path leads elsewhere by now. Looked at afterwards, never before. */
function assertReplaced(host: HelpHost, path: string): void {
  const at = host.calls.stat(host.realPath);
  const { device, inode } = host.file.identity();
  if (at === undefined || at.device !== device || at.inode !== inode) return;
  throw lost(host, `${path}, which a seal names as what follows ${host.realPath}, is gone`);
}

function isAt(host: HelpHost, path: string, file: ReadableFile): boolean {
  const at = host.calls.stat(path);
  const { device, inode } = file.identity();
  return at !== undefined && at.device === device && at.inode === inode;
}

function lost({ sealedAt }: HelpHost, message: string): KVError {
  return new KVError("LedgerDamaged", `${message}; repair can go on from what was sealed`, {
    ranges: [{ from: sealedAt, to: sealedAt }],
  });
}
