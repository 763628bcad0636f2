import { makeObjectLedger } from "../adapters/object/ledger.ts";
import { makeUnstorageStore, type UnstorageStoreOptions } from "../adapters/unstorage/store.ts";
import type { Ledger } from "../core/ledger.ts";

/**
 * A ledger on a storage of unstorage, whatever its driver: for one writer at a time, and any number of readers. Drivers cannot tell whether somebody else
 * was there first: a second writer is detected (`SecondWriterDetected`, itself or as the `cause`), after the two may have lost some of each other's commits.
 *
 * @throws InvalidArgumentError `InvalidOption`.
 */
export function unstorageLedger(options: UnstorageStoreOptions): Ledger {
  const context = "unstorageLedger";
  return makeObjectLedger(makeUnstorageStore(options, context), { writers: "single" }, context);
}
