export { s3Ledger, type S3LedgerOptions } from "./ledger.ts";
export { s3Store, type S3StoreOptions } from "./store.ts";
