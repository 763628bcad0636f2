import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { KV } from "../../src/index.node.ts";
import { inFolder } from "../support/folder.ts";
import { Program } from "../support/program.ts";

const KEYS = 2000;

test(
  "a process killed at any step of a backup leaves a whole copy or none, and nothing that stays once it is begun again",
  () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      await using db = await KV.open(path, { sideIndex: false });
      for (let i = 0; i < KEYS; i++) void db.set([i], { i, text: "x".repeat(50) });
      await db.sync();
      let names: unknown[] = [];
      let copies = 0;
      for (let at = 1; ; at++) {
        const target = join(folder, `${at}`, "copy.db");
        await using program = new Program("backing-up.ts", { path, target, at });
        const { signal } = await program.exited;
        expect(program.errors).toBe("");
        names = program.messages.map(({ name }) => name);
        if (signal === null) break;
        const files = readdirSync(join(folder, `${at}`));
        for (const name of files) expect(name).toMatch(/^copy\.db(?:\.unfinished-[0-9a-f]{16})?$/);
        if (existsSync(target)) copies++;
        else await db.backup(target);
        await using copy = await KV.open(target, { sideIndex: false });
        expect(await copy.count([])).toBe(KEYS);
        if (!files.includes("copy.db")) expect(readdirSync(join(folder, `${at}`))).toEqual(["copy.db"]);
      }
      expect(names.slice(0, 2)).toEqual(["create", "write"]);
      expect(names.slice(-3)).toEqual(["fsync", "rename", "fsync of the directory"]);
      expect(copies).toBe(1);
    }),
  180_000,
);
