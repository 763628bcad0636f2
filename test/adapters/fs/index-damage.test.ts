import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { KV } from "../../../src/index.node.ts";
import type { SyncEvent } from "../../../src/index.node.ts";
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
