import { ArrivingBytes } from "../../core/bytes-at.ts";
import { KVError } from "../../core/errors.ts";
import type { StoredRun } from "../../core/ledger.ts";
import { batchIdsBytes, decodeBatchIds } from "./batch-ids.ts";
import { runKey, SLOT_VERSIONS } from "./layout.ts";
import type { ByteRange } from "./object-store.ts";
import type { RootObject } from "./root-object.ts";
import type { RootRun } from "./root.ts";
import type { Site } from "./site.ts";

/** A run of at most so many bytes is read at once, and kept as long as it is open. */
export const WHOLE_BYTES_MAX: number = 64 * 1024;
/** Chunks kept of a run that is passed through: an entry's value may lie in the one before. */
const CHUNKS_MAX = 2;

export interface RunObjectOptions {
  readonly site: Site;
  /** Asked whether a run that is gone is still named. */
  readonly rootObject: RootObject;
  /** Told when it is not: what was read here is not what everybody goes on with. */
  readonly gone: () => void;
  /** For whoever reads all of it, once and in order: how much at a time. */
  readonly partBytes?: number;
  /** The run, if it was made here: what opening it needs is not read again. */
  readonly made?: Uint8Array;
}

/** A run in an object store. */
export interface RunObject extends StoredRun {
  /** Asks for the beginning of what opening the run reads: for whoever is about to open it. */
  prefetch(): void;
}

/**
 * A run in an object store. Everything is read when it is asked for, and never twice at once. A run that nobody needs any more may be deleted while it is
 * open: reading it is `SnapshotExpired` then.
 */
export function runObject(run: RootRun, { site, rootObject, gone, partBytes = 0, made }: RunObjectOptions): RunObject {
  // All that stays for as long as it is open: not what was made here.
  const options = { site, rootObject, gone };
  const { isolated = false } = site.environment;
  const { size, from, to } = run;
  const isWhole = size <= WHOLE_BYTES_MAX;
  const openFrom = isWhole ? 0 : run.footerPlace;
  const source = new ArrivingBytes((place, length) => load(run, { from: place, length }, options), { isolated });
  const keptMax = isWhole || partBytes > 0 ? CHUNKS_MAX : 0;
  // What was made here is read once at least, whatever is kept.
  const kept: Part[] = made === undefined ? [] : [{ from: openFrom, bytes: made.slice(openFrom) }];
  const partWith = (place: number, end: number): Part => {
    const known = kept.find((part) => part.from <= place && part.from + part.bytes.length >= end);
    if (known !== undefined) return known;
    const partFrom = isWhole ? 0 : place;
    const length = isWhole ? size : Math.min(Math.max(partBytes, end - place), size - place);
    const part = { from: partFrom, bytes: source.read(partFrom, length) };
    kept.unshift(part);
    return part;
  };
  return {
    id: `${site.name}/${runKey(site.nonce, run)}`,
    length: size,
    openFrom,
    covers: { from: from * SLOT_VERSIONS, to: (to + 1) * SLOT_VERSIONS },
    isInMemory: isWhole,
    read: (place, length) => {
      const end = Math.min(size, place + length);
      const part = partWith(place, end);
      kept.length = Math.min(kept.length, keptMax);
      return part.bytes.subarray(place - part.from, end - part.from);
    },
    readAnew: () => void kept.splice(0),
    passed: (bytesAtOnce) => runObject(run, { ...options, partBytes: bytesAtOnce }),
    prefetch: () => source.expect(openFrom, size - openFrom),
    close: () => undefined,
  };
}

/** Bytes of a run, from a place on. */
interface Part {
  readonly from: number;
  readonly bytes: Uint8Array;
}

/** The batch ids behind a run, of its newest slots, oldest first. Throws as reading the run does. */
export async function readBatchIds(run: RootRun, options: RunObjectOptions): Promise<readonly Uint8Array[]> {
  const { size, batchIds } = run;
  if (batchIds === 0) return [];
  const bytes = await load(run, { from: size, length: batchIdsBytes(batchIds) }, options);
  return decodeBatchIds(bytes, batchIds, options.site.environment.crc32, nameOf(run, options));
}

/** Exactly these bytes. */
async function load(run: RootRun, range: ByteRange, options: RunObjectOptions): Promise<Uint8Array> {
  const { store, nonce } = options.site;
  for (let isLast = false; ; isLast = true) {
    const answer = await store.get(runKey(nonce, run), range);
    if (answer.status === "absent") throw await missing(run, options);
    if (answer.status === "beyond") throw damaged(run, options, "it is shorter than the root says");
    if (answer.status !== "found") throw answer.error;
    const { bytes, size } = answer;
    if (bytes.length === range.length) return bytes;
    if (size < range.from + range.length) throw damaged(run, options, `only ${size} bytes of it are there`);
    // Half of an answer may arrive once.
    if (!isLast) continue;
    throw new KVError("InputOutput", `Only a part of what was asked for of ${nameOf(run, options)} arrives`);
  }
}

/** What is not there was replaced, unless the root, asked now, names it. */
async function missing(run: RootRun, options: RunObjectOptions): Promise<KVError> {
  const { site, rootObject, gone } = options;
  const answer = await rootObject.read();
  if (answer.status === "failed") return answer.error;
  const isNamed =
    answer.status === "found" &&
    answer.root.nonce === site.nonce &&
    answer.root.runs.some((each) => runKey(site.nonce, each) === runKey(site.nonce, run));
  if (isNamed) return damaged(run, options, "it is not there");
  gone();
  return new KVError("SnapshotExpired", `${nameOf(run, options)} is not kept any more: there is a newer state`);
}

function damaged(run: RootRun, options: RunObjectOptions, why: string): KVError {
  return new KVError("LedgerDamaged", `${nameOf(run, options)} is damaged: ${why}`);
}

/** For messages. */
function nameOf(run: RootRun, { site }: RunObjectOptions): string {
  return `${runKey(site.nonce, run)} of ${site.name}`;
}
