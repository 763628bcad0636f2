import { chmodSync, readdirSync, rmSync, statfsSync, statSync, unlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { createFsLedger } from "../../../src/adapters/fs/ledger.ts";
import { nodeFileSystem } from "../../../src/adapters/fs/file-node.ts";
import type { FileSystemCalls } from "../../../src/adapters/fs/file.ts";
import type { ReplacingCalls } from "../../../src/adapters/fs/replacing.ts";
import { KV, type KVError } from "../../../src/index.node.ts";
import { openWith } from "../../support/database.ts";
import { fastClock } from "../../support/fast-clock.ts";
import { inFolder } from "../../support/folder.ts";
import { fill } from "../../support/items.ts";
import { nextGeneration } from "../../support/generations.ts";
import { Program } from "../../support/program.ts";
import { siblingsOf } from "../../support/siblings.ts";
import { smallDisk } from "../../support/small-disk.ts";

const still = { autoSync: false, sideIndex: false } as const;
const MIB = 1024 * 1024;
const PAGE = 4096;
const ENTRIES = 100;

const reason = (promise: Promise<unknown>): Promise<KVError> =>
  promise.then(
    () => expect.fail("It should have been rejected"),
    (error: unknown) => error as KVError,
  );

describe("a sibling deleted by hand behind its seal", () => {
  it("is damage that names it, at once, for whoever writes or vacuums; reads go on", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      await using db = await KV.open(path, still);
      await using reader = await KV.open(path, { ...still, readOnly: true });
      await db.set(["a"], 1);
      (await nextGeneration(path)).seal();
      const [sibling] = siblingsOf(path);
      unlinkSync(join(folder, sibling));
      const bytes = statSync(path).size;
      for (const error of await Promise.all([db.set(["a"], 2), db.vacuum(), db.set(["a"], 3)].map(reason))) {
        expect(error).toMatchObject({ code: "LedgerDamaged", outcome: "not committed" });
        expect(error.ranges?.[0].from).toBeLessThan(bytes);
        expect(error.message).toContain(sibling);
      }
      for (const each of [db, reader]) {
        await each.sync();
        expect(await each.get(["a"])).toBe(1);
      }
      await using fresh = await KV.open(path, still);
      expect(await fresh.get(["a"])).toBe(1);
      expect(await reason(fresh.set(["a"], 4))).toMatchObject({ code: "LedgerDamaged" });
    }));
});

describe("a file deleted by hand behind its seal", () => {
  it("is missing, at once, for whoever waits for the next generation; reads go on", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      await using db = await KV.open(path, still);
      await db.set(["a"], 1);
      (await nextGeneration(path)).seal();
      await db.sync();
      unlinkSync(path);
      for (const error of await Promise.all([db.set(["a"], 2), db.set(["a"], 3)].map(reason)))
        expect(error).toMatchObject({ code: "LedgerMissing", outcome: "not committed" });
      expect(await reason(db.set(["a"], 4))).toMatchObject({ code: "LedgerMissing", outcome: "not committed" });
      expect(await reason(db.vacuum())).toMatchObject({ code: "LedgerMissing" });
      expect(await db.get(["a"])).toBe(1);
    }));
});

describe.skipIf(process.getuid?.() !== 0)("a writer without the right to rename in the folder", () => {
  it("is told what has to take the ledger's place, reads on, and goes on once somebody has done it", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      chmodSync(folder, 0o755);
      {
        await using db = await KV.open(path, still);
        await db.set(["a"], 1);
        chmodSync(path, 0o666);
      }
      await using program = new Program("stuck.ts", { path, uid: 40_001 });
      (await nextGeneration(path)).seal();
      const [sibling] = siblingsOf(path);
      program.send({ again: true });
      const stuck = await program.next();
      expect(stuck).toMatchObject({ set: { code: "LedgerSealed", outcome: "not committed" }, read: 1, generation: 1 });
      expect((stuck.set as { message: string }).message).toContain(sibling);
      await using db = await KV.open(path, still);
      await db.set(["a"], 2);
      program.send({ again: true });
      expect(await program.next()).toMatchObject({ set: "committed", read: 2, generation: 2 });
      program.send({ again: false });
      expect(await program.exited).toMatchObject({ code: 0 });
    }));
});

const disk = smallDisk(6 * MIB);
if ("reason" in disk) console.warn(`Vacuums on a full disk are not tested: ${disk.reason}`);
else afterAll(() => disk[Symbol.dispose]());
const file = (name: string): string => ("reason" in disk ? name : disk.file(name));
const ballast = file("ballast");

/** Takes all the room but so much. */
function leave(bytes: number): void {
  rmSync(ballast, { force: true });
  const { bavail, bsize } = statfsSync(dirname(ballast));
  writeFileSync(ballast, new Uint8Array(Math.max(0, bavail * bsize - bytes)));
}

