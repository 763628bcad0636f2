import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { describe, expect, it } from "vitest";
import { encodeBatchIds } from "../../../src/adapters/object/batch-ids.ts";
import { runKey } from "../../../src/adapters/object/layout.ts";
import { RootObject } from "../../../src/adapters/object/root-object.ts";
import type { RootRun } from "../../../src/adapters/object/root.ts";
import { readBatchIds, runObject, type RunObjectOptions } from "../../../src/adapters/object/run-object.ts";
import { whenLoaded } from "../../../src/core/bytes-at.ts";
import { KVError } from "../../../src/core/errors.ts";
import type { StoredRun } from "../../../src/core/ledger.ts";
import { Bucket } from "../../support/bucket.ts";

const KIB = 1024;

/** A run that the root names, of so many bytes, each of which says where it is. */
async function stored(size: number): Promise<{
  readonly bucket: Bucket;
  readonly run: RootRun;
  readonly bytes: Uint8Array;
  readonly options: RunObjectOptions;
  readonly gone: () => number;
}> {
  const bucket = new Bucket();
  await bucket.open();
  const { nonce } = await bucket.root();
  const ids = encodeBatchIds([new Uint8Array(16).fill(1), new Uint8Array(16).fill(2)], bucket.environment.crc32);
  const run = { epoch: 0, from: 1, to: 3, random: "0".repeat(16), size, footerPlace: size - 100, batchIds: ids.count };
  const bytes = Uint8Array.from({ length: size }, (_, i) => (i >>> 8) ^ i);
  const object = new Uint8Array(size + ids.bytes.length);
  object.set(bytes);
  object.set(ids.bytes, size);
  await bucket.store.create(runKey(nonce, run), object);
  await bucket.changeRoot(() => ({ runs: [run], checkpointSlot: 3, checkpointVersion: 3 * 65_536, tailHint: 3 }));
  let gone = 0;
  const options = {
    site: { name: "bucket", store: bucket.counting, environment: bucket.environment, nonce },
    rootObject: new RootObject(bucket.counting, bucket.environment),
    gone: () => void gone++,
  };
  bucket.requests.length = 0;
  return { bucket, run, bytes, options, gone: () => gone };
}

/** One object: each keeps what has arrived for it. */
const readOf = async (object: StoredRun, place: number, length: number): Promise<Uint8Array> =>
  await whenLoaded(() => object.read(place, length));

const code = async (work: () => unknown): Promise<string> => {
  try {
    await work();
  } catch (error) {
    return error instanceof KVError ? error.code : String(error);
  }
  return "nothing";
};

