import { KVError } from "../../core/errors.ts";
import type { CommitRecord, Place, Version } from "../../core/ledger.ts";
import { equalBytes } from "../../core/bytes.ts";
import { placesOf, SLOT_PAYLOAD_BYTES_MAX, versionOf } from "./place.ts";
import type { Batch } from "./settle.ts";
import type { Site } from "./site.ts";
import {
  BATCH_ID_BYTES,
  encodedBytesMax,
  encodeSlot,
  type Hole,
  LARGE_SLOT_BYTES_MAX,
  SLOT_BYTES_MAX,
  SLOT_COMMITS_MAX,
  SLOT_FRAME_BYTES,
  type SlotCommit,
} from "./slot.ts";
import { checksBytesMin, partsToStage, type Stager } from "./staged.ts";

/** A batch, and what its commits are called once it is in the ledger. */
export interface BuiltBatch extends Batch {
  readonly versions: readonly Version[];
  readonly places: readonly Place[];
}

/** The slot that is to be written. */
export interface NextSlot {
  readonly slot: number;
  /** SHA-256 of the object of the slot before. */
  readonly predecessor: Uint8Array;
}

/**
 * Makes a slot of the first of these commits, as many as fit: their large values uploaded, everything else in one object. Throws `CommitTooLarge` if not
 * even the first one fits.
 */
export async function buildBatch(
  site: Site,
  stager: Stager,
  commits: readonly CommitRecord[],
  { slot, predecessor }: NextSlot,
): Promise<BuiltBatch> {
  const { environment, nonce } = site;
  const author = commits[0].writer;
  const chosen = choose(commits, site.name);
  const parts: SlotCommit[] = [];
  stager.begin();
  for (const { commit, stage } of chosen) {
    const holes: readonly Hole[] = stage.length === 0 ? [] : await stager.stage(commit, stage, slot);
    parts.push({ counter: commit.counter, timestamp: commit.timestamp, payload: commit.payload, holes });
  }
  const batchId = environment.randomBytes(BATCH_ID_BYTES);
  const head = { nonce, slot, predecessor, author, batchId };
  const { bytes, froms } = encodeSlot({ ...head, commits: parts }, environment.crc32);
  const placed = parts.map(({ payload, holes }, i) => ({ from: froms[i], length: payload.length, holes }));
  return {
    slot,
    bytes,
    hash: await environment.sha256(bytes),
    batchId,
    versions: parts.map((_, i) => versionOf(slot, i)),
    places: placesOf(slot, placed),
    ambiguous: false,
  };
}

interface Chosen {
  readonly commit: CommitRecord;
  readonly stage: ReturnType<typeof partsToStage>;
}

/** The first commits, as many as one slot takes. */
function choose(commits: readonly CommitRecord[], name: string): readonly Chosen[] {
  const chosen: Chosen[] = [];
  let bytes = SLOT_FRAME_BYTES;
  let payloads = 0;
  for (const commit of commits) {
    // One author a slot.
    if (chosen.length === SLOT_COMMITS_MAX || !equalBytes(commit.writer, commits[0].writer)) break;
    const stage = partsToStage(commit.payload);
    const size = encodedBytesMax(commit.payload, stage);
    bytes += size;
    payloads += commit.payload.length;
    if (chosen.length > 0 && (bytes > SLOT_BYTES_MAX || payloads > SLOT_PAYLOAD_BYTES_MAX)) break;
    if (bytes > LARGE_SLOT_BYTES_MAX) throw tooLarge(size, name);
    chosen.push({ commit, stage });
    // A larger one goes alone.
    if (bytes > SLOT_BYTES_MAX) break;
  }
  return chosen;
}

/**
 * Why a commit cannot be written, if so: it is too large even when its large values lie elsewhere. Its checks are not counted: they are not
 * written.
 */
export function refuseLarge(payload: Uint8Array, name: string): KVError | undefined {
  if (payload.length + SLOT_FRAME_BYTES < SLOT_BYTES_MAX) return undefined;
  const size = encodedBytesMax(payload, partsToStage(payload)) - checksBytesMin(payload);
  return size + SLOT_FRAME_BYTES > LARGE_SLOT_BYTES_MAX ? tooLarge(size, name) : undefined;
}

function tooLarge(bytes: number, name: string): KVError {
  const message = `The commit has ${bytes} bytes beside its large values; ${name} takes at most ${LARGE_SLOT_BYTES_MAX}`;
  return new KVError("CommitTooLarge", message, { outcome: "not committed" });
}
