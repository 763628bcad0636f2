import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { KV } from "../../../src/index.node.ts";
import { inFolder } from "../../support/folder.ts";

/** More than is due for being saved. */
const COMMITS = 40_000;
/** Nobody polls while a test runs. */
const NEVER = { syncIntervalMs: 1_000_000_000 } as const;
const OFTEN = { syncIntervalMs: 10 } as const;

/** Another process, for all that these know: many small commits, of which its index is saved when it closes. */
async function writeMuch(path: string): Promise<number> {
  await using db = await KV.open(path, { autoSync: false });
  for (let i = 0; i < COMMITS; i++) void db.set(["n", i % 1000], i);
  await db.delete(["n", 7]);
  return (await db.set(["last"], true)).version as number;
}

describe("an instance that nobody watches", () => {
  it("takes over what another process has saved, when a read finds it far behind, instead of following each commit", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      await using db = await KV.open(path, NEVER);
      await db.set(["mine"], 1);
      const version = await writeMuch(path);
      expect(await db.get(["n", 8])).toBe(COMMITS - 1000 + 8);
      expect(db.stats().counts.commits).toBeLessThan(COMMITS / 2);
      expect(await db.get(["n", 7])).toBeNull();
      expect(await db.get(["mine"])).toBe(1);
      expect(await db.count(["n"])).toBe(999);
      expect(db.stats()).toMatchObject({ version, counts: { skips: 1 } });
      expect((await db.set(["mine"], 2)).version).toBeGreaterThan(version);
      expect(await db.listAll(["mine"])).toMatchObject([{ value: 2 }]);
    }));

  it("does so by itself when it polls, and leaves frozen versions as they were", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      await using db = await KV.open(path, OFTEN);
      await db.set(["n", 8], "before");
      const listed = db.iterate(["n"]);
      const first = await listed.next();
      const version = await writeMuch(path);
      await expect.poll(() => db.stats().version, { timeout: 20_000 }).toBe(version);
      expect(first.value).toMatchObject({ value: "before" });
      expect((await listed.next()).done).toBe(true);
      expect(await db.get(["n", 8])).toBe(COMMITS - 1000 + 8);
    }));

  it("follows by itself where nobody saves anything", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      await using db = await KV.open(path, { ...OFTEN, sideIndex: false });
      const version = await writeMuch(path);
      await expect.poll(() => db.stats().version, { timeout: 20_000 }).toBe(version);
      expect(db.stats().counts).toMatchObject({ skips: 0, commits: COMMITS + 2 });
    }));
});

describe("an instance that somebody watches", () => {
  it("meets each commit", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      await using db = await KV.open(path, NEVER);
      let seen = 0;
      db.watch([], () => seen++);
      await writeMuch(path);
      await db.get(["last"]);
      await db.sync();
      expect(seen).toBe(COMMITS + 2);
      expect(db.stats().counts.skips).toBe(0);
    }));

  it("counts each commit for a `sync` listener", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      await using db = await KV.open(path, NEVER);
      let applied = 0;
      db.on("sync", (event) => void (applied += event.applied));
      await writeMuch(path);
      await db.get(["last"]);
      await db.sync();
      expect(applied).toBe(COMMITS + 2);
    }));

  it("meets each commit that comes after the call, also if that comes while others' state is being opened", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      await using db = await KV.open(path, NEVER);
      await writeMuch(path);
      const read = db.get(["last"]);
      const seen: unknown[] = [];
      // The read has begun to follow, and what it might take over reaches beyond this call.
      db.watch(["last"], ({ value }) => seen.push(value));
      expect(await read).toBe(true);
      expect(seen).toEqual([true]);
    }));
});
