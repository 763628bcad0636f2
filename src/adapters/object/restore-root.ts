import { MalformedBytes, toHex } from "../../core/bytes.ts";
import type { Environment } from "../../core/environment.ts";
import { hasCode, KVError } from "../../core/errors.ts";
import { openPiece, readFooter, readTail, TAIL_BYTES } from "../../core/run-format.ts";
import { BATCH_IDS_MAX, batchIdsBytes, decodeBatchIds } from "./batch-ids.ts";
import { NAME_RANDOM_BYTES, ROOT_KEY, runKey, SLOT_VERSIONS } from "./layout.ts";
import type { CreateAnswer, ObjectStore, ReplaceAnswer } from "./object-store.ts";
import { type ListedRun, newestRemains, type Remains } from "./remains.ts";
import {
  decodeRoot,
  emptyRoot,
  encodeRoot,
  type Root,
  type RootRun,
  type RootVerdict,
  WRITE_ID_BYTES,
} from "./root.ts";
import { RootObject } from "./root-object.ts";
import { readSlot } from "./slot-reader.ts";

/**
 * A root that is damaged or gone is made anew, from what lies in the bucket: names tell what runs and slots there are, and runs how they are read. Nothing
 * tells the ledger's id, which is a new one.
 */

/** What opening a run needs beyond the batch ids lies within so many bytes. */
const END_BYTES = 64 * 1024;

/** How often the same is sent while it is not known whether it has arrived. */
const SENDS_MAX = 3;

/** Of the name of a run that is not there. */
const NO_RANDOM = "0".repeat(2 * NAME_RANDOM_BYTES);

/** A run that can be read. */
interface MeasuredRun extends RootRun {
  readonly upto: number;
}

/** Resolves with the name of a copy of the damaged root, or that there was none; undefined if nothing is left of a ledger. */
export async function restoreRoot(
  store: ObjectStore,
  environment: Environment,
  verdict: RootVerdict,
): Promise<{ readonly copy: string | undefined } | undefined> {
  // Before anything is listed: what is made of that may take the place of this root, and of no later one. Others may have gone on from theirs, and even repaired it.
  const damaged = await store.get(ROOT_KEY);
  if (damaged.status !== "found" && damaged.status !== "absent") {
    throw damaged.status === "beyond" ? new MalformedBytes("a root") : damaged.error;
  }
  if (damaged.status === "found" && isWhole(damaged.bytes, environment, store.name)) return { copy: undefined };
  const remains = await newestRemains(store);
  const [newest] = remains;
  if (newest === undefined) return undefined;
  const id = (bytes: number): string => toHex(environment.randomBytes(bytes));
  const root = await rootOf(remains, { store, environment, ledgerId: id(2 * NAME_RANDOM_BYTES), verdict });
  // Whoever has come first, the next who reads the root finds out.
  if (damaged.status === "absent") {
    const created = await new RootObject(store, environment).create(root);
    if (created.status === "failed") throw created.error;
    return { copy: undefined };
  }
  const copy = `${ROOT_KEY}.damaged-${id(NAME_RANDOM_BYTES)}`;
  await sent(() => store.create(copy, damaged.bytes), `${copy} of ${store.name}`);
  const encoded = encodeRoot({ root, writeId: environment.randomBytes(WRITE_ID_BYTES) }, environment.crc32);
  // It names what it replaces, so that sending it again changes nothing else.
  await sent(() => store.replace(ROOT_KEY, encoded, damaged.etag), `The root of ${store.name}`);
  return { copy: `${copy} of ${store.name}` };
}

/** True if somebody has made it anew meanwhile. */
function isWhole(bytes: Uint8Array, { crc32 }: Environment, name: string): boolean {
  try {
    decodeRoot(bytes, crc32, name);
    return true;
  } catch (error) {
    if (!hasCode(error, "LedgerDamaged") && !hasCode(error, "NotALedger")) throw error;
    return false;
  }
}

