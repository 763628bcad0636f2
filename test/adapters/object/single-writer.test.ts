import { expect, test } from "vitest";
import { KVError } from "../../../src/core/errors.ts";
import type { GetAnswer, ObjectStore } from "../../../src/adapters/object/object-store.ts";
import { type Author, Bucket, failure } from "../../support/bucket.ts";

/** A bucket whose store lets the last writer win. */
function weakBucket(instead?: (key: string) => GetAnswer | undefined): {
  readonly bucket: Bucket;
  open(): Promise<Author>;
} {
  const bucket = new Bucket();
  const weak: ObjectStore = {
    ...bucket.counting,
    get: async (key, range) => instead?.(key) ?? bucket.counting.get(key, range),
    capabilities: { ...bucket.counting.capabilities, create: false, replace: false },
    create: async (key, bytes) => {
      await bucket.store.delete([key]);
      return await bucket.counting.create(key, bytes);
    },
  };
  return { bucket, open: () => bucket.open({ store: weak, writers: "single" }) };
}

test("one writer alone looks before and after each write", async () => {
  const { bucket, open } = weakBucket();
  const a = await open();
  await a.append(a.commit());
  bucket.requests.length = 0;
  await a.append(a.commit());
  expect(bucket.requests).toEqual(["get log/1 found", "get log/2 absent", "create log/2 created", "get log/2 found"]);
});

test("a second writer is detected before the first one overwrites it", async () => {
  const { open } = weakBucket();
  const a = await open();
  const b = await open();
  await a.append(a.commit());
  await b.follow();
  await b.append(b.commit());
  expect(await failure(a.append(a.commit()))).toBe("SecondWriterDetected, not committed");
});

test("a second writer that overwrites what was written is detected with the next write", async () => {
  const { bucket, open } = weakBucket();
  const a = await open();
  const b = await open();
  const gate = bucket.faulty.gate(({ kind, keys }) => kind === "create" && keys[0].includes("/log/"), "before");
  const parked = b.append(b.commit(2));
  await gate.arrived;
  await a.append(a.commit(1));
  await bucket.store.delete([`${(await bucket.root()).nonce}/log/000000000001`]);
  gate.open();
  expect(await parked).toMatchObject({ status: "appended" });
  expect(await failure(a.append(a.commit(3)))).toBe("SecondWriterDetected, not committed");
});

test("a second writer that wins between the write and the look at it is detected, and the outcome is unknown", async () => {
  const { bucket, open } = weakBucket();
  const a = await open();
  const b = await open();
  const gate = bucket.faulty.gate(({ kind, keys }) => kind === "create" && keys[0].includes("/log/"), "after");
  const first = a.append(a.commit(1));
  await gate.arrived;
  const { nonce } = await bucket.root();
  await bucket.store.delete([`${nonce}/log/000000000001`]);
  await b.append(b.commit(2));
  gate.open();
  expect(await failure(first)).toBe("SecondWriterDetected, unknown");
});

test.each([
  ["an answer that is no answer", "refused", "StoreInconsistent"],
  ["a credential that may not read", "denied", "AccessDenied"],
] as const)("one writer alone never writes over what it could not look at: %s", async (_what, status, code) => {
  for (const slot of [1, 2]) {
    let isShut = false;
    const { bucket, open } = weakBucket((key) =>
      isShut && key.endsWith(`/log/00000000000${slot}`)
        ? { status, error: new KVError(code, "no"), time: undefined }
        : undefined,
    );
    const a = await open();
    await a.append(a.commit());
    bucket.requests.length = 0;
    isShut = true;
    expect(await failure(a.append(a.commit()))).toBe(`${code}, not committed`);
    expect(bucket.requests.filter((each) => each.startsWith("create"))).toEqual([]);
  }
});

test.each(["root", "log/000000000002"])("%s, met while it is being written, is read again", async (key) => {
  let torn = 0;
  const { bucket, open } = weakBucket((asked) => {
    if (!asked.endsWith(key) || torn === 0) return undefined;
    torn--;
    return { status: "found", bytes: new Uint8Array(0), size: 0, etag: "", lastModified: undefined, time: undefined };
  });
  const a = await open();
  await a.append(a.commit(), a.commit());
  await a.append(a.commit());
  torn = 4;
  const reader = bucket.environment.until(
    open().then(async (b) => ((await b.follow()) === "end" ? b.commits.length : 0)),
  );
  expect(await reader).toBe(3);
  expect(torn).toBe(0);
});
