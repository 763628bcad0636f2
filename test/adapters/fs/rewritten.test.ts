import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { frameBytes } from "../../../src/adapters/fs/frame.ts";
import { fsLedger } from "../../../src/adapters/fs/ledger.ts";
import { KV } from "../../../src/index.node.ts";
import { nodeEnvironment } from "../../../src/platform/environment-node.ts";
import { inFolder } from "../../support/folder.ts";
import { nextGeneration, openSession } from "../../support/generations.ts";

/** An older copy is written over the ledger's file itself, as `cp` does, while somebody has it open. */

const still = { autoSync: false } as const;

async function write(path: string, entries: Readonly<Record<string, unknown>>): Promise<void> {
  await using db = await KV.open(path, still);
  for (const [key, value] of Object.entries(entries)) await db.set([key], value);
}

describe("a write behind an older copy", () => {
  it("is not taken for one in its place where others have made the file as long as it was", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      await using db = await KV.open(path, still);
      await db.set(["k"], "old");
      const copy = readFileSync(path);
      await db.set(["k"], "new");
      const { size } = statSync(path);
      writeFileSync(path, copy);
      await write(path, { x: "one" });
      expect(statSync(path).size).toBe(size);
      await expect(db.set(["y"], "two")).rejects.toMatchObject({ code: "CommitOutcomeUnknown", outcome: "unknown" });
      await db.sync();
      expect(await db.listAll([])).toMatchObject([{ value: "old" }, { value: "one" }, { value: "two" }]);
      await db.set(["z"], "three");
      expect(await db.get(["z"])).toBe("three");
    }));

  it("is found out at the next look if it follows a look too soon to be one itself", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      await write(path, { k: "old" });
      const copy = readFileSync(path);
      await write(path, { k: "one" });
      const others = readFileSync(path);
      writeFileSync(path, copy);
      let now = 0;
      const environment = { ...nodeEnvironment, monotonic: () => now };
      const options = { createIfMissing: false, readOnly: false, allowNetworkFileSystem: false, environment };
      const session = await fsLedger(path).open(options);
      let { next } = await session.read(session.start, { bytes: 1 << 20, verify: false });
      const append = async (counter: number): Promise<string> => {
        const payload = new Uint8Array(others.length - copy.length - frameBytes(0));
        const result = await session.append([{ writer: new Uint8Array(12), counter, timestamp: 0, payload }], next);
        if (result.status === "appended") ({ next } = result);
        return result.status;
      };
      expect(await append(1)).toBe("appended");
      expect(session.isUnchanged?.(next)).toBe(true);
      writeFileSync(path, others);
      expect(await append(2)).toBe("appended");
      expect(session.isUnchanged?.(next)).toBe(false);
      expect((await session.read(next, { bytes: 1 << 20, verify: true })).status).toBe("moved");
      now += 1;
      expect(await append(3)).toBe("read-on");
      await session.close();
    }));
});

describe("an index saved behind an older copy", () => {
  it("is not saved: it would tell the next one who opens of a state that is gone", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      const db = await KV.open(path, still);
      const { version } = await db.set(["before"], 1);
      const copy = readFileSync(path);
      for (let i = 0; i < 300; i++) await db.set(["after", i], i);
      const { size } = statSync(path);
      writeFileSync(path, copy);
      await write(path, { large: "x".repeat(size) });
      expect(statSync(path).size).toBeGreaterThan(size);
      await db.close();
      await using next = await KV.open(path, still);
      expect(await next.listKeys([])).toEqual([["before"], ["large"]]);
      expect(await next.getEntry(["before"])).toMatchObject({ version });
    }));
});

describe("a vacuum of what an older copy was written over", () => {
  it("gives up: it would put in its place what was there before", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      await write(path, { before: 1 });
      const copy = readFileSync(path);
      await write(path, { after: 2 });
      await using db = await KV.open(path, still);
      const overwrite = ({ doneBytes, ofBytes }: { doneBytes: number; ofBytes: number }): void => {
        if (doneBytes === ofBytes) writeFileSync(path, copy);
      };
      await expect(db.vacuum({ onProgress: overwrite })).rejects.toMatchObject({ code: "SnapshotExpired" });
      expect(readdirSync(folder)).toEqual(["a.db"]);
      expect(await db.vacuum()).toMatchObject({ generation: 2, author: true });
      expect(await db.listKeys([])).toEqual([["before"]]);
    }));
});

describe("a sealed file that an older copy was written over", () => {
  it("is not replaced any more by what the seal names, and is gone on with", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      await write(path, { a: 1 });
      const copy = readFileSync(path);
      const next = await nextGeneration(path);
      const session = await openSession(path);
      next.seal();
      const { status, next: sealedAt } = await session.read(session.start, { bytes: 1 << 20, verify: true });
      expect(status).toBe("sealed");
      writeFileSync(path, copy);
      await session.help?.();
      expect(readFileSync(path).equals(copy)).toBe(true);
      expect((await session.read(sealedAt, { bytes: 1 << 20, verify: false })).status).toBe("moved");
      expect(await session.reopen(sealedAt)).toMatchObject({ status: "replaced" });
      await session.close();
      await using db = await KV.open(path, still);
      expect(await db.get(["a"])).toBe(1);
      expect(await db.vacuum()).toMatchObject({ generation: 2, author: true });
    }));
});
