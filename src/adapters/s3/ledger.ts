import type { Ledger } from "../../core/ledger.ts";
import { bucketLedger, type BucketLedgerOptions } from "../object/bucket-ledger.ts";
import { makeObjectLedger } from "../object/ledger.ts";
import { makeS3Store, type S3StoreOptions } from "./store.ts";

/** The bucket, who asks, and how the ledger behaves. */
export interface S3LedgerOptions extends S3StoreOptions, BucketLedgerOptions {}

/**
 * A ledger in a folder of a bucket behind `@aws-sdk/client-s3`, on AWS or on any store that speaks its language: for any number of processes, on a
 * store that keeps conditional writes. Asks nothing yet.
 *
 * @throws InvalidArgumentError `InvalidOption`.
 */
export function s3Ledger(options: S3LedgerOptions): Ledger {
  return bucketLedger("s3Ledger", makeObjectLedger, makeS3Store, options);
}
