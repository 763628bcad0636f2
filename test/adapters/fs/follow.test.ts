import { execFileSync } from "node:child_process";
import {
  appendFileSync,
  copyFileSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { nodeFileSystem } from "../../../src/adapters/fs/file-node.ts";
import { FrameKind, frameBytes, writeFrame } from "../../../src/adapters/fs/frame.ts";
import { createFsLedger } from "../../../src/adapters/fs/ledger.ts";
import type { LedgerSession, ReadResult } from "../../../src/core/ledger.ts";
import { KV } from "../../../src/index.node.ts";
import { nodeEnvironment } from "../../../src/platform/environment-node.ts";
import { inFolder } from "../../support/folder.ts";
import { changingFiles, nextGeneration, openSession } from "../../support/generations.ts";

const still = { autoSync: false } as const;
const verified = { bytes: 1 << 20, verify: true } as const;

async function write(path: string, entries: Readonly<Record<string, unknown>>): Promise<void> {
  await using db = await KV.open(path, still);
  for (const [key, value] of Object.entries(entries)) await db.set([key], value);
}

/** The frames of so many sets, as somebody has written them to another file. */
async function framesOfOthers(path: string, count: number): Promise<Uint8Array[]> {
  const frames: Uint8Array[] = [];
  const recording = changingFiles((file) => ({
    append: (bytes) => {
      frames.push(bytes.slice());
      return file.append(bytes);
    },
  }));
  await using db = await KV.open(createFsLedger(path, {}, recording), still);
  for (let i = 0; i < count; i++) await db.set(["other", i], "a value of some length");
  return frames.slice(-count);
}

describe("a look that finds nothing", () => {
  /** A session on a file with one commit, of which all was read. */
  async function atEnd(path: string): Promise<{ readonly session: LedgerSession; readonly end: number }> {
    await write(path, { a: 1 });
    const session = await openSession(path);
    const { next } = await session.read(session.start, verified);
    return { session, end: next };
  }

  const CHANGES: Readonly<Record<string, (path: string) => void | Promise<void>>> = {
    "a commit behind the end": (path) => write(path, { b: 2 }),
    "a piece that may be in the writing": (path) => appendFileSync(path, Buffer.from([0xfc, 0x66])),
    "a file that is shorter": (path) => truncateSync(path, statSync(path).size - 1),
    "another last frame": (path) => {
      const bytes = readFileSync(path);
      bytes[bytes.length - 3] ^= 1;
      writeFileSync(path, bytes);
    },
    "another file of the same bytes in its place": (path) => {
      copyFileSync(path, `${path}-copy`);
      renameSync(`${path}-copy`, path);
    },
    "no file in its place": (path) => unlinkSync(path),
  };

  it.each(Object.keys(CHANGES))("is none where there is %s", (name) =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      const { session, end } = await atEnd(path);
      expect(session.isUnchanged?.(end)).toBe(true);
      await CHANGES[name](path);
      expect(session.isUnchanged?.(end)).toBe(false);
      await session.close();
    }),
  );

  it("is one only from the end on, in a file that can be asked, and not behind a seal", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      const { session, end } = await atEnd(path);
      expect(session.isUnchanged?.(session.start)).toBe(false);
      const next = await nextGeneration(path);
      next.seal();
      const { status, next: sealedAt } = await session.read(end, verified);
      expect(status).toBe("sealed");
      expect(session.isUnchanged?.(sealedAt)).toBe(false);
      await session.close();
      expect(session.isUnchanged?.(end)).toBe(false);
    }));

  it("is no reason for a poll to overlook that another ledger was copied over the file", () =>
    inFolder(async (folder) => {
      const [path, other] = [join(folder, "a.db"), join(folder, "b.db")];
      await write(path, { a: 1 });
      await write(other, { a: 2 });
      expect(statSync(other).size).toBe(statSync(path).size);
      await using db = await KV.open(path, { syncIntervalMs: 5 });
      const results: string[] = [];
      db.on("sync", ({ result }) => results.push(result));
      await expect.poll(() => results).toContain("ready");
      copyFileSync(other, path);
      await expect.poll(() => results).toContain("ledgerInvalidated");
      expect(await db.get(["a"])).toBe(2);
    }));
});

