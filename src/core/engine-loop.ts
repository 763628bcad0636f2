import type { EngineContext } from "./engine-context.ts";
import { isPromise, type MaybePromise } from "./environment.ts";
import { asKVError, KVError } from "./errors.ts";
import type { Follower } from "./follower.ts";
import type { OwnCommits } from "./own-commits.ts";
import { commonHaste, type FollowState, type Round, type RoundWish } from "./round.ts";
import type { Turn } from "./turn.ts";
import type { Step } from "./waits.ts";

/** Microtask turns that a flush waits while more commits keep arriving in the same macrotask. */
const GATHER_TURNS_MAX = 16;

interface RoundRequest extends RoundWish {
  readonly resolve: (round: Round) => void;
  readonly reject: (error: unknown) => void;
}

interface DurableRequest {
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

export interface LoopParts {
  readonly ownCommits: OwnCommits;
  readonly follower: Follower;
  /** Appends and applies a batch of what waits in the queue. */
  readonly flusher: { flush(): MaybePromise<void> };
}

const microtask = Promise.resolve();

/**
 * Which step is under way, and which one comes next.
 *
 * Only one is under way at any time (`#running`). A step is a flush (append a batch, read up to it), a round (read to the end) or a sync of what was
 * read. Everything that steps change - position, replica, in-flight commits - is changed by them alone, so that the awaits inside a step are safe;
 * what others may do meanwhile is add to the queue and ask for rounds.
 */
export class EngineLoop {
  readonly #context: EngineContext;
  readonly #parts: LoopParts;
  readonly #rounds: RoundRequest[] = [];
  readonly #durables: DurableRequest[] = [];
  /** Those that the step under way is for. */
  #served: RoundRequest[] = [];
  #running = false;
  /** What was appended is known to nobody yet, because another request has taken over. */
  #unsettled = false;
  #scheduled = false;
  #gathered = 0;
  #turns = 0;
  #flushedLast = false;
  #idle: (() => void)[] = [];

  constructor(context: EngineContext, parts: LoopParts) {
    this.#context = context;
    this.#parts = parts;
    if (context.waits !== undefined) context.waits.drive = () => this.#drive();
  }

  // --- what is asked for -------------------------------------------------------------------------------------------

