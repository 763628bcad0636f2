import { appendFileSync, copyFileSync, readFileSync, renameSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { frameBytes, writeFrame } from "../../src/adapters/fs/frame.ts";
import { createFsLedger } from "../../src/adapters/fs/ledger.ts";
import { KV } from "../../src/index.node.ts";
import { nodeEnvironment } from "../../src/platform/environment-node.ts";
import { inFolder } from "../support/folder.ts";
import { changingFiles, nextGeneration } from "../support/generations.ts";

const still = { autoSync: false } as const;

function frame(kind: number, payload = new Uint8Array(8)): Uint8Array {
  const bytes = new Uint8Array(frameBytes(payload.length));
  const record = { writer: new Uint8Array(12), counter: 1, timestamp: 0, payload };
  writeFrame(bytes, 0, kind, record, nodeEnvironment.crc32);
  return bytes;
}

async function write(path: string, entries: Readonly<Record<string, unknown>>): Promise<void> {
  await using db = await KV.open(path, still);
  for (const [key, value] of Object.entries(entries)) await db.set([key], value);
}

/** A promise and what resolves it. */
function gate(): { readonly opened: Promise<void>; open(): void } {
  let open = (): void => undefined;
  const opened = new Promise<void>((resolve) => (open = resolve));
  return { opened, open: () => open() };
}

describe("a ledger that cannot be followed", () => {
  it("because of a frame of a kind unknown here is read up to it, and not written to", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      await using db = await KV.open(path, still);
      await db.set(["a"], 1);
      appendFileSync(path, frame(99));
      await expect(db.sync()).rejects.toMatchObject({ code: "UnsupportedFormat" });
      const before = readFileSync(path);
      await expect(db.set(["a"], 2)).rejects.toMatchObject({ code: "UnsupportedFormat", outcome: "not committed" });
      await expect(db.set(["a"], 3)).rejects.toMatchObject({ code: "UnsupportedFormat", outcome: "not committed" });
      expect(readFileSync(path)).toEqual(before);
      expect(await db.get(["a"])).toBe(1);
    }));

  it("because it was cut to nothing is missing at every look, and not written to", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      await using db = await KV.open(path);
      await db.set(["a"], 1);
      truncateSync(path, 0);
      for (let i = 0; i < 2; i++) {
        await expect(db.sync()).rejects.toMatchObject({ code: "LedgerMissing" });
        await expect(db.set(["a"], 2)).rejects.toMatchObject({ outcome: "not committed" });
        expect(await db.get(["a"])).toBe(1);
      }
      expect(readFileSync(path).length).toBe(0);
    }));

  it("because something else was copied into its file leaves that alone, and is followed again when it is back", () =>
    inFolder(async (folder) => {
      const [path, backup] = [join(folder, "a.db"), join(folder, "backup.db")];
      await write(path, { a: 1 });
      copyFileSync(path, backup);
      await using db = await KV.open(path);
      await db.set(["b"], 2);
      writeFileSync(path, "a list of things to buy");
      for (let i = 0; i < 2; i++) {
        await expect(db.sync()).rejects.toMatchObject({ code: "NotALedger" });
        await expect(db.set(["a"], 2)).rejects.toMatchObject({ code: "NotALedger", outcome: "not committed" });
      }
      expect(readFileSync(path, "utf8")).toBe("a list of things to buy");
      copyFileSync(backup, path);
      await db.sync();
      expect(await db.get(["a"])).toBe(1);
      expect(await db.get(["b"])).toBeNull();
      await db.set(["b"], 3);
      await using fresh = await KV.open(path);
      expect(await fresh.get(["b"])).toBe(3);
    }));
});