describe.skipIf("reason" in disk)("a vacuum on a full disk", () => {
  it("fails with a typed error wherever the room ends, leaves nothing behind, and succeeds once there is some", async () => {
    const path = file("a.db");
    await using db = await KV.open(path, still);
    await using other = await KV.open(path, still);
    for (let i = 0; i < ENTRIES; i++) await db.set(["item", i], new Uint8Array(3000).fill(i));
    const { size } = statSync(path);
    const outcomes = new Set<string>();
    // In large steps, and page by page where it is the seal, or what comes behind it, that finds no room.
    const rooms = Array.from({ length: 10 }, (_, i) => Math.floor((size * i) / 10));
    for (let pages = -6; pages <= 4; pages++) rooms.push(size + pages * PAGE);
    for (const room of rooms) {
      leave(room);
      const generation = db.stats().generation ?? 0;
      const outcome = await db.vacuum().then(
        () => "done",
        (error: unknown) => (error as KVError).code,
      );
      outcomes.add(outcome);
      expect(siblingsOf(path)).toEqual([]);
      expect(db.stats().generation).toBe(outcome === "done" ? generation + 1 : generation);
      const set = await other.set(["room"], room).then(
        () => true,
        (error: unknown) => expect(error).toMatchObject({ code: "NoSpace", outcome: "not committed" }) ?? false,
      );
      await db.sync();
      if (set === true) expect(await db.get(["room"])).toBe(room);
      expect(await db.count(["item"])).toBe(ENTRIES);
      expect(await other.get(["item", 7])).toEqual(new Uint8Array(3000).fill(7));
      rmSync(ballast);
      expect(await other.vacuum()).toMatchObject({ author: true });
      await db.sync();
      expect(await db.count(["item"])).toBe(ENTRIES);
    }
    expect([...outcomes].sort()).toEqual(["NoSpace", "done"]);
    await using fresh = await KV.open(path, { ...still, readOnly: true });
    expect(await fresh.count(["item"])).toBe(ENTRIES);
    expect(fresh.stats().damage).toEqual([]);
    rmSync(path);
  });

  it("whose sibling cannot be completed for want of room tells how much is needed, and is completed once there is some", async () => {
    const path = file("b.db");
    const { environment, forward } = fastClock();
    const attempts = { author: 0, other: 0 };
    /** Calls that count attempts to help. */
    const counting = (who: keyof typeof attempts): FileSystemCalls => {
      const replacing = nodeFileSystem.replacing as ReplacingCalls;
      const openWritable: ReplacingCalls["openWritable"] = (sibling_) => {
        attempts[who]++;
        return replacing.openWritable(sibling_);
      };
      return { ...nodeFileSystem, replacing: { ...replacing, openWritable } };
    };
    const late = new Uint8Array(600_000).fill(7);
    await using other = await openWith(environment, createFsLedger(path, {}, counting("other")), still);
    await other.set(["early"], 1);
    const calls = {
      ...counting("author"),
      syncDirectory: async (path_: string) => {
        await nodeFileSystem.syncDirectory(path_);
        // Between what the author copies and its seal, which is all that there is room for then.
        await other.set(["late"], late);
        leave(2 * PAGE);
      },
    };
    await using db = await openWith(environment, createFsLedger(path, {}, calls), still);
    const vacuumed = reason(db.vacuum());
    await expect.poll(() => db.stats().session.sealed).toBe(true);
    const [sibling] = siblingsOf(path);
    const waiting = [reason(db.set(["behind"], 1)), reason(other.set(["behind"], 2))];
    // Whoever waits has tried to help before it gives up: with the second attempt it knows how the first one ended.
    await expect.poll(() => Math.min(attempts.author, attempts.other), { timeout: 30_000 }).toBeGreaterThan(1);
    forward(60_000);
    for (const error of await Promise.all([vacuumed, ...waiting])) {
      expect(error).toMatchObject({ code: "LedgerSealed", cause: { code: "NoSpace" } });
      expect(error.message).toContain(sibling);
      const [, bytes] = /(\d+) bytes/.exec(error.message) ?? [];
      expect(Number(bytes)).toBeGreaterThanOrEqual(late.length);
    }
    expect(await db.get(["late"])).toEqual(late);
    expect(await other.get(["early"])).toBe(1);
    await using reader = await KV.open(path, { ...still, readOnly: true });
    expect(await reader.get(["late"])).toEqual(late);
    rmSync(ballast);
    await expect.poll(() => db.stats().generation, { timeout: 10_000 }).toBe(2);
    await other.set(["behind"], 3);
    await db.sync();
    await reader.sync();
    for (const each of [db, other, reader]) {
      expect(await each.get(["behind"])).toBe(3);
      expect(await each.get(["late"])).toEqual(late);
    }
    expect(siblingsOf(path)).toEqual([]);
    rmSync(path);
  });
});

describe.skipIf("reason" in disk)("the side index on a full disk", () => {
  it.each(["the run", "the manifest"])(
    "is done without where there is no room for %s, and saved by whoever finds some",
    async (what) => {
      const path = file("c.db");
      const replacing = nodeFileSystem.replacing as ReplacingCalls;
      const createLike: ReplacingCalls["createLike"] = (path_, like) => {
        const created = replacing.createLike(path_, like);
        if (path_.endsWith(".new") === (what === "the manifest")) leave(0);
        return created;
      };
      const indexed = { ...still, sideIndex: true };
      const problems: unknown[] = [];
      const db = new KV(indexed);
      db.on("error", (error) => problems.push(error));
      await db.open(createFsLedger(path, {}, { ...nodeFileSystem, replacing: { ...replacing, createLike } }));
      await db.set(["first"], 1);
      // With the last of these a save is due.
      for (let round = 0; round < 9; round++) await fill(db, 0, 1000);
      await db.close();
      expect(problems).toMatchObject([{ code: "NoSpace" }]);
      expect(readdirSync(dirname(path)).filter((name) => name.includes(".idx"))).toEqual([]);
      rmSync(ballast);
      for (const commits of [10, 0]) {
        await using next = await KV.open(path, indexed);
        expect(next.stats().counts.commits).toBeLessThanOrEqual(commits);
        expect(await next.count([])).toBe(1001);
      }
      for (const name of readdirSync(dirname(path))) rmSync(file(name));
    },
  );
});
