import type { PendingCommit } from "./commit-queue.ts";
import { DroppedNet } from "./dropped.ts";
import type { Engine } from "./engine.ts";
import type { Environment, MaybePromise, Timer } from "./environment.ts";
import { KVError } from "./errors.ts";
import type { Emitter } from "./events.ts";
import type { Horizon } from "./horizon.ts";
import type { Lifecycle } from "./lifecycle.ts";
import type { Pacer } from "./pacer.ts";
import { Poller } from "./poller.ts";
import type { Round } from "./round.ts";
import type { SyncTeller } from "./sync-teller.ts";
import type { Watches } from "./watch.ts";

/** So long a read waits for a look into a bucket, however short the interval is: longer than an answer takes. */
const LOOK_MS = 1000;

export interface FreshnessParts {
  readonly environment: Environment;
  readonly pacer: Pacer;
  readonly lifecycle: Lifecycle;
  readonly teller: SyncTeller;
  readonly emitter: Emitter;
  readonly watches: Watches;
  readonly autoSync: boolean;
  readonly syncIntervalMs: number;
  /** Called after each poll that went well. */
  readonly polled: (engine: Engine) => void;
}

/** What a read waits for. It is held until the horizon is taken from: who lets go of it is taken for gone. */
export interface ReadWait {
  readonly over: Promise<void>;
  /** Taken from when that is over, at the moment at which the read looks. */
  readonly horizon: Horizon;
}

/** Keeps the state of an instance fresh without a write: follows the ledger for the interval, for hints of the session, for reads, and for `sync`. */
export class Freshness {
  readonly #parts: FreshnessParts;
  readonly #poller: Poller;
  #lastTimerError: string | undefined;
  #polledAt = -Infinity;
  readonly #dropped: DroppedNet<Horizon>;

