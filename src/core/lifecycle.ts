import type { Engine } from "./engine.ts";
import type { Environment } from "./environment.ts";
import { KVError } from "./errors.ts";
import type { Ledger, LedgerSession } from "./ledger.ts";
import type { Maintenance } from "./maintenance.ts";
import { Waits } from "./waits.ts";

/** What an instance works with once it is open. */
export interface Opened {
  readonly engine: Engine;
  readonly maintenance: Maintenance;
  readonly ledger: Ledger;
  readonly allowNetworkFileSystem: boolean;
  /** What had to be done before it could be opened. The session that has done it may be gone by now. */
  readonly restored: LedgerSession["restored"];
}

export interface LifecycleOptions {
  readonly environment: Environment;
  readonly keepsKeys: boolean;
  /** Told at the moment from which on the instance is open. */
  readonly begun: (opened: Opened) => void;
}

type State = "new" | "opening" | "open" | "closing" | "closed";

/** How long another request may take to open, at first, before one that waits for it opens as well. */
const OPEN_PATIENCE_MS = 500;

/** From `new` over `open` to `closed`: what an instance has opened, and who may use it. */
export class Lifecycle {
  /** Where several requests share the instance. */
  readonly waits: Waits | undefined;
  readonly keepsKeys: boolean;
  readonly #options: LifecycleOptions;
  #state: State = "new";
  #opened: Opened | undefined;
  /** Resolves when `open` has ended, whichever way. */
  #opening: Promise<void> | undefined;
  /** Where several requests share the instance: what they open, and since when, and for whom nothing has to be opened any more. */
  #sharedOpening: { readonly name: string; readonly since: number } | undefined;

  constructor(options: LifecycleOptions) {
    this.#options = options;
    this.keepsKeys = options.keepsKeys;
    if (options.environment.isolated === true) this.waits = new Waits(options.environment);
  }

  get isOpen(): boolean {
    return this.#state === "open";
  }

  get isClosing(): boolean {
    return this.#state === "closing" || this.#state === "closed";
  }

  get isClosed(): boolean {
    return this.#state === "closed";
  }

  /** What was opened, also while and after it is closed. */
  get opened(): Opened | undefined {
    return this.#opened;
  }

  /** Throws unless the instance is open. */
  whileOpen(): Opened {
    if (this.#state === "open" && this.#opened !== undefined) return this.#opened;
    if (this.isClosing) throw closedError();
    throw new KVError("NotOpen", "The database is not open: await open() first", { outcome: "not committed" });
  }

  /** Throws unless the instance is open. */
  engine(): Engine {
    return this.whileOpen().engine;
  }

  /** Throws unless the instance is open and keeps keys. */
  indexed(): Engine {
    const { engine } = this.whileOpen();
    if (this.keepsKeys) return engine;
    throw new KVError("IndexDisabled", "This instance was made with disableIndex: only set, delete and scan work", {
      outcome: "not committed",
    });
  }

  /** Throws where `open` cannot be called any more. */
  checkMayOpen(): void {
    if (this.isClosing) throw closedError();
    if (this.#state !== "new" && this.waits === undefined) throw alreadyOpen();
  }

  /** `start` opens the ledger. If that fails, the instance is as it was before. */
  open({ name }: Ledger, start: () => Promise<Opened>): Promise<void> {
    if (this.waits !== undefined) return this.#openShared(name, start, this.waits);
    this.#state = "opening";
    const opened = this.#open(start);
    this.#opening = opened.catch(() => undefined);
    return opened;
  }

  /**
   * Any number of requests may open one instance on the same ledger. One of them does; when that takes long, because it is gone or because it is slow,
   * another one does it as well, and who is first has done it for all.
   */
  async #openShared(name: string, start: () => Promise<Opened>, waits: Waits): Promise<void> {
    const { environment } = this.#options;
    for (let patienceMs = OPEN_PATIENCE_MS; ; patienceMs *= 2) {
      if (this.isClosing) throw closedError();
      if (name !== (this.#opened?.ledger.name ?? this.#sharedOpening?.name ?? name)) throw alreadyOpen();
      if (this.#state === "open") return;
      const opening = this.#sharedOpening;
      if (opening === undefined) break;
      const isOver = (): boolean => this.#sharedOpening !== opening;
      const isLate = (): boolean => environment.monotonic() - opening.since >= patienceMs;
      await waits.until(() => isOver() || isLate());
      if (!isOver() && !this.isClosing) break;
    }
    const own = { name, since: environment.monotonic() };
    this.#sharedOpening = own;
    this.#state = "opening";
    try {
      await this.#open(start);
    } catch (error) {
      throw this.isClosing ? closedError() : error;
    } finally {
      if (this.#sharedOpening === own) this.#sharedOpening = undefined;
    }
  }

  async #open(start: () => Promise<Opened>): Promise<void> {
    let opened: Opened;
    try {
      opened = await start();
    } catch (error) {
      if (this.#state === "opening") this.#state = "new";
      throw error;
    }
    if (this.isClosing) {
      await opened.engine.stop();
      throw closedError();
    }
    // Another request was faster.
    if (this.isOpen) return opened.engine.stop();
    this.#sharedOpening = undefined;
    this.#opened = opened;
    this.#state = "open";
    this.#options.begun(opened);
  }

  /** From now on nothing new is taken. True if the instance was open. */
  beginClosing(): boolean {
    const wasOpen = this.isOpen;
    this.#state = "closing";
    return wasOpen;
  }

  /** Resolves when no `open` is under way any more; what takes another request too long is let go of where it is opened. */
  async whenOpened(): Promise<void> {
    const opening = this.#sharedOpening;
    if (this.waits === undefined || opening === undefined) return this.#opening;
    const { environment } = this.#options;
    const isLate = (): boolean => environment.monotonic() - opening.since >= OPEN_PATIENCE_MS;
    await this.waits.until(() => this.#sharedOpening !== opening || isLate());
  }

  endClosing(): void {
    this.#state = "closed";
  }
}

function alreadyOpen(): KVError {
  return new KVError("AlreadyOpen", "This instance is open already, or opening");
}

export function closedError(): KVError {
  return new KVError("Closed", "The database was closed", { outcome: "not committed" });
}
