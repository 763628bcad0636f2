import { openSync, readFileSync, writeFileSync, writeSync, closeSync } from "node:fs";
import { beforeAll, expect, test } from "vitest";
import { KV, KVError, type KVOptions } from "../../../src/index.node.ts";
import { temporaryFolder } from "../../support/folder.ts";
import { makeSmallLedger, read, type SmallCommit } from "../../support/small-ledger.ts";

const AFTER = ["written afterwards"] as const;

const folder = temporaryFolder();
const path = folder.file("ledger.db");
let whole: Uint8Array;
let commits: readonly SmallCommit[];
/** Where the first frame behind the two copies of the header begins, and where the second copy does. */
let headersEnd: number;
let secondCopy: number;

beforeAll(async () => {
  ({ bytes: whole, commits } = await makeSmallLedger(folder.file("small.db")));
  headersEnd = commits[0].from;
  secondCopy = headersEnd / 2;
  return () => folder[Symbol.dispose]();
});

/** Opens the bytes as a ledger file, collecting what is reported. */
async function open(
  bytes: Uint8Array,
  readOnly = false,
  options: KVOptions = {},
): Promise<{ db: KV; problems: KVError[] }> {
  writeFileSync(path, bytes);
  const problems: KVError[] = [];
  const db = new KV(options).on("error", (error) => problems.push(error as KVError));
  await db.open(path, { readOnly });
  return { db, problems };
}

const stored = (): Uint8Array => new Uint8Array(readFileSync(path));
const isStored = (bytes: Uint8Array): boolean => Buffer.compare(stored(), bytes) === 0;

test("a ledger cut anywhere holds the commits that are whole, and takes new ones", async () => {
  for (let length = 0; length <= whole.length; length++) {
    const cut = whole.slice(0, length);
    const expected = commits.map(({ value, to }) => (to <= length ? value : null));
    {
      const { db, problems } = await open(cut, true);
      expect(await read(db, commits), `read-only, cut at ${length}`).toEqual(expected);
      expect([problems, db.stats().damage]).toEqual([[], []]);
      await db.close();
      expect(isStored(cut)).toBe(true);
    }
    const { db, problems } = await open(cut);
    expect(await read(db, commits), `cut at ${length}`).toEqual(expected);
    await db.set(AFTER, length);
    await db.close();
    await using again = new KV().on("error", (error) => problems.push(error as KVError));
    await again.open(path);
    expect(await read(again, commits), `cut at ${length} and written to`).toEqual(expected);
    expect(await again.get(AFTER)).toBe(length);
    expect([problems, again.stats().damage]).toEqual([[], []]);
  }
});

test("a flipped bit anywhere costs the commit it hits and no other, and is reported with its place", async () => {
  for (let at = headersEnd; at < whole.length; at++) {
    const flipped = whole.slice();
    flipped[at] ^= 1 << (at % 8);
    const hit = commits.findIndex(({ from, to }) => at >= from && at < to);
    const { db, problems } = await open(flipped);
    const expected = commits.map(({ value }, i) => (i === hit ? null : value));
    expect(await read(db, commits), `bit flipped at ${at}`).toEqual(expected);

    const range = { from: commits[hit].from, to: commits[hit].to };
    expect(db.stats().damage, `bit flipped at ${at}`).toEqual([range]);
    expect(problems.map(({ code, ranges }) => ({ code, ranges }))).toEqual([
      { code: "LedgerDamaged", ranges: [range] },
    ]);
    for (const write of [db.set(AFTER, 1), db.delete(["key 0"]), db.atomic().sum(AFTER, 1).commit()]) {
      await expect(write).rejects.toMatchObject({ code: "LedgerDamaged", outcome: "not committed", ranges: [range] });
    }
    await db.close();
    expect(isStored(flipped)).toBe(true);
  }
});

