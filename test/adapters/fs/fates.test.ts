import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { describe, expect, test } from "vitest";
import { createFsLedger } from "../../../src/adapters/fs/ledger.ts";
import { KV, type KVOptions, type SyncEvent } from "../../../src/index.node.ts";
import { temporaryFolder } from "../../support/folder.ts";
import { changingFiles } from "../../support/generations.ts";
import { once } from "../../support/once.ts";

/** A database with two keys in a folder of its own, that follows only when it is told to unless it is given something else. */
async function live(options: KVOptions = { autoSync: false }) {
  const folder = temporaryFolder();
  const path = folder.file("ledger.db");
  const db = await KV.open(path, options);
  await db.set(["a"], 1);
  await db.set(["b"], "two");
  const events: SyncEvent[] = [];
  db.on("sync", (event) => events.push(event));
  return {
    path,
    db,
    events,
    file: (name: string) => folder.file(name),
    [Symbol.asyncDispose]: async () => {
      await db.close();
      folder[Symbol.dispose]();
    },
  };
}

/** Another ledger, with one key. */
async function makeOther(path: string): Promise<Buffer> {
  await using other = await KV.open(path);
  await other.set(["other"], true);
  return readFileSync(path);
}

const results = (events: readonly SyncEvent[]): string[] => events.map(({ result }) => result);

describe("a ledger deleted under a live replica", () => {
  test("is read on, never followed, never written to and never created again", async () => {
    await using setting = await live();
    const { db, path, events } = setting;
    rmSync(path);
    for (let i = 0; i < 3; i++) await expect(db.sync()).rejects.toMatchObject({ code: "LedgerMissing" });
    expect(results(events)).toEqual(["error", "error", "error"]);
    expect(events[0].error).toMatchObject({ code: "LedgerMissing" });
    expect([await db.get(["a"]), await db.get(["b"])]).toEqual([1, "two"]);
    for (const write of [db.set(["c"], 3), db.delete(["a"]), db.atomic().set(["c"], 3).commit()])
      await expect(write).rejects.toMatchObject({ code: "LedgerMissing", outcome: "not committed" });
    expect(existsSync(path)).toBe(false);
  });

  test("acknowledges nothing, even before anybody has looked", async () => {
    await using setting = await live();
    const { db, path } = setting;
    rmSync(path);
    await expect(db.set(["c"], 3)).rejects.toMatchObject({ name: "KVError", outcome: expect.any(String) });
    expect(await db.get(["c"])).toBe(null);
    expect(existsSync(path)).toBe(false);
  });

  test("is told of by the timer once, and again after it was there meanwhile", async () => {
    await using setting = await live({ syncIntervalMs: 5 });
    const { db, path, file, events } = setting;
    renameSync(path, file("elsewhere.db"));
    await once(db, "sync", ({ result }) => result === "error");
    // Several polls later it still was told of once.
    const { rounds } = db.stats().counts;
    while (db.stats().counts.rounds < rounds + 5) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(results(events).filter((result) => result === "error")).toHaveLength(1);
    renameSync(file("elsewhere.db"), path);
    await once(db, "sync", ({ result }) => result === "ready");
    await db.set(["c"], 3);
    renameSync(path, file("elsewhere.db"));
    await once(db, "sync", ({ result }) => result === "error");
  });

  test("with its whole folder is missing too", async () => {
    await using setting = await live();
    const { db, file } = setting;
    await using deep = await KV.open(file("folder/ledger.db"), { autoSync: false });
    await deep.set(["a"], 1);
    rmSync(file("folder"), { recursive: true });
    await expect(deep.sync()).rejects.toMatchObject({ code: "LedgerMissing" });
    await expect(deep.set(["a"], 2)).rejects.toMatchObject({ code: "LedgerMissing", outcome: "not committed" });
    expect(await deep.get(["a"])).toBe(1);
    expect(existsSync(file("folder"))).toBe(false);
    await db.sync();
  });
});

