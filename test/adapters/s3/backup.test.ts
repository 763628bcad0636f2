import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { memoryLedger } from "../../../src/adapters/memory/index.ts";
import { s3FetchLedger } from "../../../src/adapters/s3-fetch/index.ts";
import { s3Ledger } from "../../../src/adapters/s3/index.ts";
import { type Entry, KV, type OpenTarget } from "../../../src/index.node.ts";
import { inFolder } from "../../support/folder.ts";
import { freshPrefix, s3Server } from "../../support/s3-server.ts";

const server = await s3Server();
afterAll(() => server[Symbol.asyncDispose]());

const place = () => {
  const { bucket, endpoint, region, credentials, tellsTime } = server;
  return { bucket, prefix: freshPrefix(), endpoint, region, credentials, tellsTime };
};

async function fill(db: KV): Promise<Entry[]> {
  for (let i = 0; i < 25; i++) void db.set(["n", i], { i, text: "x".repeat(i) });
  for (let i = 0; i < 4; i++) await db.set(["large", i], new Uint8Array(200_000).fill(i));
  await db.set(["late"], 1, { expireIn: 3_600_000 });
  await db.delete(["n", 3]);
  return await db.listAll([], { order: "version" });
}

async function isCopy(target: OpenTarget, expected: readonly Entry[], version: number): Promise<void> {
  await using copy = await KV.open(target);
  expect(await copy.listAll([], { order: "version" })).toEqual(expected);
  expect((await copy.set(["own"], 1)).version).toBeGreaterThan(version);
}

test(
  `a database goes from a file to ${server.name}, from there to another prefix, by another client, and back to a file and to memory`,
  () =>
    inFolder(async (folder) => {
      await using file = await KV.open(join(folder, "a.db"));
      const expected = await fill(file);
      const first = place();
      const { version } = await file.backup(s3Ledger(first));
      await expect(file.backup(s3FetchLedger(first))).rejects.toMatchObject({ code: "TargetExists" });
      await using bucket = await KV.open(s3FetchLedger(first), { readOnly: true });
      expect(await bucket.listAll([], { order: "version" })).toEqual(expected);
      const second = place();
      const targets = [s3FetchLedger(second), join(folder, "b.db"), memoryLedger()];
      for (const target of targets) {
        expect(await bucket.backup(target)).toMatchObject({ version });
        await isCopy(target, expected, version);
      }
      // Whatever was written to it, too.
      await using other = await KV.open(s3Ledger(second));
      await other.backup(join(folder, "c.db"));
      await isCopy(join(folder, "c.db"), await other.listAll([], { order: "version" }), other.stats().version);
    }),
  60_000,
);
