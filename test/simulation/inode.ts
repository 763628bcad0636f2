import type { Random } from "./random.ts";

/** Whoever writes: a process under test, or the ghost. */
export interface Party {
  readonly name: string;
  /** The write call in which it was, to this file, is over. */
  writeOver(inode: Inode): void;
}

/** A write that is still going on: what lies behind `visible` is seen by its author alone. */
interface Transit {
  readonly author: Party;
  visible: number;
}

/** What a sync under way does not make durable, because it came later. */
interface Sync {
  readonly number: number;
  dirtyFrom: number;
}

/** What there is to be called at its end. `lose`: it has failed, and thrown away what it was to make durable. True if there was such a thing. */
export interface SyncUnderWay {
  readonly succeed: () => void;
  readonly end: () => void;
  readonly lose: () => boolean;
}

/** What a power failure leaves of what was not synced. */
export type Loss =
  /** Nothing, not even the size. */
  | "all"
  /** Everything up to some byte. */
  | "tail"
  /** Everything up to some byte, and zeros behind it. */
  | "tail in zeros"
  /** Some sectors, and zeros, or what was there before, in place of the others. */
  | "sectors";

const SECTOR_BYTES = 512;

/**
 * A file: the bytes that everybody sees, and beside them those that a power failure leaves. The former become the latter by a sync, or, some
 * of them, in the moment of the failure.
 */
export class Inode {
  readonly number: bigint;
  /** When it was last written to, ms of the world's wall clock. */
  modifiedAt: number;
  links = 0;
  #bytes = new Uint8Array(1024);
  #size = 0;
  #transit: Transit | undefined;
  #durable: Uint8Array = new Uint8Array(0);
  /** From here on the bytes may differ from the durable ones. */
  #dirtyFrom = 0;
  #syncs = new Set<Sync>();
  #syncNumber = 0;
  #syncedNumber = 0;
  /** Syncs that have failed and thrown away what they were to make durable: everybody sees it still, and no later sync writes it. */
  failures = 0;

  constructor(number: bigint, now: number) {
    this.number = number;
    this.modifiedAt = now;
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
    this.#put(bytes, this.#size);
  }

  /** A write at a place, whatever others are doing. */
  writeAt(bytes: Uint8Array, position: number): void {
    if (this.#transit !== undefined && position + bytes.length > this.#size) this.finish();
    this.#put(bytes, position);
  }

  #put(bytes: Uint8Array, position: number): void {
    const end = position + bytes.length;
    if (end > this.#bytes.length) {
      const grown = new Uint8Array(end * 2);
      grown.set(this.#bytes.subarray(0, this.#size));
      this.#bytes = grown;
    }
    this.#bytes.set(bytes, position);
    const from = Math.min(position, this.#size);
    this.#size = Math.max(this.#size, end);
    this.#dirtyFrom = Math.min(this.#dirtyFrom, from);
    for (const sync of this.#syncs) sync.dirtyFrom = Math.min(sync.dirtyFrom, from);
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
    author?.writeOver(this);
  }

  /** The author of the write under way is gone: what became visible stays. */
  tear(): void {
    if (this.#transit === undefined) return;
    this.#cut(this.#transit.visible);
    this.#transit = undefined;
  }

  #cut(size: number): void {
    // What is written here next must not meet what was taken away.
    this.#bytes.fill(0, size, this.#size);
    this.#size = size;
  }

  // --- what is durable -----------------------------------------------------------------------------------------------

  /** A sync begins: what the returned function, called at its end, makes durable is what was there now. */
  beginSync(reader: Party | undefined): SyncUnderWay {
    const sync: Sync = { number: ++this.#syncNumber, dirtyFrom: Infinity };
    this.#syncs.add(sync);
    const from = Math.min(this.#dirtyFrom, this.size(reader));
    const bytes = this.read(reader, from, Infinity).slice();
    const end = (): void => void this.#syncs.delete(sync);
    const succeed = (): void => {
      end();
      const known = this.#durable.length;
      if (sync.number < this.#syncedNumber) {
        // A later one is over already, and has seen all that this one saw but for the end of a write that was under way, which its author alone sees.
        if (from > known || from + bytes.length <= known) return;
        const longer = new Uint8Array(from + bytes.length);
        longer.set(bytes, from);
        longer.set(this.#durable);
        this.#durable = longer;
        if (this.#dirtyFrom >= known) this.#dirtyFrom = Math.min(longer.length, sync.dirtyFrom);
        return;
      }
      this.#syncedNumber = sync.number;
      const durable = new Uint8Array(Math.max(this.#durable.length, from + bytes.length));
      durable.set(this.#durable);
      durable.set(bytes, from);
      this.#durable = durable;
      this.#dirtyFrom = Math.min(from + bytes.length, sync.dirtyFrom);
    };
    const lose = (): boolean => {
      end();
      const to = Math.min(from + bytes.length, sync.dirtyFrom);
      if (to <= this.#dirtyFrom) return false;
      this.#dirtyFrom = to;
      this.failures++;
      return true;
    };
    return { succeed, end, lose };
  }

  /** The power fails: what is left is what everybody sees from now on. */
  lose(random: Random, loss: Loss): void {
    this.tear();
    const durable = this.#durable;
    const live = this.#bytes.subarray(0, this.#size);
    let size = live.length;
    let kept: (at: number) => boolean;
    if (loss === "all") {
      size = durable.length;
      kept = () => false;
    } else if (loss === "sectors") {
      if (random.chance(0.5)) size = random.between(Math.min(durable.length, size), size);
      const share = random.next();
      const sectors = new Map<number, boolean>();
      kept = (at) => {
        const sector = Math.floor(at / SECTOR_BYTES);
        const is = sectors.get(sector) ?? random.chance(share);
        sectors.set(sector, is);
        return is;
      };
    } else {
      const cut = random.between(Math.min(this.#dirtyFrom, size), size);
      size = Math.max(durable.length, loss === "tail" ? cut : random.between(cut, size));
      kept = (at) => at < cut;
    }
    const left = new Uint8Array(size);
    for (let i = 0; i < size; i++) {
      if (i >= this.#dirtyFrom && i < live.length && kept(i)) left[i] = live[i];
      else if (i < durable.length) left[i] = durable[i];
    }
    this.#bytes = left;
    this.#size = size;
    this.#durable = left.slice();
    this.#dirtyFrom = size;
    this.#syncs.clear();
    this.failures = 0;
    this.#syncedNumber = this.#syncNumber;
  }
}
