import type { Root, RootRun } from "./root.ts";

/**
 * Which runs are merged, and when a checkpoint is due: pure functions of what everybody knows, so that all who write come to the same.
 */

/** A checkpoint is due when so much has gathered since the last one. */
export const DUE_SLOTS = 16;
export const DUE_BYTES: number = 4 * 1024 * 1024;
/** From the slot at which it is due on, the author of every so many slots sees to it. */
export const TURN_SLOTS = 8;
/** Up to so many slots behind that it is made in the background; from then on commits wait for it. */
export const BACKGROUND_SLOTS = 32;
/** So many slots behind that, somebody has to know that it is not made. */
export const OVERDUE_SLOTS = 256;
/** Neighbouring runs of one size that are merged. */
const MERGED_RUNS = 8;
/** A size class holds sizes up to so many times its smallest. */
const CLASS_FACTOR = 8;
/** More runs than this are told of: they make reading slow. */
export const RUNS_MAX = 32;

/** What a slot adds to what is due. */
export interface DueFacts {
  readonly bytes: number;
}

/** The first slot up to `position` at which as much has gathered behind the checkpoint as makes another one due. */
export function dueSlot(
  { checkpointSlot }: Pick<Root, "checkpointSlot">,
  position: number,
  facts: (slot: number) => DueFacts | undefined,
): number | undefined {
  let bytes = 0;
  for (let slot = checkpointSlot + 1; slot <= position; slot++) {
    bytes += facts(slot)?.bytes ?? 0;
    if (slot - checkpointSlot >= DUE_SLOTS || bytes >= DUE_BYTES) return slot;
  }
  return undefined;
}

/** True for the slots whose authors see to a checkpoint that is due at `due`. */
export function isTurn(slot: number, due: number): boolean {
  return slot >= due && (slot - due) % TURN_SLOTS === 0;
}

/** Neighbours within the list of runs. */
export interface RunSpan {
  readonly first: number;
  readonly count: number;
}

/**
 * The newest runs that are to be merged: eight of one size class, with what lies between them and is smaller. Undefined if there are none whose
 * sum is at most `bytesMax`. Lower classes come first.
 */
export function runsToMerge(runs: readonly RootRun[], bytesMax: number): RunSpan | undefined {
  const classes = runs.map(({ size }) => sizeClass(size));
  for (const wanted of [...new Set(classes)].sort((a, b) => a - b)) {
    const span = newestOfClass(classes, wanted);
    if (span === undefined) continue;
    if (bytesOf(runs, span) <= bytesMax) return span;
  }
  return undefined;
}

/** What neighbours have together. */
export function bytesOf(runs: readonly RootRun[], { first, count }: RunSpan): number {
  return runs.slice(first, first + count).reduce((sum, { size }) => sum + size, 0);
}

/** The newest neighbours that have at most so many bytes together, and as many of them as that allows; undefined if no two have. */
export function newestRuns(runs: readonly RootRun[], bytesMax: number): RunSpan | undefined {
  for (let first = 0; first < runs.length - 1; first++) {
    let bytes = 0;
    const end = runs.findIndex(({ size }, i) => i >= first && (bytes += size) > bytesMax);
    const count = (end < 0 ? runs.length : end) - first;
    if (count > 1) return { first, count };
  }
  return undefined;
}

function newestOfClass(classes: readonly number[], wanted: number): RunSpan | undefined {
  let first = -1;
  let found = 0;
  for (const [i, each] of classes.entries()) {
    if (each > wanted) {
      found = 0;
      first = -1;
    } else if (each === wanted) {
      if (first < 0) first = i;
      if (++found === MERGED_RUNS) return { first, count: i - first + 1 };
    }
  }
  return undefined;
}

function sizeClass(bytes: number): number {
  return Math.floor(Math.log(Math.max(1, bytes)) / Math.log(CLASS_FACTOR) + 1e-9);
}
