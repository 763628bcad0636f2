import { expect, test } from "vitest";
import { encodeBatchIds } from "../../../src/adapters/object/batch-ids.ts";
import { runKey } from "../../../src/adapters/object/layout.ts";
import { encodeKey } from "../../../src/core/key.ts";
import type { Layer } from "../../../src/core/layers.ts";
import { Pacer } from "../../../src/core/pacer.ts";
import { Row } from "../../../src/core/resolve.ts";
import { buildDelta } from "../../../src/core/state-run.ts";
import { encodeValue } from "../../../src/core/value.ts";
import { Bucket } from "../../support/bucket.ts";
import { openDatabase, roundsOf } from "../../support/bucket-database.ts";

const KEYS = 1_000_000;
const SLOT = 100;
const VERSION = SLOT * 65_536;

/** Keys in order, each with a row of the same version. */
function rows(count: number, value: Uint8Array): Layer {
  let i = 0;
  const row = new Row(VERSION, 0, 1_700_000_000_000, 0, false, 0, value.length, 0, undefined);
  return {
    get: () => undefined,
    cursor: () => ({
      get key() {
        return encodeKey(["user", i]);
      },
      value: row,
      seek: () => count > 0,
      next: () => ++i < count,
      seekBefore: () => false,
      previous: () => false,
    }),
  };
}

test("a million keys are opened in two requests one after the other, and a value is there with the third", async () => {
  const bucket = new Bucket();
  const { environment } = bucket;
  const db = await openDatabase(bucket);
  await environment.until(db.close());
  const value = encodeValue({ name: "somebody", text: "x".repeat(90) });
  const { bytes, openFrom } = await buildDelta(
    {
      environment,
      pacer: new Pacer(environment),
      name: "bucket",
      source: { bytes: () => value },
      check: () => undefined,
    },
    rows(KEYS, value),
    { since: 0, upto: VERSION },
  );
  const ids = encodeBatchIds([], environment.crc32);
  const random = "0123456789abcdef";
  const run = { epoch: 0, from: 1, to: SLOT, random, size: bytes.length, footerPlace: openFrom, batchIds: 0 };
  const object = new Uint8Array(bytes.length + ids.bytes.length);
  object.set(bytes);
  object.set(ids.bytes, bytes.length);
  await bucket.store.create(runKey((await bucket.root()).nonce, run), object);
  await bucket.changeRoot(() => ({
    runs: [run],
    checkpointSlot: SLOT,
    checkpointVersion: VERSION,
    tailHint: SLOT,
  }));
  expect(bytes.length).toBeGreaterThan(100 * 1024 * 1024);

  const before = bucket.counting.counts().bytesReceived;
  const { result: other, rounds } = await roundsOf(bucket, () => openDatabase(bucket));
  expect(rounds).toBe(2);
  expect(other.stats().keys).toBe(KEYS);
  const { result: found, rounds: more } = await roundsOf(bucket, () => other.get(["user", 654_321]));
  expect(found).toMatchObject({ name: "somebody" });
  expect(more).toBe(1);
  expect(bucket.counting.counts().bytesReceived - before).toBeLessThan(1024 * 1024);
  // Whether there is a key at all takes no longer.
  const { result: missing, rounds: third } = await roundsOf(bucket, () => other.get(["user", 0.5]));
  expect([missing, third]).toEqual([null, 1]);
}, 240_000);
