/** Sets a timestamp every two seconds. Start any number of these; kill them as you like. */
import { setTimeout as wait } from "node:timers/promises";
import { KV } from "foliokv";

const db = new KV();
await db.open("data/mydatabase.db");

while (true) {
  const now = new Date();
  const { version } = await db.set(["data", "timestamp"], now);
  console.log(`wrote ${now.toISOString()} as version ${version}`);
  await wait(2000);
}
