import { toHex } from "../../core/bytes.ts";
import { type AddressRange, hasCode, KVError } from "../../core/errors.ts";
import type { RepairedState, RepairStateRequest } from "../../core/ledger.ts";
import { begunKey, logFolder, NAME_RANDOM_BYTES, parseSlotKey, SLOT_VERSIONS, slotKey } from "./layout.ts";
import { uploadRun } from "./publish.ts";
import { encodeRoot, type Root, type RootRun, WRITE_ID_BYTES } from "./root.ts";
import { pause } from "./site.ts";
import { readSlot } from "./slot-reader.ts";
import { drawRandom, GaveUp, readRoot, type StateSite } from "./state-site.ts";

/**
 * The new incarnation begins so many slots above the highest that is known: authors that have not heard of it go on with the old one for some minutes,
 * and no version is ever used twice.
 */
const SLOTS_LEFT = 1_048_576;
/** How often the root is replaced anew, by what is the state then, because others were quicker. */
const TRIES_MAX = 32;
const NOTE_SENDS_MAX = 3;
/** So long an author may go on without looking at the root, by the store's clock. */
const UNHEARD_MS = 5 * 60_000;
/** From one look at the root to the next; whether the wait is to be given up is asked more often. */
const LOOK_MS = 30_000;
const CHECK_MS = 1000;

/** See `LedgerSession.repairState`. */
export async function repairState(state: StateSite, request: RepairStateRequest): Promise<RepairedState | undefined> {
  try {
    return await tryRepair(state, request);
  } catch (error) {
    // Somebody else has let it begin anew.
    if (error instanceof GaveUp) return undefined;
    throw error;
  }
}

async function tryRepair(state: StateSite, request: RepairStateRequest): Promise<RepairedState | undefined> {
  const { site, rootObject, took, gone } = state;
  const { epoch } = (await readRoot(state)).found.root;
  const lowest = (await highestSlot(state, request.position)) + SLOTS_LEFT;
  const nonce = toHex(site.environment.randomBytes(2 * NAME_RANDOM_BYTES));
  // Newest first. One holds all there was, and each further one, as if it were of one slot, what has come while those before were made.
  const runs: RootRun[] = [];
  let { position, version, built } = request;
  for (let tries = 0; tries < TRIES_MAX; tries++) {
    request.check();
    if (built !== undefined) {
      const before = runs.at(0)?.to;
      const covered = { epoch: epoch + 1, from: (before ?? 0) + 1, to: (before ?? lowest - 2) + 1 };
      runs.unshift(await uploadRun({ ...site, nonce }, built, { ...covered, random: drawRandom(site), ids: [] }));
    }
    const { found } = await readRoot(state);
    const { root } = found;
    if (root.checkpointSlot <= position) {
      const answer = await rootObject.replace(found, begun(root, { nonce, runs, position, version, lowest }));
      if (answer.status === "failed") throw answer.error;
      if (answer.status === "denied") throw new KVError("AccessDenied", `The root of ${site.name} may not be replaced`);
      if (answer.status === "replaced") {
        took(answer.found);
        gone();
        await noteBegun(state, answer.found.root);
        const { rest, check } = request;
        return { left: `${root.nonce}/ of ${site.name}`, behind: () => behind(state, { position, rest, check }) };
      }
      if (answer.status === "absent") break;
    }
    const more = await request.readOn();
    // Others have passed what cannot be read here.
    if (more === undefined || (more.position === position && root.checkpointSlot > position)) break;
    ({ position, version, built } = more);
  }
  return overtaken(state);
}

