import type { Environment, MaybePromise } from "../../core/environment.ts";
import type { LedgerIdentity } from "../../core/ledger.ts";
import { KVError } from "../../core/errors.ts";
import { toHex } from "../../core/bytes.ts";
import { fromSystem } from "./errors.ts";
import { type ReadableFile, readAt } from "./file.ts";
import { FrameKind, frameBytes } from "./frame.ts";
import { encodeHeaderPair, type Generation, headerPayloadBytes } from "./generation.ts";
import { encodeGenerationHeader, encodeSeal, FORMAT, type GenerationHeader, ID_BYTES } from "./payloads.ts";
import type { ReplacingCalls, WritableFile } from "./replacing.ts";

/**
 * The author's part of a vacuum: a sibling that holds a snapshot and copies of the frames behind it, then a seal that makes it the next
 * generation. What comes after the seal is everybody's: `help.ts`. docs/FORMAT.md gives the bytes.
 */

/** Copied in one go, without a break for the event loop. */
const CHUNK_BYTES = 256 * 1024;
/** Sealed once so little is left: whoever helps has to copy it while writers wait. */
const LEFT_BYTES_MAX = 1024 * 1024;
/** Rounds of copying before sealing all the same: each leaves what was written meanwhile, so that they shrink unless the disk is outrun. */
const ROUNDS_MAX = 24;

/** What a vacuum needs of the session whose file it replaces. */
export interface VacuumHost {
  readonly calls: ReplacingCalls;
  readonly environment: Environment;
  /** The file's path, links resolved, its directory and its last part. */
  readonly realPath: string;
  readonly directory: string;
  readonly name: string;
  readonly file: ReadableFile;
  /** Makes it durable. */
  readonly sync: () => Promise<void>;
  readonly generation: Generation;
  /** Address up to which everything was read and judged. Moves while the vacuum goes on. */
  readTo(): number;
  syncDirectory(path: string): Promise<void>;
  /** Told directly before the seal is appended: from now on whoever reads may meet it. */
  sealing(sibling: Sibling): void;
  /** Appends one frame in one write. False if it came back short. */
  appendFrame(kind: number, payload: Uint8Array): boolean;
  /** True if somebody has taken the sibling of this nonce for one whose author is gone. */
  isDropped(siblingNonce: string): boolean;
}

export interface SiblingRequest {
  /** The snapshot holds exactly the state below this address; frames from here on are copied. */
  readonly base: number;
  /** Hands the bytes of the snapshot run to `write`, in order. `extra` goes into its footer. Resolves with their CRC-32. */
  readonly writeRun: (write: (bytes: Uint8Array) => void, extra: Uint8Array) => Promise<{ readonly checksum: number }>;
  /** Told of bytes written so far and of about how many there will be. */
  readonly progress: (done: number, of: number) => void;
  /** Gives the event loop its turn when it is due. */
  readonly rest: () => MaybePromise<void>;
  /** Throws if the vacuum should be given up. */
  readonly check: () => void;
}

/** A sibling on its way to become the next generation. */
export interface Sibling {
  readonly path: string;
  readonly nonce: string;
}

/** Set if only reading can tell whether the seal is in the file. */
export interface Sealed {
  readonly error?: KVError;
}

/** Throws `VacuumRefused` where the rename at the end could fail. */
export function refuseIfObstructed(calls: ReplacingCalls, realPath: string): void {
  let obstacle: string | undefined;
  try {
    obstacle = calls.obstacle(realPath);
  } catch (error) {
    throw new KVError("VacuumRefused", `Whether ${realPath} can be replaced cannot be told: ${String(error)}`, {
      cause: error,
    });
  }
  if (obstacle !== undefined) throw new KVError("VacuumRefused", `${realPath} cannot be vacuumed: ${obstacle}`);
}

/**
 * Writes a sibling and appends the seal that names it. Resolves once the seal is in the file as a whole, or may be: whether it is the one that
 * counts is known to whoever reads on; `ends` is the nonce that it puts an end to. A failure leaves nothing behind but, perhaps, a stump.
 */
