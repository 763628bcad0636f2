import { toHex } from "../../core/bytes.ts";
import { hasCode, KVError } from "../../core/errors.ts";
import type { LedgerOpenOptions } from "../../core/ledger.ts";
import { NAME_RANDOM_BYTES, slotKey } from "./layout.ts";
import { cannotMend, type Mending } from "./mending.ts";
import type { ObjectStore } from "./object-store.ts";
import { requireProbed } from "./probe.ts";
import { hasRemains } from "./remains.ts";
import { emptyRoot, type RootVerdict } from "./root.ts";
import type { FoundRoot, RootAnswer, RootObject } from "./root-object.ts";

/** A probe on the way to a first commit: a few writers, one key. Who wants to know more runs `probeStore`. */
export const PROBE = { racers: 8, keys: 1 };
/** Bytes of ids. */
const ID_BYTES = 2 * NAME_RANDOM_BYTES;

export type Writers = "several" | "single";

/** The root of a ledger that is opened. `restored`: it was damaged, or gone, and was made anew. */
export interface OpenedRoot {
  readonly found: FoundRoot;
  readonly restored?: { readonly copy: string | undefined } | undefined;
}

/**
 * The root of the ledger, which is created where there is none and `createIfMissing` says so; whoever else creates at the same time, all of them find the
 * same. With `repair` it is made anew where it is damaged, or gone and something is left of a ledger. Throws `LedgerMissing`, `StoreUnsuitable`, and what keeps
 * the root from being read, or the store from being probed.
 */
export async function findRoot(
  rootObject: RootObject,
  store: ObjectStore,
  options: Pick<LedgerOpenOptions, "createIfMissing" | "readOnly" | "repair" | "environment"> & {
    readonly writers: Writers;
    readonly mending: Mending | undefined;
  },
): Promise<OpenedRoot> {
  const { createIfMissing, readOnly, environment, writers, mending } = options;
  const first = await readRoot(rootObject, store, options);
  if (first.status === "failed") throw first.error;
  if (first.status === "found") {
    const needsProbe = !readOnly && writers === "several" && first.root.verdict !== "suitable";
    if (needsProbe) await requireProbed(store, { environment, ...PROBE });
    return { found: first };
  }
  const isLost = first.status === "damaged";
  if (!isLost && (readOnly || !createIfMissing)) {
    throw new KVError("LedgerMissing", `There is no ledger in ${store.name}`);
  }
  let verdict: RootVerdict = "single";
  if (writers === "several") {
    await requireProbed(store, { environment, ...PROBE });
    verdict = "suitable";
  }
  const restored = isLost ? await mending?.restoreRoot(store, environment, verdict) : undefined;
  if (isLost && restored === undefined) throw first.error;
  const id = (): string => toHex(environment.randomBytes(ID_BYTES));
  if (!isLost) {
    const created = await rootObject.create(emptyRoot({ ledgerId: id(), nonce: id(), verdict }));
    if (created.status === "failed") throw created.error;
  }
  const now = await rootObject.read();
  if (now.status === "found") return { found: now, restored };
  throw now.status === "failed"
    ? now.error
    : new KVError("StoreInconsistent", `The root that was just written is not in ${store.name}`);
}

/** `damaged`: it is to be made anew. Throws what is wrong with it, if it is not. */
async function readRoot(
  rootObject: RootObject,
  store: ObjectStore,
  { repair = false, readOnly, createIfMissing, mending }: Parameters<typeof findRoot>[2],
): Promise<RootAnswer | { readonly status: "damaged"; readonly error: unknown }> {
  const isRestored = repair && !readOnly;
  try {
    const answer = await rootObject.read();
    if (answer.status !== "absent" || readOnly || !(createIfMissing || repair)) return answer;
    if (!(await hasRemains(store, { isWhole: !repair }))) return answer;
    // Somebody may have created it meanwhile: then what was listed is its.
    const again = await rootObject.read();
    if (again.status !== "absent") return again;
    const hint = "with repair: true it is made anew from what is there; for another ledger, delete that first";
    throw new KVError("LedgerDamaged", `The root of ${store.name} is gone, and a ledger is still there: ${hint}`);
  } catch (error) {
    if (!isRestored || !(hasCode(error, "LedgerDamaged") || hasCode(error, "NotALedger"))) throw error;
    if (mending === undefined) throw cannotMend(store.name, error);
    return { status: "damaged", error };
  }
}

/**
 * What a store says of a slot that is not there: "denied" if the credential may not list, as no secret is to leak of what there is. Then the end of the
 * ledger cannot be told from a door that is shut.
 */
export function needsListPermission(
  cause: unknown,
  { name, nonce, slot }: { readonly name: string; readonly nonce: string; readonly slot: number },
): KVError {
  const message =
    `${name} lets its root be read, and says "denied" of ${slotKey(nonce, slot)}: ` +
    "the credential needs the right to list the prefix, without which a store does not say that an object is not there";
  return new KVError("NeedsListPermission", message, { cause });
}
