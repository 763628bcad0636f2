import { linkSync, readdirSync, readFileSync, renameSync, statSync, unlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { KV } from "../../../src/index.node.ts";
import { inFolder } from "../../support/folder.ts";

const COUNT = 200;

async function fill(path: string): Promise<void> {
  const db = await KV.open(path);
  for (let i = 0; i < COUNT; i++) await db.set(["item", i], { number: i, text: "some text of some length ".repeat(8) });
  await db.close();
}

function damage(path: string, at: number, bytes = 1): void {
  const content = readFileSync(path);
  for (let i = 0; i < bytes; i++) content[at + i] ^= 0xff;
  writeFileSync(path, content);
}

const copies = (folder: string): string[] => readdirSync(folder).filter((name) => name.includes(".damaged-"));

describe("repair", () => {
  it("keeps every commit that is whole, says what it could not keep and where, and keeps the original as a copy", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      await fill(path);
      const at = Math.floor(statSync(path).size / 2);
      damage(path, at);
      const damaged = readFileSync(path);
      await using other = await KV.open(path);
      await using db = await KV.open(path);
      await expect(db.set(["new"], 1)).rejects.toMatchObject({ code: "LedgerDamaged" });
      const report = await db.repair();
      expect(report.dropped).toHaveLength(1);
      const [{ part, from, to }] = report.dropped;
      expect(part).toBe("ledger");
      expect(from <= at && at < to).toBe(true);
      expect(report).toMatchObject({ commits: COUNT - 1, generation: 2 });
      expect(report.text).toContain(String(from));
      expect(copies(folder)).toHaveLength(1);
      expect(readFileSync(join(folder, copies(folder)[0])).equals(damaged)).toBe(true);
      expect(report.copy).toBe(join(folder, copies(folder)[0]));
      expect(await db.count(["item"])).toBe(COUNT - 1);
      expect(db.stats().damage).toEqual([]);
      expect((await db.set(["new"], 1)).version).toBeGreaterThan(0);
      await other.sync();
      expect(await other.get(["new"])).toBe(1);
      expect(other.stats().damage).toEqual([]);
      expect((await other.set(["more"], 1)).version).toBeGreaterThan(0);
    }));

  it("is done by open where that is asked for, and only where something is damaged", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      await fill(path);
      await (await KV.open(path, { repair: true })).close();
      expect(copies(folder)).toEqual([]);
      damage(path, 5000);
      await using db = await KV.open(path, { repair: true });
      expect(db.stats().generation).toBe(2);
      expect(await db.count(["item"])).toBe(COUNT - 1);
      expect(copies(folder)).toHaveLength(1);
      expect((await db.repair()).dropped).toEqual([]);
      expect(db.stats().generation).toBe(2);
    }));

  it("keeps what is whole of a damaged snapshot, and every commit behind it", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      await fill(path);
      {
        await using db = await KV.open(path);
        await db.vacuum();
        await db.set(["item", COUNT], { number: COUNT });
      }
      const original = readFileSync(path);
      for (const part of [0.2, 0.5, 0.7]) {
        writeFileSync(path, original);
        damage(path, Math.floor(original.length * part), 3);
        await using db = await KV.open(path);
        const report = await db.repair();
        expect(report.dropped.length).toBeGreaterThan(0);
        expect(report.dropped.every((each) => each.part === "snapshot")).toBe(true);
        const kept = await db.listAll<{ number: number }>(["item"]);
        expect(kept.length).toBeGreaterThan(COUNT / 2);
        expect(kept.length).toBeLessThan(COUNT + 1);
        for (const { key, value } of kept) expect(value.number).toBe(key[1]);
        expect(await db.has(["item", COUNT])).toBe(true);
        await db.set(["item", "new"], 1);
      }
    }));

  it("finds a large value of the snapshot that is damaged, and nothing else", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      await fill(path);
      await using db = await KV.open(path);
      await db.set(["large"], "L".repeat(100_000));
      await db.vacuum();
      damage(path, readFileSync(path).indexOf("LLLL") + 50_000);
      const report = await db.repair();
      expect(report).toMatchObject({ dropped: [{ part: "snapshot" }], generation: 3 });
      expect(await db.has(["large"])).toBe(false);
      expect(await db.count(["item"])).toBe(COUNT);
    }));

  it("keeps all that stands in a snapshot as it is, where the names of the others' properties are damaged", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      await using db = await KV.open(path);
      for (let i = 0; i < COUNT; i++) await db.set(["item", i], i % 2 === 0 ? `text ${i}` : { nameOfProperty: i });
      await db.vacuum();
      damage(path, readFileSync(path).lastIndexOf("nameOfProperty"));
      await using reader = await KV.open(path, { readOnly: true });
      expect(await reader.count(["item"])).toBe(COUNT);
      expect(await reader.get(["item", 8])).toBe("text 8");
      await expect(reader.get(["item", 9])).rejects.toMatchObject({ code: "LedgerDamaged" });
      expect(await db.repair()).toMatchObject({ dropped: [{ part: "snapshot" }] });
      const texts = Array.from({ length: COUNT / 2 }, (_, i) => `text ${2 * i}`);
      // What the first one has alone when it is met is left as it is.
      expect((await db.listAll(["item"])).map(({ value }) => value)).toEqual(
        texts.toSpliced(1, 0, { nameOfProperty: 1 } as never),
      );
      expect((await db.set(["item", "new"], 1)).version).toBeGreaterThan(0);
    }));

  it("goes on from the seal when the sibling that it names is lost", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      await fill(path);
      await using other = await KV.open(path, { autoSync: false });
      await using db = await KV.open(path, { autoSync: false });
      // A vacuum up to its seal, without anybody to help.
      const sealing = await KV.open(path, { autoSync: false });
      const vacuumed = sealing.vacuum({
        onProgress: () => {
          for (const name of readdirSync(folder)) if (/\.2-/.test(name)) unlinkSync(join(folder, name));
        },
      });
      await expect(vacuumed).rejects.toMatchObject({ code: "LedgerDamaged" });
      const isSealed = async (): Promise<unknown> => {
        await db.sync();
        return db.stats().session.sealed;
      };
      await expect.poll(isSealed).toBe(true);
      expect(await db.get(["item", 1])).toMatchObject({ number: 1 });
      const report = await db.repair();
      expect(report).toMatchObject({ dropped: [], commits: COUNT, generation: 2 });
      expect(await db.count(["item"])).toBe(COUNT);
      await db.set(["after"], 1);
      await other.sync();
      expect(await other.get(["after"])).toBe(1);
      await sealing.sync();
      expect(sealing.stats().generation).toBe(2);
      await sealing.close();
    }));
});

