import { whenLoaded } from "./bytes-at.ts";
import { type Commit, isPlain } from "./commit.ts";
import type { HeldRun } from "./held-run.ts";
import type { EncodedKey } from "./key.ts";
import { type KeyBounds, type Layer, LayeredView } from "./layers.ts";
import type { OrderedCursor } from "./ordered-view.ts";
import { type FrozenOverlay, Overlay } from "./overlay.ts";
import type { Change, CommitPlace, Row } from "./resolve.ts";

/** The snapshot that a ledger begins with: everything below a version. */
export interface ReplicaBase {
  readonly run: HeldRun;
  readonly below: number;
}

/** What a replica starts from. The holds on the runs become its own. */
export interface ReplicaStart {
  readonly base?: ReplicaBase | undefined;
  /** Newest first: what changed since. */
  readonly runs?: readonly HeldRun[];
  readonly version?: number;
}

/**
 * The state at the visible version: a snapshot, runs with what changed since, and overlays in memory with what came last. All changes go into the
 * newest overlay; older ones are closed and wait for being written to a run.
 */
export class Replica implements Layer {
  /** The visible version. Moves only at the end of a commit. */
  version: number;
  /** Versions of the void commits met here; those that runs cover are told by the runs. */
  readonly voidVersions = new Set<number>();
  readonly #seed: number;
  #overlays: readonly Overlay[] = [];
  #runs: readonly HeldRun[];
  #base: ReplicaBase | undefined;
  #view: LayeredView;

  constructor(start: ReplicaStart, seed: number) {
    this.#seed = seed;
    this.version = start.version ?? 0;
    this.#overlays = [this.#newOverlay()];
    this.#runs = start.runs ?? [];
    this.#base = start.base;
    this.#view = this.#makeView();
  }

  get(key: EncodedKey): Row | undefined {
    return this.#view.get(key);
  }

  /** The state must not change while the cursor is in use. */
  cursor(bounds?: KeyBounds): OrderedCursor<Row> {
    return this.#view.cursor(bounds);
  }

  apply(version: number, changes: readonly Change[]): void {
    const overlay = this.#overlays[0];
    for (const { key, row } of changes) overlay.put(key, row);
    this.version = version;
  }

  /**
   * Applies a commit that only sets and deletes, as `resolve` would have it and without making rows of it. False, with nothing done, if it holds
   * anything else.
   */
  applyPlain(commit: Commit, at: CommitPlace): boolean {
    if (!isPlain(commit)) return false;
    const { operations } = commit;
    const overlay = this.#overlays[0];
    for (let order = 0; order < operations.length; order++) overlay.putPlain(operations[order], at, order);
    this.version = at.version;
    return true;
  }

