import type { KVError } from "../../src/core/errors.ts";
import type { BuiltState, Checkpoint, StateRequest, StateWork } from "../../src/core/ledger.ts";
import type { Author, Bucket } from "./bucket.ts";

/** What a session did with a request to keep the state. */
export interface Kept {
  readonly work: StateWork | undefined;
  readonly problems: readonly KVError[];
  readonly adopted: readonly Checkpoint[];
  /** Versions that deltas were asked for from. */
  readonly since: readonly number[];
  /** How many runs each merge was of, and whether nothing lay below. */
  readonly merged: readonly { readonly runs: number; readonly lowest: boolean }[];
}

/** Stands for the engine: what it builds means nothing, as the bytes of runs mean nothing to who stores them. */
export function stateRequest(
  author: Author,
  options: Partial<StateRequest> & { readonly runBytes?: number } = {},
): { readonly request: StateRequest; readonly kept: Omit<Kept, "work"> } {
  const problems: KVError[] = [];
  const adopted: Checkpoint[] = [];
  const since: number[] = [];
  const merged: { readonly runs: number; readonly lowest: boolean }[] = [];
  const { runBytes = 100, ...others } = options;
  const built = (length: number): BuiltState => ({ bytes: new Uint8Array(length).fill(7), openFrom: length - 10 });
  const request: StateRequest = {
    position: author.position,
    version: author.lastVersion,
    compaction: false,
    buildDelta: async (version) => {
      since.push(version);
      return built(runBytes);
    },
    buildMerged: async (runs, { lowest }) => {
      merged.push({ runs: runs.length, lowest });
      return built(runs.reduce((sum, { length }) => sum + length, 0));
    },
    adopt: (state) => void adopted.push(state),
    problem: (error) => void problems.push(error),
    rest: () => undefined,
    check: () => undefined,
    ...others,
  };
  return { request, kept: { problems, adopted, since, merged } };
}

/** Asks a session to keep the state, as the engine does after each commit and each round, and waits until it has. */
export async function keep(
  bucket: Bucket,
  author: Author,
  options: Parameters<typeof stateRequest>[1] = {},
): Promise<Kept> {
  const { request, kept } = stateRequest(author, options);
  const work = author.session.keepState?.(request);
  if (work !== undefined) await bucket.environment.until(work.done);
  return { work, ...kept };
}

/** Writes so many slots, and keeps the state after each. */
export async function writeSlots(
  bucket: Bucket,
  author: Author,
  count: number,
  options: Parameters<typeof stateRequest>[1] & { readonly everyMs?: number } = {},
): Promise<readonly Kept[]> {
  const { everyMs = 0, ...others } = options;
  const all: Kept[] = [];
  for (let i = 0; i < count; i++) {
    await author.write(author.commit());
    all.push(await keep(bucket, author, others));
    if (everyMs > 0) await bucket.environment.pass(everyMs);
  }
  return all;
}
