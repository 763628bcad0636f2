import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import { objectStoreCases } from "../../../src/testing/object-store-conformance.ts";
import { freshPrefix } from "../../support/s3-server.ts";
import { startWorker } from "../../support/workerd.ts";

const miniflare = await startWorker(fileURLToPath(new URL("worker.ts", import.meta.url)));
afterAll(() => miniflare.dispose());

async function ask(path: string, parameters: Readonly<Record<string, string>>): Promise<unknown> {
  const query = new URLSearchParams({ ...parameters, prefix: freshPrefix() });
  const response = await miniflare.dispatchFetch(`http://worker${path}?${query}`);
  return await response.json();
}

describe("the store of an R2 binding, in workerd", () => {
  for (const name of objectStoreCases()) {
    test(name, async () => {
      expect(await ask("/case", { case: name })).toEqual({ passed: true });
    });
  }

  test("is found suitable", async () => {
    expect(await ask("/probe", {})).toMatchObject({ suitable: true });
  });
});
