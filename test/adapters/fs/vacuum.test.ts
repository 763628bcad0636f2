import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, vi } from "vitest";
import { fsLedger } from "../../../src/adapters/fs/index.ts";
import { KV } from "../../../src/index.node.ts";
import type { SyncEvent, VacuumProgress, WatchEntry } from "../../../src/index.node.ts";
import type { Ledger, LedgerSession } from "../../../src/core/ledger.ts";
import { nodeEnvironment } from "../../../src/platform/environment-node.ts";
import { openWith } from "../../support/database.ts";
import { inFolder } from "../../support/folder.ts";
import { fill, MANY } from "../../support/items.ts";

const indexFiles = (folder: string): string[] => readdirSync(folder).filter((name) => name.includes(".idx"));

describe("a vacuum", () => {
  it("keeps every entry with its version, in the author, in others and in who opens later", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      await using db = await KV.open(path);
      await using other = await KV.open(path);
      for (let round = 0; round < 5; round++) await fill(db, 0, 500);
      await db.delete(["item", 7]);
      const { version } = await db.set(["last"], new Uint8Array(10_000));
      const before = await db.listAll([]);
      const sizeBefore = statSync(path).size;
      const result = await db.vacuum();
      expect(result).toMatchObject({ generation: 2, author: true, purged: 0 });
      expect(result.bytesAfter).toBeLessThan(sizeBefore / 3);
      expect(statSync(path).size).toBe(result.bytesAfter);
      expect(await db.listAll([])).toEqual(before);
      await other.sync();
      expect(await other.listAll([])).toEqual(before);
      await using fresh = await KV.open(path);
      expect(await fresh.listAll([])).toEqual(before);
      expect(fresh.stats().version).toBe(version);
      expect((await fresh.set(["new"], 1)).version).toBeGreaterThan(version as number);
      await other.sync();
      expect(await other.get(["new"])).toBe(1);
    }));

  it("and a backup say at their end that all is done, however little was left of the file", () =>
    inFolder(async (folder) => {
      await using db = await KV.open(join(folder, "a.db"));
      for (let round = 0; round < 5; round++) await fill(db, 0, 500);
      for (const work of ["vacuum", "backup"] as const) {
        const told: VacuumProgress[] = [];
        const onProgress = (progress: VacuumProgress): void => void told.push(progress);
        const bytes =
          work === "vacuum"
            ? (await db.vacuum({ onProgress })).bytesAfter
            : (await db.backup(join(folder, "b.db"), { onProgress })).bytes;
        const last = told.at(-1);
        expect(last?.ofBytes).toBe(last?.doneBytes);
        expect(last?.doneBytes).toBeLessThanOrEqual(bytes);
        expect(last?.doneBytes).toBeGreaterThan(bytes / 2);
      }
    }));

  it("tells others by ledgerInvalidated, and their watches of each commit once", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      await using db = await KV.open(path);
      await using other = await KV.open(path, { autoSync: false });
      const events: SyncEvent[] = [];
      const seen: WatchEntry[] = [];
      other.on("sync", (event) => events.push(event));
      other.watch(["n"], (entry) => seen.push(entry), { ref: false });
      await db.set(["n"], 1);
      await db.vacuum();
      await db.set(["n"], 2);
      await db.vacuum();
      await db.set(["n"], 3);
      await other.sync();
      expect(events.map((event) => event.result)).toEqual(["ledgerInvalidated"]);
      expect(seen.map((entry) => entry.value).at(-1)).toBe(3);
      expect(await other.get(["n"])).toBe(3);
      await db.set(["n"], 4);
      await db.vacuum();
      await other.sync();
      expect(seen.at(-1)).toMatchObject({ value: 4 });
      expect(seen.at(-1)?.key === undefined || "reloaded" in (seen.at(-1) ?? {})).toBe(false);
    }));

  it("leaves an iterator at its version, whatever is written and vacuumed meanwhile", () =>
    inFolder(async (folder) => {
      await using db = await KV.open(join(folder, "a.db"));
      await fill(db, 0, 200);
      const iterator = db.iterate<{ number: number }>(["item"]);
      expect((await iterator.next()).value?.value.number).toBe(0);
      await fill(db, 100, 300);
      await db.deleteAll(["item", { from: 50, to: 250 }]);
      await db.vacuum();
      await db.vacuum();
      const rest: number[] = [];
      for await (const { value } of iterator) rest.push(value.number);
      expect(rest).toEqual(Array.from({ length: 199 }, (_, i) => i + 1));
      expect(await db.count(["item"])).toBe(50 + 49);
    }));

  it("begins history with the entries of the snapshot, and keeps as many commits as it is told", () =>
    inFolder(async (folder) => {
      await using db = await KV.open(join(folder, "a.db"));
      for (let i = 1; i <= 5; i++) await db.set(["n"], i);
      await db.atomic().sum(["sum"], 2).commit();
      await db.vacuum({ keepHistory: { commits: 3 } });
      await db.atomic().sum(["sum"], 5).commit();
      const told = [];
      for await (const { key, value, snapshot } of db.scan([])) told.push([key[0], value, snapshot === true]);
      expect(told).toEqual([
        ["n", 3, true],
        ["n", 4, false],
        ["n", 5, false],
        ["sum", 2, false],
        ["sum", 7, false],
      ]);
      const behind = [];
      for await (const { value } of db.scan([], { snapshot: false })) behind.push(value);
      expect(behind).toEqual([4, 5, 2, 7]);
      await db.vacuum();
      const after = [];
      for await (const entry of db.history(["sum"])) after.push([entry.value, entry.snapshot]);
      expect(after).toEqual([[7, true]]);
    }));

  it("takes the past away from a transaction that scans, and never shows it the future instead", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      await using db = await KV.open(path);
      await using other = await KV.open(path);
      await db.set(["a"], 1);
      await db.beginTransaction();
      await other.set(["a"], 2);
      await other.vacuum();
      await expect(db.scan(["a"]).next()).rejects.toMatchObject({ code: "SnapshotExpired" });
      expect(await db.get(["a"])).toBe(1);
      await db.abortTransaction();
      expect((await db.scan(["a"]).next()).value).toMatchObject({ value: 2, snapshot: true });
    }));

  it("removes for everybody what expired long ago, and nothing that did not", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      await using db = await KV.open(path, { purgeAfterMs: 0 });
      await using other = await KV.open(path);
      await db.set(["gone"], 1, { expireIn: 1 });
      await db.set(["stays"], 1, { expireIn: 1e9 });
      await db.set(["plain"], 1);
      const { expiresAt = 0 } = (await db.getEntry(["gone"])) ?? {};
      await expect.poll(() => Date.now() > expiresAt + 1).toBe(true);
      await other.sync();
      const seen: WatchEntry[] = [];
      other.watch(["gone"], (entry) => seen.push(entry), { ref: false });
      expect(await db.vacuum()).toMatchObject({ purged: 1 });
      await other.sync();
      expect(seen.map((entry) => entry.operation)).toEqual(["delete"]);
      expect(await other.listKeys([])).toEqual([["plain"], ["stays"]]);
      expect(other.stats().keys).toBe(2);
    }));

  it("commits that were queued when the seal fell go into the next generation, once and in order", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      await using db = await KV.open(path);
      await using other = await KV.open(path);
      await fill(db, 0, 2000);
      const vacuumed = db.vacuum();
      const results = [];
      for (let i = 0; i < 300; i++) {
        results.push(other.atomic().sum(["count"], 1).set(["order"], i).commit());
        if (i % 10 === 0) await results.at(-1);
      }
      await Promise.all(results);
      await vacuumed;
      await db.sync();
      expect(await db.get(["count"])).toBe(300);
      expect(await db.get(["order"])).toBe(299);
    }));

  it("is refused on a memory ledger, on a read-only instance and with a wrong option, by a typed error each", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      await (await KV.open(path)).close();
      await using reader = await KV.open(path, { readOnly: true });
      await expect(reader.vacuum()).rejects.toMatchObject({ code: "ReadOnly" });
      await using db = await KV.open(path);
      await expect(db.vacuum({ keepHistory: {} as { commits: number } })).rejects.toMatchObject({
        code: "InvalidOption",
      });
    }));

  it("whose generation ends before it has a place to begin at leaves it at the next one", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      const inner = fsLedger(path);
      let opened = 0;
      let meddle = async (): Promise<void> => undefined;
      const ledger: Ledger = {
        ...inner,
        open: async (options) => {
          const session = await inner.open(options);
          // The second one is that of a vacuum which looks for where to begin.
          if (++opened !== 2) return session;
          const read: LedgerSession["read"] = async (position, budget) => {
            const result = await session.read(position, budget);
            await meddle();
            return result;
          };
          return new Proxy(session, {
            get: (target, name) => {
              const value: unknown = name === "read" ? read : Reflect.get(target, name, target);
              return typeof value === "function" ? (value as () => unknown).bind(target) : value;
            },
          });
        },
      };
      await using db = await KV.open(ledger);
      for (let i = 0; i < 5; i++) await db.set(["n", i], i);
      meddle = async () => {
        meddle = async () => undefined;
        await using other = await KV.open(path);
        await other.vacuum();
        await db.sync();
      };
      expect(await db.vacuum({ keepHistory: { commits: 4 } })).toMatchObject({ author: false, generation: 2 });
      await db.set(["n", 5], 5);
      await using last = await KV.open(path);
      expect((await last.listAll(["n"])).map(({ value }) => value)).toEqual([0, 1, 2, 3, 4, 5]);
    }));

  it("given up by a signal or by close leaves the ledger as it was", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      const db = await KV.open(path);
      await fill(db, 0, 3000);
      const control = new AbortController();
      const given = db.vacuum({ signal: control.signal });
      control.abort();
      await expect(given).rejects.toBe(control.signal.reason);
      const late = new AbortController();
      const ended = db.vacuum({ signal: late.signal, onProgress: () => late.abort("enough") });
      await expect(ended).rejects.toBe("enough");
      const thrown = new Error("from onProgress");
      const onProgress = (): never => {
        throw thrown;
      };
      await expect(db.vacuum({ onProgress })).rejects.toBe(thrown);
      const closing = db.vacuum();
      const closed = db.close();
      await expect(closing).rejects.toMatchObject({ code: "Closed" });
      await closed;
      expect(readdirSync(folder).filter((name) => name.includes(".2-"))).toEqual([]);
      await using again = await KV.open(path);
      expect(again.stats().generation).toBe(1);
      expect(await again.count(["item"])).toBe(3000);
    }));

  it("lets a replica that slept through several of them catch up", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      await using db = await KV.open(path);
      await using sleeper = await KV.open(path, { autoSync: false });
      await using reader = await KV.open(path, { autoSync: false, readOnly: true });
      await fill(db, 0, 100);
      await sleeper.sync();
      await reader.sync();
      for (let i = 0; i < 3; i++) {
        await db.set(["round"], i);
        await db.delete(["item", i]);
        await db.vacuum();
      }
      for (const each of [sleeper, reader]) {
        await each.sync();
        expect(await each.get(["round"])).toBe(2);
        expect(await each.count(["item"])).toBe(97);
      }
      expect((await sleeper.set(["late"], 1)).version).toBeGreaterThan(0);
      await db.sync();
      expect(await db.get(["late"])).toBe(1);
    }));
});

