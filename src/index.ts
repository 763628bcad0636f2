import type { Environment } from "./core/environment.ts";
import { KVError } from "./core/errors.ts";
import { CoreKV } from "./core/kv.ts";
import type { OpenTarget } from "./core/open-target.ts";
import type { KVOptions, OpenOptions } from "./core/options.ts";
import { webEnvironment } from "./platform/environment.ts";

export * from "./core/index.ts";
/** Several requests may share an instance, and each may be gone at any moment (see `Environment.isolated`). */
const environment: Environment = { ...webEnvironment, isolated: true };

/** Clock, chance, timers and checksum as this entry's `KV` uses them: for those who test a ledger of their own. */
export { environment };

/** A database. This entry knows no files: `open` takes a ledger, `memoryLedger()` for one. */
export class KV extends CoreKV {
  constructor(options?: KVOptions) {
    super(options, {
      environment,
      ledgerAt: () => {
        throw new KVError(
          "UnsupportedTarget",
          "There is no file adapter in this build: open a ledger, memoryLedger() from foliokv/memory for one",
        );
      },
    });
  }

  /** Makes an instance and opens it: for `await using db = await KV.open(...)`. */
  static async open(target: OpenTarget, options?: KVOptions & OpenOptions): Promise<KV> {
    const [own, opening] = CoreKV.splitOptions(options);
    return new KV(own).open(target, opening);
  }
}
