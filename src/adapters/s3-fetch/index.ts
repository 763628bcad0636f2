export { s3FetchLedger, type S3FetchLedgerOptions } from "./ledger.ts";
export { s3FetchStore, type S3Credentials, type S3FetchStoreOptions } from "./store.ts";
