import { posix } from "node:path";
import type { FileHandle, FileSystemCalls, PathStatus } from "../../src/adapters/fs/file.ts";
import type { Inode } from "./disk.ts";
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
  /** A notification is not delivered. */
  hintLost: number;
  hintLateMs: number;
}

const DEVICE = 1n;
const EXT4 = 0xef53;

/** The system of a world: one for all processes, so that they share one disk and its notifications. */
export class System {
  readonly #world: World;
  readonly faults: SystemFaults;
  readonly #watches = new Set<{ readonly process: Process; readonly tell: (name: string) => void; pending: boolean }>();
  /** Descriptors that are open, by process. */
  readonly open = new Map<Process, number>();

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
    const world = this.#world;
    const { disk } = world;
    const enter = (): void => {
      if (!process.isAlive) world.fail(`${process.name} is dead and makes a system call`);
      world.interfere(process);
    };
    return {
      posix: true,
      open: (path, { write, create }) => {
        enter();
        let inode = disk.lookup(path);
        if (inode === undefined && !create) throw systemError("ENOENT");
        if (inode === undefined && !disk.isDirectory(posix.dirname(path))) throw systemError("ENOENT");
        inode ??= disk.create(path);
        world.note(process.name, () => `open ${path}`);
        this.open.set(process, (this.open.get(process) ?? 0) + 1);
        return new SimulatedFile(this, world, process, inode, posix.basename(path), write);
      },
      stat: (path): PathStatus | undefined => {
        enter();
        if (disk.isDirectory(path)) return { device: DEVICE, inode: 0n, kind: "directory" };
        const inode = disk.lookup(path);
        return inode === undefined ? undefined : { device: DEVICE, inode: inode.number, kind: "file" };
      },
      makeDirectories: (path) => {
        enter();
        disk.makeDirectory(path);
        return [];
      },
      syncDirectory: () => this.sync(process),
      fileSystemType: () => EXT4,
      watchDirectory: (_, tell) => {
        const watch = { process, tell, pending: false };
        this.#watches.add(watch);
        return () => this.#watches.delete(watch);
      },
      resolve: (path) => ({ path, directory: posix.dirname(path), name: posix.basename(path) }),
    };
  }

  sync(process: Process): Promise<void> {
    return new Promise((resolve, reject) => {
      process.later("synced", process.random.next() * 2, () => {
        if (process.random.chance(this.faults.syncError)) {
          this.#world.note(process.name, () => "sync fails");
          process.syncFailedAt = Math.min(process.syncFailedAt, this.#world.steps);
          reject(systemError("EIO"));
        } else resolve();
      });
    });
  }

  enter(process: Process): void {
    if (!process.isAlive) this.#world.fail(`${process.name} is dead and makes a system call`);
    this.#world.interfere(process);
  }
}

class SimulatedFile implements FileHandle {
  readonly #system: System;
  readonly #world: World;
  readonly #process: Process;
  readonly #inode: Inode;
  readonly #name: string;
  readonly #writable: boolean;
  #closed = false;

  constructor(system: System, world: World, process: Process, inode: Inode, name: string, writable: boolean) {
    this.#system = system;
    this.#world = world;
    this.#process = process;
    this.#inode = inode;
    this.#name = name;
    this.#writable = writable;
  }

  read(target: Uint8Array, position: number): number {
    this.#enter();
    const { random } = this.#process;
    const { faults } = this.#system;
    if (random.chance(faults.readError)) {
      this.#note("read fails");
      throw systemError("EIO");
    }
    let bytes = this.#inode.read(this.#process, position, position + target.length);
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
    this.#note(`writes ${count} of ${bytes.length} at ${this.#inode.size(this.#process)}${slow ? ", slowly" : ""}`);
    disk.freeBytes -= count;
    this.#inode.append(this.#process, bytes.subarray(0, count), slow);
    if (this.#inode.transit?.author === this.#process) this.#process.writing = true;
    this.#system.changed(this.#name);
    return count;
  }

  status(): { readonly size: number; readonly links: number } {
    this.#enter();
    return { size: this.#inode.size(this.#process), links: this.#inode.links };
  }

  identity(): { readonly device: bigint; readonly inode: bigint } {
    this.#enter();
    return { device: DEVICE, inode: this.#inode.number };
  }

  syncData(): Promise<void> {
    this.#enter();
    return this.#system.sync(this.#process);
  }

  sync(): Promise<void> {
    this.#enter();
    return this.#system.sync(this.#process);
  }

  close(): void {
    if (this.#closed) this.#world.fail(`${this.#process.name} closes a descriptor twice`);
    this.#closed = true;
    this.#system.open.set(this.#process, (this.#system.open.get(this.#process) ?? 0) - 1);
  }

  #enter(): void {
    if (this.#closed) this.#world.fail(`${this.#process.name} uses a closed descriptor`);
    this.#system.enter(this.#process);
  }

  #note(what: string): void {
    this.#world.note(this.#process.name, () => what);
  }
}

function systemError(code: string): Error {
  return Object.assign(new Error(`${code}, simulated`), { code });
}
