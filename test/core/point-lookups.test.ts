import { expect, test } from "vitest";
import { fsLedger } from "../../src/adapters/fs/index.ts";
import { Row } from "../../src/core/resolve.ts";
import { KV } from "../../src/index.node.ts";
import { nodeEnvironment } from "../../src/platform/environment-node.ts";
import { readRun } from "../format/run-reader.ts";
import { temporaryFolder } from "../support/folder.ts";
import { buildRun } from "../support/runs.ts";

/** The state that a vacuumed file begins with, as one run. */
async function snapshotOf(path: string): Promise<Uint8Array> {
  const session = await fsLedger(path).open({
    environment: nodeEnvironment,
    readOnly: true,
    createIfMissing: false,
    allowNetworkFileSystem: false,
  });
  const run = session.openSnapshot?.()?.run;
  const bytes = run?.read(0, run.length).slice() ?? new Uint8Array(0);
  run?.close();
  await session.close();
  return bytes;
}

test("a vacuumed file has a point lookup", async () => {
  using folder = temporaryFolder();
  const path = folder.file("ledger.db");
  await using db = await KV.open(path);
  await db.beginTransaction();
  for (let i = 0; i < 1000; i++) void db.set(["k", i], i);
  await db.endTransaction();
  await db.vacuum();
  const { lookup } = readRun(await snapshotOf(path));
  expect(lookup).toBeDefined();
});

test("a run has none where nobody brings what writes it", () => {
  const contents = Array.from({ length: 1000 }, (_, i) => ({
    key: `k${i}`.padStart(6, "_"),
    row: new Row(i, 0, 0, 0, false, -1, 0, 0, i),
  }));
  expect(readRun(buildRun(contents).bytes).lookup).toBeDefined();
  const without = readRun(buildRun(contents, { Lookups: undefined }).bytes);
  expect([without.lookup, without.filter]).toEqual([undefined, expect.anything()]);
});
