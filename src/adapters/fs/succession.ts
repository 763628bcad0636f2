import { copyAside } from "./backup.ts";
import type { LedgerSnapshot, VacuumAttempt, VacuumRequest } from "../../core/ledger.ts";
import { KVError } from "../../core/errors.ts";
import { fromSystem } from "./errors.ts";
import { FrameKind, frameBytes, writeFrame } from "./frame.ts";
import { findGarbage, generationOfSibling } from "./garbage.ts";
import { bytesToCopy, help } from "./help.ts";
import type { OpenFile } from "./open-file.ts";
import { encodeDrop, type Seal } from "./payloads.ts";
import type { ReplacingCalls } from "./replacing.ts";
import type { Seals } from "./seals.ts";
import { readRun } from "./run-file.ts";
import type { SessionOptions } from "./session.ts";
import { refuseIfObstructed, type Sibling, writeSiblingAndSeal } from "./vacuum.ts";

/** What there is to ask of the session. */
export interface SuccessionHost {
  current(): OpenFile | undefined;
  seals(): Seals;
  /** Address up to which everything was read and judged. */
  readTo(): number;
  isClosed(): boolean;
  /** False if something else was written over what was read of the present file. */
  isUntouched(): boolean;
  /** Makes a file that the session has open durable. */
  sync(open: OpenFile): Promise<void>;
}

interface Attempt {
  readonly sibling: Sibling;
  won: boolean;
}

/** How one generation of a session's file follows another: vacuums of its own, help with anybody's, and what they leave lying about. */
export class Succession {
  readonly #options: SessionOptions;
  readonly #host: SuccessionHost;
  /** What a vacuum of this session seals with, while it is not known whether that seal counts. */
  #attempt: Attempt | undefined;
  /** The sibling that was found to be lost, or not to be this ledger's, when it was to take the file's place. */
  #lost: string | undefined;
  /** Set once a vacuum was begun here in the present generation: the files of the saved index that lay there then. */
  #indexBefore: readonly string[] | undefined;

  constructor(options: SessionOptions, host: SuccessionHost) {
    this.#options = options;
    this.#host = host;
  }

