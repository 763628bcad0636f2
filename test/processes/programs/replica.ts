/** Follows a database, by itself or when it is told to, and tells what it holds and what it was told of. */
import { KV } from "../../../src/index.node.ts";
import { argument, described, orders, report } from "./report.ts";

const { path, readOnly, autoSync } = argument<{ path: string; readOnly: boolean; autoSync: boolean }>();

const db = new KV({ autoSync });
const results: string[] = [];
const errors: unknown[] = [];
db.on("sync", ({ result }) => results.push(result));
db.on("error", (error) => errors.push(described(error)));
await db.open(path, { readOnly });
/** What follows from all that the watch was told of. */
const watched = new Map((await db.listAll([])).map(({ key, value }) => [key.join("/"), value]));
let backwards = 0;
let last = db.stats().version;
db.watch([], (entry) => {
  if (entry.key === undefined) return void errors.push("reset");
  if (!("reloaded" in entry) && entry.version < last) backwards++;
  last = Math.max(last, entry.version);
  if (entry.operation === "delete") watched.delete(entry.key.join("/"));
  else watched.set(entry.key.join("/"), entry.value);
});
report({ ready: true });
for await (const order of orders()) {
  if (order.do !== "compare") break;
  await db.sync();
  const entries = (await db.listAll([])).map(({ key, value, version }) => [key.join("/"), value, version]);
  const wrong =
    entries.filter(([key, value]) => watched.get(key as string) !== value).length + watched.size - entries.length;
  report({
    entries,
    wrong,
    backwards,
    errors,
    generation: db.stats().generation,
    invalidated: results.filter((each) => each === "ledgerInvalidated").length,
  });
}
await db.close();
process.stdin.destroy();
