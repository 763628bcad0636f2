import { describe, expect, test } from "vitest";
import { runKey } from "../../../src/adapters/object/layout.ts";
import { storeLedger } from "../../../src/adapters/object/store-ledger.ts";
import { fileWork } from "../../../src/core/file-work.ts";
import { CoreKV } from "../../../src/core/kv.ts";
import type { OpenOptions } from "../../../src/core/options.ts";
import { Bucket } from "../../support/bucket.ts";
import { openDatabase, setKeys } from "../../support/bucket-database.ts";

/** As `r2Ledger` makes one, which carries nothing that mends. */
function opening(bucket: Bucket, options: OpenOptions, work: typeof fileWork | undefined = fileWork): Promise<CoreKV> {
  const ledgerAt = (): never => {
    throw new Error("there are no files here");
  };
  const platform = { environment: bucket.environment, ledgerAt, ...(work === undefined ? {} : { fileWork: work }) };
  const db = new CoreKV({ autoSync: false }, platform);
  return bucket.environment.until(db.open(storeLedger(bucket.counting, {}, "r2Ledger"), options).then(() => db));
}

async function written(slots: number): Promise<Bucket> {
  const bucket = new Bucket();
  await setKeys(bucket, await openDatabase(bucket), 0, slots);
  return bucket;
}

async function spoil({ store }: Bucket, key: string): Promise<void> {
  const found = await store.get(key);
  if (found.status !== "found") throw new Error(found.status);
  const bytes = found.bytes.slice();
  for (let at = 60; at < bytes.length; at += 7) bytes[at] ^= 1;
  await store.replace(key, bytes, found.etag);
}

const refusal = { code: "UnsupportedTarget", message: expect.stringContaining("s3Ledger") as unknown };

describe("a ledger that carries nothing that mends", () => {
  test("opens what is whole, whether it is to be repaired or not, and finds nothing damaged", async () => {
    const bucket = await written(20);
    const db = await opening(bucket, { repair: true });
    expect(await bucket.environment.until(db.get(["k", 19]))).toBe(19);
    expect(await bucket.environment.until(db.repair())).toMatchObject({ dropped: [], header: "whole" });
  });

  test("says of a root that is damaged, or gone, who can make it anew, and leaves everything as it is", async () => {
    const bucket = await written(20);
    await spoil(bucket, "root");
    const before = await bucket.store.get("root");
    await expect(opening(bucket, {})).rejects.toMatchObject({ code: "LedgerDamaged" });
    await expect(opening(bucket, { repair: true })).rejects.toMatchObject(refusal);
    expect(await bucket.store.get("root")).toEqual(before);
    await bucket.store.delete(["root"]);
    await expect(opening(bucket, { createIfMissing: true })).rejects.toMatchObject({ code: "LedgerDamaged" });
    await expect(opening(bucket, { repair: true })).rejects.toMatchObject(refusal);
    expect(await bucket.store.get("root")).toMatchObject({ status: "absent" });
  });

  test.each([
    ["with the work on files", fileWork],
    ["without it, as in a Worker", undefined],
  ])("says of a state that is damaged who can repair it, %s", async (_, work) => {
    const bucket = await written(170);
    const before = await bucket.root();
    await spoil(bucket, runKey(before.nonce, before.runs[0]));
    await expect(opening(bucket, { repair: true }, work)).rejects.toMatchObject({ code: "UnsupportedTarget" });
    expect(await bucket.root()).toEqual(before);
    const db = await opening(bucket, {}, work);
    expect(db.stats().damage).not.toEqual([]);
    await expect(bucket.environment.until(db.repair())).rejects.toMatchObject({ code: "UnsupportedTarget" });
  });
});
