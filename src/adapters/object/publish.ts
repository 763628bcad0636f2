import { hasCode, KVError } from "../../core/errors.ts";
import type { BuiltState, StateRequest } from "../../core/ledger.ts";
import { BATCH_IDS_MAX, encodeBatchIds } from "./batch-ids.ts";
import type { Garbage } from "./garbage.ts";
import { runKey, type RunName } from "./layout.ts";
import type { RunSpan } from "./merge-plan.ts";
import type { Root, RootRun } from "./root.ts";
import { readBatchIds, runObject } from "./run-object.ts";
import type { Site } from "./site.ts";
import { drawRandom, GaveUp, replaceRoot, type SeenRoot, type StateSite } from "./state-site.ts";

/** How often the same run is sent while it is not known whether it has arrived. */
const SENDS_MAX = 3;
/** What is merged is read once, so much at a time. */
const PART_BYTES: number = 4 * 1024 * 1024;
const ISOLATED_PART_BYTES: number = 1024 * 1024;
/** How often a root is replaced anew because others have changed something else in it. */
const REPLACES_MAX = 8;

/** A root that names what was made here. `made`: the new run's bytes. */
export interface Published {
  readonly seen: SeenRoot;
  readonly run: RootRun;
  readonly made: Uint8Array;
}

/** Uploads runs, and puts them into the root, if that is still what they were made for. */
export class Publisher {
  readonly #state: StateSite;
  readonly #garbage: Garbage;

  constructor(state: StateSite, garbage: Garbage) {
    this.#state = state;
    this.#garbage = garbage;
  }

  /**
   * Makes the slots behind the checkpoint, up to the request's position, a run, and that the newest of the checkpoint. Undefined if somebody has written
   * another checkpoint, or merged runs, meanwhile: a delta only ever continues what it was made for.
   */
  async delta(request: StateRequest, seen: SeenRoot): Promise<Published | undefined> {
    const { checkpointSlot, checkpointVersion, epoch } = seen.found.root;
    const { position, version } = request;
    const last = this.#state.facts(position);
    const ids = this.#idsBetween(checkpointSlot + 1, position);
    if (last === undefined || ids === undefined) throw new GaveUp("not all of these slots were read here");
    if (last.lastVersion !== version) throw new RangeError(`Version ${version} does not end slot ${position}`);
    const built = await request.buildDelta(checkpointVersion);
    const run = await this.#upload(built, ids, { epoch, from: checkpointSlot + 1, to: position });
    const continued = (root: Root): Root | undefined =>
      root.checkpointSlot !== checkpointSlot || root.epoch !== epoch
        ? undefined
        : {
            ...root,
            runs: [run, ...root.runs],
            checkpointSlot: position,
            previousCheckpointSlot: checkpointSlot,
            checkpointVersion: version,
            checkpointHash: last.hash,
            tailHint: Math.max(root.tailHint, position),
          };
    const published = await this.#put(run, seen, continued);
    return published && { seen: published, run, made: built.bytes };
  }

