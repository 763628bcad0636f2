import { KV } from "foliokv";
import { memoryStore, objectLedger, probeStore } from "foliokv/object";
import { r2Ledger } from "foliokv/r2";
import { s3Ledger } from "foliokv/s3";
import { s3FetchLedger } from "foliokv/s3-fetch";
import { afterAll, describe, expect, test } from "vitest";
import { freshPrefix, s3Server } from "../../support/s3-server.ts";

const server = await s3Server();
afterAll(() => server[Symbol.asyncDispose]());

describe("the entries of the package", () => {
  test("open one database by the SDK and by fetch", async () => {
    const { endpoint, region, bucket, credentials, tellsTime } = server;
    const place = { endpoint, region, bucket, credentials, tellsTime, prefix: freshPrefix() };
    await using first = await KV.open(s3Ledger(place));
    await using second = await KV.open(s3FetchLedger(place));
    await first.set(["from"], "the SDK");
    expect(await second.get(["from"], { consistency: "strong" })).toBe("the SDK");
    await second.set(["from"], "fetch");
    expect(await first.get(["from"], { consistency: "strong" })).toBe("fetch");
  });

  test("carry a store of one's own", async () => {
    const store = memoryStore();
    expect(await probeStore(store)).toMatchObject({ suitable: true });
    await using db = await KV.open(objectLedger(store, { prefix: "db" }));
    await db.set(["a"], 1);
    expect(await db.get(["a"])).toBe(1);
  });

  test("pass on to store and ledger what is theirs, and refuse what is nobody's", () => {
    const bucket = { head: async () => null, put: async () => null };
    for (const make of [
      (options: object) => s3Ledger({ bucket: "b", prefix: "p", region: "r", ...options }),
      (options: object) =>
        s3FetchLedger({
          bucket: "b",
          prefix: "p",
          region: "r",
          credentials: { accessKeyId: "a", secretAccessKey: "s" },
          ...options,
        }),
      (options: object) => r2Ledger({ bucket: bucket as never, prefix: "p", ...options }),
    ]) {
      expect(make({ writers: "single", graceMs: 3_600_000 }).ordering).toBe("compare-and-swap");
      for (const wrong of [{ graceMs: 1 }, { writers: "none" }, { prefix: ".." }, { parallel: 0 }, { fast: true }]) {
        expect(() => make(wrong)).toThrow(expect.objectContaining({ code: "InvalidOption" }));
      }
    }
    for (const make of [s3Ledger, s3FetchLedger, r2Ledger] as ((options: unknown) => unknown)[]) {
      for (const none of [undefined, null, "bucket"])
        expect(() => make(none)).toThrow(expect.objectContaining({ code: "InvalidOption" }));
    }
  });
});
