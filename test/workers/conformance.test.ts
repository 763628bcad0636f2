import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import { conformanceCases } from "../../src/testing/index.ts";
import { freshPrefix } from "../support/s3-server.ts";
import { startWorker } from "../support/workerd.ts";

const miniflare = await startWorker(fileURLToPath(new URL("conformance-worker.ts", import.meta.url)));
afterAll(() => miniflare.dispose());

describe("a ledger on an R2 binding, in workerd", () => {
  for (const name of conformanceCases()) {
    test(name, async () => {
      const query = new URLSearchParams({ case: name, prefix: freshPrefix() });
      const response = await miniflare.dispatchFetch(`http://worker/?${query}`);
      expect(await response.json()).toEqual({ passed: true });
    });
  }
});
