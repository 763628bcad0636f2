export { r2Ledger, type R2LedgerOptions } from "./ledger.ts";
export { r2Store, type R2StoreOptions } from "./store.ts";
export type { R2BucketBinding, R2ObjectBody, R2ObjectHead } from "./bucket.ts";
