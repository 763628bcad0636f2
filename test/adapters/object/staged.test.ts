import { describe, expect, test } from "vitest";
import { partsToStage } from "../../../src/adapters/object/staged.ts";
import { ByteWriter, equalBytes } from "../../../src/core/bytes.ts";
import { writeDelete, writeSet } from "../../../src/core/commit.ts";
import { KVError } from "../../../src/core/errors.ts";
import type { CommitRecord } from "../../../src/core/ledger.ts";
import { encodeValue } from "../../../src/core/value.ts";
import { nodeEnvironment } from "../../../src/platform/environment-node.ts";
import { type Author, Bucket, failure } from "../../support/bucket.ts";

const KIB = 1024;
const EMPTY = new Uint8Array(0);

interface Payload {
  readonly payload: Uint8Array;
  /** Where each value's checksum begins, and what it is. */
  readonly values: readonly { readonly offset: number; readonly bytes: Uint8Array }[];
}

/** A commit that sets a value of each of these sizes. */
function setting(...sizes: readonly number[]): Payload {
  const writer = new ByteWriter();
  const values = sizes.map((size, i) => {
    const bytes = encodeValue(Uint8Array.from({ length: size }, (_, at) => (at * 7 + i) % 256));
    const { valueOffset } = writeSet(writer, nodeEnvironment.crc32, `key${i}`, bytes, 0, undefined);
    return { offset: valueOffset, bytes };
  });
  writeDelete(writer, "gone");
  return { payload: writer.take(), values };
}

function commitOf(author: Author, { payload }: Payload): CommitRecord {
  return { ...author.commit(), payload };
}

const uploads = (bucket: Bucket): string[] => bucket.requests.filter((each) => each.includes("staged"));

