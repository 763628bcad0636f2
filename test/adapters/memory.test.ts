import { test } from "vitest";
import { memoryLedger } from "../../src/adapters/memory/index.ts";
import { nodeEnvironment } from "../../src/platform/environment-node.ts";
import { ledgerConformance } from "../../src/testing/index.ts";

ledgerConformance({
  test,
  environment: nodeEnvironment,
  create: async () => {
    const ledger = memoryLedger();
    return { ledger: () => ledger, dispose: async () => undefined };
  },
  capabilities: { canBeMissing: false, vacuum: false, checkpoints: false },
});