describe("a ledger moved away under a live replica", () => {
  test("takes no more commits once that was noticed, and goes on when it is back", async () => {
    await using setting = await live();
    const { db, path, file } = setting;
    renameSync(path, file("elsewhere.db"));
    await expect(db.sync()).rejects.toMatchObject({ code: "LedgerMissing" });
    const moved = readFileSync(file("elsewhere.db"));
    await expect(db.set(["c"], 3)).rejects.toMatchObject({ code: "LedgerMissing", outcome: "not committed" });
    expect(readFileSync(file("elsewhere.db")).equals(moved)).toBe(true);
    expect(existsSync(path)).toBe(false);
    renameSync(file("elsewhere.db"), path);
    await db.sync();
    await db.set(["c"], 3);
    await using other = await KV.open(path);
    expect(await other.listKeys([])).toEqual([["a"], ["b"], ["c"]]);
  });
});

describe("a ledger replaced under a live replica", () => {
  test("by another one: the state is the other's, watches are told what changed, writes go there", async () => {
    await using setting = await live();
    const { db, path, file, events } = setting;
    const seen: unknown[] = [];
    db.watch([], (entry) => seen.push(entry));
    await makeOther(file("other.db"));
    renameSync(file("other.db"), path);
    await db.sync();
    expect(results(events)).toEqual(["ledgerInvalidated"]);
    expect(await db.listAll([])).toMatchObject([{ key: ["other"], value: true }]);
    expect(seen).toMatchObject([
      { key: ["a"], operation: "delete", reloaded: true },
      { key: ["b"], operation: "delete", reloaded: true },
      { key: ["other"], operation: "set", value: true, reloaded: true },
    ]);
    await db.set(["c"], 3);
    await using other = await KV.open(path);
    expect(await other.listKeys([])).toEqual([["c"], ["other"]]);
  });

  test("by another one: what was on its way never gets there", async () => {
    await using setting = await live();
    const { db, path, file } = setting;
    const bytes = await makeOther(file("other.db"));
    renameSync(file("other.db"), path);
    const writes = Array.from({ length: 50 }, (_, i) => db.set(["mine", i], i));
    for (const write of writes)
      await expect(write).rejects.toMatchObject({ name: "KVError", outcome: expect.any(String) });
    expect(readFileSync(path).equals(bytes)).toBe(true);
    await db.sync();
    expect(await db.listKeys([])).toEqual([["other"]]);
  });

  test("by what is no ledger: reads go on, nothing is written to it", async () => {
    for (const [content, code] of [
      ["Dear diary", "NotALedger"],
      ["", "LedgerMissing"],
    ]) {
      await using setting = await live();
      const { db, path, file } = setting;
      writeFileSync(file("other"), content);
      renameSync(file("other"), path);
      for (let i = 0; i < 2; i++) await expect(db.sync()).rejects.toMatchObject({ code });
      await expect(db.set(["c"], 3)).rejects.toMatchObject({ outcome: "not committed" });
      expect([await db.get(["a"]), await db.get(["b"])]).toEqual([1, "two"]);
      expect(readFileSync(path, "utf8")).toBe(content);
    }
  });

  test("by a directory: reads go on, nothing is written", async () => {
    await using setting = await live();
    const { db, path, file } = setting;
    renameSync(path, file("elsewhere.db"));
    mkdirSync(path);
    for (let i = 0; i < 2; i++) await expect(db.sync()).rejects.toMatchObject({ code: "NotALedger" });
    await expect(db.set(["c"], 3)).rejects.toMatchObject({ outcome: "not committed" });
    expect([await db.get(["a"]), await db.get(["b"])]).toEqual([1, "two"]);
  });

  test("by a link that leads elsewhere now", async () => {
    await using setting = await live();
    const { file } = setting;
    const link = file("link.db");
    symlinkSync(setting.path, link);
    await using db = await KV.open(link, { autoSync: false });
    expect(await db.get(["a"])).toBe(1);
    await makeOther(file("other.db"));
    symlinkSync(file("other.db"), file("new link"));
    renameSync(file("new link"), link);
    await db.sync();
    expect(await db.listKeys([])).toEqual([["other"]]);
    await db.set(["c"], 3);
    await using first = await KV.open(setting.path);
    expect(await first.listKeys([])).toEqual([["a"], ["b"]]);
  });

  test("by another one, is told of by the timer, and iterators go on over the old one", async () => {
    await using setting = await live({ syncIntervalMs: 5 });
    const { db, path, file } = setting;
    const iterator = db.iterate<unknown>([]);
    expect((await iterator.next()).value).toMatchObject({ key: ["a"], value: 1 });
    await makeOther(file("other.db"));
    const invalidated = once(db, "sync", ({ result }) => result === "ledgerInvalidated");
    renameSync(file("other.db"), path);
    await invalidated;
    expect(await db.get(["other"])).toBe(true);
    expect((await iterator.next()).value).toMatchObject({ key: ["b"], value: "two" });
    expect((await iterator.next()).done).toBe(true);
  });
});

