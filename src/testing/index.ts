export {
  type ConformanceCapabilities,
  type ConformanceOptions,
  type ConformanceStorage,
  conformanceCases,
  ledgerConformance,
  type TestFunction,
} from "./conformance.ts";
export { type BrokenLedger, brokenLedgers, type LedgerFaults, faultyLedger } from "./faulty.ts";
