import { ByteReader, ByteWriter, equalBytes, fromHex, MalformedBytes, toHex } from "../../core/bytes.ts";
import type { Environment } from "../../core/environment.ts";
import type {
  Checkpoint,
  CheckpointAbsence,
  CheckpointStore,
  Position,
  PublishResult,
  RunSink,
  StoredRun,
} from "../../core/ledger.ts";
import { fromSystem } from "./errors.ts";
import { closeLarge, type FileHandle, type FileSystemCalls, type ReadableFile, readAt } from "./file.ts";
import { HEADER_BYTES, isSameFrame, readHeader } from "./frame.ts";
import type { OpenFile } from "./open-file.ts";
import { readRun } from "./run-file.ts";
import { ID_BYTES } from "./payloads.ts";
import { Scanner } from "./scanner.ts";
import type { ReplacingCalls, WritableFile } from "./replacing.ts";
import type { Seals } from "./seals.ts";

/**
 * The side index: `<path>.idx`, a small manifest that names immutable run files `<path>.idx-<hex>`. Together they hold the state at an
 * address, so that opening reads only what came after it. It is a cache: whatever is wrong with it, it is left out and built anew.
 */

/** "foliokvi", and no marker. */
const MAGIC = Uint8Array.of(0x66, 0x6f, 0x6c, 0x69, 0x6f, 0x6b, 0x76, 0x69);
const MANIFEST_FORMAT = 1;
/** What a manifest of as many drops as it has numbers for has at most, and more: what is longer is none. */
const MANIFEST_BYTES_MAX = 2 * 1024 * 1024;
const DROPS_MAX = 0xffff;
/** What is read at once of the last commit that is covered. */
const WINDOW_BYTES = 4096;
/** Another process may publish a new list, and unlink what the old one names, while this one opens it. */
const TRIES = 8;
/** What was written to so recently, and is named by no manifest, belongs to a save under way, by all appearances. */
const BUSY_MS = 1000;
/** As long as it may. */
const ABANDONED_MS = 60 * 60 * 1000;
/** What a manifest does not name any more is opened so much later by hardly anybody: whoever finds it gone reads the manifest again. */
const DROPPED_MS = 1000;

/** What the index is of. */
export interface SideIndexHost {
  readonly calls: FileSystemCalls;
  readonly replacing: ReplacingCalls;
  readonly environment: Environment;
  readonly realPath: string;
  readonly directory: string;
  readonly name: string;
  /** The ledger's file. */
  readonly open: OpenFile;
  /** The seals of its generation: whoever begins behind a drop has to know of it, or a void seal would count there. */
  readonly seals: Pick<Seals, "drops" | "learnDrop">;
  /** Makes it durable. */
  readonly sync: () => Promise<void>;
  /** False if something else was written over what was read of it. */
  readonly isUntouched: () => boolean;
}

interface ManifestRun {
  readonly name: string;
  readonly bytes: number;
}

interface Manifest {
  readonly ledgerId: string;
  readonly nonce: string;
  /** The runs hold what the commits below this address have left. */
  readonly upTo: number;
  /** Version of the last of them. */
  readonly version: number;
  /** The header of that commit's frame, as it is stored: tells whether the ledger still is the one that was indexed. */
  readonly lastHeader: Uint8Array;
  /** Newest first. */
  readonly runs: readonly ManifestRun[];
  /** Nonces of siblings that were dropped, and the addresses of the drops. */
  readonly drops: ReadonlyMap<string, number>;
}

export class SideIndex implements CheckpointStore {
  readonly #host: SideIndexHost;
  readonly #path: string;
  /** Names of files that belong to no save under way, as far as they are still there. */
  #settled = new Set<string>();
  /** Runs that manifests named until they were exchanged here, as far as they are still there, and when that was (monotonic). */
  #dropped = new Map<string, number>();
  /** The last sync of the ledger that was begun with a run, and up to which address it reaches. */
  #synced: { readonly upTo: number; readonly done: Promise<void> } | undefined;

  constructor(host: SideIndexHost) {
    this.#host = host;
    this.#path = `${host.realPath}.idx`;
  }

  load(): Checkpoint | CheckpointAbsence {
    if (!this.#host.open.isOpen) return "missing";
    try {
      return this.#load();
    } catch {
      // Without it everything is read from the ledger, which says what is wrong if that cannot be read either.
      return "damaged";
    }
  }

  #load(): Checkpoint | CheckpointAbsence {
    for (let tries = 0; ; tries++) {
      const manifest = this.#readManifest((each) => this.#isLastWhole(each));
      if (typeof manifest === "string") return manifest;
      for (const [nonce, address] of manifest.drops) this.#host.seals.learnDrop(nonce, address);
      const runs = this.#openAll(manifest.runs);
      if (runs !== undefined) return { position: manifest.upTo, version: manifest.version, runs };
      if (tries === TRIES) return "damaged";
    }
  }