  async vacuum(current: OpenFile, request: VacuumRequest): Promise<VacuumAttempt> {
    const { calls, environment, realPath, directory, name } = this.#options;
    const replacing = this.#replacing();
    refuseIfObstructed(replacing, realPath);
    this.#indexBefore = this.#indexFiles(current, replacing);
    const { header, start, delta } = current.generation;
    // Of an earlier generation: frames from there on are not to be found here.
    if (request.position < start + delta)
      throw new KVError("LedgerSealed", `Somebody else has vacuumed ${realPath} meanwhile`);
    // A seal whose sibling is lost is ended in the sibling's stead. Of another one, read since, somebody may be about to make the next generation.
    const { winning } = this.#host.seals();
    const lost = request.reload && winning?.siblingNonce === this.#lost ? winning : undefined;
    if (winning !== lost) throw new KVError("LedgerSealed", `Somebody else has vacuumed ${realPath} meanwhile`);
    if (lost !== undefined && this.#isOwnSibling(lost)) replacing.unlink(`${directory}/${lost.siblingName}`);
    this.#removeGarbage(current, replacing);
    const check = (): void => {
      request.check();
      if (this.#host.isClosed() || this.#host.current() !== current || this.#host.seals().winning !== lost)
        throw new KVError("LedgerSealed", `Somebody else has vacuumed ${realPath} meanwhile`);
      // Of what was there before, a seal in what is there now would make the next generation.
      if (!this.#host.isUntouched())
        throw new KVError("SnapshotExpired", `Something else was written over ${realPath} meanwhile`);
    };
    const release = current.hold();
    let attempt: Attempt | undefined;
    try {
      const sealed = await writeSiblingAndSeal(
        {
          calls: replacing,
          environment,
          realPath,
          directory,
          name,
          file: current.file,
          sync: () => this.#host.sync(current),
          generation: current.generation,
          readTo: () => this.#host.readTo(),
          syncDirectory: (path) => calls.syncDirectory(path),
          sealing: (sibling) => (this.#attempt = attempt = { sibling, won: false }),
          appendFrame: (kind, payload) => this.#appendFrame(current, kind, payload),
          isDropped: (siblingNonce) => this.#host.seals().isDropped(siblingNonce),
        },
        {
          base: request.position,
          writeRun: (write, extra) => request.writeRun(write, extra),
          progress: (doneBytes, ofBytes) => request.progress({ doneBytes, ofBytes }),
          rest: () => request.rest(),
          check,
        },
        { reload: request.reload, ends: lost?.siblingNonce ?? header.nonce },
      );
      return { wins: () => attempt?.won === true, ...sealed };
    } catch (error) {
      this.#attempt = undefined;
      throw error;
    } finally {
      release();
    }
  }

  async keepCopy(current: OpenFile, request: Pick<VacuumRequest, "rest" | "check">): Promise<string> {
    const { environment, realPath } = this.#options;
    const replacing = this.#replacing();
    refuseIfObstructed(replacing, realPath);
    const release = current.hold();
    try {
      return await copyAside({ replacing, environment, file: current.file }, realPath, request);
    } finally {
      release();
    }
  }

  /** Completes the sibling that the winning seal names and puts it in the old file's place. */
  async help(current: OpenFile): Promise<void> {
    const { winning: seal, sealedAt } = this.#host.seals();
    if (seal === undefined) return;
    const { calls, environment, realPath, directory } = this.#options;
    if (!this.#isOwnSibling(seal)) {
      this.#lost = seal.siblingNonce;
      const message = `${realPath} was sealed under another name: ${seal.siblingName} may belong to the ledger that it is a copy of; repair can go on from what was sealed`;
      throw new KVError("LedgerDamaged", message, { ranges: [{ from: sealedAt, to: sealedAt }] });
    }
    const { file, generation } = current;
    const replacing = this.#replacing();
    const release = current.hold();
    try {
      const sync = (): Promise<void> => this.#host.sync(current);
      // Whoever has moved on meanwhile has left the file in order.
      const isUntouched = (): boolean => this.#host.current() !== current || this.#host.isUntouched();
      const host = { calls, replacing, environment, realPath, directory, file, sync, isUntouched };
      await help({ ...host, generation, seal, sealedAt });
    } catch (error) {
      const { code, message, ranges } = fromSystem(error, realPath);
      if (code === "LedgerDamaged") this.#lost = seal.siblingNonce;
      const what = `${directory}/${seal.siblingName} has to take the place of ${realPath}, and ${bytesToCopy(seal, sealedAt)} bytes to be written to it`;
      throw new KVError(code, `${what}: ${message}`, { cause: error, ...(ranges === undefined ? {} : { ranges }) });
    } finally {
      release();
    }
  }

  /** A copy of a sealed file must not take what is the original's. */
  #isOwnSibling({ siblingName }: Seal): boolean {
    return generationOfSibling(siblingName, this.#options.name) !== undefined;
  }

  /** A seal was met: what it means for a sibling of this session that is waiting for its own. */
  sealMet(payload: Uint8Array, current: OpenFile): void {
    const attempt = this.#attempt;
    if (attempt === undefined) return;
    const { sibling } = attempt;
    const { winning } = this.#host.seals();
    const decided = winning !== undefined || this.#host.seals().names(payload, sibling.nonce);
    if (!decided) return;
    this.#attempt = undefined;
    attempt.won = winning?.siblingNonce === sibling.nonce;
    if (!attempt.won) this.#unlinkOnceDurable(sibling, current);
  }

  /**
   * The next generation is in place. Whoever had begun a vacuum of the last one removes what all those left who did not win, and the index of the last
   * one, which nobody opens any more; those who have it open read on.
   */
  movedOn({ generation: { header } }: OpenFile): void {
    const { replacing, environment, directory, name } = this.#options;
    const index = this.#indexBefore;
    if (replacing === undefined || index === undefined) return;
    this.#indexBefore = undefined;
    for (const path of index) removeQuietly(replacing, path);
    try {
      const { stale } = findGarbage({ calls: replacing, environment, directory, name, generation: header.generation });
      for (const path of stale) removeQuietly(replacing, path);
    } catch {
      // The next vacuum looks again.
    }
  }

  /** The runs of the present generation's index, those too that no manifest names any more. */
  #indexFiles({ device, inode }: OpenFile, calls: ReplacingCalls): readonly string[] {
    const { realPath, directory, name } = this.#options;
    const prefix = `${name}.idx-`;
    try {
      const runs = calls.list(directory).filter((each) => each.startsWith(prefix) && isHex(each.slice(prefix.length)));
      // Looked at afterwards: as long as the path leads here, nobody can have saved an index of the next generation.
      const present = this.#options.calls.stat(realPath);
      if (present?.device !== device || present.inode !== inode) return [];
      return runs.map((each) => `${directory}/${each}`);
    } catch {
      // What lies about takes room, and no more.
      return [];
    }
  }

  #unlinkOnceDurable({ path }: Sibling, current: OpenFile): void {
    const release = current.hold();
    // Durable first: a power failure must not bring the file back to where this sibling would count.
    void this.#host
      .sync(current)
      .then(() => this.#options.replacing?.unlink(path))
      // What fails here is left for others to sweep.
      .catch(() => undefined)
      .finally(release);
  }

  /** Appends a frame that is the adapter's own. False if it came back short: then it is a stump. */
  #appendFrame({ file }: OpenFile, kind: number, payload: Uint8Array): boolean {
    const { environment } = this.#options;
    const frame = new Uint8Array(frameBytes(payload.length));
    const record = { writer: environment.randomBytes(12), counter: 0, timestamp: environment.now(), payload };
    writeFrame(frame, 0, kind, record, environment.crc32);
    return file.append(frame) === frame.length;
  }

  #replacing(): ReplacingCalls {
    const { replacing, networkFileSystemChecked, path } = this.#options;
    if (replacing === undefined || !networkFileSystemChecked)
      throw new KVError(
        "VacuumRefused",
        `On what file system ${path} lies could not be asked (Deno tells it with --allow-all only)`,
      );
    return replacing;
  }

  /** Unlinks siblings that nobody needs, and drops those whose authors are gone: they are unlinked once the drop was read. */
  #removeGarbage(current: OpenFile, calls: ReplacingCalls): void {
    const { environment, directory, name } = this.#options;
    const { generation } = current.generation.header;
    try {
      const { stale, abandoned } = findGarbage({ calls, environment, directory, name, generation });
      for (const path of stale) removeQuietly(calls, path);
      for (const { path, nonce } of abandoned) {
        if (this.#host.seals().isDropped(nonce, this.#host.readTo())) removeQuietly(calls, path);
        else this.#appendFrame(current, FrameKind.drop, encodeDrop(nonce));
      }
    } catch {
      // What lies about does not keep a vacuum from being done; the next one looks again.
    }
  }
}

const isHex = (text: string): boolean => /^[0-9a-f]+$/.test(text);

function removeQuietly(calls: ReplacingCalls, path: string): void {
  try {
    calls.unlink(path);
  } catch {
    // It belongs to somebody else, who may have the right to. It does no harm but to take room.
  }
}

/** The snapshot that a generation starts with, its bytes in the ledger's file. */
export function snapshotOf(open: OpenFile): LedgerSnapshot | undefined {
  const { nonce, runAt, runBytes, base } = open.generation.header;
  if (runBytes === 0) return undefined;
  return {
    run: {
      id: nonce,
      length: runBytes,
      smallReads: true,
      read: (place, length, target) =>
        readRun(open.file, { at: runAt + place, length: Math.max(0, Math.min(length, runBytes - place)) }, target),
      close: open.hold(),
    },
    below: base,
  };
}
