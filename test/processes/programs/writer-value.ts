import { MARKER } from "../../../src/adapters/fs/frame.ts";

export interface WriterTask {
  readonly path: string;
  /** First part of its keys; the second counts from 1. */
  readonly id: string;
  /** Bytes of its values, in turn. */
  readonly sizes: readonly number[];
  /** Commits under way at once. */
  readonly burst: number;
  readonly pauseMs: number;
  /** Vacuums too, with a pause of at most so long in between. */
  readonly vacuumEveryMs?: number;
}

export interface WriterValue {
  readonly n: number;
  readonly bytes: Uint8Array;
}

/** The value that a writer sets in its nth commit: distinct, and every fourth holds what frames begin with. */
export function makeValue(id: string, n: number, sizes: readonly number[]): WriterValue {
  const bytes = new Uint8Array(sizes[n % sizes.length]).fill((n + id.length) & 0xff);
  if (n % 4 === 0) bytes.set(MARKER, 16);
  return { n, bytes };
}
