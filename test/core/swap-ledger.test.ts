import { test } from "vitest";
import { nodeEnvironment } from "../../src/platform/environment-node.ts";
import { ledgerConformance } from "../../src/testing/index.ts";
import { swapLedger } from "../support/swap-ledger.ts";

ledgerConformance({
  test,
  environment: nodeEnvironment,
  create: async () => {
    const swap = swapLedger();
    swap.takes = 7;
    return { ledger: () => swap.ledger, dispose: async () => undefined };
  },
  capabilities: { canBeMissing: false },
});
