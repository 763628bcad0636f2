/** Follows the file when it wants to, and reads the timestamp. */
import { setTimeout as wait } from "node:timers/promises";
import { KV } from "foliokv";

const db = new KV({ autoSync: false });
await db.open("data/mydatabase.db");
db.on("sync", (event) => console.log(`sync: ${event.result}, ${event.applied} applied`));

while (true) {
  await db.sync();
  const timestamp = await db.get<Date>(["data", "timestamp"]);
  console.log(`read ${timestamp?.toISOString() ?? "nothing yet"}`);
  await wait(1500);
}
