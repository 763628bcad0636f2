import type { Entry } from "../entries.ts";

/** One opened database as the benchmark uses it. Everything is what its own documentation shows for the purpose. */
export interface Peer {
  /** Sets entry `i` and waits until it is acknowledged. */
  set(i: number): Promise<unknown> | void;
  /** Sets these entries in one transaction. */
  batch(entries: readonly number[]): Promise<unknown> | void;
  /** Sets these entries, each a commit of its own, and waits for all of them together. */
  concurrent(entries: readonly number[]): Promise<unknown> | void;
  get(i: number): Promise<Entry | null> | Entry | null;
  /** Reads the value of a key that is not there; it lies between those that are. True if it is absent. */
  miss(i: number): Promise<boolean> | boolean;
  /** Reads all entries in key order, values included; returns how many. */
  scan(): Promise<number> | number;
  /** Reads entries [from, to) as a range, values included; returns how many. */
  range(from: number, to: number): Promise<number> | number;
  /** Makes the files as small and as orderly as the peer can. */
  vacuum(): Promise<unknown> | void;
  /** Stores a moment under one key. */
  setTime(nanoseconds: string): Promise<unknown> | void;
  /** Calls back with each new moment that another process stores, until the callback returns false. */
  watchTime(callback: (nanoseconds: string) => boolean): Promise<void>;
  close(): Promise<void> | void;
}

/** How a database is to be opened. */
export interface PeerOptions {
  /** An acknowledgement means that the disk has it. */
  readonly strict: boolean;
}

/** A kind of database. */
export interface PeerKind {
  readonly name: string;
  /** The package that has to be installed, if it is one. */
  readonly package?: string;
  /** False if only one process at a time may have it open. */
  readonly shared: boolean;
  /** Loads its code. What is returned opens a database in a folder. */
  load(): Promise<(folder: string, options: PeerOptions) => Promise<Peer>>;
}

/** Keys as text, in the order of their numbers. */
export const keyOf = (i: number): string => `user/${String(i).padStart(9, "0")}`;

/** A key between those of entries `i` and `i + 1`. */
export const missingKeyOf = (i: number): string => `${keyOf(i)}x`;

/** Watches a value of which nobody tells, as quickly as that can be done: by asking in a loop. */
export async function askInALoop(
  read: () => string | undefined,
  callback: (nanoseconds: string) => boolean,
): Promise<void> {
  for (let last: string | undefined; ;) {
    const value = read();
    if (value !== undefined && value !== last && !callback(value)) return;
    last = value;
    await new Promise((resolve) => setImmediate(resolve));
  }
}
