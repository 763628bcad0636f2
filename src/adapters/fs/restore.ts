import { MalformedBytes, toHex } from "../../core/bytes.ts";
import type { Environment } from "../../core/environment.ts";
import { fromSystem } from "./errors.ts";
import { indexOfTail, openPiece, readFooter, readTail, TAIL_BYTES } from "../../core/run-format.ts";
import { copyAside } from "./backup.ts";
import { type FileSystemCalls, type ReadableFile, readAt } from "./file.ts";
import { FrameKind, frameBytes } from "./frame.ts";
import { encodeHeaderPair, headerPayloadBytes } from "./generation.ts";
import {
  decodeGenerationHeader,
  decodeSeal,
  FORMAT,
  type GenerationHeader,
  ID_BYTES,
  isSiblingName,
} from "./payloads.ts";
import type { ReplacingCalls } from "./replacing.ts";
import { Scanner } from "./scanner.ts";
import { identityInIndex } from "./side-index.ts";

/**
 * A ledger of which both copies of the header are damaged is given one again, so that it can be opened, and whatever else is damaged be
 * repaired. docs/decisions/0029 tells what it is made from, 0049 when nothing but zeros is left.
 */

/** Where a generation's frames, or its snapshot run, begin: behind both copies of the header. */
const BEHIND_HEADER = 2 * frameBytes(headerPayloadBytes);
const CHUNK_BYTES = 256 * 1024;

export interface RestoreHost {
  readonly calls: FileSystemCalls;
  readonly replacing: ReplacingCalls;
  readonly environment: Environment;
  readonly realPath: string;
  readonly directory: string;
  readonly name: string;
  readonly file: ReadableFile;
}

/** What became of a ledger whose header was damaged. */
export interface Restored {
  /** Path of the copy of the damaged original. */
  readonly copy: string;
  /** False if nothing told who it was: it is another ledger now. */
  readonly isSame: boolean;
}

/**
 * Leaves the path leading to a file with a header. If it could be told who the ledger is, that is the same file: others go on with it.
 *
 * @throws KVError `NoSpace`, `AccessDenied`, `InputOutput`: then the file is as it was
 */
export async function restoreHeader(host: RestoreHost): Promise<Restored> {
  const { replacing, environment, realPath, file } = host;
  const rest = { rest: () => undefined, check: () => undefined };
  const known = identityInRun(host) ?? firstGeneration(identityInIndex(host, file));
  const copy = await copyAside({ replacing, environment, file }, realPath, rest);
  try {
    if (known === undefined) await replaceFile(host);
    else await writeHeader(host, known);
  } catch (error) {
    throw fromSystem(error, `The header of ${realPath} cannot be restored`);
  }
  return { copy, isSame: known !== undefined };
}

/** The same bytes as were there, but for its time: whoever has the file open need not notice. */
async function writeHeader({ replacing, environment, realPath }: RestoreHost, header: GenerationHeader): Promise<void> {
  const file = replacing.openWritable(realPath);
  try {
    file?.writeAt(encodeHeaderPair(header, environment), 0);
    await file?.sync();
  } finally {
    file?.close();
  }
}

/** Under a name of its own, so that whoever has the old file open finds out that there is another ledger. */
async function replaceFile(host: RestoreHost): Promise<void> {
  const { calls, replacing, environment, realPath, directory, file } = host;
  const id = (): string => toHex(environment.randomBytes(ID_BYTES));
  const header = firstGeneration({ ledgerId: id(), nonce: sealedNonce(host) ?? id() });
  const path = `${realPath}.restored-${toHex(environment.randomBytes(8))}`;
  const written = replacing.createLike(path, realPath);
  try {
    // Somebody may be writing to the old file; what comes in the very moment of the renaming is told to be unknown.
    for (let at = BEHIND_HEADER; at < file.status().size;) {
      const bytes = readAt(file, at, CHUNK_BYTES);
      if (bytes.length === 0) break;
      written.writeAt(bytes, at);
      at += bytes.length;
    }
    written.writeAt(encodeHeaderPair(header as GenerationHeader, environment), 0);
    await written.sync();
    replacing.rename(path, realPath);
    await calls.syncDirectory(directory);
  } catch (error) {
    replacing.unlink(path);
    throw error;
  } finally {
    written.close();
  }
}