describe("large values", () => {
  test("are put elsewhere, the largest first, until the rest is small", () => {
    const { payload, values } = setting(100 * KIB, 15 * KIB, 200 * KIB, 150 * KIB);
    // Checksum and first byte stay where they are.
    expect(partsToStage(payload)).toEqual(
      [values[2], values[3]].map(({ offset, bytes }) => ({ offset: offset + 5, length: bytes.length - 1 })),
    );
  });

  test("stay where they are if they are small, or the commit is", () => {
    expect(partsToStage(setting(200 * KIB).payload)).toEqual([]);
    expect(partsToStage(setting(...Array.from({ length: 30 }, () => 15 * KIB)).payload)).toEqual([]);
    expect(partsToStage(setting(255 * KIB + 1000).payload)).toHaveLength(1);
  });

  test("stay where they are if they are numbers, which whoever decodes the commit has to know", () => {
    const writer = new ByteWriter();
    writer.bytes(setting(...Array.from({ length: 18 }, () => 15 * KIB)).payload);
    const value = 2n ** 140_000n;
    writeSet(writer, nodeEnvironment.crc32, "key", encodeValue(value), 0, value);
    expect(writer.length).toBeGreaterThan(256 * KIB);
    expect(partsToStage(writer.take())).toEqual([]);
  });

  test("are uploaded before their slot, and read from where they are", async () => {
    const bucket = new Bucket();
    const a = await bucket.open();
    const made = setting(300 * KIB, 100, 400 * KIB);
    const result = await a.append(commitOf(a, made));
    if (result.status !== "appended") throw new Error(result.status);
    expect(bucket.requests.map((each) => each.replace(/staged.*? /, "staged "))).toEqual([
      "create staged created",
      "create staged created",
      "create log/1 created",
    ]);

    const b = await bucket.open();
    await b.follow();
    const [commit] = b.commits;
    expect(commit).toMatchObject({ version: result.versions[0], place: result.places[0], isPartial: true });
    expect(commit.payload.length).toBe(made.payload.length);
    for (const { session } of [a, b]) {
      for (const { offset, bytes } of made.values) {
        const length = 4 + bytes.length;
        const record = await session.readValue(commit.version, commit.place + offset, length);
        expect(equalBytes(record, made.payload.subarray(offset, offset + length))).toBe(true);
      }
      expect(equalBytes((await session.complete?.(commit)) ?? EMPTY, made.payload)).toBe(true);
    }
    const { offset, bytes } = made.values[2];
    expect(commit.payload.subarray(offset + 5, offset + 4 + bytes.length).every((byte) => byte === 0)).toBe(true);
    expect(await b.session.readValue(commit.version, commit.place + offset + 1004, 50)).toEqual(
      made.payload.slice(offset + 1004, offset + 1054),
    );
  });

  test("of several commits in one slot do not get into each other's way", async () => {
    const bucket = new Bucket();
    const a = await bucket.open();
    const made = [setting(300 * KIB), setting(20), setting(300 * KIB, 5), setting(5)];
    await a.write(...made.map((each) => commitOf(a, each)));
    expect(bucket.requests.filter((each) => each.includes("log"))).toHaveLength(1);
    const b = await bucket.open();
    await b.follow();
    for (const [i, { version, place }] of b.commits.entries()) {
      for (const { offset, bytes } of made[i].values) {
        const record = await b.session.readValue(version, place + offset, bytes.length + 4);
        expect(equalBytes(record, made[i].payload.subarray(offset, offset + bytes.length + 4))).toBe(true);
      }
    }
  });

  test("are not uploaded again for the next slot, if somebody else was first", async () => {
    const bucket = new Bucket();
    const a = await bucket.open();
    const b = await bucket.open();
    await b.append(b.commit());
    const commit = commitOf(a, setting(300 * KIB));
    expect(await a.append(commit)).toEqual({ status: "behind" });
    await a.follow();
    bucket.requests.length = 0;
    await a.write(commit);
    expect(uploads(bucket)).toEqual([]);
    await b.follow();
    expect(equalBytes((await b.session.complete?.(b.commits[0])) ?? EMPTY, commit.payload)).toBe(true);
  });

  test("are let go with the commit that they belong to, when that has failed", async () => {
    const bucket = new Bucket();
    const a = await bucket.open();
    const denied = { status: "denied" as const, error: new KVError("AccessDenied", "no"), time: undefined };
    const create = bucket.counting.create.bind(bucket.counting);
    let isDenied = true;
    const b = await bucket.open({
      store: {
        ...bucket.counting,
        create: async (key, bytes) => (isDenied && key.includes("/log/") ? denied : await create(key, bytes)),
      },
    });
    const [first, second] = [setting(300 * KIB), setting(400 * KIB)].map((made) => commitOf(b, made));
    for (const commit of [first, second]) expect(await failure(b.append(commit))).toBe("AccessDenied, not committed");
    bucket.requests.length = 0;
    expect(await failure(b.append(second))).toBe("AccessDenied, not committed");
    expect(uploads(bucket)).toEqual([]);
    isDenied = false;
    await b.write(first);
    expect(uploads(bucket)).toHaveLength(1);
    await a.follow();
    expect(equalBytes((await a.session.complete?.(a.commits[0])) ?? EMPTY, first.payload)).toBe(true);
  });

  test("are uploaded again for a slot more than 64 behind the one that they were meant for", async () => {
    const bucket = new Bucket();
    const a = await bucket.open();
    const b = await bucket.open();
    const commit = commitOf(a, setting(300 * KIB));
    for (const [slots, again] of [
      [65, 0],
      [1, 1],
    ]) {
      await b.follow();
      for (let i = 0; i < slots; i++) await b.write(b.commit());
      // Slot 1 the first time, slot 66 the second time: not lost to anybody who is read before.
      bucket.requests.length = 0;
      if (slots === 65) {
        expect(await a.append(commit)).toEqual({ status: "behind" });
        expect(uploads(bucket)).toHaveLength(1);
      }
      await a.follow();
      bucket.requests.length = 0;
      if (slots === 1) await a.write(commit);
      expect(uploads(bucket)).toHaveLength(again);
    }
  });

  test("whose upload fails are uploaded under another name, and never twice under one", async () => {
    const bucket = new Bucket();
    const a = await bucket.open();
    const keys: string[] = [];
    bucket.faulty.fate = ({ kind, keys: [key] }) => {
      if (kind !== "create" || !key.includes("/staged/")) return undefined;
      keys.push(key);
      return keys.length < 3 ? { fault: { kind: keys.length === 1 ? "answer-lost" : "conflict" } } : undefined;
    };
    const commit = commitOf(a, setting(300 * KIB));
    await a.write(commit);
    expect(new Set(keys).size).toBe(3);
    const b = await bucket.open();
    await b.follow();
    expect(equalBytes((await b.session.complete?.(b.commits[0])) ?? EMPTY, commit.payload)).toBe(true);
  });

  test("that cannot be uploaded keep the commit from being written", async () => {
    const bucket = new Bucket();
    const a = await bucket.open();
    bucket.faulty.fate = ({ keys: [key] }) => (key.includes("/staged/") ? { fault: { kind: "unsent" } } : undefined);
    expect(await failure(a.append(commitOf(a, setting(300 * KIB))))).toBe("InputOutput, not committed");
    expect(await a.append(a.commit())).toMatchObject({ status: "appended", next: 1 });
  });

  test.each([-1, 1])("that have %i byte too many are damaged, whoever reads all or a part of them", async (more) => {
    const bucket = new Bucket();
    const a = await bucket.open();
    const made = setting(300 * KIB);
    await a.write(commitOf(a, made));
    const { nonce } = await bucket.root();
    const listed = await bucket.store.list(`${nonce}/staged/`);
    if (listed.status !== "listed") throw new Error(listed.status);
    const [{ key, size }] = listed.objects;
    await bucket.store.delete([key]);
    await bucket.store.create(key, new Uint8Array(size + more));
    const b = await bucket.open();
    await b.follow();
    const [{ version, place }] = b.commits;
    const at = place + made.values[0].offset;
    for (const length of [made.values[0].bytes.length + 4, 100]) {
      const read = Promise.resolve(b.session.readValue(version, at, length));
      expect(await failure(bucket.environment.until(read))).toBe("LedgerDamaged");
    }
  });

  test("that are gone are damage while the root says that they must be there, and too old when it does not", async () => {
    const bucket = new Bucket();
    const a = await bucket.open();
    const made = setting(300 * KIB);
    await a.write(commitOf(a, made));
    for (let i = 0; i < 80; i++) await a.write(a.commit());
    const b = await bucket.open();
    await b.follow();
    const [{ version, place }] = b.commits;
    const { nonce } = await bucket.root();
    const listed = await bucket.store.list(`${nonce}/staged/`);
    if (listed.status !== "listed") throw new Error(listed.status);
    await bucket.store.delete(listed.objects.map(({ key }) => key));
    const read = async (): Promise<unknown> =>
      await bucket.environment.until(
        Promise.resolve(b.session.readValue(version, place + made.values[0].offset, made.values[0].bytes.length + 4)),
      );
    expect(await failure(read())).toBe("LedgerDamaged");
    await bucket.pretendCheckpoint(75, { isFloor: true });
    expect(await failure(read())).toBe("SnapshotExpired");
    expect(await b.follow()).toBe("moved");
  });
});