  createRun(): RunSink {
    const { replacing, environment, realPath } = this.#host;
    const name = `${this.#host.name}.idx-${toHex(environment.randomBytes(8))}`;
    const path = `${this.#host.directory}/${name}`;
    this.#settled.add(name);
    const file = telling(realPath, () => replacing.createLike(path, realPath));
    const synced = this.#syncAhead();
    let length = 0;
    return {
      write: (bytes) => {
        telling(realPath, () => file.writeAt(bytes, length));
        length += bytes.length;
      },
      finish: async () => {
        try {
          await Promise.all([file.sync(), synced]);
        } catch (error) {
          throw fromSystem(error, `The index of ${realPath} cannot be written`);
        }
        return storedRun(name, file, length);
      },
      abandon: () => {
        file.close();
        replacing.unlink(path);
        return synced;
      },
    };
  }

  /** What the run will cover was written by now: the ledger is made durable while the run is made. Resolves when that is over. */
  async #syncAhead(): Promise<void> {
    const { open, sync } = this.#host;
    if (!open.isOpen) return;
    const release = open.hold();
    try {
      const upTo = open.file.status().size + open.generation.delta;
      const done = sync();
      this.#synced = { upTo, done };
      await done;
    } catch {
      // Whoever publishes hears of it: nobody looks at this promise before the run is made.
    } finally {
      release();
    }
  }

  /** No index may reach beyond what is durable of its ledger. */
  async #makeDurable(position: Position): Promise<void> {
    const synced = this.#synced;
    this.#synced = undefined;
    await (synced !== undefined && synced.upTo >= position ? synced.done : this.#host.sync());
  }

  async publish(checkpoint: Checkpoint): Promise<PublishResult> {
    const { open } = this.#host;
    if (!open.isOpen) return "superseded";
    const release = open.hold();
    try {
      return await this.#publish(checkpoint);
    } catch (error) {
      throw fromSystem(error, `The index of ${this.#host.realPath} cannot be written`);
    } finally {
      release();
    }
  }

  async #publish(checkpoint: Checkpoint): Promise<PublishResult> {
    const { replacing, environment, open, realPath } = this.#host;
    const { file, generation } = open;
    await this.#makeDurable(checkpoint.position);
    if (this.#isSuperseded(checkpoint)) return "superseded";
    const { ledgerId, nonce } = generation.header;
    const bytes = encodeManifest(
      {
        ledgerId,
        nonce,
        upTo: checkpoint.position,
        version: checkpoint.version,
        lastHeader: readAt(file, checkpoint.version - generation.delta, HEADER_BYTES),
        runs: checkpoint.runs.map(({ id, length }) => ({ name: id, bytes: length })),
        drops: this.#host.seals.drops,
      },
      environment.crc32,
    );
    const path = `${this.#path}-${toHex(environment.randomBytes(8))}.new`;
    const manifest = replacing.createLike(path, realPath);
    try {
      manifest.writeAt(bytes, 0);
      await manifest.sync();
      // Others went on meanwhile. Whoever sleeps right here puts an old index in the place of a newer one: that costs time, and no more.
      if (this.#isSuperseded(checkpoint)) {
        replacing.unlink(path);
        return "superseded";
      }
      const before = this.#namedRuns();
      replacing.rename(path, this.#path);
      const droppedAt = environment.monotonic();
      for (const name of before) this.#dropped.set(name, droppedAt);
    } catch (error) {
      replacing.unlink(path);
      throw error;
    } finally {
      manifest.close();
    }
    try {
      this.#sweep();
    } catch {
      // It is published. What cannot be removed now is left for later.
    }
    return "published";
  }

  #isSuperseded(checkpoint: Checkpoint): boolean {
    const present = this.#readManifest();
    if (typeof present !== "string" && present.upTo >= checkpoint.position) return true;
    return !this.#isUsable(checkpoint);
  }

  /**
   * False if a later generation, whose index this one must not displace, has begun, an older copy of the ledger was written over it, which the index
   * would take for what it is of, or somebody has swept a run away that slept for long.
   */
  #isUsable({ runs }: Checkpoint): boolean {
    const { calls, realPath, directory, open, isUntouched } = this.#host;
    const present = calls.stat(realPath);
    if (present?.device !== open.device || present.inode !== open.inode || !isUntouched()) return false;
    return runs.every(({ id }) => calls.stat(`${directory}/${id}`) !== undefined);
  }

  isBusy(): boolean {
    try {
      return this.#isBusy();
    } catch {
      // Who cannot tell does not wait.
      return false;
    }
  }

  #isBusy(): boolean {
    const { replacing, environment, directory, name } = this.#host;
    const named = this.#namedRuns();
    const settled = new Set<string>();
    let isBusy = false;
    for (const found of replacing.list(directory)) {
      if (!found.startsWith(`${name}.idx-`)) continue;
      const isSettled =
        this.#settled.has(found) ||
        named.includes(found) ||
        environment.now() - (replacing.modifiedAt(`${directory}/${found}`) ?? 0) > BUSY_MS;
      if (isSettled) settled.add(found);
      else isBusy = true;
    }
    this.#settled = settled;
    return isBusy;
  }

  invalidate(): void {
    const { replacing, calls, environment, directory } = this.#host;
    const bytes = readWhole(calls, this.#path, MANIFEST_BYTES_MAX);
    replacing.unlink(this.#path);
    // With its runs: whoever has them open and has not met the damage yet must not publish them again.
    const manifest = bytes === undefined ? undefined : undamaged(() => decodeManifest(bytes, environment.crc32));
    for (const { name } of manifest?.runs ?? []) if (this.#isRunName(name)) replacing.unlink(`${directory}/${name}`);
  }

  discard(runs: readonly StoredRun[]): void {
    for (const { id } of runs) this.#host.replacing.unlink(`${this.#host.directory}/${id}`);
  }

  /** Unlinks what no manifest names and nobody can still be about to name. */
  #sweep(): void {
    const { replacing, environment, directory, name } = this.#host;
    const manifest = this.#readManifest();
    // Another generation's already: its runs are not to be judged by this one.
    if (typeof manifest === "string") return;
    const named = new Set(manifest.runs.map((run) => run.name));
    const dropped = new Map<string, number>();
    for (const found of replacing.list(directory)) {
      if (!found.startsWith(`${name}.idx-`) || named.has(found)) continue;
      const path = `${directory}/${found}`;
      const droppedAt = this.#dropped.get(found);
      // Whoever has a dropped run open, and would name it again, finds it gone, and takes over what was published in its stead.
      const isDue =
        droppedAt === undefined
          ? environment.now() - (replacing.modifiedAt(path) ?? Infinity) > ABANDONED_MS
          : environment.monotonic() - droppedAt > DROPPED_MS;
      if (isDue) replacing.unlink(path);
      else if (droppedAt !== undefined) dropped.set(found, droppedAt);
    }
    this.#dropped = dropped;
  }

  /** Names of the runs that the manifest names, if it is this generation's. */
  #namedRuns(): readonly string[] {
    const manifest = this.#readManifest();
    return typeof manifest === "string" ? [] : manifest.runs.map((run) => run.name);
  }

  #readManifest(isOurs = (each: Manifest): boolean => this.#isLastThere(each)): Manifest | CheckpointAbsence {
    const { calls, environment, open } = this.#host;
    const { file, generation } = open;
    const bytes = readWhole(calls, this.#path, MANIFEST_BYTES_MAX);
    if (bytes === undefined) return "missing";
    const manifest = undamaged(() => decodeManifest(bytes, environment.crc32));
    if (manifest === undefined) return "damaged";
    const { ledgerId, nonce } = generation.header;
    if (manifest.ledgerId !== ledgerId || manifest.nonce !== nonce) return "stale";
    if (manifest.upTo - generation.delta > file.status().size) return "cut";
    return isOurs(manifest) ? manifest : "stale";
  }

  #isLastThere({ version, lastHeader }: Manifest): boolean {
    const { file, generation } = this.#host.open;
    return equalBytes(readAt(file, version - generation.delta, HEADER_BYTES), lastHeader);
  }

  /** The same, and all of it: the ledger may have been cut within it, and others have written behind what was left. */
  #isLastWhole({ version, upTo, lastHeader }: Manifest): boolean {
    const { environment, open } = this.#host;
    const { file, generation } = open;
    const known = readHeader(lastHeader, 0, environment.crc32);
    const scanner = new Scanner(file, upTo - generation.delta, WINDOW_BYTES, environment.crc32);
    const scanned = scanner.scan(version - generation.delta);
    return known !== undefined && scanned.found === "frame" && isSameFrame(scanned.header, known);
  }

  /** What a manifest names may be anything. */
  #isRunName(name: string): boolean {
    const prefix = `${this.#host.name}.idx-`;
    return name.startsWith(prefix) && /^[0-9a-f]+$/.test(name.slice(prefix.length));
  }

  /** All or none: undefined if one of them is gone or not as long as it should be. */
  #openAll(runs: readonly ManifestRun[]): StoredRun[] | undefined {
    const { calls, directory } = this.#host;
    const opened: StoredRun[] = [];
    for (const run of runs) {
      const path = `${directory}/${run.name}`;
      const file = this.#isRunName(run.name) ? openOrNothing(calls, path) : undefined;
      if (file === undefined || file.status().size !== run.bytes) {
        file?.close();
        for (const each of opened) each.close();
        return undefined;
      }
      opened.push(storedRun(run.name, file, run.bytes));
    }
    return opened;
  }
}

