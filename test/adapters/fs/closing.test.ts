import { expect, test } from "vitest";
import { createFsLedger } from "../../../src/adapters/fs/ledger.ts";
import { KV } from "../../../src/index.node.ts";
import { changingFiles } from "../../support/generations.ts";
import { openFilesBelow } from "../../support/open-files.ts";
import { temporaryFolder } from "../../support/folder.ts";

test("a transaction that goes on when the database was closed reads nothing of it any more", async () => {
  using folder = temporaryFolder();
  const path = folder.file("ledger.db");
  const db = await KV.open(path, { cacheBytesMax: 0 });
  const setAll = (): Promise<unknown> => Promise.all(Array.from({ length: 1000 }, (_, i) => db.set(["item", i], i)));
  await setAll();
  const outcome = db.transaction(async (tx) => {
    await tx.get(["item", 500]);
    // Enough to be saved by close: what was frozen holds no descriptor of the run that comes of it.
    await setAll();
    await db.close();
    tx.set(["item", 501], "late");
  });
  await expect(outcome).rejects.toMatchObject({ code: "Closed", outcome: "not committed" });
  expect(openFilesBelow(folder.path) ?? 0).toBe(0);
});

test("a file that a vacuum has replaced is closed in another thread, and one that has a name where it is", async () => {
  using folder = temporaryFolder();
  const path = folder.file("ledger.db");
  const closed: string[] = [];
  const calls = changingFiles((file, opened) => ({
    close: () => {
      if (opened === path) closed.push(`close, ${file.status().links} name`);
      file.close();
    },
    closeAside: () => {
      if (opened === path) closed.push(`close aside, ${file.status().links} names`);
      file.closeAside?.();
    },
  }));
  const db = await KV.open(createFsLedger(path, {}, calls));
  await db.set(["a"], 1);
  await db.vacuum();
  // Looks at the path open and close it again.
  expect(closed.filter((each) => each.startsWith("close aside"))).toEqual(["close aside, 0 names"]);
  expect(await db.get(["a"])).toBe(1);
  await db.close();
  expect(closed.at(-1)).toBe("close, 1 name");
  await expect.poll(() => openFilesBelow(folder.path) ?? 0).toBe(0);
});
