import type { CommitBuilder } from "./commit-builder.ts";
import type { PendingCommit } from "./commit-queue.ts";
import type { Commit } from "./commit.ts";
import type { EngineContext } from "./engine-context.ts";
import type { EngineLoop } from "./engine-loop.ts";
import type { EncodedKey } from "./key.ts";
import type { OwnCommits } from "./own-commits.ts";

/** Commits that a place in the queue can be kept for. */
const PLACE_COMMITS_MAX = 65_536;

const NO_BYTES = new Uint8Array(0);
const NOTHING = (): void => undefined;

/** A commit to be, and who is told of it. */
interface Filling {
  readonly payload: Uint8Array;
  readonly commit: Commit;
  readonly settled: () => void;
  readonly rejected: (error: unknown) => void;
}

/**
 * Places in the queue for commits that are not known yet: what is called behind them waits. Of processes: where several requests share an instance, nobody may
 * be made wait for one that is gone.
 */
export class KeptPlaces {
  readonly #context: EngineContext;
  readonly #ownCommits: OwnCommits;
  readonly #loop: EngineLoop;

  constructor(context: EngineContext, ownCommits: OwnCommits, loop: EngineLoop) {
    this.#context = context;
    this.#ownCommits = ownCommits;
    this.#loop = loop;
  }

  /**
   * Keeps a place for commits that touch these keys, which `build` makes, and resolves when all of them are in the ledger. Rejects with what the place is rejected
   * with, at once: what is called behind that is not behind it any more. Throws what keeps anything from being written.
   */
  async commit(keeps: (key: EncodedKey) => boolean, build: () => Promise<readonly CommitBuilder[]>): Promise<void> {
    const refusal = this.#context.refusal();
    if (refusal !== undefined) throw refusal;
    let failure: unknown;
    let told: (error: unknown) => void = NOTHING;
    const refused = new Promise<never>((_, reject) => (told = reject));
    const place = this.#begin(this.#ownCommits.nextNumber(), {
      payload: NO_BYTES,
      commit: { checks: [], operations: [] },
      settled: NOTHING,
      rejected: (error) => told((failure = error)),
    });
    place.keeps = keeps;
    this.#ownCommits.keepNumbers(PLACE_COMMITS_MAX);
    this.#context.queue.keepPlace(place);
    const filled = async (): Promise<void> => {
      let builders: readonly CommitBuilder[] = [];
      try {
        builders = await build();
        if (failure !== undefined) throw failure;
      } catch (error) {
        this.#fill(place, []).settled();
        throw error;
      }
      await this.#fillWith(place, builders);
    };
    return Promise.race([refused, filled()]);
  }

  async #fillWith(place: PendingCommit, builders: readonly CommitBuilder[]): Promise<void> {
    const commits: Promise<void>[] = [];
    const filling = builders.map((builder): Filling => {
      let settled = NOTHING;
      let rejected: (error: unknown) => void = NOTHING;
      const done = new Promise<void>((resolve, reject) => {
        settled = resolve;
        rejected = reject;
      });
      commits.push(done);
      return { ...builder.finish(), settled, rejected };
    });
    const filled = this.#fill(place, filling);
    void Promise.allSettled(commits).then(() => filled.settled());
    await Promise.all(commits);
  }

  /** Reads that wait for the place wait until `settled` is called. */
  #fill(place: PendingCommit, filling: readonly Filling[]): { settled(): void } {
    const { queue } = this.#context;
    const isFilled = queue.fill(
      place,
      filling.map((each, i) => this.#begin(place.counter + 1 + i, each)),
    );
    this.#loop.run();
    return {
      settled: () => {
        if (!isFilled) return;
        queue.release(place);
        place.settle("applied", this.#context.state.replica.version);
      },
    };
  }

  #begin(number: number, { payload, commit, settled, rejected }: Filling): PendingCommit {
    return this.#ownCommits.begin(number, payload, commit, settled, rejected);
  }
}
