import { spawnSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { describe, expect, it, test } from "vitest";
import { createFsLedger } from "../../../src/adapters/fs/ledger.ts";
import { KV } from "../../../src/index.node.ts";
import { inFolder, temporaryFolder } from "../../support/folder.ts";
import { changingFiles } from "../../support/generations.ts";
import { Program } from "../../support/program.ts";
import { fill, MANY } from "../../support/items.ts";

const isRoot = process.getuid?.() === 0;
const [SOMEBODY, SOMEBODY_ELSE, GROUP] = [40_001, 40_002, 40_003];

async function ledgerAt(path: string): Promise<void> {
  await using db = await KV.open(path, { sideIndex: false });
  await fill(db, 0, 100);
}

/** A vacuum is refused and leaves nothing, and the database goes on. */
async function refused(path: string, folder: string): Promise<void> {
  await using db = await KV.open(path, { sideIndex: false });
  const [before, size] = [readdirSync(folder), statSync(path).size];
  await expect(db.vacuum()).rejects.toMatchObject({ code: "VacuumRefused" });
  expect(readdirSync(folder)).toEqual(before);
  expect(statSync(path).size).toBe(size);
  await db.set(["after"], 1);
  expect(await db.count(["item"])).toBe(100);
}

describe("a vacuum", () => {
  it("is refused while the file has other names", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      await ledgerAt(path);
      linkSync(path, join(folder, "b.db"));
      await refused(path, folder);
      await refused(join(folder, "b.db"), folder);
    }));

  it("is refused where the file itself is a mount point", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      await ledgerAt(path);
      const point = join(folder, "mounted here.db");
      writeFileSync(point, "");
      const mounted = spawnSync("mount", ["--bind", path, point]);
      if (mounted.status !== 0)
        return console.warn(
          `Not tested: no file can be mounted here: ${mounted.error?.message ?? mounted.stderr.toString().trim()}`,
        );
      try {
        await refused(point, folder);
        // What is mounted elsewhere would stay the old file there; where it lies, the rename works.
        symlinkSync(point, join(folder, "link.db"));
        await refused(join(folder, "link.db"), folder);
      } finally {
        spawnSync("umount", [point]);
      }
      expect(statSync(point).size).toBe(0);
    }));

  it("gives sibling and index the owner, group and mode that the ledger has", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      await ledgerAt(path);
      if (isRoot) chownSync(path, SOMEBODY, GROUP);
      chmodSync(path, 0o640);
      const expected = ownership(path);
      await using db = await KV.open(path);
      await fill(db, 0, MANY);
      const seen: unknown[] = [];
      const { generation } = await db.vacuum({
        onProgress: () => {
          for (const name of readdirSync(folder)) seen.push(ownership(join(folder, name)));
        },
      });
      expect(generation).toBe(2);
      await fill(db, 0, MANY);
      await db.close();
      for (const name of readdirSync(folder)) seen.push(ownership(join(folder, name)));
      expect(readdirSync(folder).length).toBeGreaterThan(2);
      for (const each of seen) expect(each).toEqual(expected);
      expect(seen.length).toBeGreaterThan(4);
    }));
});

function ownership(path: string): { readonly uid: number; readonly gid: number; readonly mode: number } {
  const { uid, gid, mode } = statSync(path);
  return { uid, gid, mode };
}

