export { type FsLedgerOptions, fsLedger } from "./ledger.ts";
