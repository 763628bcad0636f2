import { readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { KV } from "../../src/index.node.ts";
import { temporaryFolder } from "../support/folder.ts";
import { Program } from "../support/program.ts";

const KEYS = 1000;
const ROUNDS = 90;
const still = { autoSync: false } as const;

const indexFiles = (folder: string): string[] => readdirSync(folder).filter((name) => name.includes(".idx"));

/** Lets three processes write and save the index at once. Returns what each of them told. */
async function indexing(path: string, meanwhile: (ended: () => boolean) => Promise<void>): Promise<void> {
  await using stack = new AsyncDisposableStack();
  const programs = ["a", "b", "c"].map((id) =>
    stack.use(new Program("indexing.ts", { path, id, keys: KEYS, rounds: ROUNDS })),
  );
  let ended = false;
  const exited = Promise.all(programs.map((program) => program.exited)).then(() => (ended = true));
  await meanwhile(() => ended);
  await exited;
  for (const program of programs) expect(program.messages, program.errors).toMatchObject([{ wrong: 0, errors: [] }]);
}

/** What a replica finds with the index, and what one finds that reads the ledger alone, is the same. */
async function compare(path: string): Promise<number> {
  await using indexed = await KV.open(path, { ...still, readOnly: true });
  await using plain = await KV.open(path, { ...still, sideIndex: false, readOnly: true });
  expect(await indexed.get(["sum"])).toBe(3 * ROUNDS);
  expect(await indexed.listAll([])).toEqual(await plain.listAll([]));
  return indexed.stats().counts.commits;
}

describe("processes that save the index at once", () => {
  test("do each other no harm, and leave one that holds what it says", async () => {
    using folder = temporaryFolder();
    const path = folder.file("ledger.db");
    await indexing(path, async () => undefined);
    // Six commits a thousand keys each and one: nothing was saved at the very end only if it was not due.
    expect(await compare(path)).toBeLessThan(3 * ROUNDS);
    const runs = indexFiles(folder.path).filter((name) => name !== "ledger.db.idx");
    expect(runs.length).toBeGreaterThan(0);
  }, 180_000);

  test("go on when files of it are deleted by hand at any moment", async () => {
    using folder = temporaryFolder();
    const path = folder.file("ledger.db");
    let deleted = 0;
    await indexing(path, async (ended) => {
      while (!ended()) {
        const files = indexFiles(folder.path);
        const file = files[Math.floor(Math.random() * files.length)];
        if (file !== undefined) {
          rmSync(join(folder.path, file), { force: true });
          deleted++;
        }
        await delay(Math.random() * 20);
      }
    });
    expect(deleted).toBeGreaterThan(3);
    await compare(path);
    // And is there again after the next one that has enough to save.
    for (const file of indexFiles(folder.path)) rmSync(join(folder.path, file));
    await (await KV.open(path, still)).close();
    expect(await compare(path)).toBeLessThan(3 * ROUNDS);
  }, 180_000);
});