describe("a file's path", () => {
  it("that a vacuum moves between two system calls of a look was left in order", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      await write(path, { a: 1 });
      const next = await nextGeneration(path);
      let during: (() => void) | undefined;
      const session = await openSession(path, {
        calls: {
          ...nodeFileSystem,
          stat: (file) => {
            during?.();
            during = undefined;
            return nodeFileSystem.stat(file);
          },
        },
      });
      during = () => {
        next.seal();
        next.replace();
      };
      const result = await session.read(session.start, verified);
      expect(result).toMatchObject({ status: "moved", commits: [{ counter: 1 }] });
      expect(await session.reopen(result.next)).toEqual({ status: "continued", position: result.next });
      await session.close();
    }));

  it("is looked at by whoever meets a seal: a transaction sees what is acknowledged in the next generation", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      await using other = await KV.open(path, { autoSync: false });
      await using db = await KV.open(path, { autoSync: false });
      await other.set(["a"], 1);
      await other.vacuum();
      await other.set(["a"], 2);
      expect(await db.transaction((tx) => tx.get(["a"]))).toBe(2);
    }));

  it("is found to hold another ledger that was copied over it, even if nothing was read of the first one but its header", () =>
    inFolder(async (folder) => {
      const [path, other] = [join(folder, "a.db"), join(folder, "b.db")];
      await write(other, { b: 2 });
      await using db = await KV.open(path, still);
      const results: string[] = [];
      db.on("sync", ({ result }) => results.push(result));
      copyFileSync(other, path);
      await db.sync();
      expect(results).toEqual(["ledgerInvalidated"]);
      expect(await db.get(["b"])).toBe(2);
      await using right = await KV.open(other, still);
      expect(db.stats().ledgerId).toBe(right.stats().ledgerId);
    }));

  it("is found to hold another ledger also by a look that does not verify the path, before anything of it is taken", () =>
    inFolder(async (folder) => {
      const [path, other] = [join(folder, "a.db"), join(folder, "b.db")];
      await write(path, { a: 1, b: "short" });
      await write(other, { a: "x".repeat(500), b: 2, c: 3 });
      await using db = await KV.open(path, { syncIntervalMs: 1_000_000 });
      const errors: unknown[] = [];
      db.on("error", (error) => errors.push(error));
      copyFileSync(other, path);
      await expect.poll(() => db.get(["b"])).toBe(2);
      expect(await db.listKeys([])).toEqual([["a"], ["b"], ["c"]]);
      expect((await db.get<string>(["a"]))?.length).toBe(500);
      expect(errors).toEqual([]);
    }));

  it("that is deleted between seal and replacement is missing, and is not waited for", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      await write(path, { a: 1 });
      const next = await nextGeneration(path);
      const session = await openSession(path);
      next.seal();
      const sealed = await session.read(session.start, verified);
      expect(sealed.status).toBe("sealed");
      unlinkSync(path);
      const reading = async (): Promise<unknown> => session.read(sealed.next, verified);
      await expect(reading()).rejects.toMatchObject({ code: "LedgerMissing" });
      await expect(reading()).rejects.toMatchObject({ code: "LedgerMissing" });
      await session.close();
    }));
});

describe("a path that leads to something else than a file", () => {
  const PLACED: Readonly<Record<string, readonly [put: (path: string) => void, code: string]>> = {
    "a folder": [mkdirSync, "NotALedger"],
    itself: [(path) => symlinkSync(path, path), "InputOutput"],
  };

  it.each(Object.entries(PLACED))("keeps everybody from writing where it leads to %s", (_, [put, code]) =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      await write(path, { a: 1 });
      await using db = await KV.open(path, { syncIntervalMs: 1_000_000 });
      const results: string[] = [];
      db.on("sync", ({ result }) => results.push(result));
      renameSync(path, `${path}-away`);
      put(path);
      const { size } = statSync(`${path}-away`);
      await expect(db.sync()).rejects.toMatchObject({ code });
      // The first write follows anew, and so does the function.
      for (let i = 0; i < 2; i++) await expect(db.set(["b"], i)).rejects.toMatchObject({ outcome: "not committed" });
      await expect(db.transaction((tx) => tx.set(["b"], 2))).rejects.toMatchObject({ code });
      await expect(db.set(["b"], 3)).rejects.toMatchObject({ code, outcome: "not committed" });
      expect(statSync(`${path}-away`).size).toBe(size);
      expect(await db.get(["a"])).toBe(1);
      // Nothing of it was read anew.
      expect(results).toEqual(["error"]);
      rmSync(path, { recursive: true });
      renameSync(`${path}-away`, path);
      await db.set(["b"], 4);
      await db.sync();
      expect(results.at(-1)).not.toBe("error");
    }),
  );
});

