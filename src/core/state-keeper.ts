import type { BlockCache } from "./block-cache.ts";
import { type Environment, type MaybePromise } from "./environment.ts";
import { hasCode, KVError } from "./errors.ts";
import { openRuns } from "./held-run.ts";
import { openKeptRun } from "./kept-run.ts";
import type { Checkpoint, LedgerSession, Position, StateRequest, StateWork } from "./ledger.ts";
import type { VacuumProgress } from "./options.ts";
import { Overlay } from "./overlay.ts";
import type { Pacer } from "./pacer.ts";
import type { FrozenReplica, Replica } from "./replica.ts";
import type { Source } from "./source.ts";
import { Waits } from "./waits.ts";
import { buildDelta, buildMerged, type StateRunContext } from "./state-run.ts";

/** Where requests end without a word (`Environment.isolated`), work that has taken so long is taken for dead. */
const DEAD_MS = 60_000;
/** Rows handled between two looks at the clock. */
const SLICE_ROWS = 64;
/** How often a compaction tries to begin while other work always comes first. */
const TAKES_MAX = 8;

export interface StateKeeperHost {
  readonly environment: Environment;
  readonly pacer: Pacer;
  readonly cache: BlockCache;
  /** Of the ledger, for messages. */
  readonly name: string;
  readonly session: LedgerSession;
  readonly source: Source;
  readonly replica: Replica;
  /** Up to where everything is applied. */
  readonly position: Position;
  /** Whether the state may be written down at present. */
  readonly saves: () => boolean;
  readonly compaction: boolean;
  /** Told of what goes on in the background, where somebody has to know. */
  readonly waitUntil: ((promise: Promise<unknown>) => void) | undefined;
  readonly problem: (error: KVError) => void;
}

/** A request for the state as it was when it was made, which is held until it is released. */
interface FrozenRequest extends StateRequest {
  release(): void;
  /** Resolves when what was made of it last is taken over. */
  adopted(): Promise<void>;
}

/** `end`: nothing more is made of it. */
interface Taken extends FrozenRequest {
  end(): void;
}

export interface CompactOptions {
  readonly follow: () => Promise<unknown>;
  readonly progress: (progress: VacuumProgress) => void;
  /** Throws if it is to be given up. */
  readonly check: () => void;
}

/**
 * Has the state of a replica written down by a ledger that keeps it itself, and takes over what has been written: by this session, or by others. What
 * the runs of a state cover is dropped from memory; what was frozen stays readable.
 */
export class StateKeeper {
  readonly #host: StateKeeperHost;
  #work: { readonly work: StateWork; readonly began: number } | undefined;
  /** Takes what a compaction is to be made of, at a moment at which the state is that at its position. */
  #wanted: (() => void) | undefined;
  #adopting: Promise<void> = Promise.resolve();
  /** Counts them. */
  #adoption = 0;
  /** Up to where the newest state reaches that was adopted, or is about to be. */
  #adopted: Position;
  #stopped = false;
  /** Nothing of what is under way is needed any more. */
  #abandoned = false;
  readonly counts = { adopted: 0, deltasBuilt: 0, mergesBuilt: 0 };

  /** `adopted`: up to where the replica's runs reach. */
  constructor(host: StateKeeperHost, adopted: Position) {
    this.#host = host;
    this.#adopted = adopted;
  }

