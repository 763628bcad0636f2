/** `auditor.ts <file>`: what a fresh process finds: "found <writer> <number> <version>" for every entry, and the shared total. */
import { KV } from "../../../src/index.node.ts";

const [file] = process.argv.slice(2);
const db = await KV.open(file, { readOnly: true });
for await (const { key, version } of db.iterate(["entries"])) {
  process.stdout.write(`found ${String(key[1])} ${String(key[2])} ${version}\n`);
}
process.stdout.write(`total ${await db.get<number>(["total"])}\n`);
await db.close();