function firstGeneration(
  identity: { readonly ledgerId: string; readonly nonce: string } | undefined,
): GenerationHeader | undefined {
  if (identity === undefined) return undefined;
  const places = { base: BEHIND_HEADER, framesAt: BEHIND_HEADER, runAt: 0, runBytes: 0, runChecksum: 0 };
  return { format: FORMAT, ...identity, generation: 1, ...places };
}

/** A snapshot run repeats the header in its footer, and ends where the frames begin. */
function identityInRun({ file, environment: { crc32 } }: RestoreHost): GenerationHeader | undefined {
  const { size } = file.status();
  for (let at = BEHIND_HEADER; at < size; at += CHUNK_BYTES) {
    const bytes = readAt(file, at, CHUNK_BYTES + TAIL_BYTES);
    for (let tail = indexOfTail(bytes, 0); tail >= 0 && tail < CHUNK_BYTES; tail = indexOfTail(bytes, tail + 1)) {
      const header = headerBefore(file, at + tail, crc32);
      if (header !== undefined) return header;
    }
  }
  return undefined;
}

/** What the footer says that lies before a tail, if it is that of the run behind the header and not of one within a value. */
function headerBefore(file: ReadableFile, tailAt: number, crc32: Environment["crc32"]): GenerationHeader | undefined {
  const footerBytes = readTail(readAt(file, tailAt, TAIL_BYTES));
  if (footerBytes === undefined || footerBytes > tailAt - BEHIND_HEADER) return undefined;
  const piece = openPiece(readAt(file, tailAt - footerBytes, footerBytes), crc32);
  if (piece === undefined) return undefined;
  try {
    const footer = readFooter(piece);
    if (typeof footer === "number") return undefined;
    const { top, extra } = footer;
    const partial = decodeGenerationHeader(extra);
    if (partial.format !== FORMAT || partial.runAt !== BEHIND_HEADER) return undefined;
    if (openPiece(readAt(file, BEHIND_HEADER + top.place, top.length), crc32) === undefined) return undefined;
    const framesAt = tailAt + TAIL_BYTES;
    return { ...partial, framesAt, runBytes: framesAt - BEHIND_HEADER, runChecksum: checksumOf(file, framesAt, crc32) };
  } catch (error) {
    if (error instanceof MalformedBytes) return undefined;
    throw error;
  }
}

function checksumOf(file: ReadableFile, end: number, crc32: Environment["crc32"]): number {
  let checksum = 0;
  for (let at = BEHIND_HEADER; at < end;) {
    const bytes = readAt(file, at, Math.min(CHUNK_BYTES, end - at));
    if (bytes.length === 0) throw new MalformedBytes("a file that ends before its frames");
    checksum = crc32(bytes, checksum);
    at += bytes.length;
  }
  return checksum;
}

/** The nonce that the first seal of a first generation ends: what lies behind it must not come to count. */
function sealedNonce({ file, environment: { crc32 } }: RestoreHost): string | undefined {
  const scanner = new Scanner(file, file.status().size, CHUNK_BYTES, crc32);
  for (let at = BEHIND_HEADER; ;) {
    const scanned = scanner.scan(at);
    if (scanned.found === "nothing") return undefined;
    if (scanned.found === "frame" && scanned.header.kind === FrameKind.seal) {
      try {
        const { nonce, siblingName } = decodeSeal(scanned.payload);
        if (isSiblingName(siblingName, 1)) return nonce;
      } catch (error) {
        if (!(error instanceof MalformedBytes)) throw error;
      }
    }
    at = scanned.end;
  }
}
