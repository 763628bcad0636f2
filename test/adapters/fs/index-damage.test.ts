import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { createFsLedger } from "../../../src/adapters/fs/ledger.ts";
import { KV } from "../../../src/index.node.ts";
import type { SyncEvent } from "../../../src/index.node.ts";
import type { CheckpointStore } from "../../../src/core/ledger.ts";
import { changingFiles, nextGeneration, openSession } from "../../support/generations.ts";
import { inFolder } from "../../support/folder.ts";

/** Enough commits that the index is saved on the way. */
const MANY = 40_000;

/** A ledger with a saved index. */
async function indexed(path: string): Promise<void> {
  await using db = await KV.open(path);
  for (let from = 0; from < MANY; from += 1000) {
    await db.transaction((transaction) => {
      for (let i = from; i < from + 1000; i++) transaction.set(["item", i], i);
    });
  }
}

/** Damages all blocks of the runs that are saved, not what is read when they are opened. */
function damageRuns(folder: string): void {
  for (const name of readdirSync(folder).filter((each) => each.includes(".idx-"))) {
    const bytes = readFileSync(join(folder, name));
    bytes.fill(0xee, 1, bytes.length >> 1);
    writeFileSync(join(folder, name), bytes);
  }
}

describe("a state built anew because its saved index is damaged", () => {
  it("counts no commit a second time, nor tells of it", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      await indexed(path);
      await using db = await KV.open(path, { autoSync: false });
      const { commits } = db.stats().counts;
      const events: SyncEvent[] = [];
      db.on("sync", (event) => events.push(event));
      damageRuns(folder);
      expect(await db.get(["item", 3])).toBe(3);
      await db.sync();
      expect(db.stats().counts).toMatchObject({ rebuilds: 1, commits });
      expect(events).toMatchObject([{ result: "ready", applied: 0 }]);
    }));

  it("is what deleteAll lists, also where it follows what others have committed first", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      await indexed(path);
      await using db = await KV.open(path, { syncIntervalMs: 1_000_000 });
      await using other = await KV.open(path, { sideIndex: false });
      await other.set(["late"], 1);
      damageRuns(folder);
      const calls = [db.deleteAll([]), db.set(["item", 1], "later")];
      expect(await Promise.all(calls)).toMatchObject([MANY + 1, {}]);
      expect(await db.listKeys([])).toEqual([["item", 1]]);
    }));

  it("is the one in use before a commit that has met the damage is acknowledged", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      await indexed(path);
      await using db = await KV.open(path, { autoSync: false });
      damageRuns(folder);
      let seen = 0;
      const sum = db
        .atomic()
        .sum(["item", 3], 1)
        .commit()
        .then((result) => {
          seen = db.stats().version;
          return result;
        });
      const result = await sum;
      expect(result).toMatchObject({ ok: true });
      expect(seen).toBe(result.ok ? result.version : -1);
      expect(await db.get(["item", 3])).toBe(4);
      expect(db.stats().counts.rebuilds).toBe(1);
    }));
});

