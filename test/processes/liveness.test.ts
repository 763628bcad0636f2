import { describe, expect, test } from "vitest";
import { createFsLedger } from "../../src/adapters/fs/ledger.ts";
import { nodeFileSystem } from "../../src/adapters/fs/file-node.ts";
import { KV, type WatchEntry } from "../../src/index.node.ts";
import { temporaryFolder } from "../support/folder.ts";
import { Program } from "../support/program.ts";

describe("a process with an open database", () => {
  for (const does of ["nothing", "sync listener", "unreferenced watch", "iterator"]) {
    test(`ends by itself when all it has is: ${does}`, async () => {
      using folder = temporaryFolder();
      await using program = new Program("lives.ts", { path: folder.file("ledger.db"), does });
      expect(await program.exited).toEqual({ code: 0, signal: null });
      expect(program.messages).toEqual([{ ready: true }, { exit: true }]);
    });
  }

  for (const does of ["sync", "set", "strict set", "set behind a seal", "transaction"]) {
    test(`does not end before an awaited operation has: ${does}`, async () => {
      using folder = temporaryFolder();
      await using program = new Program("lives.ts", { path: folder.file("ledger.db"), does });
      expect(await program.exited).toEqual({ code: 0, signal: null });
      expect(program.messages).toMatchObject([{ done: true }, { ready: true }, { exit: true }]);
    });
  }

  for (const does of ["watch", "watch iterator"]) {
    test(`lives as long as its ${does}, is told of another process's commits, and ends with it`, async () => {
      using folder = temporaryFolder();
      await using db = await KV.open(folder.file("ledger.db"));
      await using program = new Program("lives.ts", { path: folder.file("ledger.db"), does });
      if (does === "watch") await program.next(({ ready }) => ready === true);
      else await until(db, () => program.next());
      for (let i = 0; i < 20; i++) {
        await db.set(["elsewhere"], i);
        const { version } = await db.set(["to", i], `you, ${i}`);
        const message = await program.next(({ key }) => (key as unknown[])[1] === i);
        expect(message).toMatchObject({ value: `you, ${i}`, version });
        // Reading inside the callback sees at least that commit.
        if (does === "watch") expect(message.readVersion).toBe(version);
      }
      await db.set(["to"], "enough");
      expect(await program.exited).toEqual({ code: 0, signal: null });
    });
  }
});

/** Sets a key again and again until the program tells of it: an iterator that is waited for cannot tell that it has begun. */
async function until(db: KV, heard: () => Promise<unknown>): Promise<void> {
  let told = false;
  void heard().then(() => (told = true));
  while (!told) {
    await db.set(["to", "begin"], 0);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

describe("a watch", () => {
  const watching = async (watchDirectory: typeof nodeFileSystem.watchDirectory, syncIntervalMs: number) => {
    const folder = temporaryFolder();
    const path = folder.file("ledger.db");
    const db = await KV.open(createFsLedger(path, {}, { ...nodeFileSystem, watchDirectory }), { syncIntervalMs });
    const entries: WatchEntry[] = [];
    let wake = (): void => undefined;
    db.watch([], (entry) => {
      entries.push(entry);
      wake();
    });
    const writer = await KV.open(path, { autoSync: false });
    return {
      writer,
      entries,
      seen: async (count: number) => {
        while (entries.length < count) await new Promise<void>((resolve) => (wake = resolve));
      },
      [Symbol.asyncDispose]: async () => {
        await db.close();
        await writer.close();
        folder[Symbol.dispose]();
      },
    };
  };
  const eachIsTold = async ({ writer, entries, seen }: Awaited<ReturnType<typeof watching>>): Promise<void> => {
    for (let i = 1; i <= 10; i++) {
      const { version } = await writer.set(["n"], i);
      await seen(i);
      expect(entries[i - 1]).toMatchObject({ value: i, version });
    }
  };
  const NEVER_MS = 2 ** 30;

  test("is told of commits by polling alone where there are no notifications", async () => {
    await using setting = await watching(() => undefined, 5);
    await eachIsTold(setting);
  });

  test("is told of commits by notification alone, polls or no polls", async () => {
    await using setting = await watching(nodeFileSystem.watchDirectory, NEVER_MS);
    await eachIsTold(setting);
  });

  test("is told of each commit once while so many come that notification is given up for looking", async () => {
    await using setting = await watching(nodeFileSystem.watchDirectory, NEVER_MS);
    const versions: unknown[] = [];
    for (let i = 0; i < 3000; i++) {
      versions.push((await setting.writer.set(["n"], i)).version);
      // Each as an append and a notification of its own.
      if (i % 5 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    await setting.seen(3000);
    expect(setting.entries.map(({ version }) => version)).toEqual(versions);
  });

  test("is not harmed by notifications of nothing", async () => {
    let hint = (): void => undefined;
    await using setting = await watching((_, listener) => {
      hint = () => {
        listener("ledger.db");
        listener("something else");
        listener(undefined);
      };
      return () => (hint = () => undefined);
    }, NEVER_MS);
    for (let i = 1; i <= 10; i++) {
      hint();
      await setting.writer.set(["n"], i);
      hint();
      await setting.seen(i);
      hint();
    }
    expect(setting.entries.map((entry) => entry.value)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  });
});
