import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { KV } from "../../src/index.node.ts";
import { inFolder } from "../support/folder.ts";

describe("stats", () => {
  it("tell where the index lies, and how much of it takes up memory because it is not saved", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      await using db = await KV.open(path, { sideIndex: false });
      expect(db.stats().index).toMatchObject({ runs: 0, runBytes: 0, runBytesInMemory: 0 });
      await db.transaction((transaction) => {
        for (let i = 0; i < 40_000; i++) transaction.set(["item", i], i);
      });
      await expect.poll(() => db.stats().index.runs, { timeout: 30_000 }).toBe(1);
      const { runBytes, runBytesInMemory, overlayBytes } = db.stats().index;
      expect(runBytesInMemory).toBe(runBytes);
      expect(overlayBytes).toBeLessThan(runBytes);
      await db.vacuum();
      expect(db.stats().index).toMatchObject({ runs: 1, runBytesInMemory: 0 });
    }));
});
