import type { FileSystemCalls } from "../../src/adapters/fs/file.ts";
import { createFsLedger } from "../../src/adapters/fs/ledger.ts";
import type { Ledger } from "../../src/core/ledger.ts";
import { fileWork } from "../../src/core/file-work.ts";
import { CoreKV } from "../../src/core/kv.ts";
import type { KVOptions } from "../../src/core/options.ts";
import { type Pace, pace } from "./paced-session.ts";
import type { Process } from "./world.ts";

/** How a replica is opened, drawn by the seed. */
export interface ReplicaOptions extends Pace {
  readonly kv: KVOptions;
  readonly readOnly: boolean;
  readonly durability: "relaxed" | "strict";
}

/** The shipped engine over the shipped file ledger: only what the system gives them is simulated. */
export function makeReplica(
  process: Process,
  calls: FileSystemCalls,
  path: string,
  options: ReplicaOptions,
): { readonly db: CoreKV; readonly ledger: Ledger } {
  const file = createFsLedger(path, { durability: options.durability }, calls);
  const ledger: Ledger = {
    name: file.name,
    ordering: file.ordering,
    open: async (given) => pace(await file.open(given), process, options),
  };
  const platform = {
    environment: process.environment,
    ledgerAt: () => ledger,
    fileWork,
  };
  return { db: new CoreKV(options.kv, platform), ledger };
}
