import { hasCode, KVError } from "../../core/errors.ts";
import type {
  Checkpoint,
  LedgerSession,
  Position,
  RepairedState,
  RepairStateRequest,
  StateRequest,
  StateWork,
} from "../../core/ledger.ts";
import { Garbage } from "./garbage.ts";
import { cannotMend } from "./mending.ts";
import {
  BACKGROUND_SLOTS,
  bytesOf,
  dueSlot,
  isTurn,
  newestRuns,
  OVERDUE_SLOTS,
  RUNS_MAX,
  runsToMerge,
} from "./merge-plan.ts";
import { type Published, Publisher } from "./publish.ts";
import type { Root, RootRun } from "./root.ts";
import { readBatchIds, type RunObject, runObject } from "./run-object.ts";
import { GaveUp, readRoot, type SeenRoot, type StateSite } from "./state-site.ts";

const MIB = 1024 * 1024;
/**
 * `merged`: runs of at most so many bytes together are merged in passing. `compacted`: a run is made in memory, and sent in one piece: larger ones are never made
 * of others, whoever asks for it. `merges`: one after the other, each of what the one before has made; an isolate may not make the requests of several.
 */
const LIMITS = {
  process: { merged: 16 * MIB, compacted: 1024 * MIB, merges: 3 },
  isolated: { merged: 4 * MIB, compacted: 16 * MIB, merges: 1 },
} as const;
/** How often `vacuum` begins again because others have merged. */
const COMPACTIONS_MAX = 8;

type CompactProgress = Parameters<NonNullable<LedgerSession["compactState"]>>[1];

interface ObjectCheckpoint extends Checkpoint {
  readonly runs: readonly RunObject[];
}

/**
 * The state of a ledger in an object store, for one session: where reading begins, what is taken over from others, and when it is this session's turn to
 * write it down. Nothing here is needed for commits to be right; it bounds what an open has to read.
 */
export class ObjectState {
  readonly #state: StateSite;
  readonly #garbage: Garbage;
  readonly #publisher: Publisher;
  /** Before this slot nothing is uploaded that could not be published: the credential may not replace the root. */
  #deniedUntil = 0;
  /** Slots that were written here since it was last found out whether it is this session's turn. */
  #ownSlots: number[] = [];
  #newestSlot = 0;
  /** What the engine was last given. */
  #given: { readonly slot: number; readonly epoch: number };
  /** What was told of, so that it is told once. */
  #told: string | undefined;
  #isToldOfRuns = false;
  /** What an open begins with. */
  readonly #opened: ObjectCheckpoint | undefined;
  readonly #figures = { checkpoints: 0, merges: 0 };

