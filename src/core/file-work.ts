import { isAtEnd } from "./at-end.ts";
import { AutoVacuum } from "./auto-vacuum.ts";
import { runBackup } from "./backup.ts";
import { BufferPool } from "./buffer-pool.ts";
import { Haste } from "./haste.ts";
import { KeptPlaces } from "./kept-places.ts";
import { NextGeneration } from "./next-generation.ts";
import { takes } from "./passing.ts";
import { type RepairContext, type RepairReport, runRepair } from "./repair.ts";
import { repairKept } from "./repair-state.ts";
import { loadSaved, saver } from "./saved-state.ts";
import { PointReads } from "./run-points.ts";
import { SealWait } from "./seal-wait.ts";
import { runVacuum } from "./vacuum.ts";

/**
 * The work that only ledgers in files ask for: beginning a file anew, waiting behind its seal, keeping an index beside it, reading by point lookups,
 * passing commits while they are read, polls that find nothing, copying it; and the mending of those in buckets, which no Worker does; and what only processes do, whose
 * instances nobody else drives: places kept in the queue, rounds that may be shorter than the ledger. Entries for files hand it to `CoreKV`;
 * bundles for the edge, where every kilobyte counts, do not carry it.
 */
export const fileWork = {
  AutoVacuum,
  BufferPool,
  Haste,
  KeptPlaces,
  NextGeneration,
  PointReads,
  SealWait,
  backup: runBackup,
  isAtEnd,
  loadSaved,
  repair: (context: RepairContext): Promise<RepairReport> =>
    context.engine.session.repairState === undefined ? runRepair(context) : repairKept(context),
  saver,
  takes,
  vacuum: runVacuum,
} as const;

export type FileWork = typeof fileWork;
