import { copyFileSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { memoryLedger } from "../../../src/adapters/memory/index.ts";
import { nodeFileSystem } from "../../../src/adapters/fs/file-node.ts";
import { createFsLedger } from "../../../src/adapters/fs/ledger.ts";
import { KV } from "../../../src/index.node.ts";
import { inFolder } from "../../support/folder.ts";
import { nextGeneration } from "../../support/generations.ts";

const COUNT = 50;

async function fill(path: string): Promise<void> {
  await using db = await KV.open(path);
  for (let i = 0; i < COUNT; i++) await db.set(["item", i], `the text of item ${i}`);
}

/** Flips a byte in the middle. */
function flip(path: string): void {
  const bytes = readFileSync(path);
  bytes[bytes.length >> 1] ^= 0xff;
  writeFileSync(path, bytes);
}

describe("a replica behind damage", () => {
  it("does not help with anybody's vacuum", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      await fill(path);
      flip(path);
      await using db = await KV.open(path);
      const { ino } = statSync(path);
      const next = await nextGeneration(path);
      next.seal();
      await db.sync();
      const { session } = db.stats();
      expect(session.sealed).toBe(true);
      // It looks again and again, for longer than anybody who helps waits.
      await expect
        .poll(() => db.stats().session.reads, { timeout: 10_000 })
        .toBeGreaterThan(Number(session.reads) + 10);
      expect(statSync(path).ino).toBe(ino);
      next.replace();
      await db.sync();
      expect(db.stats().generation).toBe(2);
    }));

  it("takes nothing of its state along into the next generation, and writes again where that is whole", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      await fill(path);
      flip(path);
      await using db = await KV.open(path);
      expect(await db.count(["item"])).toBe(COUNT - 1);
      await expect(db.set(["new"], 1)).rejects.toMatchObject({ code: "LedgerDamaged" });
      // A page that this replica alone has read wrong.
      flip(path);
      const next = await nextGeneration(path);
      next.seal();
      next.replace();
      await db.sync();
      expect(db.stats()).toMatchObject({ generation: 2, damage: [] });
      expect(await db.count(["item"])).toBe(COUNT);
      await db.set(["new"], 1);
    }));

  it("or what a power failure has left out of a sealed file begins with what the next generation holds, as others do", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      const first = await KV.open(path, { sideIndex: false });
      const { version } = await first.set(["lost"], 1);
      await first.set(["kept"], 1);
      await first.close();
      const next = await nextGeneration(path);
      next.seal();
      // The sibling was durable before. What its renaming was to follow was not, and the renaming is undone.
      const bytes = readFileSync(path);
      bytes.fill(0, version, bytes.indexOf(Uint8Array.of(0xfc, 0x66, 0x6f, 0x6c), (version as number) + 1));
      writeFileSync(path, bytes);
      await using db = await KV.open(path, { readOnly: true, autoSync: false });
      expect(await db.get(["lost"])).toBeNull();
      const told: unknown[] = [];
      db.watch([], (entry) => told.push(entry));
      next.replace();
      await db.sync();
      expect(db.stats()).toMatchObject({ generation: 2, damage: [] });
      expect(await db.get(["lost"])).toBe(1);
      expect(told).toMatchObject([{ key: ["lost"], value: 1, reloaded: true }]);
    }));

  it("tells of the same damage once, however often it reads the ledger anew", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      await fill(path);
      flip(path);
      const problems: unknown[] = [];
      await using db = new KV();
      db.on("error", (error) => problems.push(error));
      await db.open(path);
      expect(problems).toMatchObject([{ code: "LedgerDamaged" }]);
      const next = await nextGeneration(path);
      next.seal();
      next.replace();
      await db.sync();
      expect(db.stats().counts.reloads).toBe(1);
      expect(db.stats().damage).toHaveLength(1);
      expect(problems).toHaveLength(1);
    }));
});

