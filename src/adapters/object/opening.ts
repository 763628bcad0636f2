import { toHex } from "../../core/bytes.ts";
import { KVError } from "../../core/errors.ts";
import type { LedgerOpenOptions } from "../../core/ledger.ts";
import { NAME_RANDOM_BYTES, slotKey } from "./layout.ts";
import type { ObjectStore } from "./object-store.ts";
import { probeStore, requireSuitable } from "./probe.ts";
import { emptyRoot, type RootVerdict } from "./root.ts";
import type { FoundRoot, RootObject } from "./root-object.ts";

/** A probe on the way to a first commit: a few writers, one key. Who wants to know more runs `probeStore`. */
const PROBE = { racers: 8, keys: 1 };
/** Bytes of ids. */
const ID_BYTES = 2 * NAME_RANDOM_BYTES;

export type Writers = "several" | "single";

/**
 * The root of the ledger, which is created where there is none and `createIfMissing` says so; whoever else creates at the same time, all of them find the
 * same. Throws `LedgerMissing`, `StoreUnsuitable`, and what keeps the root from being read.
 */
export async function findRoot(
  rootObject: RootObject,
  store: ObjectStore,
  options: Pick<LedgerOpenOptions, "createIfMissing" | "readOnly" | "environment"> & { readonly writers: Writers },
): Promise<FoundRoot> {
  const { createIfMissing, readOnly, environment, writers } = options;
  const first = await rootObject.read();
  if (first.status === "failed") throw first.error;
  if (first.status === "found") {
    const needsProbe = !readOnly && writers === "several" && first.root.verdict !== "suitable";
    if (needsProbe) requireSuitable(await probeStore(store, { environment, ...PROBE }));
    return first;
  }
  if (readOnly || !createIfMissing) throw new KVError("LedgerMissing", `There is no ledger in ${store.name}`);
  let verdict: RootVerdict = "single";
  if (writers === "several") {
    requireSuitable(await probeStore(store, { environment, ...PROBE }));
    verdict = "suitable";
  }
  const id = (): string => toHex(environment.randomBytes(ID_BYTES));
  const created = await rootObject.create(emptyRoot({ ledgerId: id(), nonce: id(), verdict }));
  if (created.status === "failed") throw created.error;
  const now = await rootObject.read();
  if (now.status === "found") return now;
  throw now.status === "failed"
    ? now.error
    : new KVError("StoreInconsistent", `The root that was just written is not in ${store.name}`);
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
