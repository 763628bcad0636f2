import type { EngineContext } from "./engine-context.ts";
import type { EngineLoop } from "./engine-loop.ts";
import { isPromise, type MaybePromise } from "./environment.ts";
import { hasCode, KVError } from "./errors.ts";
import type { Follower } from "./follower.ts";
import type { VacuumAttempt, VacuumRequest } from "./ledger.ts";
import type { Reopening } from "./reopening.ts";
import type { FollowState } from "./round.ts";

export interface NextGenerationParts {
  readonly follower: Follower;
  readonly reopening: Reopening;
  readonly loop: EngineLoop;
}

/**
 * Has the session begin the next generation, and goes there. Not a step itself: the session works beside the loop, on what has been read already,
 * and what it has come to is met by rounds like anybody else's.
 */
export class NextGeneration {
  readonly #context: EngineContext;
  readonly #parts: NextGenerationParts;

  constructor(context: EngineContext, parts: NextGenerationParts) {
    this.#context = context;
    this.#parts = parts;
  }

  /**
   * Lets the session begin its next generation with a snapshot of the present one, `nonce`, and waits until it is in place. False if somebody else's
   * is.
   */
  async vacuum(request: Omit<VacuumRequest, "rest">, nonce: string | undefined): Promise<boolean> {
    const context = this.#context;
    const { follower, loop } = this.#parts;
    const isBefore = (): boolean => context.identity?.nonce === nonce;
    // The snapshot's place need not be in the next generation, and nothing of it in another ledger.
    if (!isBefore()) return false;
    follower.helpsAtOnce = true;
    try {
      let attempt: VacuumAttempt | undefined;
      try {
        attempt = await context.session.vacuum?.({ ...request, rest: this.#rest });
      } catch (error) {
        // If another one came first, it is its result that counts.
        const isFirst = !hasCode(error, "LedgerSealed") && !context.isSealed;
        if (isFirst && isBefore()) throw error;
      }
      while (isBefore()) {
        await loop.round({ verify: true });
        // Void: another seal came first, or somebody took this vacuum for abandoned.
        if (!context.isSealed) break;
        await context.sealWait?.whenOver();
      }
      if (attempt?.error !== undefined && isBefore()) throw attempt.error;
      return attempt?.wins() === true;
    } finally {
      follower.helpsAtOnce = false;
    }
  }

  /**
   * Like `vacuum`, of a ledger that is damaged: what lies between here and the seal is not followed, the state is read anew. False if somebody else's
   * generation is in place.
   */
  async repair(request: Omit<VacuumRequest, "rest">, nonce: string | undefined): Promise<boolean> {
    const context = this.#context;
    const { reopening, loop } = this.#parts;
    if (context.identity?.nonce !== nonce)
      throw new KVError("LedgerSealed", `Somebody else has repaired ${context.ledger.name} meanwhile`);
    const attempt = await context.session.vacuum?.({ ...request, rest: this.#rest });
    reopening.first = this.#goToSeal;
    await loop.round({ verify: true });
    if (attempt?.error !== undefined && context.identity?.nonce === nonce) throw attempt.error;
    return attempt?.wins() === true;
  }

  /**
   * Goes on to the next generation if this one is sealed, through whatever is damaged on the way there. False if what the seal names cannot take its
   * place any more.
   */
  async passSeal(): Promise<boolean> {
    const { reopening, loop } = this.#parts;
    reopening.first = this.#goToSeal;
    try {
      await loop.round({ verify: true });
      return true;
    } catch (error) {
      if (!hasCode(error, "LedgerDamaged")) throw error;
      reopening.first = undefined;
      return false;
    }
  }

  /** Goes to the seal and beyond it, and applies nothing on the way. */
  readonly #goToSeal = async (round: FollowState): Promise<void> => {
    const context = this.#context;
    const { reopening } = this.#parts;
    for (let { position } = context.state; ;) {
      const read = context.session.read(position, { bytes: context.readBytes.size, verify: true });
      const result = isPromise(read) ? await context.own(read) : read;
      position = result.next;
      if (result.status === "moved") break;
      // Void: somebody else's seal came first, or there is none.
      if (result.status === "end") {
        reopening.first = undefined;
        return;
      }
      if (result.status === "sealed") await context.session.help?.();
    }
    await reopening.move(round);
    context.stopped = undefined;
    reopening.first = undefined;
  };

  readonly #rest = (): MaybePromise<void> => {
    const { pacer } = this.#context;
    return pacer.dueInBackground() ? pacer.restInBackground() : undefined;
  };
}
