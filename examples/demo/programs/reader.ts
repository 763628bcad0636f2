/** `reader.ts <file>`: follows the file only when it wants to, every half a second, and prints what a sync brought. Stops on SIGTERM. */
import { setTimeout as wait } from "node:timers/promises";
import { KV } from "../../../src/index.node.ts";

const [file] = process.argv.slice(2);
const db = new KV({ autoSync: false });
await db.open(file);
const stop = new AbortController();
process.once("SIGTERM", () => stop.abort());

db.on("sync", async ({ result, applied }) => {
  process.stdout.write(`sync ${result} ${applied} ${await db.get<number>(["total"])}\n`);
});
while (!stop.signal.aborted) {
  await db.sync();
  await wait(500, undefined, { signal: stop.signal }).catch(() => undefined);
}
await db.close();
