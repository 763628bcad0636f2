import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { FrameKind, readHeader } from "../../../src/adapters/fs/frame.ts";
import { createFsLedger, fsLedger } from "../../../src/adapters/fs/ledger.ts";
import type { Ledger, LedgerOpenOptions, LedgerSession, VacuumRequest } from "../../../src/core/ledger.ts";
import { KV } from "../../../src/index.node.ts";
import { nodeEnvironment } from "../../../src/platform/environment-node.ts";
import { macrotask, withMembers } from "../../support/database.ts";
import { inFolder } from "../../support/folder.ts";
import { changingFiles } from "../../support/generations.ts";

/** A ledger whose sessions are changed when they are opened. */
function changing(path: string, change: (session: LedgerSession, options: LedgerOpenOptions) => LedgerSession): Ledger {
  const ledger = fsLedger(path);
  return { ...ledger, open: async (options) => change(await ledger.open(options), options) };
}

describe("a vacuum among others", () => {
  it("is its own author's whatever generation has followed meanwhile", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      await using other = await KV.open(path, { autoSync: false });
      const ledger = changing(path, (session) =>
        withMembers(session, {
          vacuum: async (request: VacuumRequest) => {
            const attempt = await session.vacuum?.(request);
            // The first one finds the seal, completes what that names, and is not the author.
            while (!(await other.vacuum()).author);
            return attempt ?? { wins: () => false };
          },
        }),
      );
      await using db = await KV.open(ledger, { autoSync: false });
      await db.set(["a"], 1);
      expect(await db.vacuum()).toMatchObject({ author: true, generation: 3 });
      expect(await db.get(["a"])).toBe(1);
    }));

  it("that another one overtakes leaves it at that one's result, however much of it was seen", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      await using other = await KV.open(path, { autoSync: false });
      let overtaken = false;
      const ledger = changing(path, (session) =>
        withMembers(session, {
          vacuum: async (request: VacuumRequest) => {
            await other.vacuum();
            // The session has met the seal, and the engine has not acted on it yet.
            await session.read(request.position, { bytes: 1 << 20, verify: true });
            overtaken = true;
            return (await session.vacuum?.(request)) ?? { wins: () => false };
          },
        }),
      );
      await using db = await KV.open(ledger, { autoSync: false });
      await db.set(["a"], 1);
      expect(await db.vacuum()).toMatchObject({ author: false, generation: 2 });
      expect(overtaken).toBe(true);
      expect(await db.set(["a"], 2)).toMatchObject({ version: expect.any(Number) as number });
    }));

  it("that keeps history does so too when it finds another one's generation", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      await using other = await KV.open(path, { autoSync: false });
      const plain = fsLedger(path);
      const ledger: Ledger = {
        ...plain,
        open: async (options) => {
          if (options.readOnly) await other.vacuum();
          return plain.open(options);
        },
      };
      await using db = await KV.open(ledger, { autoSync: false });
      await db.set(["a"], 1);
      expect(await db.vacuum({ keepHistory: { commits: 5 } })).toMatchObject({ author: false, generation: 2 });
    }));
});

describe("a read while a replica moves on to the next generation", () => {
  it("finds what it found before, at every moment", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      await using db = await KV.open(path, { autoSync: false, cacheBytesMax: 0 });
      await using other = await KV.open(path, { autoSync: false });
      for (let i = 0; i < 5; i++) await db.set(["item", i], `value ${i}`);
      await other.vacuum();
      let done = false;
      const synced = db.sync().finally(() => (done = true));
      const reads: Promise<unknown>[] = [];
      for (let i = 0; !done; i++) {
        reads.push(db.get(["item", i % 5]).then((value) => expect(value).toBe(`value ${i % 5}`)));
        await Promise.resolve();
        if (i % 50 === 49) await macrotask();
      }
      await synced;
      await Promise.all(reads);
      expect(reads.length).toBeGreaterThan(2);
    }));
});

describe("a vacuum whose seal fails to be written", () => {
  const isSeal = (bytes: Uint8Array): boolean => readHeader(bytes, 0, nodeEnvironment.crc32)?.kind === FrameKind.seal;
  const failure = (): Error => Object.assign(new Error("EIO: i/o error, write"), { code: "EIO" });

  it("succeeds if the seal is in all the same", () =>
    inFolder(async (folder) => {
      const calls = changingFiles((file) => ({
        append: (bytes) => {
          const count = file.append(bytes);
          if (isSeal(bytes)) throw failure();
          return count;
        },
      }));
      await using db = await KV.open(createFsLedger(join(folder, "a.db"), {}, calls), { autoSync: false });
      await db.set(["a"], 1);
      expect(await db.vacuum()).toMatchObject({ author: true, generation: 2 });
      expect(await db.get(["a"])).toBe(1);
    }));

  it("fails with what kept it from being written if it is not", () =>
    inFolder(async (folder) => {
      let fails = true;
      const calls = changingFiles((file) => ({
        append: (bytes) => {
          if (fails && isSeal(bytes)) throw failure();
          return file.append(bytes);
        },
      }));
      await using db = await KV.open(createFsLedger(join(folder, "a.db"), {}, calls), { autoSync: false });
      await db.set(["a"], 1);
      await expect(db.vacuum()).rejects.toMatchObject({ code: "InputOutput" });
      expect(await db.set(["a"], 2)).toMatchObject({ version: expect.any(Number) as number });
      fails = false;
      expect(await db.vacuum()).toMatchObject({ author: true, generation: 2 });
    }));
});
