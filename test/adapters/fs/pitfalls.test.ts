import { appendFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { inspect } from "node:util";
import { describe, expect, test } from "vitest";
import { FrameKind, frameBytes, readHeader, writeFrame } from "../../../src/adapters/fs/frame.ts";
import { fsLedger } from "../../../src/adapters/fs/index.ts";
import { fileWork } from "../../../src/core/file-work.ts";
import { CoreKV } from "../../../src/core/kv.ts";
import { KV } from "../../../src/index.node.ts";
import { nodeEnvironment } from "../../../src/platform/environment-node.ts";
import { temporaryFolder } from "../../support/folder.ts";
import { openFilesBelow } from "../../support/open-files.ts";

// What has gone wrong in databases of this kind.

async function pair() {
  const folder = temporaryFolder();
  const path = folder.file("ledger.db");
  const [db, other] = [await KV.open(path, { autoSync: false }), await KV.open(path, { autoSync: false })];
  return {
    path,
    db,
    other,
    [Symbol.asyncDispose]: async () => {
      await db.close();
      await other.close();
      folder[Symbol.dispose]();
    },
  };
}

describe("values that look like nothing", () => {
  for (const value of [0, -0, false, "", NaN, 0n, null, [], {}, new Uint8Array(0), new Date(NaN)]) {
    test(`${inspect(value)} is a value`, async () => {
      await using setting = await pair();
      const { db, other } = setting;
      const { version } = await db.set(["k"], value);
      await db.set(["k", "below"], "something");
      await other.sync();
      for (const each of [db, other]) {
        const read = await each.get(["k"]);
        expect(read).toEqual(value);
        expect(Object.is(read, -0)).toBe(Object.is(value, -0));
        expect(await each.has(["k"])).toBe(true);
        expect(await each.getEntry(["k"])).toMatchObject({ version, value });
        expect((await each.listAll(["k"]))[0].value).toEqual(value);
        expect(await each.count(["k"])).toBe(2);
      }
    });
  }

  test("a text of digits stays a text, and a number a number", async () => {
    await using setting = await pair();
    const { db, other } = setting;
    const values = ["123", 123, 123n, "0", "true", "null", "NaN", true];
    for (const [i, value] of values.entries()) await db.set([i], value);
    for (const [i, value] of values.entries()) await db.set(["under", String(i), i], value);
    await other.sync();
    // Twice: from the file, and from whatever was kept of it.
    for (let round = 0; round < 2; round++) {
      for (const [i, value] of values.entries()) {
        expect(await other.get([i])).toBe(value);
        expect(await other.get(["under", String(i), i])).toBe(value);
        expect(await other.get([String(i)])).toBe(null);
        expect(await other.get(["under", i, String(i)])).toBe(null);
      }
    }
  });
});

describe("a get", () => {
  test("of a prefix finds nothing below it, and of a deleted key nothing at all", async () => {
    await using setting = await pair();
    const { db } = setting;
    await db.set(["a", "b"], "below");
    await db.set(["a", "b", "c"], "further below");
    expect(await db.get(["a"])).toBe(null);
    expect(await db.getEntry(["a"])).toBe(null);
    expect(await db.has(["a"])).toBe(false);
    expect(await db.getMany([["a"], ["a", "b"]])).toMatchObject([null, { value: "below" }]);
    await db.delete(["a", "b"]);
    expect(await db.get(["a", "b"])).toBe(null);
    expect(await db.get(["a", "b", "c"])).toBe("further below");
  });

  test("from a file that was overwritten in place never returns what now lies where the value was", async () => {
    await using setting = await pair();
    const { db, path } = setting;
    for (let i = 0; i < 20; i++) await db.set(["n", i], `the value number ${i}`);
    const bytes = readFileSync(path);
    using folder = temporaryFolder();
    {
      await using another = await KV.open(folder.file("ledger.db"));
      for (let i = 0; i < 20; i++) await another.set(["x", i], `what somebody else has ${i}`);
    }
    writeFileSync(path, readFileSync(folder.file("ledger.db")));
    for (let i = 0; i < 20; i++) {
      const read = await db.get(["n", i]).catch((error: unknown) => error);
      if (read !== `the value number ${i}`) expect(read).toMatchObject({ code: "LedgerDamaged" });
    }
    writeFileSync(path, bytes);
    for (let i = 0; i < 20; i++) expect(await db.get(["n", i])).toBe(`the value number ${i}`);
  });
});

describe("a watch", () => {
  test("of another's commits is given their data, and reading in its callback is as far", async () => {
    await using setting = await pair();
    const { db, other } = setting;
    const seen: unknown[] = [];
    const read: boolean[] = [];
    const reads: Promise<void>[] = [];
    db.watch<{ n: number }>(["a"], ({ key, value, version, operation }) => {
      seen.push([key, operation, value]);
      reads.push(
        // At least as far: by then the key may have been deleted again.
        db.getEntry(key ?? []).then((entry) => void read.push((entry?.version ?? Infinity) >= version)),
      );
    });
    await other.set(["a"], { n: 1 });
    await other.set(["a", "b"], { n: 2 });
    await other.delete(["a"]);
    await other.set(["elsewhere"], { n: 3 });
    await db.sync();
    expect(seen).toEqual([
      [["a"], "set", { n: 1 }],
      [["a", "b"], "set", { n: 2 }],
      [["a"], "delete", undefined],
    ]);
    await Promise.all(reads);
    expect(read).toEqual([true, true, true]);
  });

  test("whose callback throws or rejects harms no commit and no other watch", async () => {
    await using setting = await pair();
    const { db, other } = setting;
    const problems: unknown[] = [];
    db.on("error", (error) => problems.push((error as Error).message));
    const seen: unknown[] = [];
    db.watch([], () => {
      throw new Error("thrown");
    });
    db.watch([], () => Promise.reject(new Error("rejected")));
    db.watch([], (entry) => seen.push(entry.value));
    await db.set(["own"], 1);
    await other.set(["foreign"], 2);
    await db.sync();
    await db.set(["own"], 3);
    expect(seen).toEqual([1, 2, 3]);
    expect(problems.filter((message) => message === "thrown")).toHaveLength(3);
    expect(problems.filter((message) => message === "rejected")).toHaveLength(3);
    expect(await db.get(["own"])).toBe(3);
  });
});

describe("a write of another flow", () => {
  test("does not join a transaction by function, and survives its failure", async () => {
    await using setting = await pair();
    const { db, other } = setting;
    const failing = db.transaction(async (tx) => {
      tx.set(["inside"], 1);
      const { version } = await db.set(["outside"], 1);
      expect(version).toBeGreaterThan(0);
      throw new Error("changed my mind");
    });
    await expect(failing).rejects.toThrow("changed my mind");
    await other.sync();
    expect(await other.listKeys([])).toEqual([["outside"]]);
  });

  test("joins an open transaction, and is not acknowledged by being staged in it", async () => {
    await using setting = await pair();
    const { db, other } = setting;
    await db.beginTransaction();
    expect(await db.set(["staged"], 1)).toEqual({ version: undefined });
    await db.abortTransaction();
    await other.sync();
    expect(await other.count([])).toBe(0);
  });
});

describe("frames that lie about their length", () => {
  /** A frame whose header, checksum and all, declares as many payload bytes as there can be. */
  function lyingFrame(): Uint8Array {
    const { crc32 } = nodeEnvironment;
    const record = { writer: new Uint8Array(12), counter: 7, timestamp: 0, payload: new Uint8Array(20).fill(1) };
    const frame = new Uint8Array(frameBytes(20));
    writeFrame(frame, 0, FrameKind.commit, record, crc32);
    const view = new DataView(frame.buffer);
    view.setUint32(13, 0xffffffff, true);
    view.setUint32(43, crc32(frame.subarray(12, 43)), true);
    expect(readHeader(frame, 0, crc32)?.payloadBytes).toBe(0xffffffff);
    return frame;
  }

  test("are waited for at the end, skipped when others come behind, and cost no memory", async () => {
    await using setting = await pair();
    const { db, other, path } = setting;
    await db.set(["a"], 1);
    appendFileSync(path, lyingFrame());
    await other.sync();
    expect(await other.get(["a"])).toBe(1);
    await db.set(["b"], 2);
    await other.sync();
    for (const each of [db, other, await KV.open(path)]) {
      expect(await each.listKeys([])).toEqual([["a"], ["b"]]);
      expect(each.stats().counts.stumps).toBe(1);
      expect(each.stats().damage).toEqual([]);
      if (each !== db && each !== other) await each.close();
    }
  });
});

test("an open that fails leaves no file open, and an instance that says it is not", async () => {
  using folder = temporaryFolder();
  writeFileSync(folder.file("text"), "no ledger");
  mkdirSync(folder.file("folder"));
  for (let i = 0; i < 20; i++) {
    for (const name of ["text", "folder", "missing"]) {
      const db = new KV();
      await expect(db.open(folder.file(name), { createIfMissing: false })).rejects.toMatchObject({ name: "KVError" });
      expect(db.isOpen()).toBe(false);
      await expect(db.get(["a"])).rejects.toMatchObject({ code: "NotOpen" });
      await expect(db.set(["a"], 1)).rejects.toMatchObject({ code: "NotOpen", outcome: "not committed" });
    }
  }
  expect(openFilesBelow(folder.path) ?? 0).toBe(0);
});

test("histories and reloads leave no file open", async () => {
  using folder = temporaryFolder();
  const path = folder.file("ledger.db");
  const db = await KV.open(path, { autoSync: false });
  for (let i = 0; i < 10; i++) await db.set(["n"], i);
  const before = openFilesBelow(folder.path);
  for (let i = 0; i < 10; i++) {
    for await (const { value } of db.history(["n"])) if (value === 5) break;
    const bytes = readFileSync(path);
    writeFileSync(path, bytes.subarray(0, -1));
    await db.sync();
    await db.set(["n"], i);
  }
  expect(openFilesBelow(folder.path)).toBe(before);
  await db.close();
  expect(openFilesBelow(folder.path) ?? 0).toBe(0);
});

test("the interval between polls is the one that was asked for, and the one that is documented", async () => {
  using folder = temporaryFolder();
  const waits: number[] = [];
  const environment = {
    ...nodeEnvironment,
    setTimer: (callback: () => void, ms: number, options: { readonly ref: boolean }) => {
      waits.push(ms);
      return nodeEnvironment.setTimer(callback, ms, options);
    },
  };
  for (const syncIntervalMs of [undefined, 250]) {
    const options = syncIntervalMs === undefined ? {} : { syncIntervalMs };
    const db = new CoreKV(options, { environment, ledgerAt: fsLedger, fileWork });
    await db.open(folder.file("ledger.db"));
    await db.close();
  }
  expect(waits).toEqual([1000, 250]);
});
