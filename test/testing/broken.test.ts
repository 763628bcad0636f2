import { describe, expect, test } from "vitest";
import { memoryLedger } from "../../src/adapters/memory/index.ts";
import { nodeEnvironment } from "../../src/platform/environment-node.ts";
import { brokenLedgers, conformanceCases, ledgerConformance } from "../../src/testing/index.ts";

describe("the conformance suite has teeth", () => {
  for (const { name, breaks, make } of brokenLedgers) {
    test(`a ledger that ${name} fails "${breaks}"`, async () => {
      const failed: string[] = [];
      const runs: Promise<void>[] = [];
      ledgerConformance({
        test: (title, run) => {
          const silent = run().then(
            () => undefined,
            () => void failed.push(title),
          );
          runs.push(silent);
        },
        environment: nodeEnvironment,
        create: async () => {
          const ledger = make(memoryLedger());
          return { ledger: () => ledger, dispose: async () => undefined };
        },
        capabilities: { canBeMissing: false },
      });
      await Promise.all(runs);
      expect(failed).toContain(breaks);
    });
  }

  test("every broken ledger names a case that exists", () => {
    for (const { breaks } of brokenLedgers) expect(conformanceCases()).toContain(breaks);
  });
});