describe("a backup", () => {
  it("that was begun and has not ended keeps nobody from writing one to the same place, and overwrites nothing", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      const target = join(folder, "b.db");
      await fill(path);
      await using db = await KV.open(path);
      await using other = await KV.open(path);
      let meanwhile: Promise<unknown> | undefined;
      const begun = db.backup(target, {
        onProgress: () => {
          if (meanwhile === undefined) expect(readdirSync(folder)).not.toContain("b.db");
          if (meanwhile !== undefined) return;
          meanwhile = other.backup(target);
          meanwhile.catch(() => undefined);
        },
        signal: AbortSignal.timeout(30_000),
      });
      const [first] = await Promise.allSettled([begun]);
      const second = await Promise.allSettled([meanwhile]);
      // One of the two was first, and what it has written is whole.
      expect([first.status, second[0].status].toSorted()).toEqual(["fulfilled", "rejected"]);
      await using copy = await KV.open(target, { readOnly: true });
      expect(await copy.count(["item"])).toBe(COUNT);
      expect(readdirSync(folder).filter((name) => name.startsWith("b.db"))).toEqual(["b.db"]);
      expect(statSync(target).nlink).toBe(1);
    }));

  it("is a consistent, vacuumed copy that opens by itself, while writes go on", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      await fill(path);
      await using db = await KV.open(path);
      for (let i = 0; i < COUNT; i++) await db.set(["item", i], i);
      const before = await db.listAll([]);
      const copying = db.backup(join(folder, "copies", "b.db"));
      await db.set(["during"], 1);
      const { bytes, version } = await copying;
      expect(statSync(join(folder, "copies", "b.db")).size).toBe(bytes);
      expect(bytes).toBeLessThan(statSync(path).size / 2);
      await using copy = await KV.open(join(folder, "copies", "b.db"));
      expect((await copy.listAll(["item"])).map(({ version: v }) => v)).toEqual(before.map(({ version: v }) => v));
      expect(copy.stats()).toMatchObject({ version, ledgerId: db.stats().ledgerId });
      expect((await copy.set(["own"], 1)).version).toBeGreaterThan(version);
      expect(await db.has(["own"])).toBe(false);
      await db.backup(join(folder, "c.db"), { newLedgerId: true });
      await using other = await KV.open(join(folder, "c.db"), { readOnly: true });
      expect(other.stats().ledgerId).not.toBe(db.stats().ledgerId);
      expect(await other.get(["during"])).toBe(1);
    }));

  it("overwrites nothing, and leaves nothing behind when it is given up", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      await fill(path);
      await using db = await KV.open(path, { sideIndex: false });
      writeFileSync(join(folder, "taken"), "something");
      linkSync(join(folder, "taken"), join(folder, "taken too"));
      await expect(db.backup(join(folder, "taken"))).rejects.toMatchObject({ code: "TargetExists" });
      await expect(db.backup(path)).rejects.toMatchObject({ code: "TargetExists" });
      expect(readFileSync(join(folder, "taken"), "utf8")).toBe("something");
      const control = new AbortController();
      const given = db.backup(join(folder, "b.db"), { signal: control.signal, onProgress: () => control.abort() });
      expect(await given.catch((error: unknown) => error)).toBe(control.signal.reason);
      const thrown = new Error("from onProgress");
      const onProgress = (): never => {
        throw thrown;
      };
      await expect(db.backup(join(folder, "b.db"), { onProgress })).rejects.toBe(thrown);
      for (const impossible of ["x".repeat(300), join("taken", "b.db")])
        await expect(db.backup(join(folder, impossible))).rejects.toMatchObject({
          name: "KVError",
          code: "InputOutput",
        });
      expect(readdirSync(folder).sort()).toEqual(["a.db", "taken", "taken too"]);
    }));

  it("put back in the ledger's place is noticed by who has it open", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      await fill(path);
      await using db = await KV.open(path);
      await db.backup(join(folder, "b.db"));
      await db.delete(["item", 0]);
      writeFileSync(join(folder, "c.db"), readFileSync(join(folder, "b.db")));
      renameSync(join(folder, "c.db"), path);
      const results: string[] = [];
      db.on("sync", ({ result }) => results.push(result));
      await db.sync();
      expect(results).toContain("ledgerInvalidated");
      expect(await db.has(["item", 0])).toBe(true);
      expect((await db.set(["new"], 1)).version).toBeGreaterThan(0);
    }));
});