describe("a run in a bucket", () => {
  it("that is small is read once and as a whole", async () => {
    const { bucket, run, bytes, options } = await stored(64 * KIB);
    const object = runObject(run, options);
    expect(object).toMatchObject({ length: 64 * KIB, openFrom: 0, isInMemory: true });
    for (const [place, length] of [
      [60_000, 5536],
      [0, 10],
      [5, 300],
    ] as const) {
      expect(await whenLoaded(() => object.read(place, length))).toEqual(bytes.subarray(place, place + length));
    }
    expect(bucket.requests).toHaveLength(1);
  });

  it("that is large is read in the parts that are asked for", async () => {
    const { bucket, run, bytes, options } = await stored(300 * KIB);
    const object = runObject(run, options);
    expect(object).toMatchObject({ openFrom: run.footerPlace, isInMemory: false });
    const before = bucket.counting.counts().bytesReceived;
    for (const [place, length] of [
      [100_000, 500],
      [0, 10],
    ] as const) {
      expect(await whenLoaded(() => object.read(place, length))).toEqual(bytes.subarray(place, place + length));
    }
    expect(bucket.counting.counts().bytesReceived - before).toBe(510);
  });

  it("that is passed through is read in large parts", async () => {
    const { bucket, run, bytes, options } = await stored(300 * KIB);
    const object = runObject(run, { ...options, partBytes: 4 * 1024 * 1024 });
    for (let place = 0; place < bytes.length; place += 50_000) {
      const read = await whenLoaded(() => object.read(place, 50_000));
      expect(read).toEqual(bytes.subarray(place, place + 50_000));
    }
    expect(bucket.requests).toHaveLength(1);
  });

  it("that was made here is opened without being read", async () => {
    for (const size of [10 * KIB, 300 * KIB]) {
      const { bucket, run, bytes, options } = await stored(size);
      const object = runObject(run, { ...options, made: bytes });
      const { openFrom = 0 } = object;
      expect(object.read(openFrom, size - openFrom)).toEqual(bytes.subarray(openFrom));
      expect(bucket.requests).toEqual([]);
    }
  });

  it("is asked for before it is needed, once", async () => {
    const { bucket, run, bytes, options } = await stored(300 * KIB);
    const object = runObject(run, options);
    object.prefetch();
    expect(await whenLoaded(() => object.read(run.footerPlace, 100))).toEqual(bytes.subarray(run.footerPlace));
    expect(bucket.requests).toHaveLength(1);
  });

  it("of which half arrives is read again, and is damaged if there is no more of it", async () => {
    const { bucket, run, bytes, options } = await stored(300 * KIB);
    bucket.befalls(() => true, [{ fault: { kind: "truncated" } }]);
    expect(await readOf(runObject(run, options), 0, 1000)).toEqual(bytes.subarray(0, 1000));
    bucket.faulty.fate = () => ({ fault: { kind: "truncated" } });
    expect(await code(() => readOf(runObject(run, options), 0, 1000))).toBe("InputOutput");
    bucket.faulty.fate = () => undefined;
    const short = { ...run, size: run.size + 1000 };
    expect(await code(() => readOf(runObject(short, options), run.size + 500, 10))).toBe("LedgerDamaged");
  });

  it("that is gone is damage while the root names it, and a state that has expired otherwise", async () => {
    const { bucket, run, options, gone } = await stored(300 * KIB);
    await bucket.store.delete([runKey(options.site.nonce, run)]);
    expect(await code(() => readOf(runObject(run, options), 0, 10))).toBe("LedgerDamaged");
    expect(gone()).toBe(0);
    await bucket.changeRoot(() => ({ runs: [{ ...run, random: "1".repeat(16) }] }));
    expect(await code(() => readOf(runObject(run, options), 0, 10))).toBe("SnapshotExpired");
    expect(gone()).toBe(1);
  });

  it("tells the batch ids of the newest slots that it covers, and damage of them", async () => {
    const { bucket, run, options } = await stored(300 * KIB);
    expect(await readBatchIds(run, options)).toEqual([new Uint8Array(16).fill(1), new Uint8Array(16).fill(2)]);
    expect(await readBatchIds({ ...run, batchIds: 0 }, options)).toEqual([]);
    expect(await code(() => readBatchIds({ ...run, batchIds: 1 }, options))).toBe("LedgerDamaged");
    bucket.faulty.fate = () => ({ fault: { kind: "unsent" } });
    expect(await code(() => readBatchIds(run, options))).toBe("InputOutput");
  });
});

it("that was made here is kept no longer than it takes to open it, but for its end", async () => {
  setFlagsFromString("--expose-gc");
  const collectGarbage = runInNewContext("gc") as () => void;
  const { run, options } = await stored(1024 * KIB);
  const make = (): { readonly object: StoredRun; readonly bytes: WeakRef<Uint8Array> } => {
    const made = new Uint8Array(run.size).fill(7);
    return { object: runObject(run, { ...options, made }), bytes: new WeakRef(made) };
  };
  const { object, bytes } = make();
  // What was referred to stays to the end of the turn.
  await new Promise((resolve) => setImmediate(resolve));
  collectGarbage();
  expect(bytes.deref()).toBeUndefined();
  expect(object.read(run.footerPlace, 100)).toEqual(new Uint8Array(100).fill(7));
});