export async function writeSiblingAndSeal(
  host: VacuumHost,
  request: SiblingRequest,
  options: { readonly reload: boolean; readonly ends: string },
): Promise<Sealed> {
  const { header } = host.generation;
  const name = siblingName(host.name, header.generation + 1, toHex(host.environment.randomBytes(8)));
  const path = `${host.directory}/${name}`;
  const file = attempt(`A sibling of ${host.realPath} cannot be created`, () =>
    host.calls.createLike(path, host.realPath),
  );
  let unlink = true;
  try {
    const nonce = toHex(host.environment.randomBytes(ID_BYTES));
    const { ledgerId, generation } = header;
    const expectedBytes = (): number => host.file.status().size;
    const identity = { ledgerId, generation: generation + 1, nonce };
    const framesAt = await writeSnapshot(host.environment, file, { ...request, expectedBytes }, identity);
    const synced = await copyFrames(host, file, request, framesAt);
    request.check();
    // Its seal would be void.
    if (host.isDropped(nonce))
      throw new KVError("LedgerSealed", `A vacuum of ${host.realPath} took so long that its sibling was dropped`);
    const seal = encodeSeal({
      nonce: options.ends,
      siblingNonce: nonce,
      base: request.base,
      framesAt,
      syncedMark: synced,
      siblingName: name,
      reload: options.reload,
    });
    unlink = false;
    host.sealing({ path, nonce });
    try {
      unlink = !host.appendFrame(FrameKind.seal, seal);
    } catch (cause) {
      const error = fromSystem(cause, `${host.realPath} could not be vacuumed`);
      // Without room nothing is written. After any other failure it may have been, and then the sibling is what follows.
      unlink = error.code === "NoSpace";
      if (unlink) throw error;
      return { error };
    }
    if (unlink) throw new KVError("NoSpace", `There was no room in ${host.realPath} for the frame that seals it`);
    return {};
  } catch (error) {
    throw fromSystem(error, `${host.realPath} could not be vacuumed`);
  } finally {
    file.close();
    // Nobody else can depend on it: no whole seal names it.
    if (unlink) host.calls.unlink(path);
  }
}

/** Header and snapshot run; returns the offset behind them, where the frames begin. */
export async function writeSnapshot(
  environment: Environment,
  file: WritableFile,
  request: Pick<SiblingRequest, "base" | "writeRun" | "progress"> & {
    /** As a rule no more than there was: how much there will be is not known before. */
    readonly expectedBytes: () => number;
  },
  identity: LedgerIdentity,
): Promise<number> {
  const runAt = 2 * frameBytes(headerPayloadBytes);
  const partial: GenerationHeader = {
    format: FORMAT,
    ...identity,
    base: request.base,
    framesAt: 0,
    runAt,
    runBytes: 0,
    runChecksum: 0,
  };
  // At once, so that whoever finds the file left behind knows by which nonce to drop it.
  file.writeAt(encodeHeaderPair(partial, environment), 0);
  let at = runAt;
  const write = (bytes: Uint8Array): void => {
    file.writeAt(bytes, at);
    at += bytes.length;
    request.progress(at, Math.max(at, request.expectedBytes()));
  };
  const { checksum } = await request.writeRun(write, encodeGenerationHeader(partial));
  const header = { ...partial, framesAt: at, runBytes: at - runAt, runChecksum: checksum };
  file.writeAt(encodeHeaderPair(header, environment), 0);
  return at;
}

/**
 * Copies frames from the snapshot's place on, in rounds, until little is left; returns the address up to which the copies are durable. What
 * lies below an address that was read whole never changes.
 */
async function copyFrames(
  host: VacuumHost,
  sibling: WritableFile,
  { base, progress, rest, check }: SiblingRequest,
  framesAt: number,
): Promise<number> {
  const { file, generation } = host;
  let copied = base;
  for (let round = 0; ; round++) {
    const target = host.readTo();
    while (copied < target) {
      const bytes = readAt(file, copied - generation.delta, Math.min(CHUNK_BYTES, target - copied));
      if (bytes.length === 0) throw new KVError("LedgerDamaged", "The file was cut below what had been read of it");
      sibling.writeAt(bytes, framesAt + copied - base);
      copied += bytes.length;
      progress(framesAt + copied - base, framesAt + host.readTo() - base);
      const pause = rest();
      if (pause !== undefined) await pause;
      check();
    }
    // The old file too: nobody shall have to wait for it all at the seal.
    await host.sync();
    await sibling.sync();
    if (round === 0) await host.syncDirectory(host.directory);
    check();
    if (host.readTo() - copied <= LEFT_BYTES_MAX || round >= ROUNDS_MAX) {
      // What comes now is little: whoever draws a bar has it full.
      const done = framesAt + copied - base;
      progress(done, done);
      return copied;
    }
  }
}

/** The one form of name that a sibling has: the generation that it would be, and something random. */
export function siblingName(ledgerName: string, generation: number, random: string): string {
  return `${ledgerName}.${generation}-${random}`;
}

function attempt<T>(action: string, call: () => T): T {
  try {
    return call();
  } catch (error) {
    const failure = fromSystem(error, action);
    if (failure.code !== "AccessDenied") throw failure;
    // No right to create a file here, or to give it the owner that the ledger has.
    throw new KVError("VacuumRefused", failure.message, { cause: error });
  }
}
