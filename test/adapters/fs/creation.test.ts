import { readFileSync, truncateSync, writeFileSync } from "node:fs";
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

test("a creation of which a power failure has left nothing but zeros is made again", async () => {
  using folder = temporaryFolder();
  const path = folder.file("ledger.db");
  await (await new KV().open(path)).close();
  const pair = readFileSync(path).length;
  for (const creators of [1, 2]) {
    writeFileSync(path, new Uint8Array(creators * pair));
    await using blank = await new KV().open(path, { readOnly: true });
    expect(await blank.count([])).toBe(0);
    const db = await new KV().open(path);
    await db.set(["a"], creators);
    await db.close();
    const problems: unknown[] = [];
    await using again = new KV().on("error", (error) => problems.push(error));
    await again.open(path);
    expect(await again.get(["a"])).toBe(creators);
    expect(problems).toEqual([]);
  }
  writeFileSync(path, new Uint8Array(pair + 1));
  await expect(new KV().open(path)).rejects.toMatchObject({ code: "NotALedger" });
});
