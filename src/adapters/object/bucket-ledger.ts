import type { Ledger } from "../../core/ledger.ts";
import type { ObjectStore } from "./object-store.ts";
import type { StoreLedgerOptions } from "./store-ledger.ts";

/** What a ledger in a folder of a bucket can be told, beside what its store has to know: the store already has the folder. */
export type BucketLedgerOptions = StoreLedgerOptions;

/** A ledger on a store that is made of the rest of the options. */
export function bucketLedger<Options extends BucketLedgerOptions>(
  makeLedger: (store: ObjectStore, options: BucketLedgerOptions) => Ledger,
  makeStore: (options: Omit<Options, keyof BucketLedgerOptions>) => ObjectStore,
  options: Options,
): Ledger {
  // Without any, the store says what it misses.
  const { writers, graceMs, ...rest } = (options as Options | undefined | null) ?? ({} as Options);
  return makeLedger(makeStore(rest), {
    ...(writers === undefined ? {} : { writers }),
    ...(graceMs === undefined ? {} : { graceMs }),
  });
}
