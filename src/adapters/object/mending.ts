import { KVError } from "../../core/errors.ts";
import type { repairState } from "./repair.ts";
import type { restoreRoot } from "./restore-root.ts";

/** What mends a ledger that is damaged. It is handed to ledgers for processes; a Worker's bundle, where every kilobyte counts, does not carry it. */
export interface Mending {
  readonly repairState: typeof repairState;
  readonly restoreRoot: typeof restoreRoot;
}

export function cannotMend(name: string, cause?: unknown): KVError {
  const message = `A ledger made by r2Ledger is not repaired: open ${name} in a process, by s3Ledger, or by objectLedger on the store`;
  return new KVError("UnsupportedTarget", message, { cause });
}
