import { expect, test } from "vitest";
import { fsLedger } from "../../../src/adapters/fs/index.ts";
import { fileWork } from "../../../src/core/file-work.ts";
import { CoreKV } from "../../../src/core/kv.ts";
import { KV } from "../../../src/index.node.ts";
import { nodeEnvironment } from "../../../src/platform/environment-node.ts";
import { temporaryFolder } from "../../support/folder.ts";
import { openFilesBelow } from "../../support/open-files.ts";

const numbers = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

test("ten thousand sets at once are ten thousand commits, in the order of the calls, in a few writes", async () => {
  using folder = temporaryFolder();
  await using db = await KV.open(folder.file("ledger.db"));
  const results = await Promise.all(numbers(10_000).map((i) => db.set(["n", i % 100, i], i)));
  const versions = results.map(({ version }) => version as number);
  expect(versions.every((version, i) => i === 0 || version > versions[i - 1])).toBe(true);
  // As large as the turns of others allow, and never a write for each.
  expect(db.stats().counts.batches).toBeLessThan(1000);
  await using other = await KV.open(folder.file("ledger.db"));
  const history: unknown[] = [];
  for await (const { value, version } of other.scan([])) history.push([value, version]);
  expect(history).toEqual(numbers(10_000).map((i) => [i, versions[i]]));
});

test("what was accepted before close is in when close is done, awaited or not", async () => {
  using folder = temporaryFolder();
  const path = folder.file("ledger.db");
  const db = await KV.open(path);
  let acknowledged = 0;
  for (const i of numbers(5000)) void db.set(["n"], i).then(() => acknowledged++);
  await db.close();
  expect(acknowledged).toBe(5000);
  await expect(db.set(["n"], -1)).rejects.toMatchObject({ code: "Closed", outcome: "not committed" });
  await using other = await KV.open(path);
  const history: unknown[] = [];
  for await (const { value } of other.history(["n"])) history.push(value);
  expect(history).toEqual(numbers(5000));
});

test("a close while a sync runs lets both settle, and leaves no file open", async () => {
  using folder = temporaryFolder();
  const path = folder.file("ledger.db");
  await using writer = await KV.open(path);
  const db = await KV.open(path, { autoSync: false });
  // More than one turn of the event loop can take.
  await Promise.all(numbers(30).map((i) => writer.set(["large", i], new Uint8Array(1024 * 1024))));
  await Promise.all(numbers(20_000).map((i) => writer.set(["small", i], i)));
  const syncs = [db.sync(), db.sync(), db.sync()];
  const read = db.get(["large", 1], { consistency: "strong" });
  const [closed, ...rest] = await Promise.allSettled([db.close(), ...syncs, read]);
  expect(closed.status).toBe("fulfilled");
  for (const result of rest) if (result.status === "rejected") expect(result.reason).toMatchObject({ code: "Closed" });
  await db.close();
  expect(db.isOpen()).toBe(false);
  await writer.close();
  expect(openFilesBelow(folder.path) ?? 0).toBe(0);
});

test("the same path opened twice in one process is two replicas of one ledger", async () => {
  using folder = temporaryFolder();
  const path = folder.file("ledger.db");
  const ledger = fsLedger(path);
  const first = await KV.open(ledger);
  await using second = await KV.open(ledger);
  await using third = await KV.open(path);
  const all = [first, second, third];
  const seen = all.map((db) => {
    const entries: unknown[] = [];
    db.watch([], ({ key, version }) => entries.push([key, version]));
    return entries;
  });
  await Promise.all(numbers(300).map((i) => all[i % 3].set(["n", i], i)));
  await Promise.all(numbers(30).map((i) => all[i % 3].atomic().sum(["sum"], 1).commit()));
  await Promise.all(all.map((db) => db.sync()));
  expect(seen[0]).toHaveLength(330);
  expect(seen[1]).toEqual(seen[0]);
  expect(seen[2]).toEqual(seen[0]);
  await first.close();
  await second.set(["after"], 1);
  expect(await third.get(["after"], { consistency: "strong" })).toBe(1);
  expect(await second.get(["sum"])).toBe(30);
});

test("a clock that jumps backwards changes timestamps and nothing else", async () => {
  using folder = temporaryFolder();
  const path = folder.file("ledger.db");
  const HOUR = 3_600_000;
  let now = 1_700_000_000_000;
  const environment = { ...nodeEnvironment, now: () => now };
  const open = async (): Promise<CoreKV> =>
    new CoreKV({ syncIntervalMs: 5 }, { environment, ledgerAt: fsLedger, fileWork }).open(path);
  await using db = await open();
  await using watcher = await open();
  const seen: unknown[] = [];
  watcher.watch([], (entry) => seen.push(entry.reset === true ? entry : [entry.key[0], entry.timestamp]));

  await db.set(["first"], 1, { expireIn: HOUR });
  await db.atomic().sum(["sum"], 1).commit();
  const began = now;
  now -= 10 * HOUR;
  await db.set(["second"], 2);
  await db.set(["short"], 3, { expireIn: HOUR });
  await db.atomic().sum(["sum"], 1).commit();
  await db.transaction(async (tx) => tx.set(["third"], ((await tx.get<number>(["second"])) ?? 0) + 1));
  expect(await db.get(["first"])).toBe(1);
  expect((await db.listAll([], { order: "version" })).map(({ key }) => key[0])).toEqual([
    "first",
    "second",
    "short",
    "sum",
    "third",
  ]);
  await watcher.sync();
  expect(seen).toEqual([
    ["first", began],
    ["sum", began],
    ["second", now],
    ["short", now],
    ["sum", now],
    ["third", now],
  ]);
  // Forwards again: what was to last an hour from its own time is over, the rest is there for every replica alike.
  now = began + HOUR / 2;
  await using late = await open();
  for (const replica of [db, watcher, late]) {
    expect(await replica.listKeys([])).toEqual([["first"], ["second"], ["sum"], ["third"]]);
    expect(await replica.get(["sum"])).toBe(2);
  }
});

test("a transaction left open at close is dropped, and close says so when it has closed", async () => {
  using folder = temporaryFolder();
  const path = folder.file("ledger.db");
  const db = await KV.open(path);
  const before = db.set(["before"], 1);
  await db.beginTransaction();
  expect(await db.set(["staged"], 1)).toEqual({ version: undefined });
  await expect(db.close()).rejects.toMatchObject({ code: "TransactionOpen", outcome: "not committed" });
  expect(db.isOpen()).toBe(false);
  expect(openFilesBelow(folder.path) ?? 0).toBe(0);
  await before;
  await expect(db.endTransaction()).rejects.toMatchObject({ code: "Closed" });
  await using other = await KV.open(path);
  expect(await other.listKeys([])).toEqual([["before"]]);
});

test("loops of awaited writes and reads let timers run", async () => {
  using folder = temporaryFolder();
  await using db = await KV.open(folder.file("ledger.db"));
  let ticks = 0;
  const timer = setInterval(() => ticks++, 10);
  try {
    // Ten thousand take several ticks; a machine on which they do not goes on for a while.
    for (let i = 0; i < 10_000 || (ticks < 3 && i < 200_000); i++) await db.set(["n", i], i);
    expect(ticks).toBeGreaterThanOrEqual(3);
    const before = ticks;
    for (let i = 0; ticks < before + 3 && i < 1_000_000; i++) await db.get(["n", i % 10_000]);
    expect(ticks).toBeGreaterThanOrEqual(before + 3);
  } finally {
    clearInterval(timer);
  }
});
