import { posix } from "node:path";
import type { FileHandle, FileSystemCalls, PathStatus } from "../../src/adapters/fs/file.ts";
import type { ReplacingCalls, WritableFile } from "../../src/adapters/fs/replacing.ts";
import type { Inode, SyncUnderWay } from "./inode.ts";
import { headerOf } from "./ledger-file.ts";
import type { Process, World } from "./world.ts";

/** How often the system misbehaves. */
export interface SystemFaults {
  /** A write is seen by others little by little, and can be torn. */
  slowWrite: number;
  /** A write takes fewer bytes than it was given, with room left. */
  shortWrite: number;
  /** A write fails and has written nothing. */
  writeError: number;
  readError: number;
  /** A read gives fewer bytes than there are. */
  shortRead: number;
  syncError: number;
  /** A sync takes long. */
  slowSync: number;
  /** The process dies in a system call: in any, and in those that replace files. */
  crash: number;
  crashReplacing: number;
  /** A notification is not delivered. */
  hintLost: number;
  hintLateMs: number;
}

const DEVICE = 1n;
const EXT4 = 0xef53;
/** The longest that a sync takes. */
export const SYNC_MS_MAX = 300;

/** The system of a world: one for all processes, so that they share one disk and its notifications. */
export class System {
  readonly #world: World;
  readonly faults: SystemFaults;
  readonly #watches = new Set<{ readonly process: Process; readonly tell: (name: string) => void; pending: boolean }>();
  /** What every process has open. */
  readonly open = new Map<Process, Set<SimulatedFile>>();
  /** Called when a process has died in a system call. */
  crashed: () => void = () => undefined;

  constructor(world: World, faults: SystemFaults) {
    this.#world = world;
    this.faults = faults;
  }

