import { appendFileSync, readFileSync, statSync } from "node:fs";
import { expect, test } from "vitest";
import { KV } from "../../../src/index.node.ts";
import { MARKER } from "../../../src/adapters/fs/frame.ts";
import { temporaryFolder } from "../../support/folder.ts";

const MIB = 1024 * 1024;

/** Equal bytes, without a comparison of millions of elements when they are not. */
function expectBytes(actual: unknown, expected: Uint8Array): void {
  expect(actual).toBeInstanceOf(Uint8Array);
  expect(Buffer.compare(actual as Uint8Array, expected)).toBe(0);
}

test("a value may hold the bytes of the ledger itself, again and again", async () => {
  using folder = temporaryFolder();
  const path = folder.file("ledger.db");
  await using db = await KV.open(path);
  await db.set(["first"], "value");
  const copies: Uint8Array[] = [];
  for (let i = 0; i < 8; i++) {
    const copy = new Uint8Array(readFileSync(path));
    copies.push(copy);
    await db.set(["copy", i], copy);
    await using other = await KV.open(path);
    expect(await other.count([])).toBe(i + 2);
    for (const [j, expected] of copies.entries()) expectBytes(await other.get(["copy", j]), expected);
    expect(other.stats().damage).toEqual([]);
  }
});

test("nor can a copy be taken for commits when its frame is torn, or behind a torn frame", async () => {
  using folder = temporaryFolder();
  const path = folder.file("ledger.db");
  await using db = await KV.open(path);
  await db.set(["first"], "value");
  await db.set(["copy"], new Uint8Array(readFileSync(path)));
  const frame = statSync(path).size;
  await db.set(["copy of a copy"], new Uint8Array(readFileSync(path)));
  const before = new Uint8Array(readFileSync(path));
  // A writer dies within the frame that holds the copies: all of it but its last byte is there.
  const torn = before.slice(frame, -1);
  appendFileSync(path, torn);
  const tail = new Uint8Array(readFileSync(path));
  await db.set(["with the torn one"], tail);
  appendFileSync(path, torn);
  for (const replica of [db, await KV.open(path)]) {
    await replica.sync();
    expect(await replica.listKeys([])).toEqual([["copy"], ["copy of a copy"], ["first"], ["with the torn one"]]);
    expect(await replica.get(["first"])).toBe("value");
    expectBytes(await replica.get(["with the torn one"]), tail);
    expect(replica.stats().counts.stumps).toBe(1);
    expect(replica.stats().damage).toEqual([]);
    if (replica !== db) await replica.close();
  }
});

test("a value that is nothing but beginnings of frames is kept", async () => {
  using folder = temporaryFolder();
  const path = folder.file("ledger.db");
  const value = new Uint8Array(64 * 1024);
  for (let at = 0; at < value.length; at += MARKER.length) value.set(MARKER, at);
  await using db = await KV.open(path);
  for (let shift = 0; shift < MARKER.length; shift++) await db.set(["shifted", shift], value.subarray(shift));
  await using other = await KV.open(path);
  for (let shift = 0; shift < MARKER.length; shift++)
    expectBytes(await other.get(["shifted", shift]), value.subarray(shift));
});

test("a value of 64 MiB is kept, a larger one is refused, and the ledger goes on", async () => {
  using folder = temporaryFolder();
  const path = folder.file("ledger.db");
  await using db = await KV.open(path);
  // With the 7 bytes of CBOR that say what follows it is 64 MiB.
  const largest = new Uint8Array(64 * MIB - 7);
  for (let at = 0; at < largest.length; at += 4096) largest[at] = at >>> 12;
  await db.set(["large"], largest);
  const size = statSync(path).size;
  await expect(db.set(["too large"], new Uint8Array(64 * MIB - 6))).rejects.toMatchObject({ outcome: "not committed" });
  expect(statSync(path).size).toBe(size);
  await db.set(["small"], 1);
  await using other = await KV.open(path);
  expectBytes(await other.get(["large"]), largest);
  expect(await other.listKeys([])).toEqual([["large"], ["small"]]);
});

test("a million keys in one transaction are one commit, or a typed error and none", async () => {
  using folder = temporaryFolder();
  const path = folder.file("ledger.db");
  await using db = await KV.open(path);
  const KEYS = 1_000_000;
  await db.beginTransaction();
  for (let i = 0; i < KEYS; i++) void db.set([i], i);
  const outcome = await db.endTransaction().catch((error: unknown) => error);
  await using other = await KV.open(path);
  const count = await other.count([]);
  if (outcome instanceof Error) {
    expect(outcome).toMatchObject({ code: "CommitTooLarge", outcome: "not committed" });
    expect(count).toBe(0);
  } else {
    expect(count).toBe(KEYS);
    expect((await other.getEntry([0]))?.version).toBe((await other.getEntry([KEYS - 1]))?.version);
  }
});

test("a transaction that grows beyond a frame refuses what does not fit, and commits the rest as one", async () => {
  using folder = temporaryFolder();
  const path = folder.file("ledger.db");
  await using db = await KV.open(path);
  await db.beginTransaction();
  const value = new Uint8Array(10 * MIB);
  let staged = 0;
  let refused = 0;
  for (let i = 0; i < 8; i++) {
    await db.set([i], value).then(
      () => staged++,
      (error: unknown) => {
        expect(error).toMatchObject({ code: "CommitTooLarge", outcome: "not committed" });
        refused++;
      },
    );
  }
  expect([staged, refused]).toEqual([6, 2]);
  await db.endTransaction();
  await using other = await KV.open(path);
  expect(await other.count([])).toBe(6);
});