describe("commits that a seal was quicker than", () => {
  it("are appended in the next generation, in order, as they were", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      await using db = await KV.open(path, still);
      await db.set(["n"], 0);
      const results: string[] = [];
      const seen: unknown[] = [];
      db.on("sync", ({ result }) => results.push(result));
      db.watch(["n"], ({ value }) => seen.push(value));
      const next = await nextGeneration(path);
      next.seal();
      const commits = [1, 2, 3].map((n) => db.set(["n"], n));
      next.replace();
      const versions = (await Promise.all(commits)).map(({ version }) => version ?? 0);
      expect(versions).toEqual(versions.toSorted((a, b) => a - b));
      expect(seen).toEqual([1, 2, 3]);
      await db.sync();
      await using fresh = await KV.open(path, still);
      expect(fresh.stats()).toMatchObject({ generation: 2, version: versions[2] });
      const history: unknown[] = [];
      for await (const { value, version } of fresh.history(["n"])) history.push([value, version]);
      expect(history.slice(1)).toEqual([1, 2, 3].map((n, i) => [n, versions[i]]));
    }));

  it("of a replica that slept through two vacuums are appended in the generation that it finds", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      await write(path, { a: 1 });
      const asleep = gate();
      let syncing: (() => void) | undefined;
      const calls = changingFiles((file) => ({
        syncData: () => {
          syncing?.();
          return syncing === undefined ? file.syncData() : asleep.opened;
        },
      }));
      await using db = await KV.open(createFsLedger(path, { durability: "strict" }, calls), still);
      const second = await nextGeneration(path);
      second.seal();
      const reached = new Promise<void>((resolve) => (syncing = resolve));
      const late = [db.set(["late"], 1), db.set(["late"], 2)];
      await reached;
      second.replace();
      await write(path, { b: 2 });
      const third = await nextGeneration(path);
      third.seal();
      third.replace();
      await write(path, { c: 3 });
      syncing = undefined;
      asleep.open();
      await Promise.all(late);
      expect(await db.get(["b"])).toBe(2);
      await using fresh = await KV.open(path, still);
      expect(fresh.stats().generation).toBe(3);
      const history: unknown[] = [];
      for await (const { key, value } of fresh.scan([])) history.push([key[0], value]);
      expect(history).toEqual([
        ["a", 1],
        ["b", 2],
        ["c", 3],
        ["late", 1],
        ["late", 2],
      ]);
    }));

  it("for want of space are not tried again behind it", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      let vacuum: (() => void) | undefined;
      const calls = changingFiles((file) => ({
        append: (bytes) => {
          vacuum?.();
          return file.append(vacuum === undefined ? bytes : bytes.subarray(0, 10));
        },
      }));
      await using db = await KV.open(createFsLedger(path, {}, calls), still);
      await db.set(["a"], 0);
      const next = await nextGeneration(path);
      vacuum = () => {
        next.seal();
        next.replace();
      };
      const commits = [db.set(["a"], 1), db.set(["a"], 2)];
      for (const commit of commits)
        await expect(commit).rejects.toMatchObject({ code: "NoSpace", outcome: "not committed" });
      vacuum = undefined;
      await db.set(["a"], 3);
      const history: unknown[] = [];
      for await (const { value } of db.history(["a"])) history.push(value);
      expect(history).toEqual([0, 3]);
    }));

  it("are not appended to another ledger that lies at the path by then", () =>
    inFolder(async (folder) => {
      const [path, other] = [join(folder, "a.db"), join(folder, "b.db")];
      await write(other, { b: 2 });
      const before = readFileSync(other);
      await write(path, { a: 0 });
      const next = await nextGeneration(path);
      const calls = changingFiles((file) => ({
        append: (bytes) => {
          next.seal();
          next.replace();
          renameSync(other, path);
          return file.append(bytes);
        },
      }));
      await using db = await KV.open(createFsLedger(path, {}, calls), still);
      const commits = [db.set(["a"], 1), db.set(["a"], 2)];
      for (const commit of commits)
        await expect(commit).rejects.toMatchObject({ code: "LedgerMissing", outcome: "not committed" });
      expect(readFileSync(path)).toEqual(before);
      expect(await db.get(["b"])).toBe(2);
    }));
});

describe("damage", () => {
  const garbage = new Uint8Array(100).fill(7);

  it("behind a commit takes nothing from its acknowledgement", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      const calls = changingFiles((file) => ({
        append: (bytes) => {
          const count = file.append(bytes);
          appendFileSync(path, garbage);
          return count;
        },
      }));
      await write(path, {});
      await using db = await KV.open(createFsLedger(path, {}, calls), still);
      await expect(db.set(["a"], 1)).resolves.toMatchObject({ version: expect.any(Number) });
      await expect(db.set(["a"], 2)).rejects.toMatchObject({ code: "LedgerDamaged", outcome: "not committed" });
    }));

  it("in front of a commit makes its outcome unknown", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      const calls = changingFiles((file) => ({
        append: (bytes) => {
          appendFileSync(path, garbage);
          return file.append(bytes);
        },
      }));
      await write(path, {});
      await using db = await KV.open(createFsLedger(path, {}, calls), still);
      await expect(db.set(["a"], 1)).rejects.toMatchObject({ code: "CommitOutcomeUnknown", outcome: "unknown" });
      expect(await db.get(["a"])).toBe(1);
    }));
});

describe("close with a time limit", () => {
  it("does not wait for a disk that never answers, and says that the outcome is unknown", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      let hangs = false;
      const stuck = gate();
      let closed = 0;
      const calls = changingFiles((file) => ({
        syncData: () => (hangs ? stuck.opened : file.syncData()),
        close: () => {
          closed++;
          file.close();
        },
      }));
      const db = await KV.open(createFsLedger(path, { durability: "strict" }, calls), still);
      await db.set(["a"], 1);
      hangs = true;
      const first = expect(db.set(["a"], 2)).rejects.toMatchObject({ code: "CommitOutcomeUnknown" });
      await db.close({ timeoutMs: 1 });
      await first;
      // The descriptor is kept until the call on it has returned: its number must not become another file's.
      expect(closed).toBe(0);
      stuck.open();
      await expect.poll(() => closed).toBe(1);
    }));
});
