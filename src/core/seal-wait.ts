import type { Environment, Timer } from "./environment.ts";
import { hasCode, KVError } from "./errors.ts";

/** How often a sealed ledger is looked at while commits wait for the next generation, and while none do. */
const BUSY_POLL_MS = 2;
const IDLE_POLL_MS = 20;
/** Others help after a random wait of at most so long: as a rule the author has done it by then. */
const HELP_AFTER_MS = 30;
/** A failed attempt to help is repeated after so long. */
const HELP_AGAIN_MS = 500;
/** Commits wait at most so long for somebody to complete a vacuum. */
const WAIT_MS = 10_000;

export interface SealWaitHost {
  /** Commits that cannot be appended before the next generation is there. */
  readonly waiting: number;
  /** Looks at the ledger once more. */
  look(): void;
  /** Does what there is to do for the next generation; undefined for a replica that must not or cannot. */
  readonly help: (() => Promise<void>) | undefined;
  /** The commits have waited for too long. */
  expired(error: KVError): void;
}

/**
 * The time between the seal that ends a generation and the moment when the next one is in its place: reads go on, commits wait, and whoever may
 * write helps.
 */
export class SealWait {
  readonly #environment: Environment;
  readonly #name: string;
  readonly #host: SealWaitHost;
  /** monotonic() of when the seal was met; undefined while there is none. */
  #since: number | undefined;
  /** Told apart from an earlier seal's timers and helpers. */
  #seal = 0;
  #helping = false;
  #stopped = false;
  #lookTimer: Timer | undefined;
  #looksOften = false;
  #helpTimer: Timer | undefined;
  /** Somebody awaits the vacuum itself: it keeps the process alive. */
  #isOwn = false;
  #failure: Error | undefined;
  #waiters: { readonly resolve: () => void; readonly reject: (error: unknown) => void }[] = [];

  constructor(environment: Environment, name: string, host: SealWaitHost) {
    this.#environment = environment;
    this.#name = name;
    this.#host = host;
  }

  get isWaiting(): boolean {
    return this.#since !== undefined;
  }

  /** The ledger was read up to a seal. Called at every look that ends there. */
  sealed(options: { readonly helpAtOnce: boolean }): void {
    if (this.#stopped) return;
    this.#isOwn ||= options.helpAtOnce;
    if (this.#since === undefined) {
      this.#since = this.#environment.monotonic();
      this.#seal++;
      this.#failure = undefined;
      if (!options.helpAtOnce) this.#helpAfter(this.#environment.random() * HELP_AFTER_MS);
      this.#lookLater();
    }
    if (options.helpAtOnce) {
      this.#helpAfter(0);
      this.#lookOften();
    }
    if (this.#environment.monotonic() - this.#since > WAIT_MS || this.#isLost) this.#expire();
  }

  /** It cannot be told any more what follows the seal; where the ledger is gone, nothing does. */
  lookFailed(error: unknown): void {
    if (this.#since === undefined) return;
    const gone = error instanceof KVError && error.code === "LedgerMissing" ? error : undefined;
    if (gone !== undefined || this.#environment.monotonic() - this.#since > WAIT_MS) this.#expire(gone);
  }

  /** Commits have begun to wait: from now on it is looked at often, and the process stays alive for them. */
  commitsWait(): void {
    this.#lookOften();
  }

  /** The next generation is there, or something else. */
  over(): void {
    this.#since = undefined;
    this.#lookTimer?.cancel();
    if (this.#helpTimer !== undefined) this.#helping = false;
    this.#helpTimer?.cancel();
    this.#helpTimer = undefined;
    this.#isOwn = false;
    for (const waiter of this.#waiters.splice(0)) waiter.resolve();
  }

  /** Nothing is waited for any more, whatever is met. */
  stop(): void {
    this.#stopped = true;
    this.over();
  }

  /** Resolves when that is so; rejects when it takes too long. */
  whenOver(): Promise<void> {
    if (this.#since === undefined) return Promise.resolve();
    return new Promise((resolve, reject) => this.#waiters.push({ resolve, reject }));
  }

  #expire(gone?: KVError): void {
    const why = this.#failure === undefined ? "nobody has completed it" : this.#failure.message;
    const message = gone?.message ?? `${this.#name} is sealed by a vacuum, and ${why}`;
    const code = gone?.code ?? (this.#isLost ? "LedgerDamaged" : "LedgerSealed");
    const { ranges } = this.#failure instanceof KVError ? this.#failure : {};
    const about = ranges === undefined ? {} : { ranges };
    const error = new KVError(code, message, { outcome: "not committed", cause: this.#failure, ...about });
    this.#host.expired(error);
    for (const waiter of this.#waiters.splice(0)) waiter.reject(error);
  }

  /** What the seal names is gone or damaged: only a repair helps, and waiting does not. */
  get #isLost(): boolean {
    return hasCode(this.#failure, "LedgerDamaged");
  }

  get #isAwaited(): boolean {
    return this.#isOwn || this.#host.waiting > 0;
  }

  #lookOften(): void {
    if (this.#since === undefined || this.#looksOften) return;
    this.#lookTimer?.cancel();
    this.#lookLater();
  }

  #lookLater(): void {
    const seal = this.#seal;
    this.#looksOften = this.#isAwaited;
    this.#lookTimer = this.#environment.setTimer(
      () => {
        if (this.#since === undefined || seal !== this.#seal) return;
        this.#host.look();
        this.#lookLater();
      },
      this.#looksOften ? BUSY_POLL_MS : IDLE_POLL_MS,
      { ref: this.#looksOften },
    );
  }

  #helpAfter(ms: number): void {
    if (this.#helping || this.#host.help === undefined) return;
    this.#helping = true;
    const seal = this.#seal;
    const begin = (): void => {
      this.#helpTimer = undefined;
      void this.#help(seal);
    };
    this.#helpTimer = this.#environment.setTimer(begin, ms, { ref: this.#isAwaited });
  }

  async #help(seal: number): Promise<void> {
    let failure: Error | undefined;
    try {
      if (this.#since !== undefined && seal === this.#seal) await this.#host.help?.();
    } catch (error) {
      failure = error instanceof Error ? error : new Error(String(error));
    }
    if (seal === this.#seal) this.#failure = failure;
    this.#helping = false;
    if (this.#since === undefined) return;
    // While it slept another generation has come and is sealed itself: nobody has begun to help with that here.
    if (seal !== this.#seal) return this.#helpAfter(this.#isOwn ? 0 : this.#environment.random() * HELP_AFTER_MS);
    if (this.#failure === undefined) this.#host.look();
    else this.#helpAfter(HELP_AGAIN_MS);
  }
}
