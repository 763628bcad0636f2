import { InvalidArgumentError, KVError } from "../../core/errors.ts";
import { knownOptions, wrongOption } from "../../core/given-options.ts";
import type { Ledger, LedgerOpenOptions, LedgerSession } from "../../core/ledger.ts";
import { writeBackup } from "./backup.ts";
import { FailedSyncs } from "./durability.ts";
import { fromSystem } from "./errors.ts";
import type { FileHandle, FileSystemCalls } from "./file.ts";
import { denoFileSystem } from "./file-deno.ts";
import { nodeFileSystem } from "./file-node.ts";
import { type Beginning, encodeNewLedger, readBeginning } from "./generation.ts";
import { type Restored, restoreHeader } from "./restore.ts";
import { FileSession, type SessionOptions } from "./session.ts";

/** Options of `fsLedger`. */
export interface FsLedgerOptions {
  /**
   * What an acknowledgement means. `"relaxed"` (default): the operating system has the commit; it survives a process that is killed, and in
   * a power failure the last seconds may be lost. `"strict"`: it is on the disk.
   */
  readonly durability?: "relaxed" | "strict" | undefined;
}

/**
 * A ledger in one local file, shared by any number of processes without locks.
 *
 * @throws InvalidArgumentError `InvalidOption`, `InvalidArgument`
 */
export function fsLedger(path: string | { readonly href: string }, options?: FsLedgerOptions): Ledger {
  return createFsLedger(path, options, denoFileSystem() ?? nodeFileSystem);
}

/** `fsLedger` over given system calls. */
export function createFsLedger(
  path: string | { readonly href: string },
  options: FsLedgerOptions | undefined,
  calls: FileSystemCalls,
): Ledger {
  const given = typeof path === "string" ? path : fromFileUrl(path);
  if (given === "") throw new InvalidArgumentError("InvalidArgument", "fsLedger: the path is empty");
  if (typeof path === "string") refuseAddress(path);
  if (given.includes("\0")) throw new InvalidArgumentError("InvalidArgument", "fsLedger: the path holds a zero byte");
  const { durability = "relaxed" } = knownOptions(options, ["durability"], "fsLedger");
  if (durability !== "relaxed" && durability !== "strict") {
    throw wrongOption("fsLedger", "durability", '"relaxed" or "strict"', durability);
  }
  if (durability === "strict" && !calls.posix) {
    throw new InvalidArgumentError("InvalidOption", 'fsLedger: durability "strict" is not available on Windows');
  }
  const place = calls.resolve(given);
  return {
    name: place.path,
    ordering: "append",
    open: (openOptions) => openFile(calls, place, { strict: durability === "strict" }, openOptions),
    createFrom: (request) => writeBackup({ calls, ...place }, request),
  };
}

async function openFile(
  calls: FileSystemCalls,
  place: { readonly path: string; readonly directory: string; readonly name: string },
  { strict }: Pick<SessionOptions, "strict">,
  options: LedgerOpenOptions,
): Promise<LedgerSession> {
  const { path } = place;
  const create = options.createIfMissing && !options.readOnly;
  let file: FileHandle | undefined;
  try {
    const status = calls.stat(path);
    if (status === undefined && !create) throw new KVError("LedgerMissing", `${path} does not exist`);
    if (status !== undefined && status.kind !== "file")
      throw new KVError("NotALedger", `${path} is ${status.kind === "directory" ? "a directory" : "no regular file"}`);
    const made = status === undefined ? calls.makeDirectories(place.directory) : [];
    const networkFileSystemChecked = checkFileSystem(
      calls,
      status === undefined ? place.directory : path,
      options.allowNetworkFileSystem,
    );
    file = calls.open(path, { write: !options.readOnly, create });
    const real = calls.resolve(calls.replacing?.realPath(path) ?? path);
    // What a power failure must not take: the names of the file and of every directory made for it.
    const named = [...made.map((each) => calls.resolve(each).directory), real.directory];
    let restored: Restored | undefined;
    if (options.repair === true && !options.readOnly && calls.replacing !== undefined) {
      const { is } = readBeginning(file, path, options.environment.crc32);
      if (is === "damaged" || is === "zeroed") {
        const { environment } = options;
        const host = { calls, replacing: calls.replacing, environment, file, ...real, realPath: real.path };
        restored = await restoreHeader(host);
        file.close();
        file = calls.open(path, { write: true, create: false });
      }
    }
    const beginning = await beginningOf(calls, file, { path, named }, create, options);
    const generation = beginning.is === "ledger" ? beginning.generation : undefined;
    const session = {
      calls,
      replacing: calls.replacing,
      environment: options.environment,
      cache: options.cache,
      readOnly: options.readOnly,
      strict,
      path,
      realPath: real.path,
      directory: real.directory,
      name: real.name,
      networkFileSystemChecked,
      restored,
    };
    return new FileSession(session, file, generation);
  } catch (error) {
    file?.close();
    throw fromSystem(error, `${path} cannot be opened${options.readOnly ? "" : " for writing"}`);
  }
}

