import { posix } from "node:path";
import { Inode, type Loss } from "./inode.ts";
import type { Random } from "./random.ts";

/** The simulated file system: names and what they lead to. The fault model is told in simulation.ts. */

type Change =
  | { readonly kind: "name"; readonly path: string; readonly inode: Inode }
  | { readonly kind: "unlink"; readonly path: string }
  | { readonly kind: "rename"; readonly path: string; readonly to: string }
  | { readonly kind: "directory"; readonly path: string };

/** One directory: the changes to it in order, and how many of them no power failure takes. */
interface Directory {
  readonly changes: Change[];
  durable: number;
}

export class Disk {
  #names = new Map<string, Inode>();
  #directories = new Set<string>(["/"]);
  #changes = new Map<string, Directory>();
  /** All that ever were. Those that nothing leads to any more stay as they were. */
  readonly inodes: Inode[] = [];
  /** Bytes that still fit. */
  freeBytes = Infinity;
  /** Of the world's wall clock. */
  readonly #now: () => number;

  constructor(now: () => number) {
    this.#now = now;
  }

  lookup(path: string): Inode | undefined {
    return this.#names.get(path);
  }

  /** Makes a new file, in the place of another one if there is any. */
  create(path: string): Inode {
    const inode = new Inode(BigInt(this.inodes.length + 1), this.#now());
    this.inodes.push(inode);
    this.#change(path, { kind: "name", path, inode });
    return inode;
  }

  /** Takes the name away. Who has the file open goes on with it. */
  unlink(path: string): boolean {
    if (!this.#names.has(path)) return false;
    this.#change(path, { kind: "unlink", path });
    return true;
  }

  /** Within one directory. */
  rename(path: string, to: string): boolean {
    if (!this.#names.has(path)) return false;
    if (path !== to) this.#change(path, { kind: "rename", path, to });
    return true;
  }

  list(directory: string): string[] {
    return [...this.#names.keys()]
      .filter((path) => posix.dirname(path) === directory)
      .map((path) => posix.basename(path));
  }

  isDirectory(path: string): boolean {
    return this.#directories.has(path);
  }

  /** The directories that it made, the uppermost first. */
  makeDirectories(path: string): string[] {
    const made: string[] = [];
    for (let at = path; !this.#directories.has(at); at = posix.dirname(at)) made.unshift(at);
    for (const each of made) this.#change(each, { kind: "directory", path: each });
    return made;
  }

  /** Every file whose writing is under way. */
  inTransit(): Inode[] {
    return this.inodes.filter((inode) => inode.transit !== undefined);
  }

  /** A sync of a directory begins: what the returned function makes durable is what was there now, and the directory's own name. */
  beginSync(path: string): () => void {
    const counts = [{ directory: this.#directory(path), count: this.#directory(path).changes.length }];
    for (let at = path; at !== "/"; at = posix.dirname(at)) {
      const directory = this.#directory(posix.dirname(at));
      counts.push({
        directory,
        count: 1 + directory.changes.findIndex(({ kind, path: made }) => kind === "directory" && made === at),
      });
    }
    return () => {
      for (const { directory, count } of counts) directory.durable = Math.max(directory.durable, count);
    };
  }

  /** The power fails: names are as they were at some time since they were synced, each directory's by itself; files lose what `lossOf` says. */
  losePower(random: Random, lossOf: (inode: Inode) => Loss): void {
    const kept = [...this.#changes].map(([path, { changes, durable }]) => ({
      path,
      changes: changes.slice(0, random.chance(0.3) ? durable : random.between(durable, changes.length)),
    }));
    this.#names = new Map();
    this.#directories = new Set(["/"]);
    this.#changes = new Map();
    for (const inode of this.inodes) {
      inode.tear();
      inode.links = 0;
    }
    // From the top downwards: what lay in a directory that is gone is gone too.
    for (const { path, changes } of kept.sort((a, b) => a.path.length - b.path.length)) {
      if (!this.#directories.has(path)) continue;
      for (const change of changes) this.#apply(change);
      this.#changes.set(path, { changes, durable: changes.length });
    }
    for (const inode of this.inodes) if (inode.links > 0) inode.lose(random, lossOf(inode));
  }

  #directory(path: string): Directory {
    const found = this.#changes.get(path) ?? { changes: [], durable: 0 };
    this.#changes.set(path, found);
    return found;
  }

  #change(path: string, change: Change): void {
    this.#directory(posix.dirname(path)).changes.push(change);
    this.#apply(change);
  }

  #apply(change: Change): void {
    if (change.kind === "directory") {
      this.#directories.add(change.path);
    } else if (change.kind === "name") {
      this.#lead(change.path, change.inode);
    } else if (change.kind === "unlink") {
      this.#lead(change.path, undefined);
    } else {
      const inode = this.#names.get(change.path);
      this.#lead(change.to, inode);
      this.#lead(change.path, undefined);
    }
  }

  #lead(path: string, inode: Inode | undefined): void {
    const before = this.#names.get(path);
    if (before !== undefined) before.links--;
    this.#names.delete(path);
    if (inode === undefined) return;
    inode.links++;
    this.#names.set(path, inode);
  }
}
