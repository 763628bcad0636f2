import { whenLoaded } from "./bytes-at.ts";
import { BlockCache } from "./block-cache.ts";
import { type Environment, isPromise, type MaybePromise } from "./environment.ts";
import { type Layer, mergedCursor } from "./layers.ts";
import type { BuiltState, MergeOptions, StoredRun } from "./ledger.ts";
import { concatenated } from "./bytes.ts";
import type { Pacer } from "./pacer.ts";
import { Row } from "./resolve.ts";
import { RowWalk } from "./row-walk.ts";
import { Run } from "./run.ts";
import { RunBuilder } from "./run-builder.ts";
import type { Source } from "./source.ts";

/**
 * Runs of ledgers in which each read is a round trip: large blocks, values inline, no lookup, an index that is read with the footer up to some million
 * keys, and a filter in all but the smallest.
 */
export const SHAPE = {
  blockBytes: 60_000,
  topBlocksMax: 4096,
  filter: true,
  filterBytesMin: 64 * 1024,
} as const;
/** Rows handled between two looks at the clock. */
const SLICE_ROWS = 16;
/** A merge passes once through what it reads: what that leaves in a cache is of no use to anybody. */
const MERGE_CACHE_BYTES = 256 * 1024;

export interface StateRunContext {
  readonly environment: Environment;
  readonly pacer: Pacer;
  /** Of the ledger, for messages. */
  readonly name: string;
  /** Who knows the values. */
  readonly source: Pick<Source, "bytes">;
  /** Throws if there is no sense in going on. */
  readonly check: () => void;
}

/** Versions that a run covers: from base on, up to upto. */
interface Covered {
  readonly base: number;
  readonly upto: number;
}

/**
 * A run of the rows with versions above `since`, deleted ones too. Nothing changes in the layer. `damaged` is told of a row whose value cannot be read: its key
 * is then one that was deleted. Without it such a row throws.
 */
export async function buildDelta(
  context: StateRunContext,
  rows: Layer,
  options: { readonly since: number; readonly upto: number; readonly damaged?: (error: unknown, row: Row) => void },
): Promise<BuiltState> {
  const { since, upto, damaged } = options;
  const keeps = (row: Row): boolean => row.version > since;
  return await build(context, rows, { base: since + 1, upto }, { keeps, ...(damaged && { damaged, hides: true }) });
}

/** A run of all rows that are not deleted; undefined if there are none. `damaged` is told of a row whose value cannot be read, and which is left out. */
export async function buildWhole(
  context: StateRunContext,
  rows: Pick<Layer, "cursor">,
  { upto, damaged }: { readonly upto: number; readonly damaged: (error: unknown, row: Row) => void },
): Promise<BuiltState | undefined> {
  let left = 0;
  const keeps = (row: Row): boolean => !row.deleted && ++left > 0;
  const built = await build(
    context,
    rows,
    { base: 0, upto },
    {
      keeps,
      damaged: (error, row) => {
        left--;
        damaged(error, row);
      },
    },
  );
  return left > 0 ? built : undefined;
}

/** One run instead of several, newest first; see `StateRequest.buildMerged`. */
export async function buildMerged(
  context: StateRunContext,
  stored: readonly StoredRun[],
  { lowest, progress }: MergeOptions,
): Promise<BuiltState> {
  const { environment, name } = context;
  const cache = new BlockCache(MERGE_CACHE_BYTES);
  try {
    const opened = await Promise.all(
      stored.map(async (run) => {
        const { length, openFrom } = run;
        return await whenLoaded(() => Run.open(run, { cache, crc32: environment.crc32, name, length, openFrom }));
      }),
    );
    const covered = { base: opened[opened.length - 1].info.base, upto: opened[0].info.upto };
    const rows = { cursor: () => mergedCursor(opened) };
    return await build(context, rows, covered, { keeps: (row) => !(lowest && row.deleted), progress });
  } finally {
    for (const run of stored) run.close();
  }
}

async function build(
  { environment, pacer, source, check }: StateRunContext,
  rows: Pick<Layer, "cursor">,
  covered: Covered,
  options: {
    readonly keeps: (row: Row) => boolean;
    readonly progress?: MergeOptions["progress"];
    readonly damaged?: (error: unknown, row: Row) => void;
    /** What is damaged hides what lies below it all the same. */
    readonly hides?: boolean;
  },
): Promise<BuiltState> {
  const chunks: Uint8Array[] = [];
  const builder = new RunBuilder({ ...SHAPE, crc32: environment.crc32, sink: (chunk) => void chunks.push(chunk) });
  const pause = async (): Promise<void> => {
    options.progress?.(builder.length);
    await pacer.rest();
    check();
  };
  const walk = new RowWalk(rows);
  let count = 0;
  for (let ok = walk.next(); isPromise(ok) ? await ok : ok; ok = walk.next()) {
    const { key, row } = walk;
    if (options.keeps(row)) {
      try {
        const bytes: MaybePromise<Uint8Array | undefined> =
          row.deleted || row.numeric !== undefined ? undefined : source.bytes(row);
        builder.add(key, row, isPromise(bytes) ? await bytes : bytes);
      } catch (error) {
        if (options.damaged === undefined) throw error;
        options.damaged(error, row);
        const { version, order, timestamp, place } = row;
        if (options.hides)
          builder.add(key, new Row(version, order, timestamp, 0, true, -1, 0, place, undefined), undefined);
      }
    }
    if (++count % SLICE_ROWS === 0 && pacer.dueInBackground()) await pause();
  }
  const rest = builder.finish(covered);
  for (;;) {
    const step = rest.next();
    if (step.done === true) return { bytes: concatenated(chunks), openFrom: step.value };
    if (pacer.dueInBackground()) await pause();
  }
}