describe("the side index", () => {
  it("spares the next open the reading of what it covers, and gives the same entries", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      const db = await KV.open(path);
      await fill(db, 0, MANY);
      await db.delete(["item", 5]);
      const { version } = await db.set(["item", 6], "newer");
      await db.close();
      expect(indexFiles(folder).length).toBeGreaterThan(1);
      await using again = await KV.open(path);
      expect(again.stats().counts.commits).toBeLessThan(20);
      expect(again.stats().version).toBe(version);
      expect(await again.count(["item"])).toBe(MANY - 1);
      expect(await again.get(["item", 6])).toBe("newer");
      expect(await again.has(["item", 5])).toBe(false);
      expect(await again.get(["item", 30_000])).toEqual({ number: 30_000, text: "item 30000" });
    }));

  it("whose save was due when a vacuum came is saved for the next generation, without what that begins with", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      // A save waits for as long as it may.
      await using db = await openWith({ ...nodeEnvironment, random: () => 0.99 }, fsLedger(path));
      const problems: unknown[] = [];
      db.on("error", (error) => problems.push(error));
      const many = async (): Promise<void> => {
        for (let round = 0; round < MANY / 500; round++) await fill(db, 0, 500);
      };
      await many();
      let late: Promise<unknown> | undefined;
      await db.vacuum({ onProgress: () => void (late ??= db.set(["late"], 1)) });
      await late;
      await many();
      await db.close();
      expect(problems).toEqual([]);
      await using again = await KV.open(path, { readOnly: true });
      expect(again.stats().counts.commits).toBeLessThan(MANY / 500);
      expect(await again.count([])).toBe(501);
    }));

  it("of the last generation is removed by a vacuum, those parts too that no list names any more, and whoever has it open reads on", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      const runs = (): string[] => indexFiles(folder).filter((name) => name !== "a.db.idx");
      await using db = await KV.open(path, { autoSync: false });
      for (let from = 0; from < 3 * MANY; from += MANY) {
        await fill(db, from, from + MANY);
        await vi.waitFor(() => expect(runs().length).toBeGreaterThan(from / MANY), 10_000);
      }
      await db.close();
      await using reader = await KV.open(path, { autoSync: false });
      await using author = await KV.open(path, { autoSync: false });
      await author.vacuum();
      expect(runs()).toEqual([]);
      expect(await reader.get(["item", 7])).toEqual({ number: 7, text: "item 7" });
      expect(await reader.count([])).toBe(3 * MANY);
      await using fresh = await KV.open(path);
      expect(await fresh.count([])).toBe(3 * MANY);
    }));

  it("is not kept with sideIndex: false", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      await using db = await KV.open(path, { sideIndex: false });
      await fill(db, 0, MANY);
      expect(await db.count(["item"])).toBe(MANY);
      await db.close();
      expect(indexFiles(folder)).toEqual([]);
    }));

  it("that is missing in part, damaged anywhere in its manifest, or of another ledger is built anew without a word", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      const db = await KV.open(path);
      await fill(db, 0, MANY);
      await db.close();
      const manifest = readFileSync(`${path}.idx`);
      const problems: unknown[] = [];
      const check = async (): Promise<void> => {
        const each = new KV();
        each.on("error", (error) => problems.push(error));
        await each.open(path, { readOnly: true });
        expect(each.stats().counts.commits).toBe(MANY / 1000);
        expect(await each.count(["item"])).toBe(MANY);
        await each.close();
      };
      for (let at = 0; at < manifest.length; at += 31) {
        const damaged = Buffer.from(manifest);
        damaged[at] ^= 0x10;
        writeFileSync(`${path}.idx`, damaged);
        await check();
      }
      writeFileSync(`${path}.idx`, manifest.subarray(0, 20));
      await check();
      writeFileSync(`${path}.idx`, manifest);
      const run = indexFiles(folder).find((name) => name !== "a.db.idx") as string;
      const bytes = readFileSync(join(folder, run));
      writeFileSync(join(folder, run), bytes.subarray(0, bytes.length - 1));
      await check();
      expect(problems).toEqual([]);
    }));

  it("whose runs are damaged anywhere never gives a wrong entry, and is built anew without a word", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      const db = await KV.open(path);
      await fill(db, 0, MANY);
      for (let i = 0; i < 10; i++) await db.atomic().sum(["sum"], 1).commit();
      await db.close();
      const runs = indexFiles(folder).filter((name) => name !== "a.db.idx");
      const files = indexFiles(folder).map((name): [string, Buffer] => [name, readFileSync(join(folder, name))]);
      let sum = 10;
      const problems: unknown[] = [];
      for (let i = 0; i < 12; i++) {
        for (const [name, bytes] of files) writeFileSync(join(folder, name), bytes);
        const name = runs[i % runs.length];
        const bytes = readFileSync(join(folder, name));
        // The last bytes hold the footer and the top of the index.
        const at = i % 2 === 0 ? Math.floor((bytes.length * i) / 12) : bytes.length - 1 - i * 11;
        bytes[at] ^= 1 << (i % 8);
        writeFileSync(join(folder, name), bytes);
        const each = new KV();
        each.on("error", (error) => problems.push(error));
        await each.open(path);
        await each.atomic().sum(["sum"], 1).commit();
        expect(await each.get(["sum"])).toBe(++sum);
        for (let j = i; j < MANY; j += 997) expect(await each.get(["item", j])).toMatchObject({ number: j });
        expect(await each.has(["item", MANY])).toBe(false);
        expect(await each.count(["item"])).toBe(MANY);
        expect((await each.listAll(["item", { from: 100, to: 110 }])).length).toBe(11);
        await each.close();
      }
      expect(problems).toEqual([]);
    }));

  it("that covers more than the ledger has is reported: the ledger was cut", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      const db = await KV.open(path);
      await fill(db, 0, MANY);
      await db.close();
      const bytes = readFileSync(path);
      writeFileSync(path, bytes.subarray(0, Math.floor(bytes.length / 2)));
      const problems: unknown[] = [];
      const cut = new KV();
      cut.on("error", (error) => problems.push(error));
      await cut.open(path);
      expect(problems).toMatchObject([{ code: "LedgerDamaged" }]);
      expect(await cut.count(["item"])).toBeLessThan(MANY);
      await cut.close();
    }));

  it("hides what was deleted behind the snapshot that a later vacuum puts underneath", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      await using db = await KV.open(path);
      await db.set(["gone"], 1);
      await db.delete(["gone"]);
      await db.transaction((transaction) => {
        for (let i = 0; i < 40_000; i++) transaction.set(["n", i], i);
      });
      await vi.waitFor(() => expect(existsSync(`${path}.idx`)).toBe(true), 10_000);
      await using other = await KV.open(path);
      // Everything but the first set: the snapshot holds what it has set.
      await other.vacuum({ keepHistory: { commits: 2 } });
      await db.sync();
      expect(db.stats().generation).toBe(2);
      expect(await db.get(["gone"])).toBe(null);
      expect(await db.count([])).toBe(40_000);
      expect(await other.get(["gone"])).toBe(null);
    }));

  it("is saved by one of several processes' worth of instances, and adopted by the others", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      const all = await Promise.all(Array.from({ length: 3 }, () => KV.open(fsLedger(path))));
      for (let from = 0; from < 3 * MANY; from += MANY) {
        await fill(all[(from / MANY) % 3], from, from + MANY);
        for (const each of all) await each.sync();
      }
      for (const each of all) expect(await each.count(["item"])).toBe(3 * MANY);
      for (const each of all) await each.close();
      await using fresh = await KV.open(path);
      expect(fresh.stats().counts.commits).toBeLessThan(100);
      expect(await fresh.count(["item"])).toBe(3 * MANY);
      expect(existsSync(`${path}.idx`)).toBe(true);
    }));
});