describe("a repair", () => {
  it("whose renaming has failed is completed by the next round", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      await fill(path);
      flip(path);
      let failures = 1;
      const { replacing } = nodeFileSystem;
      const calls = {
        ...nodeFileSystem,
        ...(replacing && {
          replacing: {
            ...replacing,
            rename: (from: string, to: string) => {
              if (to === path && failures-- > 0) throw Object.assign(new Error("EIO"), { code: "EIO" });
              return replacing.rename(from, to);
            },
          },
        }),
      };
      await using db = await KV.open(createFsLedger(path, {}, calls), { autoSync: false, sideIndex: false });
      await expect(db.repair()).rejects.toMatchObject({ code: "InputOutput" });
      await db.sync();
      expect(db.stats()).toMatchObject({ generation: 2, damage: [] });
      await db.set(["new"], 1);
      expect(await db.count(["item"])).toBe(COUNT - 1);
    }));
});

describe("a repair of a ledger that is sealed", () => {
  it("completes the vacuum first, and repairs what has come of it", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      await fill(path);
      flip(path);
      const next = await nextGeneration(path);
      next.seal();
      await using db = await KV.open(path, { repair: true });
      expect(db.stats()).toMatchObject({ generation: 3, damage: [] });
      expect(await db.count(["item"])).toBe(COUNT - 1);
      await db.set(["new"], 1);
    }));

  it("by several at once leaves it repaired for each of them", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      await fill(path);
      flip(path);
      const all = await Promise.all([1, 2, 3].map(() => KV.open(path)));
      const reports = await Promise.all(all.map((db) => db.repair()));
      expect(reports.some(({ dropped }) => dropped.length === 1)).toBe(true);
      for (const db of all) {
        await db.sync();
        expect(db.stats().damage).toEqual([]);
        await db.set(["new"], 1);
        expect(await db.count(["item"])).toBe(COUNT - 1);
        await db.close();
      }
    }));
});

describe("a copy of a ledger that is sealed", () => {
  it("leaves the original its sibling, and is repaired without it", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      await fill(path);
      const next = await nextGeneration(path);
      next.seal();
      copyFileSync(path, join(folder, "b.db"));
      {
        await using copy = await KV.open(join(folder, "b.db"));
        await expect(copy.set(["new"], 1)).rejects.toMatchObject({ code: "LedgerDamaged", outcome: "not committed" });
        expect(await copy.count(["item"])).toBe(COUNT);
        await copy.repair();
        expect(copy.stats().generation).toBe(2);
        await copy.set(["new"], 1);
      }
      await using db = await KV.open(path);
      await db.set(["new"], 2);
      expect(db.stats()).toMatchObject({ generation: 2, damage: [] });
      expect(await db.count([])).toBe(COUNT + 1);
    }));
});

describe("a repair of a snapshot", () => {
  it("leaves out a sum whose base is damaged rather than begin it anew", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      {
        await using db = await KV.open(path, { sideIndex: false });
        for (let i = 0; i < COUNT; i++) await db.set(["n", i], 1000);
        await db.vacuum();
        for (let i = 0; i < COUNT; i++) await db.atomic().sum(["n", i], 1).commit();
      }
      const bytes = readFileSync(path);
      // Within the snapshot's only block.
      bytes[600] ^= 0xff;
      writeFileSync(path, bytes);
      await using db = await KV.open(path, { repair: true });
      for (const { value } of await db.listAll(["n"])) expect(value).toBe(1001);
      await db.set(["n", 0], 1);
    }));
});

describe("a backup", () => {
  it("of a damaged ledger is refused", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      await fill(path);
      flip(path);
      await using db = await KV.open(path);
      await expect(db.backup(join(folder, "b.db"))).rejects.toMatchObject({ code: "LedgerDamaged" });
      await db.repair();
      await db.backup(join(folder, "b.db"));
    }));

  it("does not take a name that belongs to the ledger", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      await fill(path);
      await using db = await KV.open(path);
      for (const name of ["a.db.idx", "a.db.idx-00", "a.db.2-ab", "a.db.1-0"])
        await expect(db.backup(join(folder, name))).rejects.toMatchObject({ code: "InvalidArgument" });
      await db.backup(join(folder, "other", "a.db.idx"));
      await db.backup(join(folder, "a.db.2"));
      // Nor to one that lies there and is another one.
      await using other = await KV.open(memoryLedger());
      for (const name of ["a.db.idx", "a.db.idx-00.new", "a.db.7-ab"])
        await expect(other.backup(join(folder, name))).rejects.toMatchObject({ code: "InvalidArgument" });
      await other.backup(join(folder, "b.db.7-ab"));
    }));
});