  /** To be called where the state is that at its position. A promise if commits have to wait. */
  keep(): MaybePromise<void> {
    const { environment, session, waitUntil } = this.#host;
    const { isolated = false } = environment;
    if (this.#stopped || session.keepState === undefined || !this.#host.saves()) return undefined;
    if (this.#work !== undefined) {
      const { work } = this.#work;
      // Whoever waits for work of another request might wait for good.
      if (!isolated) return work.commitsWait ? work.done : undefined;
      if (!this.#isFree) return undefined;
    }
    if (this.#wanted !== undefined) return this.#wanted();
    const request = this.#request();
    const work = session.keepState(request);
    if (work === undefined) {
      request.release();
      return undefined;
    }
    const done = this.#begin(work, () => request.release());
    waitUntil?.(done);
    const isForeground = isolated && waitUntil === undefined;
    return work.commitsWait || isForeground ? done : undefined;
  }

  /** Somebody waits for everything to be written down. */
  get isWanted(): boolean {
    return this.#wanted !== undefined;
  }

  /** False while work is under way, if it is not taken for dead. */
  get #isFree(): boolean {
    return this.#work === undefined || this.#host.environment.monotonic() - this.#work.began >= DEAD_MS;
  }

  /** Resolves when the work has ended. */
  #begin(work: StateWork, ended: () => void): Promise<void> {
    const own = { work, began: this.#host.environment.monotonic() };
    this.#work = own;
    return work.done.then(() => {
      ended();
      if (this.#work === own) this.#work = undefined;
    });
  }

  /**
   * Writes everything down and merges it into one run. `follow` follows the ledger to its end, so that `keep` is called. Throws what keeps it from being
   * done.
   */
  async compact({ follow, progress, check }: CompactOptions): Promise<void> {
    const request = await this.#taken(follow, check);
    try {
      await this.#host.session.compactState?.(request, progress);
      await request.adopted();
    } finally {
      request.end();
    }
  }

  /**
   * What a compaction is made of. The step that takes it may be that of another request, which may be gone a moment later: whoever has asked for it works on
   * it himself. Until its end nothing else is begun.
   */
  async #taken(follow: CompactOptions["follow"], check: CompactOptions["check"]): Promise<Taken> {
    const { environment, name } = this.#host;
    for (let tries = 0; tries < TAKES_MAX; tries++) {
      if (environment.isolated === true) await new Waits(environment).until(() => this.#isFree);
      else await this.#work?.work.done;
      check();
      let taken: Taken | undefined;
      const wanted = (): void => {
        this.#wanted = undefined;
        const request = this.#request(check);
        let over = (): void => undefined;
        const done = new Promise<void>((resolve) => (over = resolve));
        const own = { work: { done, commitsWait: false }, began: environment.monotonic() };
        this.#work = own;
        const end = (): void => {
          request.release();
          if (this.#work === own) this.#work = undefined;
          over();
        };
        taken = { ...request, end };
      };
      this.#wanted = wanted;
      try {
        await follow();
      } catch (error) {
        taken?.end();
        throw error;
      } finally {
        if (this.#wanted === wanted) this.#wanted = undefined;
      }
      if (taken !== undefined) return taken;
      if (this.#stopped || !this.#host.saves()) break;
      // Something else was begun meanwhile.
    }
    throw new KVError("VacuumRefused", `${name} cannot be written to at present`);
  }

  /** Takes over a newer state, of a version that was applied here. Its runs become the keeper's. Resolves when that is done; never rejects. */
  adopt(checkpoint: Checkpoint): Promise<void> {
    const { replica } = this.#host;
    if (this.#abandoned || checkpoint.version > replica.version || checkpoint.position < this.#adopted) {
      for (const stored of checkpoint.runs) stored.close();
      return Promise.resolve();
    }
    this.#adopted = checkpoint.position;
    // Where another request is at it, which may be gone, it is overtaken.
    const before = this.#host.environment.isolated === true ? Promise.resolve() : this.#adopting;
    this.#adopting = before.then(async () => {
      try {
        await this.#replace(checkpoint);
        this.counts.adopted++;
      } catch (error) {
        // What lies in memory serves as well, and the next state comes soon.
        if (!hasCode(error, "SnapshotExpired")) this.#tell(error);
      }
    });
    return this.#adopting;
  }

  /** Begins nothing new. Resolves when what is under way has ended. */
  async stop(): Promise<void> {
    this.#stopped = true;
    if (this.#host.environment.isolated !== true) await this.#work?.work.done;
  }

  /** Gives up what is under way. */
  abandon(): void {
    this.#stopped = true;
    this.#abandoned = true;
  }

  async #replace({ version, runs: stored }: Checkpoint): Promise<void> {
    const { replica } = this.#host;
    const number = ++this.#adoption;
    const isOver = (): boolean => this.#abandoned || number !== this.#adoption;
    const { runs, release } = await openRuns(stored, replica.runs, (each) => openKeptRun(each, this.#host));
    if (isOver()) return release();
    const closed = replica.close();
    const kept = await this.#newer(closed, version);
    if (isOver()) return release();
    replica.replace(closed, runs, kept);
  }

  /** What of closed overlays, newest first, is newer than a version. */
  async #newer(closed: readonly Overlay[], version: number): Promise<Overlay | undefined> {
    const { environment, pacer } = this.#host;
    const newest = closed.filter(({ rows }) => rows > 0);
    const kept = new Overlay({ seed: environment.random() * 2 ** 31 });
    let count = 0;
    for (const [i, overlay] of newest.entries()) {
      const cursor = overlay.cursor();
      for (let ok = cursor.seek(""); ok; ok = cursor.next()) {
        const row = cursor.value;
        const isKept = row.version > version && (i === 0 || kept.get(cursor.key) === undefined);
        if (isKept) kept.put(cursor.key, row);
        if (++count % SLICE_ROWS === 0 && pacer.due()) await pacer.rest();
      }
    }
    return kept.rows > 0 ? kept : undefined;
  }

  #request(check: () => void = () => undefined): FrozenRequest {
    const { replica, source, position, environment, pacer, name, compaction, problem } = this.#host;
    const frozen: FrozenReplica = replica.freeze();
    const unpin = source.session.pin?.();
    source.pin();
    const context: StateRunContext = {
      environment,
      pacer,
      name,
      source,
      check: () => {
        check();
        if (this.#abandoned) throw new KVError("SnapshotExpired", `The state of ${name} is another one by now`);
      },
    };
    let released = false;
    let adopted = Promise.resolve();
    return {
      position,
      version: frozen.version,
      compaction,
      buildDelta: (since) => {
        this.counts.deltasBuilt++;
        return buildDelta(context, frozen.changes, { since, upto: frozen.version });
      },
      buildMerged: (runs, options) => {
        this.counts.mergesBuilt++;
        return buildMerged(context, runs, options);
      },
      adopt: (state) => void (adopted = this.adopt(state)),
      adopted: () => adopted,
      problem,
      rest: () => (pacer.due() ? pacer.rest() : undefined),
      check: context.check,
      release: () => {
        if (released) return;
        released = true;
        frozen.release();
        unpin?.();
        source.unpin();
      },
    };
  }

  #tell(cause: unknown): void {
    const message = `A newer state of ${this.#host.name} could not be taken over: ${(cause as Error).message}`;
    this.#host.problem(new KVError(cause instanceof KVError ? cause.code : "InputOutput", message, { cause }));
  }
}
