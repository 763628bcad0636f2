import { join } from "node:path";
import { createStorage } from "unstorage";
import { describe, expect, test } from "vitest";
import { fsLedger } from "../../src/adapters/fs/index.ts";
import { memoryLedger } from "../../src/adapters/memory/index.ts";
import { memoryStore, objectLedger } from "../../src/adapters/object/index.ts";
import type { CoreKV } from "../../src/core/kv.ts";
import type { Ledger } from "../../src/core/ledger.ts";
import type { VacuumProgress } from "../../src/core/options.ts";
import { KV } from "../../src/index.node.ts";
import { unstorageLedger } from "../../src/unstorage/ledger.ts";
import { inFolder } from "../support/folder.ts";

/** Makes ledgers of a kind, each at a place of its own, in a folder. */
type Make = (folder: string, name: string) => Ledger;

const KINDS: Readonly<Record<string, Make>> = {
  "a file": (folder, name) => fsLedger(join(folder, `${name}.db`)),
  "a bucket": (_folder, name) => objectLedger(memoryStore({ name, now: Date.now }), { prefix: `some/${name}` }),
  memory: (_folder, name) => memoryLedger({ name }),
  "a storage": (_folder, name) => unstorageLedger({ storage: createStorage(), prefix: name }),
};
/** Those that keep their state themselves have no snapshot, and count their incarnations otherwise. */
const hasGenerations = (kind: string): boolean => kind === "a file" || kind === "memory";
const NAMES = Object.keys(KINDS);
const PAIRS = NAMES.flatMap((from) => NAMES.map((to) => [from, to] as const));

/** All that a reader can see of a database. */
async function seen(db: CoreKV): Promise<unknown> {
  const byKey = await db.listAll([]);
  const byVersion = await db.listAll([], { order: "version" });
  return {
    byKey,
    byVersion: byVersion.map(({ key }) => key),
    count: await db.count([]),
    version: db.stats().version,
    few: await db.getMany([["n", 3], ["sum"], ["gone"], ["large", 1]]),
  };
}

/** Values of all sorts, several operations in one commit, what was deleted, and some commits more than make a checkpoint. */
async function fill(db: CoreKV): Promise<void> {
  const atomic = db.atomic();
  for (let i = 9; i >= 0; i--) atomic.set(["together", i], i);
  await atomic.set(["together", 5], "last").commit();
  for (let i = 0; i < 40; i++) await db.set(["n", i], { name: `number ${i}`, i, at: new Date(i), n: 2n ** 70n });
  for (let i = 0; i < 3; i++) await db.set(["large", i], new Uint8Array(100_000).fill(i));
  await db.set(["late"], "expires", { expireIn: 3_600_000 });
  await db.set(["gone"], 1);
  await db.delete(["gone"]);
  await db.atomic().sum(["sum"], 5).commit();
  await db.atomic().sum(["sum"], 6).commit();
  await db.delete(["n", 7]);
}

describe.each(PAIRS)("a backup of %s to %s", (from, to) => {
  test("has what there is, with versions, times, expiries and the order of versions, and goes on above", () =>
    inFolder(async (folder) => {
      await using db = await KV.open(KINDS[from](folder, "from"));
      await fill(db);
      const target = KINDS[to](folder, "to");
      const told: VacuumProgress[] = [];
      const { version, bytes } = await db.backup(target, { onProgress: (progress) => void told.push(progress) });
      expect(version).toBe(db.stats().version);
      expect(bytes).toBeGreaterThan(300_000);
      expect(told.at(-1)).toMatchObject({ doneBytes: told.at(-1)?.ofBytes });
      await using copy = await KV.open(target);
      expect(await seen(copy)).toEqual(await seen(db));
      expect(copy.stats().ledgerId).toBe(db.stats().ledgerId);
      // The format has no snapshot in the first generation of a file.
      if (hasGenerations(to)) expect(copy.stats().generation).toBe((db.stats().generation ?? 0) + 1);
      // What comes next is nowhere else.
      expect((await copy.set(["n", 3], "of the copy")).version).toBeGreaterThan(version);
      const sum = await copy.getEntry(["sum"]);
      const checked = copy.atomic().check({ key: ["sum"], version: sum?.version ?? null });
      expect(await checked.sum(["sum"], 1).commit()).toMatchObject({ ok: true });
      expect(await copy.get(["sum"])).toBe(12);
      expect(await db.get(["sum"])).toBe(11);
      await using other = await KV.open(target);
      expect((await other.listAll([], { order: "version" })).at(-1)?.key).toEqual(["sum"]);
      expect(await other.get(["n", 3])).toBe("of the copy");
      expect(await db.get(["n", 3])).toMatchObject({ name: "number 3" });
      if (to !== "memory") await copy.vacuum();
      expect(await copy.get(["large", 2])).toEqual(new Uint8Array(100_000).fill(2));
    }));

  test("tells of it as what came before, and of what was written since", () =>
    inFolder(async (folder) => {
      await using db = await KV.open(KINDS[from](folder, "from"));
      await db.set(["a"], 1);
      await db.set(["b"], 2);
      const target = KINDS[to](folder, "to");
      await db.backup(target);
      await using copy = await KV.open(target);
      await copy.set(["b"], 3);
      const history: unknown[] = [];
      for await (const { key, value, snapshot } of copy.scan([])) history.push([key[0], value, snapshot === true]);
      // A bucket has no snapshot part.
      const before = !hasGenerations(to)
        ? []
        : [
            ["a", 1, true],
            ["b", 2, true],
          ];
      expect(history).toEqual([...before, ["b", 3, false]]);
    }));

  test("of nothing, and of nothing any more, is a ledger too", () =>
    inFolder(async (folder) => {
      await using db = await KV.open(KINDS[from](folder, "from"));
      const first = KINDS[to](folder, "first");
      await db.backup(first, { newLedgerId: true });
      await db.set(["a"], 1);
      await db.delete(["a"]);
      const second = KINDS[to](folder, "second");
      const { version } = await db.backup(second);
      for (const target of [first, second]) {
        await using copy = await KV.open(target);
        expect(await copy.count([])).toBe(0);
        await copy.set(["b"], 1);
        expect(await copy.listAll([])).toMatchObject([{ key: ["b"], value: 1 }]);
        if (target === first) expect(copy.stats().ledgerId).not.toBe(db.stats().ledgerId);
        else expect((await copy.getEntry(["b"]))?.version).toBeGreaterThan(version);
      }
    }));
});

test("a copy of a copy of a copy, each written to in between, has all that came of it", () =>
  inFolder(async (folder) => {
    const route = ["a file", "a bucket", "memory", "a bucket", "a file", "a file", "memory", "a file"];
    const expected = new Map<number, number>();
    let version = 0;
    let from: Ledger | undefined;
    for (const [stage, kind] of route.entries()) {
      const ledger = KINDS[kind](folder, `stage-${stage}`);
      if (from !== undefined) {
        await using last = await KV.open(from);
        ({ version } = await last.backup(ledger, { newLedgerId: stage % 2 === 0 }));
      }
      await using db = await KV.open(ledger);
      for (let i = stage; i < 60; i += stage + 1) {
        const written = await db.set([i], stage);
        expect(written.version).toBeGreaterThan(version);
        expected.set(i, stage);
      }
      if (stage % 3 === 1) await db.vacuum().catch(() => undefined);
      await db.delete([stage]);
      expected.delete(stage);
      const found = await db.listAll([]);
      expect(new Map(found.map(({ key, value }) => [key[0], value]))).toEqual(
        new Map([...expected].toSorted(([a], [b]) => a - b)),
      );
      from = ledger;
    }
  }));
