import { readFileSync, truncateSync } from "node:fs";
import { expect, test } from "vitest";
import { KV } from "../../../src/index.node.ts";
import { temporaryFolder } from "../../support/folder.ts";

test("values are readable in a ledger whose creator wrote one copy of the header and a part of the other", async () => {
  using folder = temporaryFolder();
  const path = folder.file("ledger.db");
  await (await new KV().open(path)).close();
  const bothCopies = readFileSync(path).length;
  truncateSync(path, bothCopies - 40);
  const db = await new KV().open(path);
  const { version } = await db.set(["a"], "a string, read from the file when it is asked for");
  expect(version).toBeLessThan(bothCopies);
  expect(await db.get(["a"])).toBe("a string, read from the file when it is asked for");
  await db.close();
});
