/** Is told of every change below ["data"], whoever makes it, and stays until it is stopped. */
import { KV } from "foliokv";

const db = new KV();
await db.open("data/mydatabase.db");

db.watch<Date>(["data"], (entry) => {
  if (entry.operation === "set") console.log(`saw ${entry.key.join("/")} = ${entry.value.toISOString()}`);
});
console.log("watching");
