import { expect, test } from "vitest";
import { probeStore } from "../../../src/object/index.ts";
import { nodeEnvironment } from "../../../src/platform/environment-node.ts";
import { s3Connections } from "../../support/s3-connections.ts";
import { s3Server } from "../../support/s3-server.ts";

test("a server that keeps conditions is found suitable", async () => {
  await using server = await s3Server();
  const [store, ...connections] = s3Connections(server);
  const report = await probeStore(store, { environment: nodeEnvironment, connections, keys: 3 });

  expect(report.verdicts.filter(({ verdict }) => verdict !== "holds")).toEqual([]);
  expect(report.suitable).toBe(true);
});
