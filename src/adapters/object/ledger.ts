import { knownOptions } from "../../core/given-options.ts";
import type { Ledger } from "../../core/ledger.ts";
import { assertStore } from "./assert-store.ts";
import { createFrom } from "./create-from.ts";
import { parsePrefix } from "./names.ts";
import type { ObjectStore } from "./object-store.ts";
import { prefixedStore } from "./prefixed-store.ts";
import { repairState } from "./repair.ts";
import { restoreRoot } from "./restore-root.ts";
import { storeLedger, type StoreLedgerOptions } from "./store-ledger.ts";

/** Where in the store, who writes, and what is kept for how long. */
export interface ObjectLedgerOptions extends StoreLedgerOptions {
  /**
   * A folder of the store, for a ledger of its own: segments of letters, digits, `_`, `.` and `-` with `/` between them. Default: the store as it
   * is.
   */
  readonly prefix?: string | undefined;
}

/**
 * A ledger in an object store: one object for each batch of commits, which whoever is first creates, and one object that says where reading begins.
 * Any number of processes and functions may open it.
 *
 * @throws InvalidArgumentError `InvalidArgument` for a store that is none, `InvalidOption`.
 */
export function objectLedger(store: ObjectStore, options: ObjectLedgerOptions = {}): Ledger {
  return makeObjectLedger(store, options, "objectLedger");
}

/** The same, for a call that is called otherwise. */
export function makeObjectLedger(store: ObjectStore, options: unknown, context: string): Ledger {
  assertStore(store, context);
  const { prefix, ...rest } = knownOptions(options, ["prefix", "writers", "graceMs"], context);
  const folder = prefix === undefined ? store : prefixedStore(store, parsePrefix(prefix, context));
  const ledger = storeLedger(folder, rest, context, { repairState, restoreRoot });
  const writers = rest.writers === "single" ? "single" : "several";
  // A Worker's bundle does not carry it.
  return { ...ledger, createFrom: (request) => createFrom(folder, writers, request) };
}
