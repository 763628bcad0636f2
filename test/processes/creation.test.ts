import { expect, test } from "vitest";
import { KV } from "../../src/index.node.ts";
import { temporaryFolder } from "../support/folder.ts";
import { Program } from "../support/program.ts";

const FILES = 25;

test("processes that create one file at the same time have one ledger, and everything that each wrote is in it", async () => {
  using folder = temporaryFolder();
  await using a = new Program("creator.ts", { id: "a" });
  await using b = new Program("creator.ts", { id: "b" });
  await using c = new Program("creator.ts", { id: "c" });
  const creators = [a, b, c];
  await Promise.all(creators.map((creator) => creator.next()));
  for (let i = 0; i < FILES; i++) {
    const path = folder.file(`${i}/ledger.db`);
    for (const creator of creators) creator.send({ path });
    const told = await Promise.all(creators.map((creator) => creator.next()));
    await using db = await KV.open(path, { createIfMissing: false });
    const { ledgerId, damage } = db.stats();
    expect(told.map((message) => message.ledgerId)).toEqual([ledgerId, ledgerId, ledgerId]);
    const entries = await db.listAll<string>(["by"]);
    expect(entries.map(({ value }) => value)).toEqual(["a", "b", "c"]);
    expect(entries.map(({ version }) => version)).toEqual(told.map((message) => message.version));
    expect(damage).toEqual([]);
  }
  for (const creator of creators) creator.send({});
  for (const creator of creators) expect(await creator.exited).toMatchObject({ code: 0 });
});