describe.skipIf(!isRoot)("somebody without rights of their own in the folder", () => {
  const as = (uid: number, gid: number, task: object): Program => new Program("vacuum-as.ts", { uid, gid, ...task });

  it("in a sticky folder, is refused a vacuum of somebody else's file, and the owner is not", () =>
    inFolder(async (folder) => {
      const sticky = join(folder, "sticky");
      chmodSync(folder, 0o755);
      mkdirSync(sticky);
      chmodSync(sticky, 0o1777);
      const path = join(sticky, "a.db");
      await ledgerAt(path);
      chownSync(path, SOMEBODY, GROUP);
      chmodSync(path, 0o666);
      await using other = as(SOMEBODY_ELSE, GROUP, { path, does: "vacuum" });
      await other.exited;
      expect(other.messages).toEqual([{ count: 100, set: "committed", vacuum: { code: "VacuumRefused" }, errors: [] }]);
      expect(readdirSync(sticky)).toEqual(["a.db"]);
      await using owner = as(SOMEBODY, GROUP, { path, does: "vacuum" });
      await owner.exited;
      expect(owner.messages).toEqual([{ count: 101, set: "committed", vacuum: 2, errors: [] }]);
      expect(ownership(path)).toMatchObject({ uid: SOMEBODY, gid: GROUP, mode: 0o100666 });
    }));

  it("who could not give a file its owner, is refused a vacuum and saves no index, wherever the right to create one is", () =>
    inFolder(async (folder) => {
      const open = join(folder, "open");
      chmodSync(folder, 0o755);
      mkdirSync(open);
      chmodSync(open, 0o777);
      const path = join(open, "a.db");
      await ledgerAt(path);
      chownSync(path, SOMEBODY, GROUP);
      chmodSync(path, 0o666);
      await using other = as(SOMEBODY_ELSE, GROUP, { path, does: "fill" });
      await other.exited;
      const vacuum = { code: "VacuumRefused" };
      expect(other.messages).toMatchObject([{ set: "committed", vacuum, errors: [{ code: "AccessDenied" }] }]);
      expect(readdirSync(open)).toEqual(["a.db"]);
      await using owner = as(SOMEBODY, GROUP, { path, does: "vacuum" });
      await owner.exited;
      expect(owner.messages).toEqual([{ count: MANY + 1, set: "committed", vacuum: 2, errors: [] }]);
    }));

  it("writes and reads without saving the index, is refused a vacuum, and builds anew what is damaged", () =>
    inFolder(async (folder) => {
      chmodSync(folder, 0o755);
      const path = join(folder, "a.db");
      await using db = await KV.open(path, { autoSync: false });
      await fill(db, 0, MANY);
      chmodSync(path, 0o666);
      const task = { path, does: "fill" };
      const before = readdirSync(folder);
      const told = { count: MANY, set: "committed", vacuum: { code: "VacuumRefused" } };
      await using other = as(SOMEBODY, GROUP, task);
      await other.exited;
      // Once, however often it would be due.
      expect(other.messages).toMatchObject([{ ...told, errors: [{ code: "AccessDenied" }] }]);
      await using reader = as(SOMEBODY, GROUP, { path, does: "read" });
      await reader.exited;
      expect(reader.messages).toMatchObject([{ count: MANY + 1, errors: [] }]);
      await db.close();
      // Whoever has the right saves it.
      expect(readdirSync(folder).length).toBeGreaterThan(1);
      for (const name of readdirSync(folder).filter((each) => each.includes(".idx-"))) {
        const bytes = readFileSync(join(folder, name));
        bytes.fill(0x55, bytes.length >> 1);
        writeFileSync(join(folder, name), bytes);
      }
      await using again = as(SOMEBODY, GROUP, task);
      await again.exited;
      expect(again.messages).toMatchObject([{ ...told, count: MANY + 1 }]);
      await using readerAgain = as(SOMEBODY, GROUP, { path, does: "read" });
      await readerAgain.exited;
      expect(readerAgain.messages).toMatchObject([{ count: MANY + 1, errors: [] }]);
      expect(before.every((name) => readdirSync(folder).includes(name))).toBe(true);
    }));
});

test("a file that is cut while its frames are copied ends the vacuum: nothing takes the place of what is missing", async () => {
  using folder = temporaryFolder();
  const path = folder.file("ledger.db");
  let isCut = false;
  const calls = changingFiles((file, opened) => ({
    read: (target: Uint8Array, position: number) => (isCut && opened === path ? 0 : file.read(target, position)),
  }));
  const db = await KV.open(createFsLedger(path, {}, calls), { autoSync: false });
  for (let i = 0; i < 100; i++) await db.set(["item", i], i);
  // Told of the snapshot, behind which come the frames.
  const vacuumed = db.vacuum({ keepHistory: { commits: 50 }, onProgress: () => void (isCut = true) });
  await expect(vacuumed).rejects.toMatchObject({ code: "LedgerDamaged" });
  isCut = false;
  expect(readdirSync(folder.path).filter((name) => /^ledger\.db\.\d/.test(name))).toEqual([]);
  await db.close();
  await using again = await KV.open(path);
  expect(await again.count(["item"])).toBe(100);
  await again.vacuum();
});
