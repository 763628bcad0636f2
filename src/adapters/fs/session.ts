import { readU32 } from "../../core/bytes.ts";
import type { Environment, MaybePromise } from "../../core/environment.ts";
import { KVError } from "../../core/errors.ts";
import type {
  AppendResult,
  CheckpointStore,
  CommitRecord,
  LedgerCommit,
  LedgerIdentity,
  LedgerNotice,
  LedgerOpenOptions,
  LedgerSession,
  LedgerSnapshot,
  ReadBudget,
  ReadResult,
  ReopenResult,
  VacuumAttempt,
  VacuumRequest,
} from "../../core/ledger.ts";
import { BatchWriter, type WrittenBatch } from "./batch-writer.ts";
import { Durability, FailedSyncs } from "./durability.ts";
import { fromSystem } from "./errors.ts";
import type { FileHandle, FileSystemCalls } from "./file.ts";
import { fingerprint, FRAME_BYTES_MAX, FrameKind, PAYLOAD_BYTES_MAX } from "./frame.ts";
import { type Generation, readBeginning } from "./generation.ts";
import { LastFrame } from "./last-frame.ts";
import type { OpenFile } from "./open-file.ts";
import { OpenFiles, payloadPlace } from "./open-files.ts";
import { Notifier } from "./notify.ts";
import type { ReplacingCalls } from "./replacing.ts";
import type { Restored } from "./restore.ts";
import { Seals } from "./seals.ts";
import { SideIndex } from "./side-index.ts";
import { snapshotOf, Succession } from "./succession.ts";
import { type Scanned, Scanner } from "./scanner.ts";

export interface SessionOptions {
  readonly calls: FileSystemCalls;
  readonly environment: Environment;
  /** Room for what is kept of one file. */
  readonly cache: LedgerOpenOptions["cache"];
  readonly readOnly: boolean;
  readonly strict: boolean;
  /** Left out where a file cannot be replaced. */
  readonly replacing: ReplacingCalls | undefined;
  /** The path that the user gave, absolute. */
  readonly path: string;
  /** Where it led at open, links resolved, and that path's directory and last part. */
  readonly realPath: string;
  readonly directory: string;
  readonly name: string;
  readonly networkFileSystemChecked: boolean;
  /** Set if the header had to be restored for this session to be opened. */
  readonly restored?: Restored | undefined;
}

/** Where the path leads, compared with the file that is open. */
type PathState = "same" | "other" | "missing";

/** A read takes at least so much at once, if there is so much. */
const WINDOW_BYTES_MIN = 4096;
/** A last piece that is no longer than this is read again at every look. */
const PIECE_SEARCHED_ALWAYS_BYTES = 64 * 1024;
/**
 * A ledger file, opened. Positions and versions are logical addresses: offset in the file plus the generation's delta.
 *
 * Everything but the syncs of `strict` is synchronous: the system has the file in memory as a rule, and a call through a thread pool
 * costs a hundred times what the system call does.
 */
export class FileSession implements LedgerSession {
  readonly #options: SessionOptions;
  readonly #crc32: Environment["crc32"];
  readonly payloadBytesMax = PAYLOAD_BYTES_MAX;
  readonly #files: OpenFiles;
  /** The present file; for a read-only session on a blank one, it has no generation yet. */
  #blank: FileHandle | undefined;
  readonly #batches: BatchWriter;
  readonly #lastFrame: LastFrame;
  /** Size of the file when its end was last read. */
  #endSize = -1;
  /** Where the piece begins that was the last one then, and may still be in the writing. */
  #endOffset = -1;
  /** The path has to be looked at before anything else is believed. */
  #suspect = false;
  #missing = false;
  /** Size of the file when the path was looked at last and led to it. */
  #sizeAtPath = -1;
  #pathMoved = false;
  #seals: Seals | undefined;
  /** Where a seal that replaces the winning one is looked for: behind it. */
  #behindSeal = -1;
  /** Address up to which everything was read and judged. */
  #readTo = 0;
  readonly #succession: Succession;
  #copyReported = false;
  readonly #durability: Durability;
  #notifiers = new Set<Notifier>();
  #closed = false;
  #reads = 0;

