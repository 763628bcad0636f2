import { AutoVacuum } from "./auto-vacuum.ts";
import { runBackup } from "./backup.ts";
import { Checkpointer } from "./checkpointer.ts";
import { NextGeneration } from "./next-generation.ts";
import { runRepair } from "./repair.ts";
import { repairKept } from "./repair-state.ts";
import { Lookup } from "./run-lookup.ts";
import { SealWait } from "./seal-wait.ts";
import { runVacuum } from "./vacuum.ts";

/**
 * The work that only ledgers in files ask for: beginning a file anew, waiting behind its seal, keeping an index beside it, copying it; and the mending
 * of those in buckets, which no Worker does. Entries for files
 * hand it to `CoreKV`; bundles for the edge, where every kilobyte counts, do not carry it.
 */
export const fileWork = {
  AutoVacuum,
  Checkpointer,
  Lookup,
  NextGeneration,
  SealWait,
  backup: runBackup,
  repair: runRepair,
  repairKept,
  vacuum: runVacuum,
} as const;

export type FileWork = typeof fileWork;