/** Sends a write that nobody else makes, or that only one of all can make, until it is certain that it was made. Throws what keeps it from that. */
async function sent(write: () => Promise<CreateAnswer | ReplaceAnswer>, what: string): Promise<void> {
  for (let sends = 1; ; sends++) {
    const answer = await write();
    const isOver = answer.status !== "ambiguous" && answer.status !== "conflict";
    if (isOver && !("error" in answer)) return;
    if (!isOver && sends < SENDS_MAX) continue;
    throw "error" in answer ? answer.error : new KVError("InputOutput", `${what} cannot be written`);
  }
}

async function rootOf(
  [newest, ...others]: readonly Remains[],
  context: {
    readonly store: ObjectStore;
    readonly environment: Environment;
    readonly ledgerId: string;
    readonly verdict: RootVerdict;
  },
): Promise<Root> {
  const { store, environment, ledgerId, verdict } = context;
  const { nonce, slots, highest } = newest;
  const site = { store, environment, nonce, name: store.name };
  const runs = await coveringRuns(newest, measuring(site));
  const empty = emptyRoot({ ledgerId, nonce, verdict });
  const formers = (firstSlot: number): Root["formers"] =>
    others.flatMap((each) => (each.highest < firstSlot ? { nonce: each.nonce, lastSlot: each.highest } : []));
  const epoch = Math.max(0, ...newest.runs.map((run) => run.epoch)) + 1;
  if (runs.length === 0) {
    const firstSlot = slots.values().next().value ?? 1;
    const before = { checkpointSlot: firstSlot - 1, previousCheckpointSlot: firstSlot - 1 };
    const floor = { floor: firstSlot, swept: firstSlot, tailHint: Math.max(highest, firstSlot - 1) };
    const checkpointHash = (await predecessorOf(site, firstSlot)) ?? empty.checkpointHash;
    return { ...empty, ...before, ...floor, firstSlot, epoch, checkpointHash, formers: formers(firstSlot) };
  }
  const [{ to, upto }] = runs;
  const hash = await hashOf(site, to);
  // A slot that is not there any more, or never was as a repair has left it out, nobody may ask for.
  const floor = hash === undefined ? to + 1 : to;
  // Those below it are deleted in time like those below any floor.
  let firstSlot = floor;
  while (hash !== undefined && slots.has(firstSlot - 1)) firstSlot--;
  return {
    ...empty,
    firstSlot,
    runs,
    checkpointSlot: to,
    previousCheckpointSlot: to,
    checkpointVersion: upto,
    checkpointHash: hash ?? (await predecessorOf(site, to + 1)) ?? empty.checkpointHash,
    epoch,
    floor,
    swept: firstSlot,
    tailHint: Math.max(highest, to),
    formers: formers(firstSlot),
  };
}

type SlotSite = Parameters<typeof readSlot>[0];
type Measure = (run: ListedRun) => Promise<MeasuredRun | undefined>;

/** Each is measured once. */
function measuring({ store, environment, nonce }: SlotSite): Measure {
  const known = new Map<ListedRun, Promise<MeasuredRun | undefined>>();
  return (run) => {
    const measuredBefore = known.get(run);
    if (measuredBefore !== undefined) return measuredBefore;
    const made = measured(run, { store, environment, key: runKey(nonce, run) });
    known.set(run, made);
    return made;
  };
}

async function hashOf(site: SlotSite, slot: number): Promise<Uint8Array | undefined> {
  const read = await whole(readSlot(site, slot));
  return read?.status === "found" ? read.hash : undefined;
}

async function predecessorOf(site: SlotSite, slot: number): Promise<Uint8Array | undefined> {
  const read = await whole(readSlot(site, slot));
  return read?.status === "found" ? read.slot.predecessor : undefined;
}

async function whole<T>(reading: Promise<T>): Promise<T | undefined> {
  try {
    return await reading;
  } catch (error) {
    if (!hasCode(error, "LedgerDamaged")) throw error;
    return undefined;
  }
}

/**
 * Runs, newest first, that lie one behind the other from the first slot on, to where slots go on or there is nothing more. Where there is neither slot nor run
 * that can be read, one stands that is not to be had: as in any root, it says what is lost, and what lies behind it is kept.
 */
