import { fsLedger } from "./adapters/fs/index.ts";
import { fileWork } from "./core/file-work.ts";
import { CoreKV } from "./core/kv.ts";
import type { OpenTarget } from "./core/open-target.ts";
import type { KVOptions, OpenOptions } from "./core/options.ts";
import { nodeEnvironment } from "./platform/environment-node.ts";

export * from "./core/index.ts";
/** Clock, chance, timers and checksum as this entry's `KV` uses them: for those who test a ledger of their own. */
export { nodeEnvironment as environment } from "./platform/environment-node.ts";

/** A database. `open` takes the path of a file, a `file:` URL, or a ledger. */
export class KV extends CoreKV {
  constructor(options?: KVOptions) {
    super(options, { environment: nodeEnvironment, ledgerAt: fsLedger, fileWork });
  }

  /** Makes an instance and opens it: for `await using db = await KV.open(...)`. */
  static async open(target: OpenTarget, options?: KVOptions & OpenOptions): Promise<KV> {
    const [own, opening] = CoreKV.splitOptions(options);
    return new KV(own).open(target, opening);
  }
}
