/** Writes so much that the index is saved several times, beside others who do the same, and tells what went wrong. */
import { KV } from "../../../src/index.node.ts";
import { argument, described, report } from "./report.ts";

const { path, id, keys, rounds } = argument<{ path: string; id: string; keys: number; rounds: number }>();

const db = new KV();
const errors: unknown[] = [];
db.on("error", (error) => errors.push({ ...described(error), message: error instanceof Error ? error.message : "" }));
await db.open(path);
let version: number | undefined;
for (let round = 1; round <= rounds; round++) {
  await db.beginTransaction();
  for (let i = 0; i < keys; i++) void db.set([id, i], round);
  if (round % 2 === 0) void db.delete([id, round % keys]);
  await db.endTransaction();
  ({ version } = (await db.atomic().sum(["sum"], 1).set([id, "round"], round).commit()) as { version: number });
}
const { counts } = db.stats();
const wrong = (await db.listAll<number>([id])).filter(({ key, value }) => value !== rounds && key[1] !== rounds).length;
await db.close();
report({ version, errors, wrong, rebuilds: counts.rebuilds });
