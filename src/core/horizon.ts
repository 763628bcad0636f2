import { NotLoaded } from "./bytes-at.ts";
import { isPromise } from "./environment.ts";
import type { Replica } from "./replica.ts";
import type { Snapshot, Source, View } from "./source.ts";

/** A state that an own commit is to be applied to. */
interface OpenState {
  readonly replica: Replica;
  readonly source: Source;
  freeze(): Snapshot;
}

/**
 * Where a read that waits has its place in the order of calls. It sees the visible version, with all that others have committed by the time it looks, unless
 * an own commit that was called later is to be applied before: then it sees the state as it is without that. The horizons of an instance form a ring, in the
 * order of calls, so that a commit need only look at the first of them.
 */
export class Horizon {
  /** The number of the last own commit that was called before it. */
  readonly #last: number;
  #before: Horizon = this;
  #next: Horizon = this;
  #frozen: Snapshot | undefined;
  /** The read itself, where it takes no longer than it takes to freeze the state for it. */
  look: ((view: View) => unknown) | undefined;
  /** What that has given, if it had to be done early. What has yet to arrive is read from what was frozen. */
  answer: { readonly value: unknown } | undefined;

  /** `ring`: what was made without, behind which nothing is ever called. */
  constructor(last = Infinity, ring?: Horizon) {
    this.#last = last;
    if (ring === undefined) return;
    this.#next = ring;
    this.#before = ring.#before;
    this.#before.#next = ring.#before = this;
  }

  /** Called of a ring before the own commit with this number is applied to a state. */
  meet(number: number, state: OpenState): void {
    for (let first = this.#next; first.#last < number; first = this.#next) {
      first.#leave();
      first.#look(state);
    }
  }

  #look(state: OpenState): void {
    try {
      const value = this.look?.({ rows: state.replica, source: state.source });
      if (this.look !== undefined) {
        this.answer = { value };
        if (!isPromise(value)) return;
        // Nobody may be there any more to be told of it.
        value.catch(NOTHING);
      }
    } catch (error) {
      // What is wrong is met again, by whoever waits.
      if (error instanceof NotLoaded) error.promise.catch(NOTHING);
    }
    this.#frozen = state.freeze();
  }

  /** Its wait is over. What was frozen for it, for the caller to release; undefined if it has its answer whole, or sees what is visible now. */
  take(): Snapshot | undefined {
    this.#leave();
    const frozen = this.#frozen;
    this.#frozen = undefined;
    return frozen;
  }

  #leave(): void {
    this.#before.#next = this.#next;
    this.#next.#before = this.#before;
    this.#next = this.#before = this;
  }
}

const NOTHING = (): void => undefined;