describe.skipIf(process.platform === "win32")("a pipe", () => {
  const makePipe = (path: string): unknown => execFileSync("mkfifo", [path]);

  it("in the place of a sealed file is no ledger, and nobody waits for what is written to it", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      await write(path, { a: 1 });
      const next = await nextGeneration(path);
      const session = await openSession(path, { readOnly: true });
      next.seal();
      const sealed = await session.read(session.start, verified);
      renameSync(path, `${path}-away`);
      makePipe(path);
      expect((await session.read(sealed.next, verified)).status).toBe("moved");
      const reopening = async (): Promise<unknown> => session.reopen(sealed.next);
      await expect(reopening()).rejects.toMatchObject({ code: "NotALedger" });
      await session.close();
    }));

  it("in the place of a saved index is none", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      await write(path, { a: 1 });
      makePipe(`${path}.idx`);
      await using db = await KV.open(path, { ...still, readOnly: true });
      expect(await db.get(["a"])).toBe(1);
    }));
});

describe("a batch that cannot be followed", () => {
  it("is told of by no sync event: not all is well", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      await using db = await KV.open(path, { syncIntervalMs: 1_000_000 });
      const results: string[] = [];
      db.on("sync", ({ result }) => results.push(result));
      await db.set(["a"], 1);
      unlinkSync(path);
      await expect(db.set(["a"], 2)).rejects.toMatchObject({ outcome: "unknown" });
      expect(results).toEqual(["success"]);
      await expect(db.sync()).rejects.toMatchObject({ code: "LedgerMissing" });
      expect(results).toEqual(["success", "error"]);
    }));
});

describe("a file that is cut within the last frame", () => {
  it("and written to by others is read anew: behind the stump there is no damage", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      await write(path, { a: 1, b: "x".repeat(1000) });
      await using db = await KV.open(path, still);
      await using writing = await KV.open(path, still);
      truncateSync(path, statSync(path).size - 10);
      await write(path, { c: "y".repeat(100) });
      await db.sync();
      expect(await db.listKeys([])).toEqual([["a"], ["c"]]);
      expect(db.stats().damage).toEqual([]);
      await expect(writing.set(["d"], 1)).rejects.toMatchObject({ outcome: "unknown" });
      await writing.sync();
      expect(await writing.listKeys([])).toEqual([["a"], ["c"], ["d"]]);
      expect(writing.stats().damage).toEqual([]);
    }));

  it("and written to by others has no saved index that covers that frame", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      const entries = Array.from({ length: 300 }, (_, i) => [`k${i}`, "x".repeat(100)] as const);
      await write(path, Object.fromEntries(entries));
      truncateSync(path, statSync(path).size - 10);
      await write(path, { c: "y".repeat(100) });
      await using db = await KV.open(path, still);
      expect(await db.count([])).toBe(300);
      expect(await db.has(["k299"])).toBe(false);
      expect(db.stats().damage).toEqual([]);
    }));
});

describe("a read-only open of an empty file", () => {
  it("finds the ledger that is born in it", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      writeFileSync(path, "");
      await using reader = await KV.open(path, { ...still, readOnly: true });
      expect(await reader.get(["a"])).toBeNull();
      await write(path, { a: 1 });
      await reader.sync();
      expect(await reader.get(["a"])).toBe(1);
    }));

  it("finds the ledger that is moved to its place", () =>
    inFolder(async (folder) => {
      const [path, other] = [join(folder, "a.db"), join(folder, "b.db")];
      writeFileSync(path, "");
      await using reader = await KV.open(path, { ...still, readOnly: true });
      await write(other, { a: 1 });
      renameSync(other, path);
      await reader.sync();
      expect(await reader.get(["a"])).toBe(1);
    }));

  it("says so when the file becomes something else, or goes away", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      writeFileSync(path, "");
      await using reader = await KV.open(path, { ...still, readOnly: true });
      appendFileSync(path, "a list of things to buy");
      await expect(reader.sync()).rejects.toMatchObject({ code: "NotALedger" });
      unlinkSync(path);
      await expect(reader.sync()).rejects.toMatchObject({ code: "LedgerMissing" });
    }));
});

