import { expect, test } from "vitest";
import { objectLedger } from "../../../src/adapters/object/ledger.ts";
import { probeStore, requireSuitable } from "../../../src/object/index.ts";
import { KV } from "../../../src/index.node.ts";
import { nodeEnvironment } from "../../../src/platform/environment-node.ts";
import { s3Connections } from "../../support/s3-connections.ts";
import { startS3rver } from "../../support/s3rver.ts";

test("s3rver, which ignores conditions, is refused", async () => {
  await using server = await startS3rver();
  const [store, ...connections] = s3Connections(server);
  const report = await probeStore(store, { environment: nodeEnvironment, connections, keys: 2 });

  const failed = report.verdicts.filter(({ verdict }) => verdict === "fails").map(({ property }) => property);
  expect(failed).toEqual(expect.arrayContaining(["create", "replace"]));
  expect(() => requireSuitable(report)).toThrow(expect.objectContaining({ code: "StoreUnsuitable" }));
});

test("a database on s3rver is refused, and nothing of it is there", async () => {
  await using server = await startS3rver();
  const [store] = s3Connections(server);

  await expect(KV.open(objectLedger(store))).rejects.toMatchObject({ code: "StoreUnsuitable" });
  expect(await store.get("root")).toMatchObject({ status: "absent" });
});