  /** Tells those who watch that a file has changed; late, or not at all. */
  changed(name: string): void {
    const { random } = this.#world;
    for (const watch of this.#watches) {
      if (!watch.process.isAlive || watch.pending || random.chance(this.faults.hintLost)) continue;
      watch.pending = true;
      watch.process.later("hint", random.next() * this.faults.hintLateMs, () => {
        watch.pending = false;
        if (this.#watches.has(watch)) watch.tell(name);
      });
    }
  }

  callsFor(process: Process): FileSystemCalls {
    const { disk } = this.#world;
    const enter = (): void => this.enter(process, this.faults.crash);
    return {
      posix: true,
      open: (path, { write, create }) => {
        enter();
        let inode = disk.lookup(path);
        if (inode === undefined && !create) throw systemError("ENOENT");
        if (inode === undefined && !disk.isDirectory(posix.dirname(path))) throw systemError("ENOENT");
        inode ??= disk.create(path);
        this.#world.note(process.name, () => `open ${path}`);
        return new SimulatedFile(this, this.#world, process, inode, path, write);
      },
      stat: (path): PathStatus | undefined => {
        enter();
        if (disk.isDirectory(path)) return { device: DEVICE, inode: 0n, kind: "directory", size: 0 };
        const inode = disk.lookup(path);
        if (inode === undefined) return undefined;
        return { device: DEVICE, inode: inode.number, kind: "file", size: inode.size(process) };
      },
      makeDirectories: (path) => {
        enter();
        return disk.makeDirectories(path);
      },
      syncDirectory: (path) => {
        enter();
        const succeed = disk.beginSync(path);
        return this.sync(process, { succeed, end: () => undefined, lose: () => false }, undefined);
      },
      fileSystemType: () => EXT4,
      watchDirectory: (_, tell) => {
        const watch = { process, tell, pending: false };
        this.#watches.add(watch);
        return () => this.#watches.delete(watch);
      },
      replacing: this.#replacingFor(process),
      resolve: (path) => ({ path, directory: posix.dirname(path), name: posix.basename(path) }),
    };
  }

  #replacingFor(process: Process): ReplacingCalls {
    const world = this.#world;
    const { disk } = world;
    const enter = (what: string): void => {
      this.enter(process, this.faults.crashReplacing);
      world.note(process.name, () => what);
    };
    const created = (path: string): WritableFile => {
      if (disk.lookup(path) !== undefined) throw systemError("EEXIST");
      if (disk.freeBytes === 0) throw systemError("ENOSPC");
      const inode = disk.create(path);
      this.changed(posix.basename(path));
      return new SimulatedFile(this, world, process, inode, path, true);
    };
    return {
      createLike: (path, like) => {
        enter(`create ${path}`);
        if (disk.lookup(like) === undefined) throw systemError("ENOENT");
        return created(path);
      },
      createNew: (path) => {
        enter(`create ${path}`);
        return created(path);
      },
      openWritable: (path) => {
        enter(`open ${path}`);
        const inode = disk.lookup(path);
        return inode === undefined ? undefined : new SimulatedFile(this, world, process, inode, path, true);
      },
      rename: (from, to) => {
        enter(`rename ${from} to ${to}`);
        const done = disk.rename(from, to);
        this.changed(posix.basename(to));
        this.leave(process, this.faults.crashReplacing);
        return done;
      },
      renameNew: (from, to) => {
        enter(`rename ${from} to ${to}`);
        if (disk.lookup(to) !== undefined) throw systemError("EEXIST");
        disk.rename(from, to);
      },
      unlink: (path) => {
        enter(`unlink ${path}`);
        const done = disk.unlink(path);
        this.leave(process, this.faults.crashReplacing);
        return done;
      },
      realPath: (path) => path,
      list: (directory) => {
        enter(`list ${directory}`);
        return disk.list(directory);
      },
      modifiedAt: (path) => {
        enter(`modified ${path}`);
        return disk.lookup(path)?.modifiedAt;
      },
      obstacle: () => undefined,
    };
  }

  /** Takes its time; then it has succeeded, or failed. */
  sync(process: Process, sync: SyncUnderWay, file: SimulatedFile | undefined): Promise<void> {
    const slow = process.random.chance(this.faults.slowSync);
    return new Promise((resolve, reject) => {
      process.later("synced", process.random.next() * (slow ? SYNC_MS_MAX : 2), () => {
        // Each descriptor is told of it once.
        const isTold = file?.isToldOfFailure() === true;
        if (isTold || process.random.chance(this.faults.syncError)) {
          const loses = !isTold && process.random.chance(0.5) && sync.lose();
          this.#world.note(process.name, () => (loses ? "sync fails, and loses what there was" : "sync fails"));
          sync.end();
          file?.noteFailure();
          reject(systemError("EIO"));
        } else {
          sync.succeed();
          resolve();
        }
      });
    });
  }

  /** Every system call begins here. Others may act first, and the caller may not live to see it done. */
  enter(process: Process, crash: number): void {
    this.#assertAlive(process);
    this.#world.interfere(process);
    this.#assertAlive(process);
    this.leave(process, crash);
  }

  /** Some end here. */
  leave(process: Process, crash: number): void {
    if (!process.random.chance(crash)) return;
    this.#world.note(process.name, () => "crashes");
    process.kill();
    this.crashed();
    throw new Killed();
  }

  #assertAlive(process: Process): void {
    if (process.isAlive) return;
    if (!process.isInStep) this.#world.fail(`${process.name} is dead and makes a system call`);
    // What is left of its step has not happened.
    throw new Killed();
  }
}

/** What is left of a process that died in the middle of its step: none of its calls does anything any more. */
export class Killed extends Error {
  override readonly name = "Killed";
}

class SimulatedFile implements FileHandle, WritableFile {
  readonly #system: System;
  readonly #world: World;
  readonly #process: Process;
  readonly inode: Inode;
  readonly path: string;
  readonly #writable: boolean;
  #closed = false;
  /** Failures of syncs that it was told of, or that had been told to others before it was opened. */
  #failuresTold: number;

  constructor(system: System, world: World, process: Process, inode: Inode, path: string, writable: boolean) {
    this.#system = system;
    this.#world = world;
    this.#process = process;
    this.inode = inode;
    this.path = path;
    this.#writable = writable;
    this.#failuresTold = inode.failures;
    // What was lost is there by all appearances: whoever opens it only now trusts it. Known, and not cured.
    if (inode.failures > 0 && !process.knownFailures.has(inode)) world.hasTrusted.add(process);
    const open = system.open.get(process) ?? new Set();
    system.open.set(process, open.add(this));
  }

