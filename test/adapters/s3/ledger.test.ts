import { afterAll, describe, test, vi } from "vitest";
import { s3Ledger } from "../../../src/adapters/s3/index.ts";
import { nodeEnvironment } from "../../../src/platform/environment-node.ts";
import { ledgerConformance } from "../../../src/testing/index.ts";
import { freshPrefix, s3Server } from "../../support/s3-server.ts";

// Every one of them begins with the probe of a store, some hundred and sixty requests.
vi.setConfig({ testTimeout: 180_000 });

const server = await s3Server();
afterAll(() => server[Symbol.asyncDispose]());

describe(`the ledger of s3Ledger, on ${server.name}`, () => {
  ledgerConformance({
    // Several at once: most of the time is waiting for others' turns.
    test: test.concurrent,
    environment: nodeEnvironment,
    create: async () => {
      const { bucket, endpoint, region, credentials, tellsTime, quotedEtags } = server;
      const prefix = freshPrefix();
      return {
        ledger: () => s3Ledger({ bucket, prefix, endpoint, region, credentials, tellsTime, quotedEtags }),
        dispose: async () => undefined,
      };
    },
  });
});
