import { KV } from "../index.node.ts";
import { type FoliokvDriver, type FoliokvDriverOptions, makeDriver } from "./driver.ts";

export type { UnstorageStoreOptions } from "../adapters/unstorage/store.ts";
export { unstorageLedger } from "./ledger.ts";
export type { FoliokvDriver, FoliokvDriverOptions } from "./driver.ts";

/**
 * A driver with which unstorage keeps its items in a database: `createStorage({ driver: foliokvDriver({ database }) })`. The item `a:b`
 * is the value under the key `["a", "b"]`, below `base`. Watches see the changes of every process. Items set with `ttl` (seconds) expire.
 *
 * @throws InvalidArgumentError `InvalidOption`, or `InvalidKey` for a `base` that is no key. Failures of calls are those of the database.
 */
export function foliokvDriver(options: FoliokvDriverOptions): FoliokvDriver {
  return makeDriver((target, opening) => KV.open(target, opening), options);
}
