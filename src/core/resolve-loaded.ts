import { onceLoaded } from "./bytes-at.ts";
import type { Commit } from "./commit.ts";
import type { MaybePromise } from "./environment.ts";
import type { EncodedKey } from "./key.ts";
import { type CommitPlace, type Resolution, resolve, type Row, type StateView } from "./resolve.ts";

/** As `resolve`, and waits for what of the state has yet to arrive. The state must not change meanwhile. */
export function resolveLoaded(commit: Commit, at: CommitPlace, state: StateView): MaybePromise<Resolution> {
  try {
    return resolve(commit, at, state);
  } catch (error) {
    const remembered = new RememberedRows(state);
    return onceLoaded(error, () => resolve(commit, at, remembered));
  }
}

/** What was found once is not looked for again: a cache may have let it go by then, and a commit with many keys would never come to its end. */
class RememberedRows implements StateView {
  readonly #state: StateView;
  readonly #rows = new Map<EncodedKey, Row | undefined>();

  constructor(state: StateView) {
    this.#state = state;
  }

  get(key: EncodedKey): Row | undefined {
    const known = this.#rows.get(key);
    if (known !== undefined || this.#rows.has(key)) return known;
    const row = this.#state.get(key);
    this.#rows.set(key, row);
    return row;
  }
}