describe("a large piece at the end of a file", () => {
  it("is searched once, not at every look, and skipped once something follows", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      await write(path, { a: 1 });
      const payload = new Uint8Array(8 * 1024 * 1024);
      const frame = new Uint8Array(frameBytes(payload.length));
      const record = { writer: new Uint8Array(12), counter: 1, timestamp: 0, payload };
      writeFrame(frame, 0, FrameKind.commit, record, nodeEnvironment.crc32);
      appendFileSync(path, frame.subarray(0, frame.length - 1));
      let bytesRead = 0;
      const counting = changingFiles((file) => ({
        read: (target, position) => {
          const count = file.read(target, position);
          bytesRead += count;
          return count;
        },
      }));
      const session = await openSession(path, { calls: counting });
      let { next } = await session.read(session.start, verified);
      bytesRead = 0;
      for (let i = 0; i < 10; i++) {
        const again = await session.read(next, verified);
        expect(again).toEqual({ commits: [], next, status: "end" });
      }
      expect(bytesRead).toBeLessThan(100 * 1024);
      await write(path, { b: 2 });
      const behind = await session.read(next, { ...verified, bytes: 1 << 30 });
      expect(behind.commits).toHaveLength(1);
      expect(behind.notices).toMatchObject([{ kind: "stump" }]);
      ({ next } = behind);
      await session.close();
    }));
});

describe("a block that cannot be read", () => {
  it("stops the replica before it, with everything in front of it delivered", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      await write(path, { a: "x".repeat(100_000), b: 2, c: 3 });
      const healthy = await openSession(path);
      const bad = (await healthy.read(healthy.start, verified)).commits[1].version;
      await healthy.close();
      const failing = changingFiles((file) => ({
        read: (target, position) => {
          if (position > bad || position + target.length <= bad) return file.read(target, position);
          if (position < bad) return file.read(target.subarray(0, bad - position), position);
          throw Object.assign(new Error("EIO: i/o error, read"), { code: "EIO" });
        },
      }));
      const session = await openSession(path, { calls: failing });
      const first = await session.read(session.start, verified);
      expect(first).toMatchObject({ status: "more", next: bad, commits: [{ counter: 1 }] });
      const further = async (): Promise<unknown> => session.read(bad, verified);
      await expect(further()).rejects.toMatchObject({ code: "InputOutput" });
      await session.close();
    }));
});

describe("a path that cannot be looked at", () => {
  it("keeps nobody from what was passed before the seal that leads to the look", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      await write(path, { a: 1, b: 2 });
      const next = await nextGeneration(path);
      let isFailing = false;
      const stat = (file: string): ReturnType<typeof nodeFileSystem.stat> => {
        if (isFailing) throw Object.assign(new Error("EIO: i/o error, stat"), { code: "EIO" });
        return nodeFileSystem.stat(file);
      };
      const session = await openSession(path, { calls: { ...nodeFileSystem, stat } });
      next.seal();
      isFailing = true;
      let passed = 0;
      const read = async (position: number): Promise<ReadResult> =>
        session.read(position, { bytes: 1 << 20, verify: false, take: () => ++passed > 0 });
      const first = await read(session.start);
      expect([first.status, passed]).toEqual(["more", 2]);
      await expect(read(first.next)).rejects.toMatchObject({ code: "InputOutput" });
      isFailing = false;
      expect(await read(first.next)).toMatchObject({ status: "sealed", commits: [] });
      expect(passed).toBe(2);
      await session.close();
    }));
});

describe("a write behind which others go on appending", () => {
  it("is acknowledged when it was met, and what lies behind it is followed later", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      const [first, ...rest] = await framesOfOthers(join(folder, "b.db"), 2000);
      const calls = changingFiles((file) => ({
        append: (bytes) => {
          appendFileSync(path, first);
          const count = file.append(bytes);
          appendFileSync(path, Buffer.concat(rest));
          return count;
        },
      }));
      await write(path, {});
      await using db = await KV.open(createFsLedger(path, {}, calls), still);
      await db.set(["own"], 1);
      // Whatever goes on by itself has come to its end.
      for (let turn = 0; turn < 200; turn++) await new Promise((resolve) => setImmediate(resolve));
      expect(db.stats().counts.commits).toBeGreaterThan(1);
      expect(db.stats().counts.commits).toBeLessThan(1000);
      await db.sync();
      expect(db.stats().counts.commits).toBe(2001);
      expect(await db.get(["own"])).toBe(1);
    }));
});

describe("a write that fails and lands all the same", () => {
  it("is no acknowledgement when the file has lost its name", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      let deleted = false;
      const calls = changingFiles((file) => ({
        append: (bytes) => {
          const count = file.append(bytes);
          if (!deleted) return count;
          throw Object.assign(new Error("EIO: i/o error, write"), { code: "EIO" });
        },
      }));
      await using db = await KV.open(createFsLedger(path, {}, calls), still);
      await db.set(["a"], 1);
      unlinkSync(path);
      deleted = true;
      await expect(db.set(["a"], 2)).rejects.toMatchObject({ outcome: "unknown" });
      await expect(db.set(["a"], 3)).rejects.toMatchObject({ code: "LedgerMissing", outcome: "not committed" });
    }));
});
