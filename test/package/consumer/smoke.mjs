/** What the smoke test does with a database, whatever it lies on and wherever it runs. Takes nothing from the runtime. */
import { assert, assertSame, values } from "./values.mjs";

/** `open()` gives one more instance on the same ledger. Throws at the first thing that is not as it should be. */
export async function smokeDatabase(open) {
  const all = Object.entries(values());
  const db = await open();
  const other = await open();

  for (const [name, value] of all) await db.set(["values", name], value);
  await other.sync();
  for (const instance of [db, other]) await assertValues(instance);

  await watchSees(db, other);
  await transactionIsOneCommit(db, other);
  await nothingIsLostBetween(db, other);
  await atomicCommits(db, other);
  await queries(db);

  await Promise.all([db.close(), other.close()]);
  const again = await open();
  await assertValues(again);
  assert((await again.get(["counter"])) === 40, "a reopened database has what was committed");
  await again.close();
}

/** Every one of the values is there, in another instance or after a reopening. */
export async function assertValues(db) {
  for (const [name, value] of Object.entries(values())) assertSame(await db.get(["values", name]), value, name);
}

async function watchSees(db, other) {
  const entries = [];
  const arrived = new Promise((resolve) => {
    other.watch(["watched"], (entry) => {
      entries.push(entry);
      if (entry.operation === "delete") resolve();
    });
  });
  await db.set(["watched", 1], "news");
  await db.set(["elsewhere"], "no news");
  await db.delete(["watched", 1]);
  await arrived;
  assertSame(
    entries.map(({ key, operation, value }) => [...key, operation, value]),
    [
      ["watched", 1, "set", "news"],
      ["watched", 1, "delete", undefined],
    ],
    "watch",
  );
}

async function transactionIsOneCommit(db, other) {
  await db.beginTransaction();
  for (let i = 0; i < 100; i++) await db.set(["transaction", i], i);
  assert((await db.get(["transaction", 99])) === 99, "a transaction reads its own writes");
  await other.sync();
  assert((await other.count(["transaction"])) === 0, "nobody sees a transaction before its end");
  await db.endTransaction();
  await other.sync();
  const versions = new Set((await other.listAll(["transaction"])).map((entry) => entry.version));
  assert((await other.count(["transaction"])) === 100 && versions.size === 1, "a transaction is one commit");
}

async function nothingIsLostBetween(db, other) {
  const increment = async (transaction) => {
    transaction.set(["counter"], ((await transaction.get(["counter"])) ?? 0) + 1);
  };
  const runs = [];
  for (let i = 0; i < 20; i++) runs.push(db.transaction(increment), other.transaction(increment));
  await Promise.all(runs);
  assert((await db.get(["counter"], { consistency: "strong" })) === 40, "no increment is lost");
}

async function atomicCommits(db, other) {
  const { version } = await db.set(["checked"], 1);
  const first = await db
    .atomic()
    .check({ key: ["checked"], version })
    .set(["checked"], 2)
    .sum(["sum"], 5)
    .commit();
  const second = await other
    .atomic()
    .check({ key: ["checked"], version })
    .sum(["sum"], 7)
    .commit();
  assert(first.ok && !second.ok, "a check holds once");
  assert((await other.get(["sum"])) === 5, "a void commit does nothing");
}

async function queries(db) {
  for (let i = 0; i < 10; i++) await db.set(["range", i, "leaf"], i);
  const found = await db.listAll(["range", { from: 3, to: 5 }, "leaf"], { reverse: true });
  assertSame(
    found.map((entry) => entry.value),
    [5, 4, 3],
    "range",
  );
  assert((await db.get(["range", 3])) === null, "get of a prefix is null");
  assert((await db.deleteAll(["range"])) === 10, "deleteAll counts");
}