describe("a ledger restored from an old copy under a live replica", () => {
  /** Ways to put the copy back. */
  const ways: Readonly<Record<string, (copy: string, path: string) => void>> = {
    "in place": copyFileSync,
    "by renaming it": renameSync,
  };
  for (const [name, restore] of Object.entries(ways)) {
    test(`${name}: the state is that of the copy, and grows from there`, async () => {
      await using setting = await live();
      const { db, path, file, events } = setting;
      copyFileSync(path, file("copy.db"));
      await db.set(["a"], "later");
      await db.set(["c"], 3);
      await db.delete(["b"]);
      const seen: unknown[] = [];
      db.watch([], ({ key, value }) => seen.push([key, value]));
      restore(file("copy.db"), path);
      await db.sync();
      expect(results(events)).toEqual(["ledgerInvalidated"]);
      expect(await db.listAll([])).toMatchObject([
        { key: ["a"], value: 1 },
        { key: ["b"], value: "two" },
      ]);
      expect(seen).toEqual([
        [["a"], 1],
        [["b"], "two"],
        [["c"], undefined],
      ]);
      await db.set(["d"], 4);
      await using other = await KV.open(path);
      expect(await other.listKeys([])).toEqual([["a"], ["b"], ["d"]]);
    });

    test(`${name}, and written to beyond the old end before anybody looked: the state is the new one`, async () => {
      await using setting = await live();
      const { db, path, file, events } = setting;
      copyFileSync(path, file("copy.db"));
      await db.set(["a"], "later");
      await db.set(["c"], 3);
      restore(file("copy.db"), path);
      {
        await using other = await KV.open(path);
        for (let i = 0; i < 5; i++) await other.set(["other", i], "longer than what was there");
      }
      await db.sync();
      expect(results(events)).toEqual(["ledgerInvalidated"]);
      expect(await db.get(["a"])).toBe(1);
      expect(await db.listKeys([])).toEqual([["a"], ["b"], ...[0, 1, 2, 3, 4].map((i) => ["other", i])]);
    });

    test(`${name}: a commit made before anybody looked is in, or says that it may not be`, async () => {
      await using setting = await live();
      const { db, path, file } = setting;
      copyFileSync(path, file("copy.db"));
      await db.set(["c"], 3);
      restore(file("copy.db"), path);
      const outcome = await db.set(["d"], 4).catch((error: unknown) => error);
      await db.sync();
      await using other = await KV.open(path);
      expect(await db.listKeys([])).toEqual(await other.listKeys([]));
      expect(await other.has(["c"])).toBe(false);
      expect([await db.get(["a"]), await db.get(["b"])]).toEqual([1, "two"]);
      if (outcome instanceof Error) expect(outcome).toMatchObject({ outcome: expect.any(String) });
      else expect(await other.get(["d"])).toBe(4);
    });
  }
});