/** The root of the next incarnation, in the place of this one. `lowest`: what its first slot is at least. */
function begun(
  root: Root,
  next: Pick<Root, "nonce" | "runs"> & Pick<RepairStateRequest, "position" | "version"> & { readonly lowest: number },
): Root {
  const { nonce, runs, position, version, lowest } = next;
  const firstSlot = (runs.at(0)?.to ?? lowest - 1) + 1;
  return {
    ...root,
    nonce,
    firstSlot,
    runs,
    checkpointSlot: firstSlot - 1,
    previousCheckpointSlot: firstSlot - 1,
    checkpointVersion: version,
    checkpointHash: new Uint8Array(root.checkpointHash.length),
    epoch: root.epoch + 1,
    floor: firstSlot,
    floorAt: undefined,
    swept: firstSlot,
    tailHint: firstSlot - 1,
    formers: [{ nonce: root.nonce, lastSlot: Math.max(position, 0) }, ...root.formers],
  };
}

/**
 * Notes that the root has named this incarnation, for whoever makes a root anew before anything is written to it. Where that fails, he comes to the one before,
 * which has everything, damage included.
 */
async function noteBegun({ site }: StateSite, root: Root): Promise<void> {
  const { store, environment } = site;
  const noted = encodeRoot({ root, writeId: environment.randomBytes(WRITE_ID_BYTES) }, environment.crc32);
  for (let sends = 0; sends < NOTE_SENDS_MAX; sends++) {
    const { status } = await store.create(begunKey(root.nonce), noted);
    if (status !== "ambiguous" && status !== "conflict") return;
  }
}

/** Others have written a root from which one can go on, or see what there is to repair. */
function overtaken({ gone }: StateSite): undefined {
  gone();
  return undefined;
}

/** Slots behind one, as the store lists them. */
async function slotsBehind({ site }: StateSite, position: number): Promise<number[]> {
  const slots: number[] = [];
  let after = slotKey(site.nonce, position);
  for (;;) {
    const answer = await site.store.list(logFolder(site.nonce), { after });
    if (answer.status !== "listed") throw answer.error;
    for (const { key } of answer.objects) {
      const slot = parseSlotKey(site.nonce, key);
      if (slot !== undefined) slots.push(slot);
      after = key;
    }
    if (!answer.more) return slots;
  }
}

async function highestSlot(state: StateSite, position: number): Promise<number> {
  const { tailHint } = state.found().root;
  return Math.max(position, tailHint, ...(await slotsBehind(state, position)).slice(-1));
}

/**
 * The versions of what lies behind the last slot that was taken over. Until everybody has heard of the new incarnation, authors may go on to
 * acknowledge commits in the old one; so they are looked for when that time is over.
 */
async function behind(
  state: StateSite,
  { position, rest, check }: Pick<RepairStateRequest, "position" | "rest" | "check">,
): Promise<readonly AddressRange[]> {
  await waitUntilHeard(state, check);
  const ranges: AddressRange[] = [];
  for (const slot of await slotsBehind(state, position)) {
    const from = slot * SLOT_VERSIONS;
    ranges.push({ from, to: from + (await commitsOf(state, slot)) });
    await rest();
  }
  return ranges;
}

/** As many as there may be of a slot that cannot be read. */
async function commitsOf({ site }: StateSite, slot: number): Promise<number> {
  try {
    const read = await readSlot(site, slot);
    return read.status === "found" ? read.slot.commits.length : 0;
  } catch (error) {
    if (!hasCode(error, "LedgerDamaged")) throw error;
    return SLOT_VERSIONS;
  }
}

async function waitUntilHeard({ site, rootObject }: StateSite, check: () => void): Promise<void> {
  const { environment } = site;
  let first: number | undefined;
  for (;;) {
    const answer = await rootObject.read();
    // No later answer is another one.
    if (answer.status === "failed" && answer.error.code === "AccessDenied") throw answer.error;
    const at = answer.status === "failed" ? undefined : (answer.time ?? environment.now());
    if (at !== undefined) {
      first ??= at;
      if (at - first > UNHEARD_MS) return;
    }
    for (let waited = 0; waited < LOOK_MS; waited += CHECK_MS) {
      check();
      await pause(environment, CHECK_MS);
    }
  }
}
