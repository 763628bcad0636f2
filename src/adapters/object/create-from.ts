import { toHex } from "../../core/bytes.ts";
import { hasCode, KVError } from "../../core/errors.ts";
import type { CopyRequest } from "../../core/ledger.ts";
import { NAME_RANDOM_BYTES, nonceOf, parseRunKey, parseSlotKey, runFolder, SLOT_MAX, unfinishedKey } from "./layout.ts";
import { countingStore } from "./counting-store.ts";
import type { ObjectStore } from "./object-store.ts";
import { PROBE, type Writers } from "./opening.ts";
import { slotOfVersion } from "./place.ts";
import { requireProbed } from "./probe.ts";
import { uploadRun } from "./publish.ts";
import { hasRemains } from "./remains.ts";
import { retryReads } from "./retry-reads.ts";
import { emptyRoot, type Root, type RootRun } from "./root.ts";
import { RootObject } from "./root-object.ts";
import type { Site } from "./site.ts";
import { drawRandom } from "./state-site.ts";

/**
 * Creates a ledger with a state to begin with: runs first, and the root last, which makes them one, for everybody at once. Until then the folder holds an
 * object that says so, and is taken for a ledger by nobody.
 */

/**
 * Each run is made in memory. So few of them as can be: one with up to so many bytes, and of larger states about so many, each as large as `vacuum()` makes
 * them at most.
 */
const RUN_BYTES = { min: 64 * 1024 * 1024, max: 1024 * 1024 * 1024 } as const;
const RUNS = 24;
/** How often the object is sent that says that the folder is unfinished. */
const SENDS_MAX = 3;
const SAYS =
  "A copy of a database is being written to this folder, or was not finished. Nothing reads it. Delete it if nobody is at work on it.\n";

/** See `Ledger.createFrom`. */
export async function createFrom(
  folder: ObjectStore,
  writers: Writers,
  request: CopyRequest,
): Promise<{ readonly bytes: number }> {
  const { environment, ledgerId, version } = request;
  const counting = countingStore(folder);
  const store = retryReads(counting, { environment });
  const rootObject = new RootObject(store, environment);
  if (!(await isFree(store, rootObject))) throw targetExists(store);
  if (writers === "several") await requireProbed(store, { environment, ...PROBE });
  const verdict = writers === "several" ? "suitable" : "single";
  request.check();
  const nonce = toHex(environment.randomBytes(2 * NAME_RANDOM_BYTES));
  const site: Site = { name: store.name, store, environment, nonce };
  const failed = (): number => counting.counts().failures.create;
  const failedBefore = failed();
  let runs: readonly RootRun[];
  try {
    await markUnfinished(site);
    runs = await upload(site, request);
    request.check();
    const created = await rootObject.create(rootOf(emptyRoot({ ledgerId, nonce, verdict }), runs, version));
    if (created.status === "exists") throw targetExists(store);
    if (created.status === "failed") throw new Undecided(created.error);
  } catch (error) {
    // The root may still arrive, and then it is a ledger that has all it needs.
    if (error instanceof Undecided) throw error.cause;
    await removeOwn(site, { isMarked: failed() > failedBefore });
    throw error;
  }
  await tidyUp(site);
  return { bytes: runs.reduce((sum, { size }) => sum + size, 0) };
}

/** Nobody knows whether the root was written. Never leaves this file. */
class Undecided extends Error {
  override readonly name = "Undecided";
  override readonly cause: KVError;

  constructor(cause: KVError) {
    super("the root may still arrive");
    this.cause = cause;
  }
}

/** True if there is no ledger, and nothing is left of one. Whatever else is there stays. */
async function isFree(store: ObjectStore, rootObject: RootObject): Promise<boolean> {
  try {
    const answer = await rootObject.read();
    if (answer.status === "failed") throw answer.error;
    return answer.status === "absent" && !(await hasRemains(store, { isWhole: true }));
  } catch (error) {
    const isThere = (["NotALedger", "LedgerDamaged", "UnsupportedFormat"] as const).some((code) =>
      hasCode(error, code),
    );
    if (isThere) return false;
    throw error;
  }
}

async function markUnfinished({ store, nonce }: Site): Promise<void> {
  for (let sent = 1; ; sent++) {
    const answer = await store.create(
      unfinishedKey(nonce),
      Uint8Array.from(SAYS, (character) => character.charCodeAt(0)),
    );
    // Nobody else draws the same name.
    if (answer.status === "created" || answer.status === "exists") return;
    if (answer.status === "denied" || answer.status === "refused") throw answer.error;
    if (sent < SENDS_MAX) continue;
    throw answer.status === "ambiguous" ? answer.error : new KVError("InputOutput", `${store.name} lets nobody write`);
  }
}

