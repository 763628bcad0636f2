import { expect, test } from "vitest";
import { nodeEnvironment } from "../../../src/platform/environment-node.ts";
import type { StoreFaultRates } from "../../../src/testing/faulty-store.ts";
import { BucketRace } from "../../support/bucket-race.ts";
import { s3Connections } from "../../support/s3-connections.ts";
import { s3Server } from "../../support/s3-server.ts";

const WRITERS = 8;
/** Of each: what a real server does in less than a minute. The one in the default tests gets some seconds. */
const COMMITS = process.env.S3_ENDPOINT === undefined ? 10 : 100;

/** Of everything that may befall a request, what passes in seconds. */
const faults: StoreFaultRates = {
  unsent: 0.02,
  answerLost: 0.02,
  late: 0.01,
  lateMsMax: 3000,
  conflict: 0.02,
  truncated: 0.02,
  storm: 0.001,
  stormMs: 2000,
  delayMsMax: 60,
};

test("eight writers of a bucket, half of them with each client: nothing acknowledged is lost, nothing is there twice", async () => {
  await using server = await s3Server();
  const [sdk, , byFetch] = s3Connections(server);
  const run = new BucketRace({
    environment: nodeEnvironment,
    seed: 1,
    storeOf: (writer = 0) => (writer % 2 === 0 ? sdk : byFetch),
    writers: WRITERS,
    commits: COMMITS,
    rates: faults,
    pauseMs: (random) => 500 * random(),
    restMs: 5000,
    syncIntervalMs: 500,
  });
  await run.run();
  console.info(`${server.name}: ${run.summary}`);
  expect(run.count("committed")).toBeGreaterThan((WRITERS * COMMITS) / 4);
}, 300_000);
