import { copyFileSync, existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import type { FileHandle, FileSystemCalls } from "../../../src/adapters/fs/file.ts";
import { nodeFileSystem } from "../../../src/adapters/fs/file-node.ts";
import { createFsLedger } from "../../../src/adapters/fs/ledger.ts";
import { KV } from "../../../src/index.node.ts";
import { nodeEnvironment } from "../../../src/platform/environment-node.ts";
import { inFolder } from "../../support/folder.ts";
import { changingFiles, nextGeneration } from "../../support/generations.ts";

const still = { autoSync: false } as const;

/** More than as many quick syncs in a row as it takes. */
const QUICK_SYNCS = 24;

/** A clock that stands still unless it is told to go on: syncs are as quick as a test wants them. */
function strictWith(
  path: string,
  syncs: { now: () => void; later: () => Promise<void> },
  monotonic: () => number,
): Promise<KV> {
  const calls = changingFiles((file) => ({
    syncDataNow: () => {
      syncs.now();
      file.syncDataNow?.();
    },
    syncData: async () => {
      await file.syncData();
      await syncs.later();
    },
  }));
  const ledger = createFsLedger(path, { durability: "strict" }, calls);
  const environment = { ...nodeEnvironment, monotonic };
  return KV.open({ ...ledger, open: (options) => ledger.open({ ...options, environment }) }, still);
}

/** The system's calls with a record of what was written and made durable, in order. */
function recording(): { readonly calls: FileSystemCalls; readonly log: string[]; fail: boolean; onAppend: () => void } {
  const log: string[] = [];
  const recorder = {
    log,
    fail: false,
    onAppend: (): void => undefined,
    calls: {
      ...changingFiles((file: FileHandle) => ({
        append: (bytes: Uint8Array) => {
          recorder.onAppend();
          log.push("append");
          return file.append(bytes);
        },
        syncData: async () => {
          if (recorder.fail) throw Object.assign(new Error("EIO: i/o error, fdatasync"), { code: "EIO" });
          await file.syncData();
          log.push("sync");
        },
      })),
      syncDirectory: async (path: string) => {
        await nodeFileSystem.syncDirectory(path);
        log.push("sync directory");
      },
    },
  };
  return recorder;
}

async function openStrict(path: string, calls: FileSystemCalls): Promise<KV> {
  return KV.open(createFsLedger(path, { durability: "strict" }, calls), still);
}

describe("a strict ledger", () => {
  it("shares one sync among all commits of a batch, before any of them is answered, and one of the directory", () =>
    inFolder(async (folder) => {
      const { calls, log } = recording();
      const path = join(folder, "a.db");
      await (await KV.open(path, still)).close();
      await using db = await openStrict(path, calls);
      const answered = Array.from({ length: 100 }, (_, i) => db.set(["n", i], i).then(() => log.push("answer")));
      await Promise.all(answered);
      await db.set(["n"], 1);
      expect(log.slice(0, 3)).toEqual(["append", "sync", "sync directory"]);
      expect(log.slice(3, 103)).toEqual(answered.map(() => "answer"));
      expect(log.slice(103)).toEqual(["append", "sync"]);
    }));

  it("answers a conflict after its sync too, also with other writers' frames in between", () =>
    inFolder(async (folder) => {
      const recorder = recording();
      const path = join(folder, "a.db");
      await using db = await openStrict(path, recorder.calls);
      await using other = await KV.open(path, still);
      const { version } = await db.set(["a"], 1);
      await other.set(["a"], 2);
      recorder.log.length = 0;
      const result = await db
        .atomic()
        .check({ key: ["a"], version: version as number })
        .set(["a"], 3)
        .commit();
      recorder.log.push("answer");
      expect(result).toEqual({ ok: false });
      expect(recorder.log).toEqual(["append", "sync", "answer"]);
    }));

  it("makes a new generation's name durable before the first answer there", () =>
    inFolder(async (folder) => {
      const { calls, log } = recording();
      const path = join(folder, "a.db");
      await using db = await openStrict(path, calls);
      await db.set(["a"], 1);
      const next = await nextGeneration(path);
      next.seal();
      next.replace();
      log.length = 0;
      await db.set(["a"], 2);
      expect(log.slice(-3)).toEqual(["append", "sync", "sync directory"]);
    }));

  it("takes no more writes after a failed sync, and never says that anything became durable", () =>
    inFolder(async (folder) => {
      const recorder = recording();
      const path = join(folder, "a.db");
      await using db = await openStrict(path, recorder.calls);
      await db.set(["a"], 1);
      recorder.fail = true;
      const first = db.set(["a"], 2);
      const failed = expect(first).rejects.toMatchObject({ code: "CommitOutcomeUnknown", outcome: "unknown" });
      await new Promise((resolve) => queueMicrotask(() => queueMicrotask(() => resolve(undefined))));
      const behind = expect(db.set(["a"], 3)).rejects.toMatchObject({ outcome: "not committed" });
      await failed;
      await behind;
      recorder.fail = false;
      const size = readFileSync(path).length;
      await expect(db.set(["a"], 4)).rejects.toMatchObject({ code: "InputOutput", outcome: "not committed" });
      await expect(db.sync()).rejects.toMatchObject({ code: "InputOutput" });
      expect(readFileSync(path).length).toBe(size);
      // The commit whose outcome was unknown is in the file, so that everybody sees it.
      expect(await db.get(["a"])).toBe(2);
    }));

  it("syncs without a detour once syncs are quick, and answers after it; one slow sync, and they are waited for again", () =>
    inFolder(async (folder) => {
      const log: string[] = [];
      let time = 0;
      let takes = 0;
      const done = (kind: string): void => {
        time += takes;
        log.push(kind);
      };
      const syncs = { now: () => done("now"), later: async () => done("later") };
      await using db = await strictWith(join(folder, "a.db"), syncs, () => time);
      for (let i = 0; i < QUICK_SYNCS; i++) await db.set(["n"], i);
      expect(log).toEqual(expect.arrayContaining(["later", "now"]));
      log.length = 0;
      await db.set(["n"], 1).then(() => log.push("answer"));
      takes = 5;
      await db.set(["n"], 2).then(() => log.push("answer"));
      await db.set(["n"], 3).then(() => log.push("answer"));
      expect(log).toEqual(["now", "answer", "now", "answer", "later", "answer"]);
    }));

  it("takes no more writes after a sync without a detour that has failed either", () =>
    inFolder(async (folder) => {
      let fails = false;
      let made = 0;
      const now = (): void => {
        made++;
        if (fails) throw Object.assign(new Error("EIO: i/o error, fdatasync"), { code: "EIO" });
      };
      await using db = await strictWith(join(folder, "a.db"), { now, later: async () => undefined }, () => 0);
      for (let i = 0; i < QUICK_SYNCS; i++) await db.set(["a"], i);
      expect(made).toBeGreaterThan(0);
      fails = true;
      const failed = db.set(["a"], "written");
      await expect(failed).rejects.toMatchObject({ code: "CommitOutcomeUnknown", outcome: "unknown" });
      fails = false;
      await expect(db.set(["a"], "behind")).rejects.toMatchObject({ code: "InputOutput", outcome: "not committed" });
      await expect(db.sync()).rejects.toMatchObject({ code: "InputOutput" });
      expect(await db.get(["a"])).toBe("written");
    }));

  it("takes no more writes after a failed sync when its file was restored from a copy either", () =>
    inFolder(async (folder) => {
      const recorder = recording();
      const [path, backup] = [join(folder, "a.db"), join(folder, "backup.db")];
      await (await KV.open(path, still)).close();
      copyFileSync(path, backup);
      await using db = await openStrict(path, recorder.calls);
      await db.set(["a"], 1);
      recorder.fail = true;
      await expect(db.sync()).rejects.toMatchObject({ code: "InputOutput" });
      recorder.fail = false;
      copyFileSync(backup, path);
      await expect(db.sync()).rejects.toMatchObject({ code: "InputOutput" });
      expect(await db.get(["a"])).toBeNull();
      await expect(db.set(["a"], 2)).rejects.toMatchObject({ code: "InputOutput", outcome: "not committed" });
    }));

  it("takes no more writes after a sync that has failed for somebody else in the same process, whoever the system has told", () =>
    inFolder(async (folder) => {
      const recorder = recording();
      const path = join(folder, "a.db");
      await using db = await openStrict(path, recorder.calls);
      await using other = await openStrict(path, recorder.calls);
      await db.set(["a"], 1);
      recorder.fail = true;
      await expect(other.set(["a"], 2)).rejects.toMatchObject({ code: "CommitOutcomeUnknown" });
      recorder.fail = false;
      await expect(db.set(["a"], 3)).rejects.toMatchObject({ code: "CommitOutcomeUnknown" });
      await expect(db.set(["a"], 4)).rejects.toMatchObject({ code: "InputOutput", outcome: "not committed" });
    }));

  it("takes no more writes after a failed sync() either", () =>
    inFolder(async (folder) => {
      const recorder = recording();
      await using db = await openStrict(join(folder, "a.db"), recorder.calls);
      await db.set(["a"], 1);
      recorder.fail = true;
      await expect(db.sync()).rejects.toMatchObject({ code: "InputOutput" });
      recorder.fail = false;
      await expect(db.set(["a"], 2)).rejects.toMatchObject({ code: "InputOutput", outcome: "not committed" });
    }));

  it("takes no writes to a file whose creator could not make it durable, whoever opens it in that process", () =>
    inFolder(async (folder) => {
      let fails = true;
      const calls = changingFiles((file) => ({
        sync: async () => {
          if (fails) throw Object.assign(new Error("EIO: i/o error, fsync"), { code: "EIO" });
          await file.sync();
        },
      }));
      const path = join(folder, "a.db");
      await expect(openStrict(path, calls)).rejects.toMatchObject({ code: "InputOutput" });
      fails = false;
      await using db = await openStrict(path, calls);
      await expect(db.set(["a"], 1)).rejects.toMatchObject({ code: "InputOutput", outcome: "not committed" });
      await using relaxed = await KV.open(createFsLedger(path, {}, calls), still);
      await relaxed.set(["a"], 2);
      // What is copied to the next generation is made durable anew.
      await relaxed.vacuum();
      await using again = await openStrict(path, calls);
      await again.set(["a"], 3);
      expect(await relaxed.get(["a"], { consistency: "strong" })).toBe(3);
    }));
});

describe("a relaxed ledger", () => {
  it("has no index that reaches beyond a sync that has failed, whoever saves it in that process", () =>
    inFolder(async (folder) => {
      const recorder = recording();
      const path = join(folder, "a.db");
      const fill = async (): Promise<readonly unknown[]> => {
        const problems: unknown[] = [];
        await using db = new KV(still).on("error", (error) => problems.push(error));
        await db.open(createFsLedger(path, {}, recorder.calls));
        await Promise.all(Array.from({ length: 10_000 }, (_, i) => db.set(["n", i], i)));
        return problems;
      };
      recorder.fail = true;
      expect(await fill()).toMatchObject([{ code: "InputOutput" }]);
      recorder.fail = false;
      expect(await fill()).toMatchObject([{ code: "InputOutput" }]);
      expect(existsSync(`${path}.idx`)).toBe(false);
      const last = await KV.open(createFsLedger(path, {}, recorder.calls), still);
      await last.vacuum();
      await last.close();
      expect(await fill()).toEqual([]);
      expect(existsSync(`${path}.idx`)).toBe(true);
    }));
});

describe("the creator of a ledger", () => {
  it("makes the file and the names of all directories made for it durable, once, whatever the durability", () =>
    inFolder(async (folder) => {
      const synced: string[] = [];
      const calls: FileSystemCalls = {
        ...changingFiles((file) => ({
          sync: async () => {
            await file.sync();
            synced.push("file");
          },
        })),
        syncDirectory: async (path) => {
          await nodeFileSystem.syncDirectory(path);
          synced.push(path);
        },
      };
      const path = join(folder, "x", "y", "a.db");
      await using first = await KV.open(createFsLedger(path, {}, calls), still);
      await first.set(["a"], 1);
      expect(synced).toEqual(["file", folder, join(folder, "x"), dirname(path)]);
      await using second = await KV.open(createFsLedger(path, {}, calls), still);
      await second.set(["a"], 2);
      expect(synced).toHaveLength(4);
    }));
});
