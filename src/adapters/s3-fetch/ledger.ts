import type { Ledger } from "../../core/ledger.ts";
import { bucketLedger, type BucketLedgerOptions } from "../object/bucket-ledger.ts";
import { makeObjectLedger } from "../object/ledger.ts";
import { makeS3FetchStore, type S3FetchStoreOptions } from "./store.ts";

/** The bucket, who asks, and how the ledger behaves. */
export interface S3FetchLedgerOptions extends S3FetchStoreOptions, BucketLedgerOptions {}

/**
 * A ledger in a folder of a bucket behind the runtime's `fetch`, with signatures by `aws4fetch`: what `s3Ledger` is, for functions to which the SDK is too
 * large. Asks nothing yet.
 *
 * @throws InvalidArgumentError `InvalidOption`.
 */
export function s3FetchLedger(options: S3FetchLedgerOptions): Ledger {
  return bucketLedger("s3FetchLedger", makeObjectLedger, makeS3FetchStore, options);
}