/** Reads the header, creating it where that is asked for. */
async function beginningOf(
  calls: FileSystemCalls,
  file: FileHandle,
  { path, named }: { readonly path: string; readonly named: readonly string[] },
  create: boolean,
  { environment, readOnly }: LedgerOpenOptions,
): Promise<Beginning> {
  const { crc32 } = environment;
  let beginning = readBeginning(file, path, crc32);
  if (beginning.is === "blank" && create) {
    const pair = encodeNewLedger(environment);
    const count = file.append(pair);
    // Whoever else creates it at the same time, the first whole header wins.
    beginning = readBeginning(file, path, crc32);
    if (beginning.is === "blank")
      throw new KVError("NoSpace", `${path} took ${count} of ${pair.length} bytes: there is no room`);
    try {
      await file.sync();
      for (const directory of named) await calls.syncDirectory(directory);
    } catch (error) {
      // Whoever opens it next finds it made, and does not do that again.
      if (beginning.is === "ledger")
        FailedSyncs.of(calls).add({ ...file.identity(), generation: beginning.generation });
      throw error;
    }
  }
  if (beginning.is === "ledger" || (beginning.is === "blank" && readOnly)) return beginning;
  if (beginning.is === "blank") throw new KVError("LedgerMissing", `${path} is empty: there is no ledger in it`);
  if (beginning.is === "damaged")
    throw new KVError(
      "LedgerDamaged",
      `${path} is a ledger whose header is damaged, both copies of it; open it with repair`,
      {
        ranges: [{ from: 0, to: 0 }],
      },
    );
  throw new KVError(
    "NotALedger",
    `${path} is not a foliokv ledger: ${beginning.is === "zeroed" ? ZEROED : guess(beginning.beginning)}; nothing was written to it`,
  );
}

const ZEROED =
  "it begins with zeros, which a power failure may have left of a ledger that was about to be made; open it with repair to make it anew";

/** What a file seems to be, for the message. */
function guess(beginning: Uint8Array): string {
  const text = String.fromCharCode(...beginning.subarray(0, 16));
  if (text.startsWith("CKVD")) return "it is a database of @cross/kv, which has to be copied entry by entry";
  if (text.startsWith("SQLite format 3")) return "it is a SQLite database";
  if (text.startsWith("\x1f\x8b")) return "it is compressed with gzip";
  return "it is some other file";
}

/** Magic numbers of file systems on which appends of several machines are not atomic (linux/magic.h, statfs(2)). */
const NETWORK_FILE_SYSTEMS: ReadonlyMap<number, string> = new Map([
  [0x6969, "NFS"],
  [0x517b, "SMB"],
  [0xff534d42, "CIFS"],
  [0xfe534d42, "SMB2"],
  [0x01021997, "9p"],
  [0x65735546, "FUSE"],
  [0x5346414f, "AFS"],
  [0x6b414653, "AFS"],
  [0x00c36400, "Ceph"],
  [0x73757245, "Coda"],
  [0x564c, "NCP"],
  [0x7461636f, "OCFS2"],
  [0x01161970, "GFS2"],
  [0x0bd00bd0, "Lustre"],
  [0xaad7aaea, "PanFS"],
  [0x47504653, "GPFS"],
]);

/** True if the file system could be asked. Throws `NetworkFileSystem` unless that is allowed. */
function checkFileSystem(calls: FileSystemCalls, path: string, allowed: boolean): boolean {
  const type = calls.fileSystemType(path);
  if (type === undefined) return false;
  // The number is signed in some runtimes.
  const network = NETWORK_FILE_SYSTEMS.get(type >>> 0);
  if (network === undefined || allowed) return true;
  throw new KVError(
    "NetworkFileSystem",
    `${path} lies on ${network}, where appends of several machines can overwrite each other; allowNetworkFileSystem opens it all the same`,
  );
}

/** What other libraries take in place of a path would make strange folders here. */
function refuseAddress(path: string): void {
  const hint =
    path === ":memory:"
      ? "is no path: for a database in memory open memoryLedger() of foliokv/memory"
      : /^[a-z][a-z\d+.-]+:\/\//i.test(path)
        ? "is an address, not a path: for a file pass a URL object, for a bucket a ledger"
        : undefined;
  if (hint !== undefined) throw new InvalidArgumentError("InvalidArgument", `"${path}" ${hint}`);
}

function fromFileUrl(url: { readonly href: string } | undefined): string {
  const href: unknown = url?.href;
  const path = typeof href === "string" && href.startsWith("file:///") ? pathOf(href) : undefined;
  if (path === undefined) {
    const received = typeof href === "string" ? href : url === null ? "null" : typeof url;
    throw new InvalidArgumentError(
      "InvalidArgument",
      `fsLedger: a path or a file: URL is needed; received ${received}`,
    );
  }
  // file:///C:/folder is C:/folder
  return /^\/[A-Za-z]:\//.test(path) ? path.slice(1) : path;
}

/** Query and fragment are no part of the path, and a slash that is encoded is one of a name, which no file can have. */
function pathOf(href: string): string | undefined {
  const [path] = href.slice("file://".length).split(/[?#]/, 1);
  if (/%2f/i.test(path)) return undefined;
  try {
    return decodeURIComponent(path);
  } catch {
    // A percent sign that encodes nothing.
    return undefined;
  }
}