describe("a ledger cut under a live replica", () => {
  test("is read anew, without what was cut off, and goes on", async () => {
    await using setting = await live();
    const { db, path, events } = setting;
    const { version } = await db.set(["c"], 3);
    await db.set(["d"], 4);
    truncateSync(path, version);
    await db.sync();
    expect(results(events)).toEqual(["ledgerInvalidated"]);
    expect(await db.listKeys([])).toEqual([["a"], ["b"]]);
    await db.set(["e"], 5);
    await using other = await KV.open(path);
    expect(await other.listKeys([])).toEqual([["a"], ["b"], ["e"]]);
  });

  test("within a frame costs that one too", async () => {
    await using setting = await live();
    const { db, path } = setting;
    const { version } = await db.set(["c"], 3);
    truncateSync(path, (version as number) + 60);
    await db.sync();
    expect(await db.listKeys([])).toEqual([["a"], ["b"]]);
    await db.set(["e"], 5);
    await using other = await KV.open(path);
    expect(await other.listKeys([])).toEqual([["a"], ["b"], ["e"]]);
  });

  test("to nothing is missing: reads of what is kept go on, nothing is written", async () => {
    await using setting = await live();
    const { db, path } = setting;
    truncateSync(path, 0);
    for (let i = 0; i < 2; i++) await expect(db.sync()).rejects.toMatchObject({ code: "LedgerMissing" });
    expect(await db.get(["a"])).toBe(1);
    // Its bytes are gone: an error, and nothing else.
    await expect(db.get(["b"])).rejects.toMatchObject({ code: "LedgerDamaged" });
    await expect(db.set(["c"], 3)).rejects.toMatchObject({ outcome: "not committed" });
    expect(readFileSync(path)).toHaveLength(0);
  });
});

describe("a live replica that meets damage", () => {
  test("reads what is whole behind it, tells where it is, and writes nothing more", async () => {
    await using setting = await live();
    const { db, path } = setting;
    await using other = await KV.open(path, { autoSync: false });
    const problems: unknown[] = [];
    db.on("error", (error) => problems.push(error));
    const { version } = await other.set(["c"], 3);
    await other.set(["d"], "four");
    const bytes = readFileSync(path);
    bytes[(version as number) + 55] ^= 1;
    writeFileSync(path, bytes);
    await db.sync();
    const range = { from: version, to: db.stats().damage[0]?.to };
    expect(problems).toMatchObject([{ code: "LedgerDamaged", ranges: [range] }]);
    expect(db.stats().damage).toEqual([range]);
    expect([await db.get(["a"]), await db.get(["c"]), await db.get(["d"])]).toEqual([1, null, "four"]);
    await expect(db.set(["e"], 5)).rejects.toMatchObject({ code: "LedgerDamaged", outcome: "not committed" });
    expect(readFileSync(path).equals(bytes)).toBe(true);
    await db.sync();
    expect(problems).toHaveLength(1);
  });
});

test("a sum in the function of a transaction that cannot read what is stored rejects it, not committed", async () => {
  await using setting = await live();
  const { db: first, path } = setting;
  await first.vacuum();
  let fails = false;
  const calls = changingFiles((file) => ({
    read: (target, position) => {
      if (fails) throw Object.assign(new Error("EIO: i/o error, read"), { code: "EIO" });
      return file.read(target, position);
    },
  }));
  await using db = await KV.open(createFsLedger(path, {}, calls), { autoSync: false, cacheBytesMax: 0 });
  const summing = db.transaction((tx) => {
    fails = true;
    tx.sum(["a"], 1);
  });
  await expect(summing).rejects.toMatchObject({ code: "InputOutput", outcome: "not committed" });
  fails = false;
  await db.transaction((tx) => tx.sum(["a"], 1));
  expect(await db.get(["a"])).toBe(2);
});
