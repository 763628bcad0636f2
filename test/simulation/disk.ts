/** The simulated file system: names, inodes, descriptors. The fault model is told in simulation.ts. */

/** Whoever writes: a process under test, or the ghost. */
export interface Party {
  readonly name: string;
  /** The write call in which it was is over. */
  writeOver(): void;
}

/** A write that is still going on: what lies behind `visible` is seen by its author alone. */
interface Transit {
  readonly author: Party;
  visible: number;
}

export class Inode {
  readonly number: bigint;
  links = 1;
  #bytes = new Uint8Array(1024);
  #size = 0;
  #transit: Transit | undefined;

  constructor(number: bigint) {
    this.number = number;
  }

  get transit(): Readonly<Transit> | undefined {
    return this.#transit;
  }

  /** As far as `reader` can see. */
  size(reader: Party | undefined): number {
    return this.#transit === undefined || this.#transit.author === reader ? this.#size : this.#transit.visible;
  }

  read(reader: Party | undefined, from: number, to: number): Uint8Array {
    return this.#bytes.subarray(from, Math.max(from, Math.min(to, this.size(reader))));
  }

  /** Writers take turns: whoever is in the middle of a write finishes first. With `slow`, the bytes become visible little by little. */
  append(author: Party, bytes: Uint8Array, slow: boolean): void {
    if (this.#transit !== undefined && this.#transit.author !== author) this.finish();
    if (slow) this.#transit ??= { author, visible: this.#size };
    const end = this.#size + bytes.length;
    if (end > this.#bytes.length) {
      const grown = new Uint8Array(end * 2);
      grown.set(this.#bytes);
      this.#bytes = grown;
    }
    this.#bytes.set(bytes, this.#size);
    this.#size = end;
  }

  /** The write under way goes on by so many bytes. */
  advance(count: number): void {
    if (this.#transit === undefined) return;
    this.#transit.visible += count;
    if (this.#transit.visible >= this.#size) this.finish();
  }

  finish(): void {
    const author = this.#transit?.author;
    this.#transit = undefined;
    author?.writeOver();
  }

  /** The author of the write under way is gone: what became visible stays. */
  tear(): void {
    if (this.#transit === undefined) return;
    this.#size = this.#transit.visible;
    this.#transit = undefined;
  }
}

export class Disk {
  readonly #names = new Map<string, Inode>();
  readonly #directories = new Set<string>(["/"]);
  /** All that ever were. */
  readonly inodes: Inode[] = [];
  /** Bytes that still fit. */
  freeBytes = Infinity;

  lookup(path: string): Inode | undefined {
    return this.#names.get(path);
  }

  create(path: string): Inode {
    this.unlink(path);
    const inode = new Inode(BigInt(this.inodes.length + 1));
    this.inodes.push(inode);
    this.#names.set(path, inode);
    return inode;
  }

  /** Takes the name away. Who has the file open goes on with it. */
  unlink(path: string): void {
    const inode = this.#names.get(path);
    if (inode !== undefined) inode.links--;
    this.#names.delete(path);
  }

  isDirectory(path: string): boolean {
    return this.#directories.has(path);
  }

  makeDirectory(path: string): void {
    this.#directories.add(path);
  }

  /** Every file whose writing is under way. */
  inTransit(): Inode[] {
    return this.inodes.filter((inode) => inode.transit !== undefined);
  }
}
