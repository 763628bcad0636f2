/** Makes many commits of all kinds, watching everything meanwhile, and then compares what it was told with what the ledger says. */
import { createHash } from "node:crypto";
import { KV } from "../../../src/index.node.ts";
import { line, readBack } from "./history.ts";
import { argument, orders, report } from "./report.ts";

const { path, id, commits } = argument<{ path: string; id: string; commits: number }>();

const db = await KV.open(path);
const watched = createHash("sha256");
let watchedCount = 0;
db.watch([], (entry) => {
  watched.update(line(entry));
  watchedCount++;
});
/** The version acknowledged for each commit; 0 where the call does not tell. */
const acknowledged = new Map<number, number>();
let next = 1;

async function set(): Promise<void> {
  const n = next++;
  const { version } = await db.set([id, n], { n, text: `the ${n}th of ${id}` });
  acknowledged.set(n, version as number);
}

async function staged(): Promise<void> {
  const n = next++;
  await db.beginTransaction();
  await db.set([id, n], { n });
  await db.set([id, "last"], n);
  const { version } = await db.endTransaction();
  acknowledged.set(n, version as number);
}

async function summed(): Promise<void> {
  const n = next++;
  const result = await db.atomic().set([id, n], { n }).sum(["sum"], 1).commit();
  if (!result.ok) throw new Error("a sum met a conflict");
  acknowledged.set(n, result.version);
}

async function transaction(counter: readonly string[]): Promise<void> {
  const n = next++;
  await db.transaction(
    async (tx) => {
      const count = (await tx.get<number>(counter)) ?? 0;
      tx.set(counter, count + 1);
      tx.set([id, n], { n });
    },
    { timeoutMs: 60_000 },
  );
  acknowledged.set(n, 0);
}

/** 200 commits: some of each kind, awaited one by one or all at once. */
async function block(): Promise<void> {
  const unawaited: Promise<void>[] = [];
  for (let i = 0; i < 120; i++) unawaited.push(set());
  for (let i = 0; i < 20; i++) unawaited.push(summed());
  await Promise.all(unawaited);
  for (let i = 0; i < 40; i++) await set();
  for (let i = 0; i < 10; i++) await staged();
  for (let i = 0; i < 8; i++) await transaction([id, "counter"]);
  for (let i = 0; i < 2; i++) await transaction(["counter"]);
}

report({ ready: true });
for await (const order of orders()) {
  if (order.do === "write") {
    while (next <= commits) await block();
    report({ written: acknowledged.size });
  } else if (order.do === "compare") {
    await db.sync();
    const { count, digest, versions } = await readBack(db);
    let wrong = 0;
    for (const [n, version] of acknowledged) {
      const seen = versions.get(`${id}/${n}`);
      if (seen?.length !== 1 || (version !== 0 && seen[0] !== version)) wrong++;
    }
    report({ count, digest, watchedCount, watchedDigest: watched.digest("hex"), wrong });
    break;
  }
}
await db.close();
process.stdin.destroy();
