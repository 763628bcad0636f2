/**
 * `writer.ts <file> <name>`: commits without pause, and prints every acknowledgement before it goes on: "ack <number> <version>". Each commit
 * sets an entry of its own and counts it in a total that all writers share, both or neither. Stops on SIGTERM.
 */
import { setTimeout as wait } from "node:timers/promises";
import { KV } from "../../../src/index.node.ts";

/** Commits that are on their way together. */
const GROUP = 8;

const [file, name] = process.argv.slice(2);
const db = await KV.open(file);
let going = true;
process.once("SIGTERM", () => (going = false));

for (let next = 0; going; next += GROUP) {
  await Promise.all(Array.from({ length: GROUP }, (_, place) => commit(next + place)));
  await wait(3 + Math.random() * 6);
}
await db.close();

async function commit(number: number): Promise<void> {
  const entry = { at: new Date(), text: `entry ${number} of ${name}` };
  const result = await db.atomic().set(["entries", name, number], entry).sum(["total"], 1).commit();
  // Written to a pipe, this returns when the pipe has it: what is printed is out, whatever happens to this process next.
  if (result.ok) process.stdout.write(`ack ${number} ${result.version}\n`);
}
