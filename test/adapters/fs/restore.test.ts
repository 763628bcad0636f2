import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { KV } from "../../../src/index.node.ts";
import { inFolder } from "../../support/folder.ts";
import { openSession } from "../../support/generations.ts";

const COUNT = 300;

/** Without an index that would tell of it. */
async function fill(path: string): Promise<void> {
  await using db = await KV.open(path, { sideIndex: false });
  for (let i = 0; i < COUNT; i++) await db.set(["item", i], `value ${i} `.repeat(9));
}

/** Within both copies of the header. */
const HEADERS = [70, 220];

/** Returns the bytes that are damaged now. */
function damage(path: string, places: readonly number[] = HEADERS): Buffer {
  const bytes = readFileSync(path);
  for (const at of places) bytes[at] ^= 0xff;
  writeFileSync(path, bytes);
  return bytes;
}

const copiesIn = (folder: string): string[] => readdirSync(folder).filter((name) => name.includes(".damaged-"));

describe("a ledger of which both headers are damaged", () => {
  it("is not opened without a repair", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      await fill(path);
      damage(path);
      await expect(KV.open(path)).rejects.toMatchObject({ code: "LedgerDamaged" });
      await expect(KV.open(path, { repair: true, readOnly: true })).rejects.toMatchObject({ code: "LedgerDamaged" });
      expect(copiesIn(folder)).toEqual([]);
    }));

  it("is the same ledger after a repair if it has a snapshot, whose footer repeats the header", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      await fill(path);
      const { ledgerId, entries } = await (async () => {
        await using db = await KV.open(path, { sideIndex: false });
        await db.vacuum();
        await db.set(["behind"], readFileSync(path));
        return { ledgerId: db.stats().ledgerId, entries: await db.listAll([]) };
      })();
      const before = await openSession(path);
      const { identity, start } = before;
      await before.close();
      const damaged = damage(path);
      await using db = await KV.open(path, { repair: true });
      expect(db.stats()).toMatchObject({ ledgerId, generation: identity?.generation, session: { header: "restored" } });
      expect(await db.listAll([])).toEqual(entries);
      expect(copiesIn(folder)).toHaveLength(1);
      expect(readFileSync(join(folder, copiesIn(folder)[0])).equals(damaged)).toBe(true);
      const after = await openSession(path);
      expect(after).toMatchObject({ identity, start });
      await after.close();
      expect(await db.vacuum()).toMatchObject({ author: true });
    }));

  it("is another ledger if nothing tells which it was, with all commits that are whole, and what is damaged besides left out", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      await fill(path);
      const before = await openSession(path);
      const { identity } = before;
      await before.close();
      damage(path, [...HEADERS, 9000]);
      await using db = await KV.open(path, { repair: true, sideIndex: false });
      expect(await db.count(["item"])).toBe(COUNT - 1);
      expect(db.stats().ledgerId).not.toBe(identity?.ledgerId);
      expect(db.stats().damage).toEqual([]);
      const { header, damagedCopy } = db.stats().session;
      expect(header).toBe("new");
      // The repair of the rest has kept one too.
      expect(copiesIn(folder).map((copy) => join(folder, copy))).toContain(damagedCopy);
      await db.set(["item", "new"], 1);
      expect((await db.repair()).header).toBe("whole");
    }));

  it("is told by the index beside it who it is", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      const ledgerId = await (async () => {
        await using db = await KV.open(path);
        await db.transaction((transaction) => {
          for (let i = 0; i < 40_000; i++) transaction.set(["item", i], i);
        });
        await db.set(["end"], 1);
        return db.stats().ledgerId;
      })();
      damage(path);
      await using db = await KV.open(path, { repair: true });
      expect(db.stats().ledgerId).toBe(ledgerId);
      expect(await db.count(["item"])).toBe(40_000);
    }));

  it("is repaired by who has it open, and its copy and what became of it stand in the report", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      await fill(path);
      await using db = await KV.open(path, { sideIndex: false });
      await using other = await KV.open(path, { autoSync: false, sideIndex: false });
      const { ledgerId } = db.stats();
      damage(path);
      const report = await db.repair();
      expect(report).toMatchObject({ header: "new", dropped: [], commits: COUNT });
      expect(report.copy).toBe(join(folder, copiesIn(folder)[0]));
      expect(db.stats().ledgerId).not.toBe(ledgerId);
      expect(await db.count(["item"])).toBe(COUNT);
      await db.set(["new"], 1);
      await other.sync();
      expect(await other.get(["new"])).toBe(1);
    }));
});