  read(target: Uint8Array, position: number): number {
    this.#enter();
    const { random } = this.#process;
    const { faults } = this.#system;
    if (random.chance(faults.readError)) {
      this.#note("read fails");
      throw systemError("EIO");
    }
    let bytes = this.inode.read(this.#process, position, position + target.length);
    if (bytes.length > 1 && random.chance(faults.shortRead)) bytes = bytes.subarray(0, random.between(1, bytes.length));
    target.set(bytes);
    return bytes.length;
  }

  append(bytes: Uint8Array): number {
    this.#enter();
    if (!this.#writable) throw systemError("EBADF");
    const { random } = this.#process;
    const { disk } = this.#world;
    const { faults } = this.#system;
    if (random.chance(faults.writeError)) {
      this.#note("write fails");
      throw systemError("EIO");
    }
    let count = bytes.length;
    if (count > 1 && random.chance(faults.shortWrite)) count = random.between(1, count - 1);
    count = Math.min(count, disk.freeBytes);
    if (count === 0) {
      this.#note("no room");
      throw systemError("ENOSPC");
    }
    const slow = random.chance(faults.slowWrite);
    // Whoever makes another call has come to the end of the one before.
    for (const other of disk.inTransit())
      if (other !== this.inode && other.transit?.author === this.#process) other.finish();
    this.#note(`writes ${count} of ${bytes.length} at ${this.inode.size(this.#process)}${slow ? ", slowly" : ""}`);
    disk.freeBytes -= count;
    this.inode.append(this.#process, bytes.subarray(0, count), slow);
    this.inode.modifiedAt = this.#world.wallClock();
    if (this.inode.transit?.author === this.#process) this.#process.writing = true;
    this.#system.changed(posix.basename(this.path));
    return count;
  }

  writeAt(bytes: Uint8Array, position: number): void {
    this.#system.enter(this.#process, this.#system.faults.crashReplacing);
    this.#assertOpen();
    const { random } = this.#process;
    const { disk } = this.#world;
    const { faults } = this.#system;
    if (random.chance(faults.writeError)) {
      this.#note("write fails");
      throw systemError("EIO");
    }
    const size = this.inode.size(this.#process);
    const count = Math.min(bytes.length, Math.max(0, size - position) + disk.freeBytes);
    const crashes = random.chance(faults.crashReplacing);
    const done = crashes ? random.between(0, count) : count;
    disk.freeBytes -= Math.max(0, position + done - size);
    this.inode.writeAt(bytes.subarray(0, done), position);
    this.inode.modifiedAt = this.#world.wallClock();
    if (crashes) this.#system.leave(this.#process, 1);
    if (count === bytes.length) return;
    this.#note("no room");
    throw systemError("ENOSPC");
  }

  status(): { readonly size: number; readonly links: number } {
    this.#enter();
    return { size: this.inode.size(this.#process), links: this.inode.links };
  }

  identity(): { readonly device: bigint; readonly inode: bigint } {
    this.#enter();
    return { device: DEVICE, inode: this.inode.number };
  }

  syncData(): Promise<void> {
    this.#enter();
    return this.#system.sync(this.#process, this.inode.beginSync(this.#process), this);
  }

  isToldOfFailure(): boolean {
    return this.#failuresTold < this.inode.failures;
  }

  noteFailure(): void {
    this.#failuresTold = this.inode.failures;
    this.#process.knownFailures.add(this.inode);
    const nonce =
      this.path === this.#process.ledgerPath && headerOf(this.inode.read(this.#process, 0, Infinity))?.nonce;
    if (typeof nonce === "string" && this.#process.strict) this.#process.failedSyncs.add(nonce);
  }

  sync(): Promise<void> {
    return this.syncData();
  }

  close(): void {
    if (!this.#process.isAlive) return;
    if (this.#closed) this.#world.fail(`${this.#process.name} closes a descriptor twice`);
    this.#closed = true;
    this.#system.open.get(this.#process)?.delete(this);
  }

  #enter(): void {
    this.#system.enter(this.#process, this.#system.faults.crash);
    this.#assertOpen();
  }

  #assertOpen(): void {
    if (this.#closed) this.#world.fail(`${this.#process.name} uses a closed descriptor of ${this.path}`);
  }

  #note(what: string): void {
    this.#world.note(this.#process.name, () => what);
  }
}

function systemError(code: string): Error {
  return Object.assign(new Error(`${code}, simulated`), { code });
}