  constructor(parts: FreshnessParts) {
    this.#parts = parts;
    this.#dropped = new DroppedNet(parts.environment, letGo);
    this.#poller = new Poller({
      environment: parts.environment,
      intervalMs: parts.syncIntervalMs,
      poll: () => this.#poll(),
      hinted: () => this.#hinted(),
    });
  }

  /** The database is open. */
  start(): void {
    const { autoSync, lifecycle } = this.#parts;
    // Its timers would end with the request that has opened: reads follow by themselves, and whoever listens starts it.
    if (autoSync && lifecycle.waits === undefined) this.#poller.start();
    this.adjust();
  }

  stop(): void {
    this.#poller.stop();
  }

  /** True while somebody is told of news, or may ask which there were. */
  get needsEach(): boolean {
    return !this.#parts.autoSync || this.#isAwaited;
  }

  get #isAwaited(): boolean {
    const { watches, emitter } = this.#parts;
    return watches.size > 0 || emitter.count("sync") > 0;
  }

  /** Somebody waits for news, or does not any more. */
  adjust(): void {
    const { lifecycle, watches, autoSync } = this.#parts;
    if (!lifecycle.isOpen) return;
    const { session } = lifecycle.engine();
    const waits = autoSync && this.#isAwaited;
    const hints =
      waits && session.subscribe !== undefined
        ? (listener: () => void) => session.subscribe?.(listener) ?? (() => undefined)
        : undefined;
    this.#poller.adjust({ hints, keepAlive: watches.refs > 0 });
    if (waits && lifecycle.waits !== undefined) this.#poller.startOnce();
  }

  /** Hints come from another session from now on. */
  resubscribe(): void {
    this.#poller.adjust({ hints: undefined, keepAlive: this.#parts.watches.refs > 0 });
    this.adjust();
  }

  /** What a read that belongs to no transaction has to wait for: `undefined` if for nothing. */
  beforeRead(engine: Engine, pending: PendingCommit | undefined, strong: boolean): ReadWait | undefined {
    if (strong || pending !== undefined) return this.#wait(engine, () => this.#readAfter(engine, pending, strong));
    const { environment, pacer } = this.#parts;
    const now = environment.monotonic();
    if (this.#hasNews(engine, now)) return this.#wait(engine, () => this.#followNews(engine));
    return pacer.due(now) ? this.#wait(engine, () => pacer.rest()) : undefined;
  }

  /** As before a read that misses nothing, own commits that are pending included. Undefined where nothing is followed unasked. */
  beforeDelete(engine: Engine): ReadWait | undefined {
    return this.#parts.autoSync ? this.beforeRead(engine, engine.queue.last, true) : undefined;
  }

  /** `wait` begins behind the horizon: already then may somebody who is told of news write. */
  #wait(engine: Engine, wait: () => Promise<void>): ReadWait {
    const horizon = engine.horizon();
    const over = wait().then(() => void this.#parts.lifecycle.engine());
    over.catch(() => letGo(horizon));
    const waiting = { over, horizon };
    // The request that waits may be gone by then.
    if (engine.waits !== undefined) this.#dropped.watch(waiting, horizon);
    return waiting;
  }

  /** Where a look shows that there is something new: follows it. */
  news(engine: Engine): Promise<void> | undefined {
    return this.#hasNews(engine, this.#parts.environment.monotonic()) ? this.#followNews(engine) : undefined;
  }

  /** `now`: on the monotonic clock. */
  #hasNews(engine: Engine, now: number): boolean {
    const { autoSync, syncIntervalMs } = this.#parts;
    return autoSync && engine.isBehind(now, syncIntervalMs);
  }

  #followNews(engine: Engine): Promise<void> {
    const { syncIntervalMs } = this.#parts;
    // A ledger that cannot be followed can still be read; the poll and `sync` say what is wrong.
    const followed = this.followUntold(engine, { verify: false }).catch(() => undefined);
    // With its answer the request ends, and the look too: where no read waited for one, none would ever come to an end.
    return engine.session.hasNews === undefined ? this.#atMost(Math.max(syncIntervalMs, LOOK_MS), followed) : followed;
  }

  /** No read waits longer than that: an append that gets no answer may be in the way. */
  async #atMost(ms: number, promise: Promise<void>): Promise<void> {
    let timer: Timer | undefined;
    const { environment } = this.#parts;
    const late = new Promise<void>((resolve) => (timer = environment.setTimer(resolve, ms, { ref: true })));
    await Promise.race([promise, late]);
    timer?.cancel();
  }

  async #readAfter(engine: Engine, pending: PendingCommit | undefined, strong: boolean): Promise<void> {
    const { lifecycle } = this.#parts;
    if (pending !== undefined) await engine.whenDone(pending);
    if (strong) await this.followUntold(engine, { verify: true });
    // Others may have come behind the own commit before this read began.
    else await this.news(lifecycle.engine());
  }

  /** Follows, and leaves it to the next `sync` event to tell of it. */
  async followUntold(engine: Engine, options: { readonly verify: boolean }): Promise<void> {
    const round = await engine.round({ ...options, haste: "skip" });
    if (round.invalidated) this.#parts.teller.tellUnasked(engine, round);
  }

  /** What `sync` does. */
  async sync(engine: Engine): Promise<void> {
    const { teller } = this.#parts;
    try {
      const round = await engine.round({ verify: true });
      if (engine.session.makeDurable !== undefined) await engine.makeDurable();
      this.#lastTimerError = undefined;
      teller.tell(engine, round);
    } catch (error) {
      teller.tellError(engine, error);
      throw error;
    }
  }

  /** As the interval does, for whoever waits for news in a request of his own. */
  pollIfDue(): void {
    const { environment, lifecycle, autoSync, syncIntervalMs } = this.#parts;
    const engine = lifecycle.opened?.engine;
    const now = environment.monotonic();
    if (engine === undefined || !autoSync || now - this.#polledAt < syncIntervalMs) return;
    if (!engine.isBehind(now, syncIntervalMs)) return;
    this.#polledAt = now;
    void this.#poll();
  }

  /**
   * One poll. In a program that does nothing else each step of it is code that has grown cold, and nearly all find nothing: then there is no promise to be
   * waited for.
   */
  #poll(): MaybePromise<void> {
    const { lifecycle } = this.#parts;
    if (!lifecycle.isOpen) return undefined;
    const engine = lifecycle.engine();
    const round = engine.glance();
    return round === undefined ? this.#follow(engine) : this.#polled(engine, round);
  }

  async #follow(engine: Engine): Promise<void> {
    try {
      this.#polled(engine, await engine.round({ verify: true, haste: "leave" }));
    } catch (error) {
      this.#failed(engine, error);
    }
  }

  #polled(engine: Engine, round: Round): void {
    const { teller, polled } = this.#parts;
    this.#lastTimerError = undefined;
    try {
      teller.tell(engine, round);
      polled(engine);
    } catch (error) {
      this.#failed(engine, error);
    }
  }

  /** Errors become `sync` events, a lasting one only once. */
  #failed(engine: Engine, error: unknown): void {
    const { lifecycle, teller } = this.#parts;
    const cause = error instanceof KVError ? error.code : String(error);
    if (lifecycle.isOpen && cause !== this.#lastTimerError) teller.tellError(engine, error);
    this.#lastTimerError = cause;
  }

  async #hinted(): Promise<void> {
    const { lifecycle, teller } = this.#parts;
    if (!lifecycle.isOpen) return;
    const engine = lifecycle.engine();
    try {
      // The session says by itself that a file has lost its name; where the path leads is for the poll to find out.
      const round = await engine.round({ verify: false });
      if (teller.hasUntold(engine) || round.invalidated) teller.tell(engine, round);
    } catch {
      // The next poll meets the same failure and tells of it.
    }
  }
}

function letGo(horizon: Horizon): void {
  horizon.take()?.release();
}