test("a flipped bit in one copy of the header is reported, and the other copy serves", async () => {
  for (let at = 0; at < headersEnd; at++) {
    const flipped = whole.slice();
    flipped[at] ^= 1 << (at % 8);
    const { db, problems } = await open(flipped);
    expect(await read(db, commits), `bit flipped at ${at}`).toEqual(commits.map(({ value }) => value));
    const range = at < secondCopy ? { from: 0, to: secondCopy } : { from: secondCopy, to: headersEnd };
    expect(problems.map(({ code, ranges }) => ({ code, ranges }))).toEqual([
      { code: "LedgerDamaged", ranges: [range] },
    ]);
    await db.set(AFTER, at);
    expect(await db.get(AFTER)).toBe(at);
    await db.close();
    await using again = await KV.open(path);
    expect(await read(again, [...commits, { key: AFTER, value: at, from: 0, to: 0 }])).toEqual([
      ...commits.map(({ value }) => value),
      at,
    ]);
  }
});

test("with both copies of the header damaged, nothing is opened and nothing is written", async () => {
  for (let at = 0; at < secondCopy; at++) {
    const flipped = whole.slice();
    flipped[at] ^= 0x10;
    flipped[at + secondCopy] ^= 0x10;
    writeFileSync(path, flipped);
    // With the marker itself damaged it does not even look like a ledger.
    await expect(KV.open(path)).rejects.toMatchObject({ code: expect.stringMatching(/^(LedgerDamaged|NotALedger)$/) });
    expect(isStored(flipped)).toBe(true);
  }
});

test("zeros that a power failure left in a frame are skipped and reported, and the ledger goes on", async () => {
  const { from, to } = commits[2];
  for (let at = from; at < to; at++) {
    const bytes = whole.slice();
    bytes.fill(0, at, to);
    // The last byte of a frame is never zero: every one of these differs from the whole.
    const { db, problems } = await open(bytes);
    const expected = commits.map(({ value }, i) => (i === 2 ? null : value));
    expect(await read(db, commits), `zeros from ${at}`).toEqual(expected);
    expect(db.stats().damage).toEqual([]);
    // So short a beginning is that of a writer that died, who told nobody.
    const isStump = at > from && at < from + 48;
    expect(problems.map(({ code, ranges }) => ({ code, ranges }))).toEqual(
      isStump ? [] : [{ code: "LedgerDamaged", ranges: [{ from, to }] }],
    );
    expect(db.stats().counts.stumps).toBe(isStump ? 1 : 0);
    await db.set(AFTER, at);
    await db.close();
    await using again = await KV.open(path);
    expect(await again.get(AFTER)).toBe(at);
    expect(await read(again, commits)).toEqual(expected);
  }
});

test("what two power failures left, the second within a marker, is skipped, and the ledger goes on", async () => {
  const { from } = commits[3];
  const expected = commits.map(({ value }, i) => (i < 3 ? value : null));
  for (let cut = 1; cut < 48; cut++) {
    const left = new Uint8Array(from + 400);
    left.set(whole.subarray(0, from));
    left.set(whole.subarray(from, from + cut), from + 200);
    const { db } = await open(left);
    expect(await read(db, commits), `${cut} bytes of a frame`).toEqual(expected);
    expect(db.stats().damage).toEqual([]);
    expect(db.stats().counts).toMatchObject({ lostBytes: 200, stumps: 1 });
    await db.set(AFTER, cut);
    await db.close();
    await using again = await KV.open(path);
    expect(await again.get(AFTER)).toBe(cut);
    expect(again.stats().counts).toMatchObject({ lostBytes: 200, stumps: 1 });
  }
});

test("a value whose bytes change on the disk while the database is open is reported, and never returned", async () => {
  // What is kept in memory is right, whatever becomes of the disk.
  const { db } = await open(whole, false, { cacheBytesMax: 0 });
  const { from, to, key, value } = commits[2];
  const file = openSync(path, "r+");
  let refused = 0;
  for (let at = from; at < to; at++) {
    writeSync(file, Uint8Array.of(whole[at] ^ 0x04), 0, 1, at);
    try {
      expect(await db.get(key)).toEqual(value);
    } catch (error) {
      expect(error).toBeInstanceOf(KVError);
      const { code, ranges } = error as KVError;
      expect(code).toBe("LedgerDamaged");
      expect(ranges?.[0].from).toBeLessThanOrEqual(at);
      expect(ranges?.[0].to).toBeGreaterThan(at);
      refused++;
    }
    writeSync(file, whole, at, 1, at);
  }
  closeSync(file);
  // Those in which the value and its checksum lie.
  expect(refused).toBeGreaterThan(10);
  expect(await db.get(key)).toEqual(value);
  await db.close();
});
