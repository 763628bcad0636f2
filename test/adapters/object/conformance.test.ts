import { describe, test } from "vitest";
import { objectLedger } from "../../../src/adapters/object/ledger.ts";
import { memoryStore } from "../../../src/adapters/object/memory-store.ts";
import type { ObjectStore } from "../../../src/adapters/object/object-store.ts";
import { nodeEnvironment } from "../../../src/platform/environment-node.ts";
import { ledgerConformance } from "../../../src/testing/index.ts";
import { withoutPauses } from "../../support/database.ts";

const stores: Readonly<Record<string, () => ObjectStore>> = {
  "a store that tells the time": () => memoryStore({ now: nodeEnvironment.now }),
  "a store that does not": () => memoryStore(),
};

describe.each(Object.keys(stores))("a ledger in %s", (name) => {
  ledgerConformance({
    test,
    environment: nodeEnvironment,
    create: async () => {
      const store = stores[name]();
      return { ledger: () => withoutPauses(objectLedger(store, { prefix: "folder" })), dispose: async () => undefined };
    },
  });
});