  /** Makes some of the runs one. Undefined if others have merged runs meanwhile. Newer ones, which came in between, stay. */
  async merge(
    request: StateRequest,
    seen: SeenRoot,
    { first, count }: RunSpan,
    progress?: (bytes: number) => void,
  ): Promise<Published | undefined> {
    const { runs, epoch } = seen.found.root;
    const merged = runs.slice(first, first + count);
    const lowest = first + count === runs.length;
    const { isolated } = this.#state.site.environment;
    const options = { ...this.#state, partBytes: isolated === true ? ISOLATED_PART_BYTES : PART_BYTES };
    const ids = await this.#idsOf(merged);
    const stored = merged.map((run) => runObject(run, options));
    const built = await request.buildMerged(stored, { lowest, ...(progress && { progress }) });
    // Of the epoch that it makes: until then, nobody takes it for a run that was replaced.
    const covered = { epoch: epoch + 1, from: merged[count - 1].from, to: merged[0].to };
    const run = await this.#upload(built, ids, covered);
    const replaced = (root: Root): Root | undefined => {
      const at = root.runs.findIndex(({ random }) => random === merged[0].random);
      const isSame = merged.every(({ random }, i) => root.runs[at + i]?.random === random);
      if (root.epoch !== epoch || at < 0 || !isSame) return undefined;
      return { ...root, runs: root.runs.toSpliced(at, count, run), epoch: epoch + 1 };
    };
    const published = await this.#put(run, seen, replaced);
    if (published === undefined) return undefined;
    this.#garbage.merged();
    return { seen: published, run, made: built.bytes };
  }

  /**
   * Replaces the root by what `change`, which puts a new run into it, makes of it, as often as others change something that does not matter for it. What it
   * throws leaves open whether that is still going to happen.
   */
  async #put(
    { random }: RootRun,
    seen: SeenRoot,
    change: (root: Root) => Root | undefined,
  ): Promise<SeenRoot | undefined> {
    let published: SeenRoot | undefined;
    let now = seen;
    for (let tries = 0; published === undefined && tries < REPLACES_MAX; tries++) {
      const next = change(now.found.root);
      if (next === undefined) break;
      const { status, seen: after } = await replaceRoot(this.#state, now, {
        ...next,
        ...(await this.#garbage.changes(now)),
      });
      if (status === "replaced") published = after;
      now = after;
    }
    this.#garbage.settled(random);
    return published;
  }

  async #upload(
    built: BuiltState,
    ids: readonly Uint8Array[],
    covered: Pick<RootRun, "epoch" | "from" | "to">,
  ): Promise<RootRun> {
    const { site } = this.#state;
    const random = drawRandom(site);
    this.#garbage.uploaded(random);
    return await uploadRun(site, built, { ...covered, random, ids });
  }

  // --- batch ids ---------------------------------------------------------------------------------------------------

  #idsBetween(from: number, to: number): Uint8Array[] | undefined {
    const ids: Uint8Array[] = [];
    for (let slot = from; slot <= to; slot++) {
      const facts = this.#state.facts(slot);
      if (facts === undefined) return undefined;
      ids.push(facts.batchId);
    }
    return ids;
  }

  /** Those of the newest slots that these runs, newest first, cover, without a gap. */
  async #idsOf(runs: readonly RootRun[]): Promise<Uint8Array[]> {
    const parts: (readonly Uint8Array[])[] = [];
    let count = 0;
    for (const run of runs) {
      const ids = this.#idsBetween(run.to - run.batchIds + 1, run.to) ?? (await this.#readIds(run));
      parts.unshift(ids);
      count += ids.length;
      if (count >= BATCH_IDS_MAX || ids.length < run.to - run.from + 1) break;
    }
    return parts.flat().slice(-BATCH_IDS_MAX);
  }

  /** None if they are damaged: then an author who asks for one of them is told that it is not known. */
  async #readIds(run: RootRun): Promise<readonly Uint8Array[]> {
    try {
      return await readBatchIds(run, this.#state);
    } catch (error) {
      if (!hasCode(error, "LedgerDamaged")) throw error;
      return [];
    }
  }
}

/** Uploads a run with the batch ids of its newest slots behind it, oldest first. Throws what keeps it from being stored. */
export async function uploadRun(
  site: Site,
  { bytes, openFrom }: BuiltState,
  { ids, ...name }: RunName & { readonly ids: readonly Uint8Array[] },
): Promise<RootRun> {
  const encoded = encodeBatchIds(ids, site.environment.crc32);
  const object = new Uint8Array(bytes.length + encoded.bytes.length);
  object.set(bytes);
  object.set(encoded.bytes, bytes.length);
  for (let sent = 1; ; sent++) {
    const answer = await site.store.create(runKey(site.nonce, name), object);
    // Nobody else draws the same name.
    if (answer.status === "created" || answer.status === "exists") break;
    if (answer.status === "denied" || answer.status === "refused") throw answer.error;
    if (sent < SENDS_MAX) continue;
    const message = `A run could not be uploaded to ${site.name}`;
    throw answer.status === "ambiguous" ? answer.error : new KVError("InputOutput", message);
  }
  return { ...name, size: bytes.length, footerPlace: openFrom, batchIds: encoded.count };
}