/** Whose index lies beside a file of a first generation, if it is that file's. */
export function identityInIndex(
  { calls, environment, realPath }: Pick<SideIndexHost, "calls" | "environment" | "realPath">,
  file: ReadableFile,
): { readonly ledgerId: string; readonly nonce: string } | undefined {
  const bytes = readWhole(calls, `${realPath}.idx`, MANIFEST_BYTES_MAX);
  const manifest = bytes === undefined ? undefined : undamaged(() => decodeManifest(bytes, environment.crc32));
  if (manifest === undefined) return undefined;
  // There addresses are offsets.
  const isOf = equalBytes(readAt(file, manifest.version, HEADER_BYTES), manifest.lastHeader);
  return isOf ? { ledgerId: manifest.ledgerId, nonce: manifest.nonce } : undefined;
}

function storedRun(id: string, file: FileHandle | WritableFile, length: number): StoredRun {
  return {
    id,
    length,
    smallReads: true,
    read: (place, bytes, target) => readRun(file, { at: place, length: bytes }, target),
    close: () => closeLarge(file),
  };
}

function telling<T>(realPath: string, write: () => T): T {
  try {
    return write();
  } catch (error) {
    throw fromSystem(error, `The index of ${realPath} cannot be written`);
  }
}

function openOrNothing(calls: FileSystemCalls, path: string): FileHandle | undefined {
  try {
    // To open a pipe would wait for ever for somebody who writes to it.
    if (calls.stat(path)?.kind !== "file") return undefined;
    return calls.open(path, { write: false, create: false });
  } catch {
    // Gone, or not ours to read: without it the index is of no use, and that is all that follows.
    return undefined;
  }
}

