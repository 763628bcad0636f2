import type { MaybePromise } from "./environment.ts";
import type { EncodedKey } from "./key.ts";
import type { KeyBounds, Layer } from "./layers.ts";
import type { StoredRun } from "./ledger.ts";
import type { OrderedCursor } from "./ordered-view.ts";
import type { Row } from "./resolve.ts";
import type { Run } from "./run.ts";

/** A run of the saved index, or of a state that is kept no longer, cannot be read: the state has to be begun anew. Never leaves the library. */
export class IndexDamaged extends Error {
  override readonly name = "IndexDamaged";
}

/** What is asked of a run that is held. */
export interface ReadableRun extends Pick<Run, "get" | "voidVersions" | "release"> {
  readonly info: Pick<Run["info"], "entries" | "tombstones" | "upto"> &
    Partial<Pick<Run["info"], "smallestKey" | "largestKey">>;
  /** See `Run.cursor`. */
  cursor(told?: (error: unknown) => unknown): OrderedCursor<Row>;
}

/** A run that the replica and what was frozen of it read from; closed when the last of them lets go. */
export class HeldRun implements Layer {
  readonly run: ReadableRun;
  readonly stored: StoredRun;
  readonly #told: (error: unknown) => unknown;
  #holds = 1;

  /** Held once, by whoever makes it. `told`: what errors are told as that reading it ends with. */
  constructor(run: ReadableRun, stored: StoredRun, told: (error: unknown) => unknown = (error) => error) {
    this.run = run;
    this.stored = stored;
    this.#told = told;
  }

  get(key: EncodedKey): Row | undefined {
    try {
      return this.run.get(key);
    } catch (error) {
      throw this.#told(error);
    }
  }

  cursor(): OrderedCursor<Row> {
    return this.run.cursor(this.#told);
  }

  reaches({ lower, upper }: KeyBounds): boolean {
    const { smallestKey, largestKey } = this.run.info;
    // Of a run that is lost nobody knows what it held.
    if (smallestKey === undefined || largestKey === undefined) return true;
    return largestKey >= lower && (upper === undefined || smallestKey < upper);
  }

  /** Versions of the void commits that the run covers. */
  voidVersions(): readonly number[] {
    try {
      return this.run.voidVersions();
    } catch (error) {
      throw this.#told(error);
    }
  }

  hold(): this {
    this.#holds++;
    return this;
  }

  release(): void {
    if (--this.#holds > 0) return;
    this.run.release();
    this.stored.close();
  }
}

/**
 * Opens stored runs, those that `present` holds already by taking them instead. All or none: if one of them cannot be opened, none of `stored` stays
 * open.
 */
export async function openRuns(
  stored: readonly StoredRun[],
  present: readonly HeldRun[],
  open: (stored: StoredRun) => MaybePromise<HeldRun>,
): Promise<OpenedRuns> {
  const opened: HeldRun[] = [];
  const closeOthers = (): void => {
    for (const each of stored) if (!opened.some((run) => run.stored === each)) each.close();
  };
  const release = (): void => {
    for (const run of opened) run.release();
  };
  // All at once: where they have to arrive that takes no longer than one of them.
  const results = await Promise.allSettled(
    stored.map(async (each) => {
      const same = present.find((run) => run.stored.id === each.id);
      if (same !== undefined) return same;
      const run = await open(each);
      opened.push(run);
      return run;
    }),
  );
  closeOthers();
  const runs: HeldRun[] = [];
  for (const result of results) {
    if (result.status === "fulfilled") {
      runs.push(result.value);
    } else {
      release();
      throw result.reason;
    }
  }
  return { runs, release };
}

/** Runs that were opened, those taken over from what was present among them. */
export interface OpenedRuns {
  readonly runs: HeldRun[];
  /** Closes those that were not present. */
  release(): void;
}
