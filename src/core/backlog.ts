import type { Position } from "./ledger.ts";

export interface Amount {
  readonly operations: number;
  readonly bytes: number;
}

/** How much had come when the replica stood there. */
interface Mark extends Amount {
  /** Of the operations: those that were written here. */
  readonly own: number;
  readonly position: Position;
  readonly version: number;
}

/** What has come to a replica: all of it, counted, and marks by which it is known what is saved of it. */
export class Backlog implements Amount {
  operations = 0;
  bytes = 0;
  #own = 0;
  /** The first is the last one that what is saved reaches up to. */
  #marks: Mark[];

  constructor(position: Position, version: number) {
    this.#marks = [{ position, version, operations: 0, own: 0, bytes: 0 }];
  }

  /** Counts what one commit has added. */
  count(operations: number, bytes: number): void {
    this.operations += operations;
    this.bytes += bytes;
  }

  /** So many of the operations that were counted were written here. */
  countOwn(operations: number): void {
    this.#own += operations;
  }

  /** Up to where what is saved reaches, as far as that is marked. */
  get saved(): Amount {
    return this.#marks[0];
  }

  get lastMark(): Amount {
    return this.#marks[this.#marks.length - 1];
  }

  mark(position: Position, version: number): void {
    this.#marks.push({ position, version, operations: this.operations, own: this.#own, bytes: this.bytes });
  }

  /** What came up to these marks is saved. */
  forget(isSaved: (mark: { readonly position: Position; readonly version: number }) => boolean): void {
    const kept = this.#marks.findIndex((mark, i) => i > 0 && !isSaved(mark));
    this.#marks = this.#marks.slice(kept < 0 ? -1 : kept - 1);
  }

  /** True if so many operations, or so many bytes, have come since. */
  hasCome({ operations, bytes }: Amount, since: Amount): boolean {
    return this.operations - since.operations >= operations || this.bytes - since.bytes >= bytes;
  }

  /** How much of what is not saved others have written: from 0 to 1. */
  get foreignPart(): number {
    const [{ operations, own }] = this.#marks;
    return Math.max(0, 1 - (this.#own - own) / Math.max(1, this.operations - operations));
  }
}
