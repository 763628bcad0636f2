import { InvalidArgumentError } from "../../core/errors.ts";
import type { Ledger } from "../../core/ledger.ts";
import { objectLedger, type ObjectLedgerOptions } from "./ledger.ts";
import type { ObjectStore } from "./object-store.ts";

/** What a ledger in a folder of a bucket can be told, beside what its store has to know: the store already has the folder. */
export type BucketLedgerOptions = Omit<ObjectLedgerOptions, "prefix">;

/** A ledger on a store that is made of the rest of the options. */
export function bucketLedger<Options extends BucketLedgerOptions>(
  makeStore: (options: Omit<Options, keyof BucketLedgerOptions>) => ObjectStore,
  options: Options,
): Ledger {
  if (typeof (options as unknown) !== "object" || options === null)
    throw new InvalidArgumentError(
      "InvalidOption",
      `Options are an object with bucket and prefix; received ${options === null ? "null" : typeof options}`,
    );
  const { writers, graceMs, ...rest } = options;
  return objectLedger(makeStore(rest), {
    ...(writers === undefined ? {} : { writers }),
    ...(graceMs === undefined ? {} : { graceMs }),
  });
}