  constructor(options: SessionOptions, file: FileHandle, generation: Generation | undefined) {
    this.#options = options;
    const { environment, strict, path, calls, directory, cache } = options;
    this.#crc32 = environment.crc32;
    this.#lastFrame = new LastFrame(() => environment.monotonic());
    this.#files = new OpenFiles(path, cache);
    this.#batches = new BatchWriter(path, environment.crc32);
    const syncDirectory = (): Promise<void> => calls.syncDirectory(directory);
    this.#durability = new Durability({ environment, strict, path, failedSyncs: FailedSyncs.of(calls), syncDirectory });
    this.#succession = new Succession(options, {
      current: () => this.#current,
      seals: () => this.#seals as Seals,
      readTo: () => this.#readTo,
      isClosed: () => this.#closed,
      isUntouched: () => this.#lastFrame.isUntouched((this.#current as OpenFile).file),
      sync: (open) => this.#durability.sync(open),
    });
    if (generation === undefined) this.#blank = file;
    else this.#enter(file, generation);
  }

  get identity(): LedgerIdentity | undefined {
    const header = this.#current?.generation.header;
    return header === undefined
      ? undefined
      : { ledgerId: header.ledgerId, generation: header.generation, nonce: header.nonce };
  }

  get restored(): Restored | undefined {
    return this.#options.restored;
  }

  get start(): number {
    const generation = this.#current?.generation;
    return generation === undefined ? 0 : generation.start + generation.delta;
  }

  get #current(): OpenFile | undefined {
    return this.#files.current;
  }

  // --- reading -----------------------------------------------------------------------------------------------------

  read(position: number, budget: ReadBudget): ReadResult {
    try {
      return this.#read(position, budget);
    } catch (error) {
      throw fromSystem(error, `${this.#options.path} cannot be read`);
    }
  }

  #read(position: number, budget: ReadBudget): ReadResult {
    this.#reads++;
    if (this.#blank !== undefined) {
      const state = this.#readBlank(this.#blank, budget.verify);
      if (state !== "born") return { commits: [], next: position, status: state };
    }
    const current = this.#current as OpenFile;
    const { file, generation } = current;
    const from = Math.max(position, this.start);
    let offset = from - generation.delta;
    let { size } = file.status();
    this.#readTo = Math.max(this.#readTo, from);
    if (budget.verify || this.#suspect) {
      const path = this.#lookAtPath(current);
      if (path !== "same") {
        // Asked afterwards: a vacuum seals the file before it moves the path.
        ({ size } = file.status());
        // Without a seal ahead, what is behind the position belongs to a file that is nobody's ledger any more.
        if (!this.#sealAhead(current, offset, size)) {
          if (path === "missing") throw missing(this.#options.path);
          return { commits: [], next: from, status: "moved" };
        }
      }
      this.#pathMoved = path === "other";
    }
    // At every look, not at polls alone: frames of another ledger copied into this file must not be taken for what comes next, nor for the last
    // frame by the next look.
    const isUntouched = budget.verify ? this.#lastFrame.isUntouched(file) : this.#lastFrame.isUntouchedAtRead(file);
    if (size < offset || !isUntouched) return { commits: [], next: from, status: "moved" };
    const scanner = new Scanner(file, size, windowFor(size - offset, budget.bytes), this.#crc32);
    const commits: LedgerCommit[] = [];
    const notices: LedgerNotice[] = [...this.#copyNotice(generation)];
    const begin = offset;
    if (this.#seals?.winning !== undefined && from >= this.#seals.sealedAt) {
      this.#readBehindSeal(scanner);
      return this.#atSeal(commits, from, notices, notices.length === 0);
    }
    if (this.#isStillWaiting(offset, size)) return result(commits, from, "end", notices);
    let hasPassed = false;
    const isNothing = (): boolean => !hasPassed && commits.length === 0 && notices.length === 0;
    try {
      for (;;) {
        // In their order: nothing is passed behind what has yet to be told or applied.
        if (budget.take !== undefined && commits.length === 0 && notices.length === 0) {
          const passed = scanner.passCommits(offset, begin + budget.bytes - offset, generation.delta, budget.take);
          if (passed !== undefined) {
            hasPassed = true;
            offset = passed.end;
            this.#lastFrame.pass(passed);
            if (offset - begin >= budget.bytes)
              return result(commits, this.#passed(offset + generation.delta), "more", notices);
          }
        }
        const scanned = scanner.scan(offset);
        if (scanned.found === "nothing") {
          this.#endSize = size;
          this.#endOffset = offset;
          if (this.#missing && isNothing()) throw missing(this.#options.path);
          return result(commits, this.#passed(offset + generation.delta), "end", notices);
        }
        if (scanned.found === "frame") {
          const seen = this.#takeFrame(scanned, offset, generation, commits);
          if (seen === "sealed")
            return this.#atSeal(commits, this.#passed(offset + generation.delta), notices, isNothing());
          if (seen === "unknown")
            throw new KVError(
              "UnsupportedFormat",
              `${this.#options.path} holds a frame of unknown kind ${scanned.header.kind} at ${offset}`,
            );
        } else {
          notices.push(this.#notice(scanned, offset, generation));
        }
        offset = scanned.end;
        if (offset - begin >= budget.bytes)
          return result(commits, this.#passed(offset + generation.delta), "more", notices);
      }
    } catch (error) {
      // What lies before is handed out first, as what was passed cannot be taken back; the next read stops there again, and says why.
      if (isNothing()) throw error;
      return result(commits, this.#passed(offset + generation.delta), "more", notices);
    }
  }

  /** Everything before the seal is read: the next generation is there, or not yet, or all of it is gone. */
  #atSeal(
    commits: readonly LedgerCommit[],
    next: number,
    notices: readonly LedgerNotice[],
    isNothing: boolean,
  ): ReadResult {
    const current = this.#current as OpenFile;
    this.#endSize = current.file.status().size;
    // At every look: whoever has moved on already may have been told that a commit is in.
    this.#pathMoved = this.#lookAtPath(current) === "other";
    if (this.#missing && isNothing) throw missing(this.#options.path);
    return result(commits, next, this.#pathMoved ? "moved" : "sealed", notices);
  }

  /** True if a large piece lies at the end, as it did before: a dead writer's stump is not searched for markers at every poll. */
  #isStillWaiting(offset: number, size: number): boolean {
    return offset === this.#endOffset && size === this.#endSize && size - offset > PIECE_SEARCHED_ALWAYS_BYTES;
  }

  #passed(address: number): number {
    this.#readTo = Math.max(this.#readTo, address);
    return address;
  }

  /** What a whole frame means for the ledger. */
  #takeFrame(
    { header, payload, end, fingerprint }: Scanned & { found: "frame" },
    offset: number,
    generation: Generation,
    commits: LedgerCommit[],
  ): "taken" | "sealed" | "unknown" {
    const seals = this.#seals as Seals;
    if (header.kind === FrameKind.commit) {
      const version = offset + generation.delta;
      const place = payloadPlace(version, header.mask);
      const { writer, counter, timestamp } = header;
      commits.push({ version, place, writer, counter, timestamp, payload });
    } else if (header.kind === FrameKind.seal) {
      if (seals.seal(payload, offset + generation.delta)) {
        this.#behindSeal = end;
        this.#lastFrame.pass({ end, fingerprint });
        this.#succession.sealMet(payload, this.#current as OpenFile);
        return "sealed";
      }
      this.#succession.sealMet(payload, this.#current as OpenFile);
    } else if (header.kind === FrameKind.drop) {
      seals.drop(payload, offset + generation.delta);
    } else if (header.kind !== FrameKind.header) {
      return "unknown";
    }
    // A header further on is void: the first whole one has won.
    this.#lastFrame.pass({ end, fingerprint });
    return "taken";
  }

  /** Behind a winning seal nothing counts but one that replaces it, because the sibling that it names was lost. */
  #readBehindSeal(scanner: Scanner): void {
    for (;;) {
      const scanned = scanner.scan(this.#behindSeal);
      if (scanned.found === "nothing") return;
      if (scanned.found === "frame" && scanned.header.kind === FrameKind.seal && this.#seals?.replace(scanned.payload))
        this.#succession.sealMet(scanned.payload, this.#current as OpenFile);
      this.#behindSeal = scanned.end;
    }
  }

  #notice(piece: Scanned & { found: "piece" }, offset: number, { copyFrom, copyTo, delta }: Generation): LedgerNotice {
    const range = { from: offset + delta, to: piece.end + delta };
    if (piece.verdict === "damage" && offset >= copyFrom && piece.end <= copyTo) return { kind: "copy", ...range };
    return { kind: piece.verdict, ...range };
  }

  #copyNotice({ damagedCopy, delta }: Generation): LedgerNotice[] {
    if (damagedCopy === undefined || this.#copyReported) return [];
    this.#copyReported = true;
    return [{ kind: "copy", from: damagedCopy.from + delta, to: damagedCopy.to + delta }];
  }

  readValue(version: number, place: number, length: number, options?: { readonly again: true }): Uint8Array {
    return this.#files.readValue(version, place, length, this.#readTo, options?.again === true);
  }

  get isKnownWhole(): boolean {
    return this.#files.isKnownWhole;
  }

  noteWhole(): void {
    this.#files.noteWhole();
  }

  hasNews(position: number): boolean {
    const file = this.#current?.file ?? this.#blank;
    if (file === undefined) return true;
    const { size, links } = file.status();
    // Nobody can see at the descriptor where the path leads, but a file without a name has lost it.
    if (links === 0) this.#suspect = true;
    return size !== this.#endSize || links === 0 || position < this.#readTo;
  }

  isUnchanged(position: number): boolean {
    const current = this.#current;
    if (current === undefined || this.#suspect || this.#seals?.winning !== undefined) return false;
    // It has yet to be told of.
    if (current.generation.damagedCopy !== undefined && !this.#copyReported) return false;
    try {
      // One look for both: what the path leads to, if it is this file, is as large as this file is.
      if (this.#lookAtPath(current) !== "same") return false;
      const size = this.#sizeAtPath;
      // A piece that may be in the writing is for a read to judge.
      if (size !== position - current.generation.delta || !this.#lastFrame.isUntouched(current.file)) return false;
      this.#reads++;
      this.#endSize = size;
      this.#endOffset = size;
      return true;
    } catch {
      // Whoever reads meets the same failure, and tells of it.
      return false;
    }
  }

  /** A blank file that a read-only session looks at may have become a ledger, or something else. */
  #readBlank(file: FileHandle, verify: boolean): "born" | "end" | "moved" {
    const { size } = file.status();
    if (verify || this.#suspect) {
      const path = this.#lookAtPath(file.identity());
      if (path === "missing") throw missing(this.#options.path);
      if (path === "other") return "moved";
    }
    const beginning = readBeginning(file, this.#options.path, this.#crc32);
    this.#endSize = size;
    if (beginning.is === "blank") return "end";
    // Whoever opens it anew says what it is.
    if (beginning.is !== "ledger") return "moved";
    this.#blank = undefined;
    this.#enter(file, beginning.generation);
    return "born";
  }

  /** Makes a generation's file the present one. */
  #enter(file: FileHandle, generation: Generation): void {
    this.#durability.enter(this.#files.enter(file, generation));
    this.#seals = new Seals(generation.header);
    this.#behindSeal = -1;
    this.#lastFrame.enter(generation.headerFrame);
    this.#endSize = -1;
    this.#endOffset = -1;
    this.#readTo = generation.start + generation.delta;
  }

  // --- identity ----------------------------------------------------------------------------------------------------

  #lookAtPath(current: { readonly device: bigint; readonly inode: bigint }): PathState {
    // Also where it cannot be told where the path leads: then it is looked at again before anything is written.
    this.#suspect = true;
    const status = this.#options.calls.stat(this.#options.path);
    this.#missing = status === undefined;
    const same = status !== undefined && status.device === current.device && status.inode === current.inode;
    // A file that lost this name and has another one is suspect no more: it was looked at.
    this.#suspect = !same;
    this.#sizeAtPath = same ? status.size : -1;
    return same ? "same" : status === undefined ? "missing" : "other";
  }

  /** True if a winning seal lies between `offset` and the end: then the file was left in order. */
  #sealAhead({ file, generation }: OpenFile, offset: number, size: number): boolean {
    if (this.#seals?.winning !== undefined) return true;
    const scanner = new Scanner(file, size, windowFor(size - offset, FRAME_BYTES_MAX), this.#crc32);
    const ahead = (this.#seals as Seals).fork();
    for (let at = offset; ;) {
      const scanned = scanner.scan(at);
      if (scanned.found === "nothing") return false;
      if (scanned.found === "frame" && scanned.header.kind === FrameKind.drop)
        ahead.drop(scanned.payload, at + generation.delta);
      if (scanned.found === "frame" && scanned.header.kind === FrameKind.seal) {
        if (ahead.seal(scanned.payload, at + generation.delta)) return true;
      }
      at = scanned.end;
    }
  }

  // --- writing -----------------------------------------------------------------------------------------------------

  append(commits: readonly CommitRecord[], position: number): MaybePromise<AppendResult> {
    const current = this.#writable();
    this.#readTo = Math.max(this.#readTo, position);
    if (this.#seals?.winning !== undefined) return { status: "read-on" };
    const written = this.#placed(this.#batches.write(current.file, commits), position, current);
    if (!this.#options.strict) return written;
    return this.#durability.atOnce(current) ? written : this.#durability.wait(current).then(() => written);
  }

  /** The file to append to, if there is any sense in it. */
  #writable(): OpenFile {
    const { path, readOnly } = this.#options;
    if (readOnly) throw new KVError("ReadOnly", `${path} was opened with readOnly`, { outcome: "not committed" });
    const { failure } = this.#durability;
    if (failure !== undefined) {
      throw new KVError("InputOutput", `${path} takes no more writes: ${failure.message}`, {
        cause: failure,
        outcome: "not committed",
      });
    }
    const current = this.#current as OpenFile;
    if (this.#suspect) {
      // Known to be gone or replaced: look again rather than write to what nobody will read.
      let state: PathState;
      try {
        state = this.#lookAtPath(current);
      } catch (error) {
        throw fromSystem(error, `${path} cannot be written`, "not committed");
      }
      if (state !== "same" && !this.#sealAhead(current, this.#lastFrame.end, current.file.status().size)) {
        throw new KVError("LedgerMissing", `${path} is gone, or something else is in its place`, {
          outcome: "not committed",
        });
      }
    }
    return current;
  }

  /** What is known of a batch that was to lie behind `position`: all of it does, or reading on decides what is in. */
  #placed(
    { bytes, starts, status, failure }: WrittenBatch,
    position: number,
    { file, generation }: OpenFile,
  ): AppendResult {
    // A file without a name: what is in it is acknowledged only if its seal shows that it was left in order.
    if (status === undefined || status.links === 0) this.#suspect = true;
    if (failure !== undefined) return { status: "read-on", error: failure };
    if (status === undefined || status.links === 0) return { status: "read-on" };
    const begin = position - generation.delta;
    if (status.size !== begin + bytes.length) return { status: "read-on" };
    if (!this.#lastFrame.isUntouchedBeforeWrite(file)) return { status: "read-on" };
    this.#endSize = status.size;
    this.#lastFrame.pass({ end: status.size, fingerprint: fingerprint(bytes, bytes.length) });
    // Of the size that they have in the end: one that grows has room for many more.
    const versions = new Array<number>(starts.length);
    const places = new Array<number>(starts.length);
    for (let i = 0; i < starts.length; i++) {
      const version = position + starts[i];
      versions[i] = version;
      places[i] = payloadPlace(version, readU32(bytes, starts[i] + 8));
    }
    return { status: "appended", versions, places, next: position + bytes.length };
  }

  async makeDurable(): Promise<void> {
    const current = this.#current;
    if (!this.#options.strict || this.#options.readOnly || current === undefined) return;
    const { failure } = this.#durability;
    if (failure !== undefined) throw new KVError("InputOutput", failure.message, { cause: failure });
    try {
      await this.#durability.wait(current);
    } catch (cause) {
      // There is no commit here whose outcome could be unknown.
      throw new KVError("InputOutput", cause instanceof Error ? cause.message : String(cause), { cause });
    }
  }

  // --- moving on ---------------------------------------------------------------------------------------------------

  reopen(position: number): ReopenResult {
    const { calls, path, readOnly } = this.#options;
    const seal = this.#seals?.winning;
    if (seal === undefined) return { status: "replaced", ownCommits: "unknown" };
    let file: FileHandle;
    try {
      // To open a pipe would wait for ever for somebody who writes to it.
      if (calls.stat(path)?.kind === "other") throw new KVError("NotALedger", `${path} is no regular file`);
      file = calls.open(path, { write: !readOnly, create: false });
    } catch (error) {
      throw fromSystem(error, `${path} cannot be opened again`);
    }
    try {
      const before = (this.#current as OpenFile).generation.header;
      const beginning = readBeginning(file, path, this.#crc32);
      if (beginning.is === "ledger") {
        const { header } = beginning.generation;
        const isNext =
          header.ledgerId === before.ledgerId &&
          header.generation === before.generation + 1 &&
          header.nonce === seal.siblingNonce;
        if (isNext && !seal.reload && position === this.#seals?.sealedAt)
          return this.#continueIn(file, beginning.generation, position);
      }
      file.close();
      // What lies behind the seal that was read up to is void for everyone, whatever came after it.
      return { status: "replaced", ownCommits: position === this.#seals?.sealedAt ? "not committed" : "unknown" };
    } catch (error) {
      file.close();
      throw fromSystem(error, `${path} cannot be opened again`);
    }
  }

  #continueIn(file: FileHandle, generation: Generation, position: number): ReopenResult {
    this.#enter(file, generation);
    this.#pathMoved = false;
    this.#suspect = false;
    this.#missing = false;
    this.#succession.movedOn(this.#current as OpenFile);
    return { status: "continued", position };
  }

  // --- the next generation -----------------------------------------------------------------------------------------

  openSnapshot(): LedgerSnapshot | undefined {
    return this.#current === undefined ? undefined : snapshotOf(this.#current);
  }

  openCheckpoints(): CheckpointStore | undefined {
    const { calls, replacing, environment, realPath, directory, name } = this.#options;
    const current = this.#current;
    const seals = this.#seals;
    if (current === undefined || seals === undefined || replacing === undefined) return undefined;
    const sync = (): Promise<void> => this.#durability.syncWhole(current);
    const isUntouched = (): boolean => this.#current === current && this.#lastFrame.isUntouched(current.file);
    const host = { calls, replacing, environment, realPath, directory, name, open: current, seals, sync, isUntouched };
    return new SideIndex(host);
  }

  pin(): () => void {
    return this.#current?.hold() ?? (() => undefined);
  }

  growth(): { readonly bytes: number; readonly bytesAtStart: number; readonly startedAt: number } {
    const current = this.#current;
    if (current === undefined) return { bytes: 0, bytesAtStart: 0, startedAt: 0 };
    const { header, startedAt } = current.generation;
    return { bytes: current.file.status().size, bytesAtStart: header.framesAt, startedAt };
  }

  async vacuum(request: VacuumRequest): Promise<VacuumAttempt> {
    return this.#succession.vacuum(this.#writable(), request);
  }

  keepCopy(request: Pick<VacuumRequest, "rest" | "check">): Promise<string> {
    return this.#succession.keepCopy(this.#writable(), request);
  }

  async help(): Promise<void> {
    if (this.#current !== undefined && !this.#closed) await this.#succession.help(this.#current);
  }

  // --- the rest ----------------------------------------------------------------------------------------------------

  subscribe(listener: () => void): () => void {
    const { calls, environment, directory, name } = this.#options;
    const notifier = new Notifier({
      calls,
      environment,
      directory,
      name,
      hasNews: () => !this.#closed && this.#hasNewsOrTrouble(),
      listener,
    });
    this.#notifiers.add(notifier);
    return () => {
      notifier.stop();
      this.#notifiers.delete(notifier);
    };
  }

  #hasNewsOrTrouble(): boolean {
    try {
      return this.hasNews(this.#readTo);
    } catch {
      // Whoever follows meets the same failure, and tells of it.
      return true;
    }
  }

  stats(): Readonly<Record<string, number | string | boolean>> {
    const current = this.#current;
    return {
      path: this.#options.path,
      bytes: current === undefined ? 0 : current.file.status().size,
      durability: this.#options.strict ? "strict" : "relaxed",
      sealed: this.#seals?.winning !== undefined,
      networkFileSystemChecked: this.#options.networkFileSystemChecked,
      reads: this.#reads,
      ...this.#batches.counts,
      syncs: this.#durability.count,
    };
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const notifier of this.#notifiers) notifier.stop();
    try {
      this.#blank?.close();
      // Whoever still reads from a file, or makes it durable, keeps it open until that is done. Earlier ones are held by none but those.
      this.#current?.release();
    } catch (error) {
      throw fromSystem(error, `${this.#options.path} cannot be closed`);
    }
  }
}

function result(
  commits: readonly LedgerCommit[],
  next: number,
  status: ReadResult["status"],
  notices: readonly LedgerNotice[],
): ReadResult {
  return notices.length === 0 ? { commits, next, status } : { commits, next, status, notices };
}

/** A little for a little: whoever follows one commit does not read a megabyte. */
function windowFor(available: number, budgetBytes: number): number {
  return Math.max(WINDOW_BYTES_MIN, Math.min(available, budgetBytes, 1024 * 1024));
}

function missing(path: string): KVError {
  return new KVError("LedgerMissing", `${path} does not exist any more`);
}
