import { givenOptions } from "../../core/given-options.ts";
import type { Ledger } from "../../core/ledger.ts";
import type { ObjectStore } from "./object-store.ts";
import type { StoreLedgerOptions } from "./store-ledger.ts";

/** What a ledger in a folder of a bucket can be told, beside what its store has to know: the store already has the folder. */
export type BucketLedgerOptions = StoreLedgerOptions;

/** A ledger on a store that is made of the rest of the options. `context` is the call, for messages. Throws `InvalidOption`. */
export function bucketLedger(
  context: string,
  makeLedger: (store: ObjectStore, options: unknown, context: string) => Ledger,
  makeStore: (options: unknown, context: string) => ObjectStore,
  options: unknown,
): Ledger {
  const { writers, graceMs, ...rest } = givenOptions(options, ["bucket", "prefix"], context);
  return makeLedger(makeStore(rest, context), { writers, graceMs }, context);
}
