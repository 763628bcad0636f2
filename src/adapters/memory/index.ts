export { memoryLedger } from "./ledger.ts";
