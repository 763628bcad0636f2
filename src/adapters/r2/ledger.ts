import type { Ledger } from "../../core/ledger.ts";
import { bucketLedger, type BucketLedgerOptions } from "../object/bucket-ledger.ts";
import { storeLedger } from "../object/store-ledger.ts";
import { makeR2Store, type R2StoreOptions } from "./store.ts";

/** The bucket, and how the ledger behaves. */
export interface R2LedgerOptions extends R2StoreOptions, BucketLedgerOptions {}

/**
 * A ledger in a folder of an R2 bucket behind the binding of a Worker, for any number of isolates, and of processes that reach the same bucket through
 * S3's interface. Asks nothing yet: a request may make one each time. It is not repaired through this one, nor written as a backup: that is for processes, by S3's
 * interface or by `objectLedger`.
 *
 * @throws InvalidArgumentError `InvalidOption`.
 */
export function r2Ledger(options: R2LedgerOptions): Ledger {
  return bucketLedger("r2Ledger", storeLedger, makeR2Store, options);
}
