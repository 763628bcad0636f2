/**
 * `watcher.ts <file>`: is told of every entry that anybody commits, and prints ten times a second how many there were and how long
 * the latest one took to get here. Stops on SIGTERM, when it has caught up.
 */
import { KV } from "../../../src/index.node.ts";

const [file] = process.argv.slice(2);
const db = await KV.open(file);
let seen = 0;
let latest = "- 0";

db.watch<{ at: Date }>(["entries"], (entry) => {
  if (entry.operation !== "set") return;
  seen++;
  latest = `${String(entry.key[1])}/${String(entry.key[2])} ${Date.now() - entry.value.at.getTime()}`;
});

const print = (): void => void process.stdout.write(`seen ${seen} ${latest}\n`);
print();
const timer = setInterval(print, 100);
process.once("SIGTERM", async () => {
  clearInterval(timer);
  await db.sync();
  print();
  await db.close();
});
