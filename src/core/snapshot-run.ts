import { type Environment, isPromise, type MaybePromise } from "./environment.ts";
import type { Pacer } from "./pacer.ts";
import type { Row } from "./resolve.ts";
import type { RowWalk } from "./row-walk.ts";
import { fileRunBuilder } from "./file-run.ts";
import type { Source } from "./source.ts";

/**
 * Rows handled between two looks at the clock, and how much of a value counts as one more. Not the first ones: in a program that has written no run yet
 * each of them takes as long as many do later.
 */
const SLICE_ROWS = 16;
const ROW_BYTES = 4096;

export interface SnapshotRunOptions {
  readonly environment: Environment;
  readonly pacer: Pacer;
  /** Through the state that is written, in which nothing changes any more, and who knows its values. */
  readonly walk: RowWalk;
  readonly source: Source;
  /** About how many rows there are. */
  readonly entries: number;
  /** Version of the last commit that the state has seen. */
  readonly version: number;
  readonly extra: Uint8Array;
  readonly write: (bytes: Uint8Array) => void;
  /** Told of a value that cannot be read, whose key is then left out. Without it that is a failure. */
  readonly damaged?: (error: unknown) => void;
  /** Throws if there is no sense in going on. */
  readonly check: () => void;
}

const UNREADABLE = Symbol("unreadable");

/** Writes a whole state as one run, values and all, deleted keys left out: what a vacuumed ledger begins with. Resolves with the CRC-32 of its bytes. */
export async function writeSnapshotRun(options: SnapshotRunOptions): Promise<{ readonly checksum: number }> {
  const { environment, pacer, walk, entries, version, extra, write, check } = options;
  const { crc32 } = environment;
  let checksum = 0;
  const sink = (bytes: Uint8Array): void => {
    checksum = crc32(bytes, checksum);
    write(bytes);
  };
  const builder = fileRunBuilder({ crc32, sink, entries });
  let count = 0;
  let unlooked = 0;
  for (let ok = walk.next(); isPromise(ok) ? await ok : ok; ok = walk.next()) {
    const { key, row } = walk;
    if (!row.deleted) {
      const read = readBytes(options, row);
      const bytes = isPromise(read) ? await read : read;
      if (bytes !== UNREADABLE) builder.add(key, row, bytes);
      unlooked += Math.floor(row.valueLength / ROW_BYTES);
    }
    if (++count > SLICE_ROWS && ++unlooked < SLICE_ROWS) continue;
    unlooked = 0;
    if (!pacer.dueInBackground()) continue;
    await pacer.restInBackground();
    check();
  }
  const rest = builder.finish({ base: 0, upto: version, extra });
  for (;;) {
    if (rest.next().done === true) return { checksum };
    if (pacer.dueInBackground()) await pacer.restInBackground();
    check();
  }
}

/** The bytes of a row's value, if it has any outside the row. */
function readBytes(
  { source, damaged }: SnapshotRunOptions,
  row: Row,
): MaybePromise<Uint8Array | typeof UNREADABLE | undefined> {
  if (row.numeric !== undefined) return undefined;
  if (damaged === undefined) return source.bytes(row);
  const fail = (error: unknown): typeof UNREADABLE => {
    damaged(error);
    return UNREADABLE;
  };
  try {
    const bytes = source.bytes(row);
    return isPromise(bytes) ? bytes.catch(fail) : bytes;
  } catch (error) {
    return fail(error);
  }
}
