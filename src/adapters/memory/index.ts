export { memoryLedger, type MemoryLedgerOptions } from "./ledger.ts";