/** One run after the other, newest first in the end. As nobody knows before how many they will be, each has one slot, and the last one all that are left. */
async function upload(site: Site, request: CopyRequest): Promise<readonly RootRun[]> {
  const { version, expectedBytes } = request;
  const partBytes = Math.min(Math.max(Math.ceil(expectedBytes / RUNS), RUN_BYTES.min), RUN_BYTES.max);
  const runs: RootRun[] = [];
  let doneBytes = 0;
  const tell = (): void => request.progress({ doneBytes, ofBytes: Math.max(doneBytes, expectedBytes) });
  tell();
  for await (const built of request.buildRuns(partBytes)) {
    request.check();
    const from = runs.length + 1;
    const to = built.isLast ? Math.max(from, slotOfVersion(version)) : from;
    if (to >= SLOT_MAX) throw new KVError("UnsupportedTarget", `No bucket has a slot for version ${version}`);
    runs.unshift(await uploadRun(site, built, { epoch: 0, from, to, random: drawRandom(site), ids: [] }));
    doneBytes += built.bytes.length;
    tell();
  }
  request.progress({ doneBytes, ofBytes: doneBytes });
  return runs;
}

/** The first slot lies above all that the runs cover, and so above that of the version. */
function rootOf(empty: Root, runs: readonly RootRun[], version: number): Root {
  const checkpointSlot = runs[0].to;
  const firstSlot = checkpointSlot + 1;
  return {
    ...empty,
    firstSlot,
    runs,
    checkpointSlot,
    previousCheckpointSlot: checkpointSlot,
    checkpointVersion: version,
    floor: firstSlot,
    swept: firstSlot,
    tailHint: checkpointSlot,
  };
}

function targetExists({ name }: ObjectStore): KVError {
  return new KVError("TargetExists", `There is a ledger in ${name} already, or what is left of one`);
}

// --- what nobody needs -----------------------------------------------------------------------------------------------

/** Of a copy that comes to nothing. `isMarked`: something of it may still arrive, so that the folder goes on to be told as unfinished. */
async function removeOwn({ store, nonce }: Site, { isMarked }: { readonly isMarked: boolean }): Promise<void> {
  try {
    await removeAll(store, await keysBelow(store, runFolder(nonce)));
    if (!isMarked) await removeAll(store, [unfinishedKey(nonce)]);
  } catch {
    // It takes room, says that it is unfinished, and goes with the next copy that is written here.
  }
}

/** Once there is a root: nothing is unfinished here any more, and whatever others have begun will be nothing. */
async function tidyUp({ store, nonce }: Site): Promise<void> {
  try {
    await removeAll(store, [unfinishedKey(nonce)]);
    // Where the store does not say who was first, one of the others may be.
    if (!store.capabilities.create) return;
    const keys = await keysBelow(store, "");
    for (const other of new Set(keys.flatMap((key) => nonceOf(key) ?? []))) {
      if (other === nonce || !keys.includes(unfinishedKey(other))) continue;
      const own = keys.filter((key) => nonceOf(key) === other);
      // Somebody has written to it: it is, or was, a ledger.
      if (own.some((key) => parseSlotKey(other, key) !== undefined)) continue;
      const runs = own.filter((key) => parseRunKey(other, key) !== undefined);
      await removeAll(store, runs);
      await removeAll(store, [unfinishedKey(other)]);
    }
  } catch {
    // Likewise. The copy is there.
  }
}

/** Throws what keeps the store from telling. */
async function keysBelow(store: ObjectStore, prefix: string): Promise<readonly string[]> {
  const keys: string[] = [];
  for (let more = true; more;) {
    const after = keys.at(-1);
    const answer = await store.list(prefix, after === undefined ? {} : { after });
    if (answer.status !== "listed") throw answer.error;
    for (const { key } of answer.objects) keys.push(key);
    ({ more } = answer);
  }
  return keys;
}

/** Throws if not all of them are known to be gone. */
async function removeAll(store: ObjectStore, keys: readonly string[]): Promise<void> {
  const { deleteKeysMax } = store.capabilities;
  for (let at = 0; at < keys.length; at += deleteKeysMax) {
    const answer = await store.delete(keys.slice(at, at + deleteKeysMax));
    if (answer.status !== "deleted") throw answer.error;
  }
}
