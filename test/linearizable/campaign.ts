/**
 * `npm run check:linearizable -- [--files N] [--buckets N] [--seed S] [--controls no]`: so many runs of real processes on a file, and on a bucket, from
 * that seed on, each recorded and checked. Before, the checker has to reject what is wrong. One line a run, then the sum. Ends with 1 if anything is wrong, with
 * 2 if nothing is but some history could not be decided in time. What is no good is kept in .cache/linearizable/violations.
 */
import { cpSync, mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Random } from "../simulation/random.ts";
import { temporaryFolder } from "../support/folder.ts";
import { type S3Server, s3Server } from "../support/s3-server.ts";
import { judge, type Verdict } from "./checker.ts";
import { controls, History, undecidable } from "./controls.ts";
import { type LiveDefect, liveDefects } from "./defects.ts";
import type { Line } from "./history.ts";
import { drawProfile, eventfulProfile, type Profile } from "./profile.ts";
import { type Run, run, type RunOptions, writeHistory } from "./run.ts";

const { values } = parseArgs({
  options: {
    files: { type: "string", default: "200" },
    buckets: { type: "string", default: "20" },
    seed: { type: "string", default: "1" },
    timeout: { type: "string", default: "60s" },
    controls: { type: "string", default: "yes" },
  },
});
const { CHECKER: checker = "", VIOLATIONS: violations = "" } = process.env;
if (checker === "" || violations === "") throw new Error("run by npm run check:linearizable");
/** Runs on a bucket wait for most of their time. */
const BUCKETS_AT_ONCE = 3;
/** Runs within which a defect has to be found. */
const TRIES_MAX = 20;

const counts = { ok: 0, violation: 0, unknown: 0, rejected: 0, operations: 0, kills: 0, vacuums: 0 };
const first = Number(values.seed);
const seeds = (count: string): number[] => Array.from({ length: Number(count) }, (_, i) => first + i);
await using server = Number(values.buckets) > 0 ? await s3Server() : undefined;

if (values.controls !== "no") {
  await rejectSpoilt();
  for (const defect of liveDefects) {
    if (defect.ledger === "file" || server !== undefined) await findDefect(defect);
  }
}
for (const seed of seeds(values.files)) await one("file", seed);
if (server !== undefined) {
  const left = seeds(values.buckets);
  const some = async (): Promise<void> => {
    for (let seed = left.shift(); seed !== undefined; seed = left.shift()) await one("bucket", seed, server);
  };
  await Promise.all(Array.from({ length: BUCKETS_AT_ONCE }, some));
}

const { ok, violation, unknown, rejected, operations, kills, vacuums } = counts;
console.log(
  `\n${ok + violation + unknown} histories: ${ok} linearizable, ${violation} not, ${unknown} undecided; ${operations} operations, ${kills} processes ` +
    `killed, ${vacuums} vacuums; ${rejected} wrong ones rejected before`,
);
process.exitCode = violation > 0 ? 1 : unknown > 0 ? 2 : 0;

async function one(ledger: "file" | "bucket", seed: number, on?: S3Server): Promise<void> {
  const profile = drawProfile(ledger, new Random(seed));
  const began = performance.now();
  const { verdict, record } = await recorded(`${ledger}-${seed}`, { profile, seed, ...(on && { server: on }) });
  const result = record.problems.length > 0 ? "violation" : verdict.result;
  counts[result]++;
  counts.operations += verdict.operations;
  counts.kills += record.kills;
  counts.vacuums += record.vacuums;
  const { keys, processes, small } = profile;
  console.log(
    `${ledger} ${seed}: ${keys === "single" ? "single keys" : "several keys"}${small ? ", all small" : ""}, ${processes.length} processes, ` +
      `${record.kills} killed, ${record.vacuums} vacuums, ${verdict.operations} operations, ${verdict.unknown} of unknown outcome` +
      `${record.events.length > 0 ? ` (${record.events.join(", ")})` : ""}: ${named(result)}; ` +
      `${seconds(performance.now() - began)}, checked in ${seconds(verdict.ms)}`,
  );
  for (const line of [...record.problems, ...(verdict.why ?? [])]) console.log(`  ${line}`);
}

/** Runs, and keeps what is no good under that name. */
async function recorded(
  name: string,
  options: Omit<RunOptions, "folder">,
): Promise<{ readonly verdict: Verdict; readonly record: Run }> {
  using folder = temporaryFolder();
  const record = await run({ ...options, folder: folder.path });
  const history = folder.file("history.jsonl");
  const { profile, seed } = options;
  writeHistory(history, profile, record.lines, { seed, profile });
  const verdict = await judge(checker, history, { timeout: values.timeout, html: folder.file("history.html") });
  if (options.defect === undefined && (verdict.result !== "ok" || record.problems.length > 0)) {
    const kept = join(violations, name);
    rmSync(kept, { recursive: true, force: true });
    mkdirSync(violations, { recursive: true });
    cpSync(folder.path, kept, { recursive: true });
    console.log(`kept: ${kept}`);
  }
  return { verdict, record };
}

/** Of one history that is good, the checker must say so; of each that is made of it by spoiling something, that it is not. */
async function rejectSpoilt(): Promise<void> {
  using folder = temporaryFolder();
  const profile = eventfulProfile("file");
  const { lines } = await run({ profile, seed: first, folder: folder.path });
  const tell = async (spoilt: readonly Line[], timeout = values.timeout): Promise<Verdict> => {
    writeHistory(folder.file("history.jsonl"), profile, spoilt, {});
    return await judge(checker, folder.file("history.jsonl"), { timeout });
  };
  must("a history as it was recorded", "ok", await tell(lines));
  must("a history with more orders than can be tried", "unknown", await tell(undecidable(), "500ms"));
  const history = new History(lines);
  for (const { name, spoil } of controls) {
    const spoilt = spoil(history);
    if (spoilt === undefined) throw new Error(`the history has no place to spoil for: ${name}`);
    must(name, "violation", await tell(spoilt));
  }
}

async function findDefect({ name, ledger, changes }: LiveDefect): Promise<void> {
  const profile: Profile = eventfulProfile(ledger);
  for (let i = 0; i < TRIES_MAX; i++) {
    const seed = first + i;
    const on = ledger === "bucket" ? { server: server as S3Server } : {};
    const { verdict } = await recorded(name, { profile, seed, defect: changes, ...on });
    if (verdict.result === "violation") return must(`${name} (${ledger}), in run ${i + 1}`, "violation", verdict);
  }
  must(`${name} (${ledger}), in ${TRIES_MAX} runs`, "violation", { result: "ok", operations: 0, unknown: 0, ms: 0 });
}

function must(name: string, expected: Verdict["result"], { result, why }: Verdict): void {
  console.log(`control: ${name}: ${named(result)}${why === undefined ? "" : `: ${why[0]}`}`);
  if (result !== expected) {
    console.log(`the checker has no teeth: this had to be ${named(expected)}`);
    process.exit(1);
  }
  if (result === "violation") counts.rejected++;
}

function named(result: Verdict["result"]): string {
  return { ok: "linearizable", violation: "NOT LINEARIZABLE", unknown: "undecided" }[result];
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}
