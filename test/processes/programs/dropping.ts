import { setImmediate } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { KV } from "../../../src/index.node.ts";
import { openFilesBelow } from "../../support/open-files.ts";
import { argument, report } from "./report.ts";

/** Leaves iterators and histories without ending them, and tells what stays open once the garbage collector has been there. */

const { folder } = argument<{ folder: string }>();
setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

const db = await KV.open(`${folder}/a.db`, { sideIndex: false });
for (let i = 0; i < 10; i++) await db.set(["item", i], i);
const files = openFilesBelow(folder);

/** In a function of its own, so that nothing of it stays on the stack. */
async function begun(): Promise<unknown[]> {
  const begins = [db.iterate(["item"]), db.scan(["item"]), db.history(["item", 1])];
  for (const each of begins) await each.next();
  return [...begins, db.iterate(["item"])];
}

const kept = db.iterate<number>(["item"]);
await kept.next();
// Nothing of it is to be collected before it was counted.
let held: unknown[] | undefined = await begun();
await db.set(["item", 0], "newer");
await db.vacuum();
const openBefore = openFilesBelow(folder);
const { length } = held;
held = undefined;
let rounds = 0;
// One descriptor more stays: of the file that the kept iterator reads from.
for (; rounds < 500; rounds++) {
  collectGarbage();
  await setImmediate();
  if (db.stats().snapshots.count === 1 && openFilesBelow(folder) === (files ?? 0) + 1) break;
}
const { count } = db.stats().snapshots;
const rest: unknown[] = [];
for await (const { value } of kept) rest.push(value);
// By its end, not by the garbage collector: in a moment.
for (let round = 0; round < 500 && openFilesBelow(folder) !== files; round++) await setImmediate();
report({
  length,
  count,
  opened: (openBefore ?? 0) - (files ?? 0),
  left: (openFilesBelow(folder) ?? 0) - (files ?? 0),
  rest,
});
await db.close();