describe("a damaged saved index", () => {
  it("is not published again by a process that has it open and has not met the damage", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      await indexed(path);
      const [late, finder] = [await openSession(path), await openSession(path)];
      const store = late.openCheckpoints?.() as CheckpointStore;
      const loaded = await store.load();
      if (typeof loaded === "string") throw new Error(loaded);
      finder.openCheckpoints?.()?.invalidate();
      expect(await store.publish(loaded)).toBe("superseded");
      expect(await finder.openCheckpoints?.()?.load()).toBe("missing");
      for (const { id } of loaded.runs) expect(readdirSync(folder)).not.toContain(id);
      for (const run of loaded.runs) run.close();
      await late.close();
      await finder.close();
    }));

  it("is built anew by a vacuum, a backup or a scan that meets it, which then go on", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      await indexed(path);
      const index = readdirSync(folder).filter((name) => name.includes(".idx"));
      const files = index.map((name): [string, Buffer] => [name, readFileSync(join(folder, name))]);
      const tasks: ((db: KV) => Promise<unknown>)[] = [
        (db) => db.backup(join(folder, "b.db")),
        async (db) => {
          let entries = 0;
          for await (const entry of db.scan(["item", { from: 1, to: 9 }])) entries += entry.key.length;
          expect(entries).toBe(18);
        },
        (db) => db.vacuum(),
      ];
      for (const task of tasks) {
        for (const [name, bytes] of files) writeFileSync(join(folder, name), bytes);
        const problems: unknown[] = [];
        await using db = new KV({ autoSync: false });
        db.on("error", (error) => problems.push(error));
        await db.open(path);
        for (const [name, bytes] of files.filter(([each]) => each.includes(".idx-"))) {
          const damaged = Buffer.from(bytes);
          damaged.fill(0xee, 1, damaged.length - 600);
          writeFileSync(join(folder, name), damaged);
        }
        await task(db);
        expect(await db.count(["item"])).toBe(MANY);
        expect(problems).toEqual([]);
      }
      await using copy = await KV.open(join(folder, "b.db"), { readOnly: true });
      expect(await copy.count(["item"])).toBe(MANY);
    }));

  it("is told to watches as a reset, and to nobody as an error", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      await indexed(path);
      const problems: unknown[] = [];
      const seen: unknown[] = [];
      await using db = new KV({ autoSync: false });
      db.on("error", (error) => problems.push(error));
      await db.open(path);
      db.watch(["item"], (entry) => seen.push(entry), { ref: false });
      damageRuns(folder);
      expect(await db.get(["item", 3])).toBe(3);
      expect(seen).toMatchObject([{ reset: true }]);
      expect(problems).toEqual([]);
    }));
});

describe("damage in what a saved index covers", () => {
  /** Flips a byte of the first commits, and opens with the index that has them. */
  async function openDamaged(path: string, problems: unknown[]): Promise<KV> {
    await indexed(path);
    const bytes = readFileSync(path);
    bytes[2000] ^= 0xff;
    writeFileSync(path, bytes);
    const db = new KV();
    db.on("error", (error) => problems.push(error));
    await db.open(path);
    expect(problems).toEqual([]);
    return db;
  }

  it("keeps a vacuum from keeping history without it", () =>
    inFolder(async (folder) => {
      await using db = await openDamaged(join(folder, "a.db"), []);
      await expect(db.vacuum({ keepHistory: { commits: 3 } })).rejects.toMatchObject({ code: "LedgerDamaged" });
      // All that the snapshot needs the index has.
      expect(await db.vacuum()).toMatchObject({ author: true });
      expect(await db.get(["item", 3])).toBe(3);
    }));

  it("is told of by a scan that meets it, once", () =>
    inFolder(async (folder) => {
      const problems: unknown[] = [];
      await using db = await openDamaged(join(folder, "a.db"), problems);
      for (let i = 0; i < 2; i++) {
        let entries = 0;
        for await (const entry of db.scan(["item"])) entries += entry.key.length;
        expect(entries).toBe(2 * (MANY - 1000));
      }
      expect(problems).toMatchObject([{ code: "LedgerDamaged" }]);
    }));
});

describe("commits in flight when the index is found damaged and the path has moved", () => {
  it("are in the next generation once, whatever the old one holds behind its seal", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      await indexed(path);
      let move: (() => void) | undefined;
      const calls = changingFiles((file) => ({
        append: (bytes) => {
          move?.();
          move = undefined;
          return file.append(bytes);
        },
      }));
      await using db = await KV.open(createFsLedger(path, {}, calls), { autoSync: false });
      await using other = await KV.open(path, { autoSync: false, sideIndex: false });
      // What db meets first behind its position needs what the index holds.
      await other.atomic().sum(["item", 3], 1).commit();
      damageRuns(folder);
      const next = await nextGeneration(path);
      move = () => {
        next.seal();
        next.replace();
      };
      const { version } = await db.set(["own"], 1);
      expect(db.stats()).toMatchObject({ generation: 2, counts: { rebuilds: 1 } });
      await other.sync();
      expect(await other.getEntry(["own"])).toMatchObject({ value: 1, version });
      expect(await db.get(["item", 3])).toBe(4);
    }));
});