async function coveringRuns(remains: Remains, measure: Measure): Promise<readonly MeasuredRun[]> {
  const { slots } = remains;
  for (let runs = await chainFrom(1, remains.runs, measure); ;) {
    const next = runs.length === 0 ? 1 : runs[0].to + 1;
    const resumed = slots.has(next) ? undefined : await resumption(next, remains, measure);
    if (resumed === undefined) return runs;
    runs = [...(await chainFrom(resumed, remains.runs, measure)), lostRun(next, resumed - 1), ...runs];
  }
}

/** Where something can be read again behind `next`: a run, or slots, or what comes behind everything. Undefined if there was nothing more. */
async function resumption(next: number, { slots, runs }: Remains, measure: Measure): Promise<number | undefined> {
  let resumed = Infinity;
  for (const slot of slots) if (slot > next && slot < resumed) resumed = slot;
  for (const run of runs) {
    if (run.from > next && run.from < resumed && (await measure(run)) !== undefined) resumed = run.from;
  }
  if (resumed !== Infinity) return resumed;
  const end = Math.max(0, ...runs.map(({ to }) => to)) + 1;
  return end > next ? end : undefined;
}

function lostRun(from: number, to: number): MeasuredRun {
  const upto = (to + 1) * SLOT_VERSIONS - 1;
  return { epoch: 0, from, to, random: NO_RANDOM, size: 1, footerPlace: 0, batchIds: 0, upto };
}

/** Those that lie one behind the other and reach as far as any. All that were ever uploaded hold what the slots of their names have left, whether a root has named them or not. */
async function chainFrom(
  first: number,
  listed: readonly ListedRun[],
  measure: Measure,
): Promise<readonly MeasuredRun[]> {
  /** By the slot behind it: the run that ends there, and those before. */
  const chains = new Map<number, readonly MeasuredRun[]>([[first, []]]);
  // What reaches further comes last of those with the same beginning, and what is of fewer runs.
  for (const run of listed.toSorted((a, b) => a.from - b.from || a.to - b.to)) {
    const before = chains.get(run.from);
    const known = chains.get(run.to + 1);
    if (before === undefined || (known !== undefined && known.length <= before.length + 1)) continue;
    const made = await measure(run);
    if (made !== undefined) chains.set(run.to + 1, [made, ...before]);
  }
  return chains.get(Math.max(...chains.keys())) ?? [];
}

/** What the root says of a run, as its object tells; undefined if that is damaged. */
async function measured(
  { bytes: length, ...name }: ListedRun,
  { store, environment, key }: { readonly store: ObjectStore; readonly environment: Environment; readonly key: string },
): Promise<MeasuredRun | undefined> {
  const { crc32 } = environment;
  const idsMax = Math.min(BATCH_IDS_MAX, name.to - name.from + 1);
  const from = Math.max(0, length - END_BYTES - batchIdsBytes(idsMax));
  const answer = await store.get(key, { from, length: Math.max(1, length - from) });
  if (answer.status === "absent" || answer.status === "beyond") return undefined;
  if (answer.status !== "found") throw answer.error;
  const { bytes } = answer;
  for (let batchIds = 0; batchIds <= idsMax; batchIds++) {
    const end = bytes.length - batchIdsBytes(batchIds);
    const tailAt = end - TAIL_BYTES;
    const footerBytes = tailAt < 0 ? undefined : readTail(bytes.subarray(tailAt, end));
    if (footerBytes === undefined || footerBytes > tailAt) continue;
    try {
      decodeBatchIds(bytes.subarray(end), batchIds, crc32, key);
      const piece = openPiece(bytes.subarray(tailAt - footerBytes, tailAt), crc32);
      const footer = piece && readFooter(piece);
      if (footer === undefined || typeof footer === "number") return undefined;
      const footerPlace = Math.min(from + tailAt - footerBytes, footer.top.place);
      return { ...name, size: from + end, footerPlace, batchIds, upto: footer.upto };
    } catch (error) {
      if (!(error instanceof MalformedBytes) && !hasCode(error, "LedgerDamaged")) throw error;
    }
  }
  return undefined;
}