  constructor(state: StateSite) {
    this.#state = state;
    this.#garbage = new Garbage(state);
    this.#publisher = new Publisher(state, this.#garbage);
    const { checkpointSlot, epoch } = state.found().root;
    this.#given = { slot: checkpointSlot, epoch };
    // What an open reads is asked for at once.
    this.#opened = this.#stateOf(state.found().root);
    for (const run of this.#opened?.runs ?? []) run.prefetch();
  }

  /** For `stats`. */
  get figures(): Readonly<Record<string, number>> {
    return { ...this.#figures, ...this.#garbage.figures };
  }

  /** See `LedgerSession.openState`. */
  openState(): Checkpoint | undefined {
    return this.#opened;
  }

  /** A state that is newer than what the engine was given, and does not reach beyond `position`. */
  newerState(position: Position): Checkpoint | undefined {
    const { root } = this.#state.found();
    const isNewer = root.checkpointSlot > this.#given.slot || root.epoch > this.#given.epoch;
    if (!isNewer || root.nonce !== this.#state.site.nonce || root.checkpointSlot > position) return undefined;
    this.#given = { slot: root.checkpointSlot, epoch: root.epoch };
    return this.#stateOf(root);
  }

  /** A slot was written here. */
  wrote(slot: number): void {
    this.#ownSlots.push(slot);
    this.#newestSlot = slot;
  }

  /** The batch id of a slot that the checkpoint covers; undefined if that is not known any more. Throws what keeps it from being found out. */
  async batchIdOf(slot: number): Promise<Uint8Array | undefined> {
    const { root } = this.#state.found();
    const run = root.runs.find(({ from, to }) => from <= slot && slot <= to);
    if (root.nonce !== this.#state.site.nonce || run === undefined) return undefined;
    const ids = await readBatchIds(run, this.#state);
    return ids[slot - run.to - 1 + ids.length];
  }

  // --- in passing --------------------------------------------------------------------------------------------------

  /** See `LedgerSession.keepState`. */
  keepState(request: StateRequest): StateWork | undefined {
    // A state ends with a slot, and never within one.
    if (!Number.isInteger(request.position)) return undefined;
    const { root } = this.#state.found();
    const due = dueSlot(root, request.position, this.#state.facts);
    const own = this.#ownSlots;
    this.#ownSlots = [];
    const turn = due === undefined ? undefined : own.findLast((slot) => isTurn(slot, due));
    const isAllowed = request.position >= this.#deniedUntil;
    if (due !== undefined && turn !== undefined && isAllowed) {
      return this.#work(request, () => this.#checkpoint(request, root, due), due);
    }
    if (request.compaction && this.#mergeable(root, request) !== undefined) {
      return this.#work(request, () => this.#mergeAll(request));
    }
    return this.#garbage.isDue ? this.#work(request, () => this.#garbage.pass()) : undefined;
  }

  #work(request: StateRequest, task: () => Promise<void>, due = Infinity): StateWork {
    let isDone = false;
    const done = task()
      .then(
        () => void (this.#told = undefined),
        (error: unknown) => this.#failed(request, error, due),
      )
      .finally(() => (isDone = true));
    const newest = (): number => Math.max(request.position, this.#newestSlot);
    return {
      done,
      get commitsWait() {
        return !isDone && newest() >= due + BACKGROUND_SLOTS;
      },
    };
  }

  /** Nobody needs a checkpoint for anything but speed: what fails is told once, and tried again at the next turn. */
  #failed({ position, problem }: StateRequest, error: unknown, due: number): void {
    if (error instanceof GaveUp) return;
    const cause = error instanceof KVError ? error : undefined;
    const code = cause?.code ?? "InputOutput";
    // A value that is gone, or the session: others will do it.
    if (code === "SnapshotExpired" || code === "Closed") return;
    const isDenied = code === "AccessDenied";
    if (isDenied && position < due + OVERDUE_SLOTS) return;
    if (this.#told === code) return;
    this.#told = code;
    const { name } = this.#state.site;
    const message = isDenied
      ? `${name} has had no checkpoint for ${position - due} slots longer than it should: this credential may not write one`
      : `The state of ${name} could not be written down: ${String(error)}`;
    problem(new KVError(isDenied ? "CheckpointOverdue" : code, message, { cause: error }));
  }

  async #checkpoint(request: StateRequest, before: Root, due: number): Promise<void> {
    const seen = await readRoot(this.#state);
    const { root } = seen.found;
    if (root.checkpointSlot !== before.checkpointSlot) return this.#giveNewer(request);
    const published = await this.#publishDelta(request, seen).catch((error: unknown) => {
      // Its run is in the bucket by now, for nothing: that is not done again at each turn, though rights may change.
      const { position } = request;
      const isOverdue = position >= due + OVERDUE_SLOTS;
      if (hasCode(error, "AccessDenied")) this.#deniedUntil = (isOverdue ? position : due) + OVERDUE_SLOTS;
      throw error;
    });
    if (published === undefined) return this.#giveNewer(request);
    const { merges } = this.#figures;
    const merged = await this.#merge(request, published);
    // Likewise: whoever has merged leaves the rest to the next.
    if (this.#isIsolated && this.#figures.merges > merges) return;
    await this.#garbage.sweep(merged, seen.at);
  }

  /** Merges as long as there is something to merge. Returns the newest root. */
  async #merge(request: StateRequest, seen: SeenRoot): Promise<SeenRoot> {
    let now = seen;
    for (let merges = 0; merges < this.#limits.merges; merges++) {
      const span = this.#mergeable(now.found.root, request);
      if (span === undefined) break;
      request.check();
      const published = await this.#publisher.merge(request, now, span);
      if (published === undefined) break;
      this.#figures.merges++;
      now = this.#give(request, published);
    }
    this.#tellOfRuns(request, now.found.root);
    return now;
  }

  async #mergeAll(request: StateRequest): Promise<void> {
    await this.#merge(request, await readRoot(this.#state));
  }

  #mergeable({ runs }: Root, { compaction }: StateRequest): ReturnType<typeof runsToMerge> {
    return runsToMerge(runs, this.#limits[compaction ? "compacted" : "merged"]);
  }

  get #limits(): (typeof LIMITS)["process" | "isolated"] {
    return LIMITS[this.#isIsolated ? "isolated" : "process"];
  }

  get #isIsolated(): boolean {
    return this.#state.site.environment.isolated === true;
  }

  #tellOfRuns({ problem }: StateRequest, { runs }: Root): void {
    // Where even that would merge nothing, nobody needs to be told of it.
    const isTooMany = runs.length > RUNS_MAX && newestRuns(runs, LIMITS.process.compacted) !== undefined;
    if (isTooMany && !this.#isToldOfRuns) {
      const { name } = this.#state.site;
      const who = this.#isIsolated ? "vacuum() in a process" : "vacuum()";
      const message = `The state of ${name} lies in ${runs.length} runs, which makes it slow to read: ${who} merges them`;
      problem(new KVError("CheckpointOverdue", message));
    }
    this.#isToldOfRuns = isTooMany;
  }

  // --- vacuum ------------------------------------------------------------------------------------------------------

  /** See `LedgerSession.compactState`. */
  async compactState(request: StateRequest, progress: CompactProgress): Promise<void> {
    try {
      await this.#compact(request, progress);
    } catch (error) {
      if (!(error instanceof GaveUp)) throw error;
      const message = `The state of ${this.#state.site.name} is another one by now`;
      throw new KVError("SnapshotExpired", message, { cause: error });
    }
  }

  async #compact(request: StateRequest, progress: CompactProgress): Promise<void> {
    for (let tries = 0; tries < COMPACTIONS_MAX; tries++) {
      request.check();
      let seen = await readRoot(this.#state);
      const { at } = seen;
      if (seen.found.root.checkpointSlot < request.position) {
        const published = await this.#publishDelta(request, seen);
        if (published === undefined) continue;
        seen = published;
      }
      const merged = await this.#compactRuns(request, seen, progress);
      if (merged === undefined) continue;
      await this.#garbage.sweep(merged, at);
      return;
    }
    throw new KVError("Contention", `Others have always merged the runs of ${this.#state.site.name} first`);
  }

  /** Merges neighbours, the newest first, until no two fit into one run. Undefined if others have merged runs meanwhile. */
  async #compactRuns(request: StateRequest, seen: SeenRoot, progress: CompactProgress): Promise<SeenRoot | undefined> {
    for (let now = seen; ;) {
      const { runs } = now.found.root;
      const span = newestRuns(runs, this.#limits.compacted);
      if (span === undefined) return now;
      request.check();
      const ofBytes = bytesOf(runs, span);
      const told = (doneBytes: number): void => progress({ doneBytes, ofBytes });
      const published = await this.#publisher.merge(request, now, span, told);
      if (published === undefined) return undefined;
      this.#figures.merges++;
      now = this.#give(request, published);
      progress({ doneBytes: published.run.size, ofBytes: published.run.size });
    }
  }

  /** See `LedgerSession.repairState`. */
  async repairState(request: RepairStateRequest): Promise<RepairedState | undefined> {
    const { mending, site } = this.#state;
    if (mending === undefined) throw cannotMend(site.name);
    return await mending.repairState(this.#state, request);
  }

  // --- what the engine is given ------------------------------------------------------------------------------------

  /** As `Publisher.delta`, and the root that names it. */
  async #publishDelta(request: StateRequest, seen: SeenRoot): Promise<SeenRoot | undefined> {
    const published = await this.#publisher.delta(request, seen);
    if (published === undefined) return undefined;
    this.#figures.checkpoints++;
    return this.#give(request, published);
  }

  #giveNewer(request: StateRequest): void {
    const state = this.newerState(request.position);
    if (state !== undefined) request.adopt(state);
  }

  #give(request: StateRequest, { seen, run, made }: Published): SeenRoot {
    const { root } = seen.found;
    this.#given = { slot: root.checkpointSlot, epoch: root.epoch };
    const state = this.#stateOf(root, { run, made });
    if (state !== undefined) request.adopt(state);
    return seen;
  }

  /** The state that a root names, its runs not read yet, but for one that was made here. */
  #stateOf(root: Root, own?: { readonly run: RootRun; readonly made: Uint8Array }): ObjectCheckpoint | undefined {
    if (root.runs.length === 0) return undefined;
    const runs = root.runs.map((run) =>
      runObject(run, { ...this.#state, ...(own?.run.random === run.random && { made: own.made }) }),
    );
    return { position: root.checkpointSlot, version: root.checkpointVersion, runs };
  }
}
