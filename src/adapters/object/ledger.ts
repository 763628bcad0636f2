import type { Ledger } from "../../core/ledger.ts";
import { parsePrefix } from "./names.ts";
import type { ObjectStore } from "./object-store.ts";
import { prefixedStore } from "./prefixed-store.ts";
import { repairState } from "./repair.ts";
import { restoreRoot } from "./restore-root.ts";
import { invalid, storeLedger, type StoreLedgerOptions } from "./store-ledger.ts";

/** Where in the store, who writes, and what is kept for how long. */
export interface ObjectLedgerOptions extends StoreLedgerOptions {
  /**
   * A folder of the store, for a ledger of its own: segments of letters, digits, `_`, `.` and `-` with `/` between them. Default: the store as it
   * is.
   */
  readonly prefix?: string | undefined;
}

const OPTIONS: readonly string[] = ["prefix", "writers", "graceMs"] satisfies readonly (keyof ObjectLedgerOptions)[];

/**
 * A ledger in an object store: one object for each batch of commits, which whoever is first creates, and one object that says where reading begins.
 * Any number of processes and functions may open it. Throws `InvalidOption`.
 */
export function objectLedger(store: ObjectStore, options: ObjectLedgerOptions = {}): Ledger {
  const unknown = Object.keys(options).find((name) => !OPTIONS.includes(name));
  if (unknown !== undefined) throw invalid(`there is no option ${unknown}; known are ${OPTIONS.join(", ")}`);
  const { prefix } = options;
  const folder = prefix === undefined ? store : prefixedStore(store, parsePrefix(prefix));
  return storeLedger(folder, options, { repairState, restoreRoot });
}