describe("a batch", () => {
  test("takes as many commits as fit into a slot", async () => {
    const bucket = new Bucket();
    const a = await bucket.open();
    const commits = Array.from({ length: 5 }, () => commitOf(a, setting(15 * KIB, 15 * KIB, 200 * KIB)));
    const result = await a.append(...commits);
    expect(result).toMatchObject({ status: "appended", versions: { length: 4 } });
  });

  test("may be a single larger commit of up to 8 MiB", async () => {
    const bucket = new Bucket();
    const a = await bucket.open();
    const many = (count: number): Payload => setting(...Array.from({ length: count }, () => 15 * KIB));
    const large = commitOf(a, many(500));
    expect(await a.append(large, a.commit())).toMatchObject({ status: "appended", versions: { length: 1 } });
    expect(await failure(a.append(commitOf(a, many(560))))).toBe("CommitTooLarge, not committed");
    expect(await a.append(a.commit(), commitOf(a, many(560)))).toMatchObject({ versions: { length: 1 } });
    const b = await bucket.open();
    await b.follow();
    expect(equalBytes(b.commits[0].payload, large.payload)).toBe(true);
  });

  test("has one author", async () => {
    const bucket = new Bucket();
    const a = await bucket.open();
    const other = { ...a.commit(), writer: new Uint8Array(12).fill(9) };
    expect(await a.append(a.commit(), other)).toMatchObject({ versions: { length: 1 } });
  });
});
