import { describe, test } from "vitest";
import { fsLedger } from "../../../src/adapters/fs/index.ts";
import { nodeEnvironment } from "../../../src/platform/environment-node.ts";
import { ledgerConformance } from "../../../src/testing/index.ts";
import { temporaryFolder } from "../../support/folder.ts";

describe.each(["relaxed", "strict"] as const)("%s", (durability) => {
  ledgerConformance({
    test,
    environment: nodeEnvironment,
    create: async () => {
      const folder = temporaryFolder();
      return {
        ledger: () => fsLedger(folder.file("folder/ledger.db"), { durability }),
        dispose: async () => folder[Symbol.dispose](),
      };
    },
  });
});
