/**
 * Makes many commits of all kinds, vacuums now and then, watches everything, and at the end compares what it was told and what it saw with what
 * the database holds. Every commit sets a key of its own, so that one that is lost, doubled or moved to another version shows.
 */
import { createHash } from "node:crypto";
import { KV, KVError, type WatchEntry } from "../../../src/index.node.ts";
import { argument, described, orders, report } from "./report.ts";

const { path, id, commits, vacuums } = argument<{ path: string; id: string; commits: number; vacuums: boolean }>();

const db = await KV.open(path);
const counts = { invalidated: 0, vacuums: 0, authored: 0, refused: 0, reloaded: 0 };
const problems: unknown[] = [];
db.on("sync", ({ result }) => {
  if (result === "ledgerInvalidated") counts.invalidated++;
});
db.on("error", (error) => problems.push(described(error)));

/** Version of each commit seen under its own key; of the shared keys the last one. */
const seen = new Map<string, number>();
let seenWrong = 0;
db.watch([], (entry: WatchEntry) => {
  if (entry.key === undefined) return void seenWrong++;
  const key = entry.key.join("/");
  const before = seen.get(key);
  // A key of one commit is told of once, reloaded or not; a shared one in order.
  if (before !== undefined && (entry.key.length === 2 || before >= entry.version)) seenWrong++;
  if ("reloaded" in entry) counts.reloaded++;
  seen.set(key, entry.version);
});

/** The version acknowledged for each commit; 0 where the call does not tell. */
const acknowledged = new Map<number, number>();
let next = 1;
let sums = 0;
const own = (n: number): { n: number; text: string } => ({ n, text: `the ${n}th of ${id}` });

async function set(): Promise<void> {
  const n = next++;
  const { version } = await db.set([id, n], own(n));
  acknowledged.set(n, version as number);
}

async function summed(): Promise<void> {
  const n = next++;
  const result = await db.atomic().set([id, n], own(n)).sum(["sum"], 1).sum(["big"], 3n).commit();
  if (!result.ok) throw new Error("a sum met a conflict");
  sums++;
  acknowledged.set(n, result.version);
}

async function staged(): Promise<void> {
  const n = next++;
  await db.beginTransaction();
  await db.set([id, n], own(n));
  await db.set(["last"], n);
  const { version } = await db.endTransaction();
  acknowledged.set(n, version as number);
}

async function transaction(): Promise<void> {
  const n = next++;
  await db.transaction(
    async (tx) => {
      tx.set(["counter"], ((await tx.get<number>(["counter"])) ?? 0) + 1);
      tx.set([id, n], own(n));
    },
    { timeoutMs: 120_000 },
  );
  acknowledged.set(n, 0);
}

/** The longest that one commit took, in ms. */
let longestMs = 0;
/** The longest that one transaction took, tries that were lost to others included. */
let longestTransactionMs = 0;

async function timed(commit: () => Promise<void>): Promise<number> {
  const began = performance.now();
  await commit();
  return performance.now() - began;
}

/** 40 commits: some of each kind, awaited one by one or all at once. */
async function block(): Promise<void> {
  const awaited = async (commit: () => Promise<void>): Promise<void> => {
    longestMs = Math.max(longestMs, await timed(commit));
  };
  await Promise.all(Array.from({ length: 20 }, () => awaited(next % 3 === 0 ? summed : set)));
  for (let i = 0; i < 5; i++) await awaited(set);
  for (let i = 0; i < 5; i++) await awaited(summed);
  for (let i = 0; i < 3; i++) await awaited(staged);
  for (let i = 0; i < 2; i++) longestTransactionMs = Math.max(longestTransactionMs, await timed(transaction));
  await Promise.all(Array.from({ length: 5 }, () => awaited(set)));
}

let writing = true;
async function vacuum(): Promise<void> {
  while (writing) {
    await new Promise((resolve) => setTimeout(resolve, 50 + Math.random() * 200));
    try {
      const { author } = await db.vacuum();
      counts.vacuums++;
      if (author) counts.authored++;
    } catch (error) {
      // Another one's vacuum came between: that is an answer too.
      if (!(error instanceof KVError) || error.code !== "LedgerSealed") throw error;
      counts.refused++;
    }
  }
}

report({ ready: true });
for await (const order of orders()) {
  if (order.do === "write") {
    const vacuumed = vacuums ? vacuum() : undefined;
    while (next <= commits) await block();
    writing = false;
    await vacuumed;
    report({ written: acknowledged.size, sums, longestMs, longestTransactionMs });
  } else if (order.do === "compare") {
    await db.sync();
    report(await compare());
    break;
  }
}
await db.close();
process.stdin.destroy();

async function compare(): Promise<object> {
  const entries = await db.listAll<{ n: number; text: string }>([]);
  const digest = createHash("sha256");
  let wrong = 0;
  let unseen = 0;
  const versions = new Map<string, number>();
  for (const { key, value, version } of entries) {
    const name = key.join("/");
    digest.update(`${version} ${name}\n`);
    versions.set(name, version as number);
    if (key.length === 2 && (value.n !== key[1] || value.text !== `the ${String(key[1])}th of ${String(key[0])}`))
      wrong++;
    // The watch began before anything was written.
    if (seen.get(name) !== version) unseen++;
  }
  for (const [n, version] of acknowledged) {
    const found = versions.get(`${id}/${n}`);
    if (found === undefined || (version !== 0 && found !== version)) wrong++;
  }
  return {
    count: entries.length,
    digest: digest.digest("hex"),
    wrong,
    unseen,
    seenWrong,
    seenMore: seen.size - entries.length,
    problems,
    ...counts,
  };
}