  /** The state as it is now, until released. */
  freeze(): FrozenReplica {
    return new FrozenReplica(this.version, this.#overlays, this.#runs, this.#base);
  }

  /** About how many keys there are: exact while all of them lie in one layer, too many by those that several layers hold. */
  get keys(): number {
    const runs = this.#base === undefined ? this.#runs : [...this.#runs, this.#base.run];
    const inRuns = runs.reduce((sum, { run }) => sum + run.info.entries - run.info.tombstones, 0);
    return this.#overlays.reduce((sum, overlay) => sum + overlay.size, inRuns);
  }

  /** How much it takes, and where: about, in bytes. */
  get size(): {
    readonly overlayBytes: number;
    readonly runs: number;
    readonly runBytes: number;
    readonly runBytesInMemory: number;
  } {
    const runs = this.#base === undefined ? this.#runs : [...this.#runs, this.#base.run];
    const bytesOf = (some: readonly HeldRun[]): number => some.reduce((sum, { stored }) => sum + stored.length, 0);
    return {
      overlayBytes: this.#overlays.reduce((sum, overlay) => sum + overlay.bytes, 0),
      runs: runs.length,
      runBytes: bytesOf(runs),
      runBytesInMemory: bytesOf(runs.filter(({ stored }) => stored.isInMemory === true)),
    };
  }

  /** Versions of all void commits since the snapshot. */
  async allVoidVersions(): Promise<ReadonlySet<number>> {
    const versions = new Set(this.voidVersions);
    const runs = this.#runs;
    for (const run of runs) run.hold();
    try {
      for (const run of runs) for (const version of await whenLoaded(() => run.voidVersions())) versions.add(version);
    } finally {
      for (const run of runs) run.release();
    }
    return versions;
  }

  /** About how many bytes these hold that the present state does not need. */
  pinnedBytes(frozen: Iterable<FrozenReplica>): number {
    const needed = new Set<unknown>([...this.#overlays, ...this.#runs, this.#base?.run]);
    const held = new Map<unknown, number>();
    let bytes = 0;
    for (const { overlays, runs } of frozen) {
      for (const overlay of overlays) if (!needed.has(overlay)) held.set(overlay, overlay.bytes);
      for (const run of runs) if (!needed.has(run)) held.set(run, run.stored.length);
    }
    for (const size of held.values()) bytes += size;
    return this.#overlays.reduce((sum, overlay) => sum + overlay.olderBytes, bytes);
  }

  // --- for whoever turns overlays into runs ------------------------------------------------------------------------

  /** The newest overlay, into which all changes go. */
  get newest(): Overlay {
    return this.#overlays[0];
  }

  /** Newest first. */
  get runs(): readonly HeldRun[] {
    return this.#runs;
  }

  get base(): ReplicaBase | undefined {
    return this.#base;
  }

  /** Closes the newest overlay, and returns all that are closed, newest first: what is applied from now on goes into another. */
  close(): readonly Overlay[] {
    const closed = this.#overlays;
    this.#overlays = [this.#newOverlay(), ...closed];
    this.#view = this.#makeView();
    return closed;
  }

  /**
   * Other runs instead of the present ones and of these closed overlays, of which `kept` holds what is newer than the runs. The holds on the runs become the
   * replica's own; runs that stay are in both lists.
   */
  replace(closed: readonly Overlay[], runs: readonly HeldRun[], kept?: Overlay): void {
    const before = this.#runs;
    const left = this.#overlays.filter((overlay) => !closed.includes(overlay));
    this.#overlays = kept === undefined ? left : [...left, kept];
    this.#runs = runs;
    this.#view = this.#makeView();
    for (const run of before) if (!runs.includes(run)) run.release();
  }

  /** A new snapshot, which covers what it covers in all other layers. The hold on its run becomes the replica's own. */
  rebase(base: ReplicaBase): void {
    const before = this.#base;
    this.#base = base;
    // What lies wholly below the snapshot is not seen any more. Its void versions neither: those above have to stay known.
    const seen = this.#runs.filter(({ run }) => run.info.upto >= base.below);
    const hidden = this.#runs.filter((run) => !seen.includes(run));
    this.#runs = seen;
    if (this.version < base.below) this.#overlays = [this.#newOverlay()];
    this.#view = this.#makeView();
    before?.run.release();
    for (const run of hidden) run.release();
  }

  /** Lets go of all runs. What was frozen stays readable. */
  release(): void {
    for (const run of this.#runs) run.release();
    this.#base?.run.release();
    this.#runs = [];
    this.#base = undefined;
  }

  #newOverlay(): Overlay {
    // As long as nobody reads in order, none is made but for what is saved.
    const before = this.#overlays.at(0);
    const { isReadInOrder, rows: expected } = before ?? { isReadInOrder: false, rows: 0 };
    return new Overlay({ seed: this.#seed, isReadInOrder, expected });
  }

  #makeView(): LayeredView {
    return layersOf(this.#overlays, this.#runs, this.#base);
  }
}

function layersOf(overlays: readonly Layer[], runs: readonly HeldRun[], base: ReplicaBase | undefined): LayeredView {
  return new LayeredView(
    [...overlays, ...runs],
    base === undefined ? undefined : { layer: base.run, below: base.below },
  );
}

/** A replica at one version, unchangeable until it is released. */
export class FrozenReplica implements Layer {
  readonly version: number;
  /** What it reads from, newest first. */
  readonly overlays: readonly Overlay[];
  readonly runs: readonly HeldRun[];
  readonly #newest: FrozenOverlay;
  readonly #view: LayeredView;
  #released = false;

  constructor(
    version: number,
    [newest, ...closed]: readonly Overlay[],
    runs: readonly HeldRun[],
    base: ReplicaBase | undefined,
  ) {
    this.version = version;
    this.overlays = [newest, ...closed];
    this.#newest = newest.freeze();
    this.runs = base === undefined ? runs : [...runs, base.run];
    for (const run of this.runs) run.hold();
    this.#view = layersOf([this.#newest, ...closed], runs, base);
  }

  get(key: EncodedKey): Row | undefined {
    return this.#view.get(key);
  }

  cursor(bounds?: KeyBounds): OrderedCursor<Row> {
    return this.#view.cursor(bounds);
  }

  /** What of it lies in memory, and in no run: all that has changed since the newest of them, and perhaps more. */
  get changes(): Layer {
    const [, ...closed] = this.overlays;
    return new LayeredView([this.#newest, ...closed], undefined);
  }

  /** Nobody reads from it any more. Idempotent. */
  release(): void {
    if (this.#released) return;
    this.#released = true;
    this.#newest.release();
    for (const run of this.runs) run.release();
  }
}