function readWhole(calls: FileSystemCalls, path: string, bytesMax: number): Uint8Array | undefined {
  const file = openOrNothing(calls, path);
  if (file === undefined) return undefined;
  try {
    return readAt(file, 0, Math.min(bytesMax, file.status().size));
  } finally {
    file.close();
  }
}

type Crc32 = Environment["crc32"];

function encodeManifest(manifest: Manifest, crc32: Crc32): Uint8Array {
  const writer = new ByteWriter();
  writer.bytes(MAGIC);
  writer.u16(MANIFEST_FORMAT);
  writer.bytes(fromHex(manifest.ledgerId));
  writer.bytes(fromHex(manifest.nonce));
  writer.uint53(manifest.upTo);
  writer.uint53(manifest.version);
  writer.bytes(manifest.lastHeader);
  writer.u16(manifest.runs.length);
  for (const { name, bytes } of manifest.runs) {
    const encoded = new TextEncoder().encode(name);
    writer.u16(encoded.length);
    writer.bytes(encoded);
    writer.uint53(bytes);
  }
  // One that lacked some would let a seal count that is void.
  if (manifest.drops.size > DROPS_MAX)
    throw new RangeError(`an index of a generation with ${manifest.drops.size} drops`);
  writer.u16(manifest.drops.size);
  for (const [nonce, address] of manifest.drops) {
    writer.bytes(fromHex(nonce));
    writer.uint53(address);
  }
  writer.u32(crc32(writer.view()));
  return writer.take();
}

function undamaged<T>(decode: () => T): T | undefined {
  try {
    return decode();
  } catch (error) {
    if (error instanceof MalformedBytes) return undefined;
    throw error;
  }
}

function decodeManifest(bytes: Uint8Array, crc32: Crc32): Manifest {
  if (bytes.length < MAGIC.length + 4) throw new MalformedBytes("a manifest that is too short");
  const content = bytes.subarray(0, bytes.length - 4);
  const tail = new ByteReader(bytes.subarray(bytes.length - 4));
  if (tail.u32() !== crc32(content)) throw new MalformedBytes("a manifest that fails its checksum");
  const reader = new ByteReader(content);
  if (!equalBytes(reader.bytes(MAGIC.length), MAGIC) || reader.u16() !== MANIFEST_FORMAT)
    throw new MalformedBytes("a manifest of another kind");
  const ledgerId = toHex(reader.bytes(ID_BYTES));
  const nonce = toHex(reader.bytes(ID_BYTES));
  const upTo = reader.uint53();
  const version = reader.uint53();
  const lastHeader = reader.bytes(HEADER_BYTES);
  const runs: ManifestRun[] = [];
  for (let count = reader.u16(); count > 0; count--) {
    runs.push({ name: new TextDecoder().decode(reader.bytes(reader.u16())), bytes: reader.uint53() });
  }
  const drops = new Map<string, number>();
  for (let count = reader.u16(); count > 0; count--) drops.set(toHex(reader.bytes(ID_BYTES)), reader.uint53());
  return { ledgerId, nonce, upTo, version, lastHeader, runs, drops };
}
