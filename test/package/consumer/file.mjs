/**
 * The package on a file, in Node, Deno and Bun: `file.mjs <command> <path> [arguments]`. Prints one line of JSON.
 */
import process from "node:process";
import { InvalidArgumentError, KV } from "foliokv";
import { fsLedger } from "foliokv/fs";
import { r2Ledger } from "foliokv/r2";
import { smokeCore } from "./core.mjs";
import { assertValues, smokeDatabase } from "./smoke.mjs";
import { assert, values } from "./values.mjs";

/** Commits of a `load` that travel together. */
const GROUP = 4;

/** What one entry of the package throws is an instance of the class that another one gives out. */
function assertShared() {
  for (const makeLedger of [() => fsLedger(""), () => r2Ledger()]) {
    try {
      makeLedger();
    } catch (error) {
      assert(error instanceof InvalidArgumentError, `another copy of the library: ${error}`);
      continue;
    }
    assert(false, "an argument that cannot be used was taken");
  }
}

const commands = {
  /** Everything that one process can try, on a new file, and the bytes that the values became. */
  async smoke(path) {
    await smokeDatabase(() => new KV().open(path));
    assertShared();
    const networkFileSystemChecked = await opened(path, { readOnly: true }, (db) => {
      return db.stats().session.networkFileSystemChecked;
    });
    return { encoded: await smokeCore(), networkFileSystemChecked };
  },

  /** Writes the values, for others to read. */
  fill: (path) =>
    opened(path, {}, async (db) => {
      for (const [name, value] of Object.entries(values())) await db.set(["values", name], value);
      return {};
    }),

  /** Reads what another runtime wrote, without writing anything. */
  verify: (path) =>
    opened(path, { readOnly: true }, async (db) => {
      await assertValues(db);
      return {};
    }),

  /** Waits until all are there, then writes at once with them. Gives the version of every acknowledged commit. */
  load: (path, name, writers, groups) =>
    opened(path, {}, async (db) => {
      await everybodyIsThere(db, name, Number(writers));
      const acknowledged = [];
      for (let i = 0; i < Number(groups); i++) {
        const group = Array.from({ length: GROUP }, (_, place) => {
          return db.set(["load", name, i * GROUP + place], { writer: name });
        });
        await db.atomic().sum(["sum"], 1).commit();
        for (const { version } of await Promise.all(group)) acknowledged.push(version);
      }
      return { acknowledged };
    }),

  /** What a fresh process finds: the version of every entry, and the sum. */
  audit: (path) =>
    opened(path, { readOnly: true }, async (db) => {
      const versions = {};
      for await (const { key, value, version } of db.iterate(["load"])) {
        assert(value.writer === key[1], `${key} holds what ${value.writer} wrote`);
        versions[`${key[1]} ${key[2]}`] = version;
      }
      return { versions, sum: await db.get(["sum"]) };
    }),
};

/** `await using` in words that Node 20 knows. */
async function opened(path, options, work) {
  const db = await KV.open(path, options);
  try {
    return await work(db);
  } finally {
    await db.close();
  }
}

async function everybodyIsThere(db, name, writers) {
  const watch = db.watch(["there"]);
  await db.set(["there", name], true);
  while ((await db.count(["there"])) < writers) await watch.next();
  await watch.return();
}

const [command, ...rest] = process.argv.slice(2);
console.log(JSON.stringify(await commands[command](...rest)));