  /** Follows to the end of the ledger. */
  round({ verify, haste }: RoundWish): Promise<Round> {
    return this.#context.promise((resolve, reject) => {
      this.#rounds.push({ verify, haste, resolve, reject });
      this.run();
    });
  }

  /** Makes durable what was followed so far, where the ledger was asked for that. Waits for its turn, as everything that uses the session. */
  makeDurable(): Promise<void> {
    return this.#context.promise((resolve, reject) => {
      this.#durables.push({ resolve, reject });
      this.run();
    });
  }

  /** Flushes once the calls of this macrotask that follow each other without a gap have been made. */
  schedule(): void {
    if (this.#running || this.#scheduled || this.#context.waits !== undefined) return;
    this.#scheduled = true;
    this.#gathered = this.#context.queue.waiting;
    this.#turns = 0;
    void microtask.then(this.#gather);
  }

  readonly #gather = (): void => {
    const { waiting } = this.#context.queue;
    if (waiting !== this.#gathered && ++this.#turns < GATHER_TURNS_MAX) {
      this.#gathered = waiting;
      void microtask.then(this.#gather);
      return;
    }
    this.#scheduled = false;
    this.run();
  };

  /** Does what there is to do, step by step. */
  run(): void {
    // Where there are several requests, those who wait drive it.
    if (this.#running || this.#context.waits !== undefined) return;
    void this.#advance()?.then(this.#resume, this.#crash);
  }

  /** Until a step has to be awaited, which it returns. */
  #advance(): Promise<void> | undefined {
    const { pacer } = this.#context;
    this.#running = true;
    try {
      while (this.#hasWork) {
        const step = !this.#isGlance && pacer.due() ? pacer.rest() : this.#step();
        if (isPromise(step)) return step;
      }
    } catch (error) {
      this.#crash(error);
      return undefined;
    }
    this.#running = false;
    this.#becomeIdle();
    return undefined;
  }

  readonly #resume = (): void => {
    this.#running = false;
    this.run();
  };

  /** True between two steps, if there is nothing to do. */
  get isIdle(): boolean {
    return !this.#running && !this.#hasWork;
  }

  /** Resolves when no step is under way. */
  whenIdle(): Promise<void> {
    const { waits } = this.#context;
    if (waits !== undefined) return waits.until(() => !this.#running);
    return this.#running ? new Promise((resolve) => this.#idle.push(resolve)) : microtask;
  }

  #becomeIdle(): void {
    for (const resolve of this.#idle.splice(0)) resolve();
  }

  /** A step failed in a way that it should have handled: nobody may wait for ever because of it. */
  readonly #crash = (cause: unknown): void => {
    const context = this.#context;
    const message = `${context.ledger.name} cannot be followed any more: ${String(cause)}`;
    const stopped = (context.stopped ??= new KVError("InputOutput", message, { cause }));
    context.listener.problem(stopped);
    this.#parts.ownCommits.giveUp(message, cause);
    context.queue.rejectWaiting(stopped);
    for (const request of this.#rounds.splice(0)) request.reject(stopped);
    for (const request of this.#durables.splice(0)) request.reject(stopped);
    this.#running = false;
    this.#becomeIdle();
  };

  // --- what comes next ---------------------------------------------------------------------------------------------

  get #hasWork(): boolean {
    return this.#unsettled || this.#rounds.length > 0 || this.#durables.length > 0 || this.#mayFlush();
  }

  /** All there is to do is a poll that may leave what is far ahead. A macrotask after it would be another turn of an idle program's event loop. */
  get #isGlance(): boolean {
    if (this.#rounds.length !== 1 || this.#rounds[0].haste !== "leave") return false;
    return !this.#unsettled && this.#durables.length === 0 && !this.#mayFlush();
  }

  #mayFlush(): boolean {
    return this.#context.queue.canTake && !this.#context.isSealed;
  }

  /** Flushes and rounds take turns, so that neither starves the other. */
  #step(): MaybePromise<void> {
    if (this.#unsettled) return this.#settleTakenOver();
    if (this.#durables.length > 0) return this.#beDurable();
    if (this.#mayFlush() && (this.#rounds.length === 0 || !this.#flushedLast)) {
      this.#flushedLast = true;
      return this.#flush();
    }
    this.#flushedLast = false;
    return this.#followRound();
  }

  #flush(): MaybePromise<void> {
    const refusal = this.#context.refusal();
    if (refusal !== undefined) return this.#context.queue.rejectWaiting(refusal);
    if (this.#parts.follower.isAstray) return this.#followFirst();
    return this.#parts.flusher.flush();
  }

  /** Nothing is written to a ledger that could not be followed: nobody could tell what became of it. */
  async #followFirst(): Promise<void> {
    const { queue, listener } = this.#context;
    const round: FollowState = { invalidated: false };
    try {
      await this.#parts.follower.follow(true, round);
    } catch (error) {
      queue.rejectWaiting(asKVError(error));
    }
    if (round.invalidated) listener.flushed(round);
  }

  async #followRound(): Promise<void> {
    const requests = this.#rounds.splice(0);
    this.#served = requests;
    this.#context.counts.rounds++;
    const round: FollowState = { invalidated: false, haste: commonHaste(requests) };
    try {
      await this.#parts.follower.follow(
        requests.some((request) => request.verify),
        round,
      );
      for (const request of requests) request.resolve(round);
    } catch (error) {
      // It has begun anew, and come to an end before what cannot be read.
      if (round.invalidated) this.#context.listener.flushed(round);
      for (const request of requests) request.reject(error);
    }
    this.#served = [];
  }

  async #beDurable(): Promise<void> {
    const context = this.#context;
    const requests = this.#durables.splice(0);
    try {
      if (context.stopped !== undefined) throw context.stopped;
      const durable = context.session.makeDurable?.();
      if (isPromise(durable)) await context.own(durable);
      for (const request of requests) request.resolve();
    } catch (error) {
      for (const request of requests) request.reject(error);
    }
  }

  // --- where several requests share it -----------------------------------------------------------------------------

  /** As `run`, one step in the request of the one who calls, unless another one is at it and makes progress. */
  #drive(): Step | undefined {
    const turn = this.#context.turn as Turn;
    if (this.#running) {
      if (!turn.isStalled) return undefined;
      this.#takeOver(turn);
    }
    const number = turn.begin();
    const step = this.#advance();
    if (step === undefined) return undefined;
    let isOver = false;
    const ended = turn
      .own(step)
      .catch(this.#crash)
      .then(() => {
        isOver = true;
        this.#running = false;
        turn.end();
      });
    return { ended, isOver: () => isOver || !turn.isOf(number) };
  }

  /** The request whose step is under way is gone, by all appearances: another one goes on from what is known. */
  #takeOver(turn: Turn): void {
    const { session, state, queue } = this.#context;
    turn.takeOver();
    session.abandon?.();
    this.#rounds.unshift(...this.#served.splice(0));
    state.metTo = state.replica.version;
    this.#unsettled = queue.inFlight.size > 0;
  }

  /**
   * The first step after what was appended has been taken over: the session settles what it may have sent, and following finds it. What is not met is
   * not in the ledger.
   */
  async #settleTakenOver(): Promise<void> {
    const context = this.#context;
    const { ownCommits, follower } = this.#parts;
    const round: FollowState = { invalidated: false };
    try {
      // Nobody could settle it: what the other one has sent may still arrive.
      if (context.session.abandon === undefined) throw new Error("the request that had sent it is gone");
      // Whatever it says to that: nothing is on its way any more, and following meets what has arrived.
      const appended = context.session.append([], context.state.position);
      if (isPromise(appended)) await context.own(appended);
      await follower.follow(false, round);
      this.#unsettled = false;
      ownCommits.forgetUnwritten();
      ownCommits.tryAgain(undefined);
    } catch (cause) {
      ownCommits.forgetUnwritten();
      this.#unsettled = false;
      ownCommits.giveUp(
        `What became of a commit to ${context.ledger.name} could not be found out: ${String(cause)}`,
        cause,
      );
      context.queue.rejectWaiting(asKVError(cause));
      if (!round.invalidated) return;
    }
    context.listener.flushed(round);
  }
}
