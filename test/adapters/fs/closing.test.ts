import { expect, test } from "vitest";
import { KV } from "../../../src/index.node.ts";
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
