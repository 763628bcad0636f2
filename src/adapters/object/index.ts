export { objectLedger, type ObjectLedgerOptions } from "./ledger.ts";
export { memoryStore, type MemoryStoreOptions } from "./memory-store.ts";
export type * from "./object-store.ts";
export { type ProbedProperty, type ProbeOptions, type ProbeReport, type ProbeVerdict } from "./probe.ts";
export { requireSuitable } from "./probe-store.ts";
