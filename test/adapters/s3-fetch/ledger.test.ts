import { afterAll, describe, expect, test, vi } from "vitest";
import { s3FetchLedger, s3FetchStore } from "../../../src/adapters/s3-fetch/index.ts";
import { s3Ledger } from "../../../src/adapters/s3/index.ts";
import { KV } from "../../../src/index.node.ts";
import { nodeEnvironment } from "../../../src/platform/environment-node.ts";
import { ledgerConformance } from "../../../src/testing/index.ts";
import { freshPrefix, s3Server } from "../../support/s3-server.ts";

// Every one of them begins with the probe of a store, some hundred and sixty requests.
vi.setConfig({ testTimeout: 180_000 });

const server = await s3Server();
afterAll(() => server[Symbol.asyncDispose]());

describe(`the ledger of s3FetchLedger, on ${server.name}`, () => {
  ledgerConformance({
    // Several at once: most of the time is waiting for others' turns.
    test: test.concurrent,
    environment: nodeEnvironment,
    create: async () => {
      const { bucket, endpoint, region, credentials, tellsTime, quotedEtags } = server;
      const prefix = freshPrefix();
      return {
        ledger: () => s3FetchLedger({ bucket, prefix, endpoint, region, credentials, tellsTime, quotedEtags }),
        dispose: async () => undefined,
      };
    },
  });
});

/** Some servers for tests let everybody in. */
async function letsEverybodyIn(): Promise<boolean> {
  const { bucket, endpoint, region } = server;
  const credentials = { accessKeyId: "nobody", secretAccessKey: "nothing" };
  const answer = await s3FetchStore({ bucket, prefix: freshPrefix(), endpoint, region, credentials }).get("nothing");
  return answer.status === "absent";
}

test.skipIf(await letsEverybodyIn())(
  "a credential that is known no more is told of, and makes no empty database and no end of one",
  async () => {
    const { bucket, endpoint, region, tellsTime, quotedEtags } = server;
    const known = { bucket, prefix: freshPrefix(), endpoint, region, tellsTime, quotedEtags };
    let credentials = server.credentials;
    await using db = await KV.open(s3FetchLedger({ ...known, credentials: () => credentials }), { autoSync: false });
    await db.set(["a"], 1);

    credentials = { accessKeyId: "nobody", secretAccessKey: "nothing" };
    const denied = { code: "AccessDenied" };
    await expect(db.sync()).rejects.toMatchObject(denied);
    await expect(db.get(["a"], { consistency: "strong" })).rejects.toMatchObject(denied);
    await expect(db.set(["a"], 2)).rejects.toMatchObject({ ...denied, outcome: "not committed" });
    for (const ledger of [s3FetchLedger({ ...known, credentials }), s3Ledger({ ...known, credentials })]) {
      await expect(KV.open(ledger)).rejects.toMatchObject(denied);
      await expect(KV.open(ledger, { readOnly: true })).rejects.toMatchObject(denied);
    }

    ({ credentials } = server);
    await db.sync();
    expect(await db.get(["a"])).toBe(1);
  },
);
