/**
 * `npm run bench [-- --entries 100000 --rounds 3 --rows set,get --json file]`: foliokv beside node:sqlite on this machine. Every
 * measurement runs in a fresh process on a fresh file; within a round the peers take turns; the table shows medians and ratios.
 */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

interface Row {
  readonly label: string;
  readonly unit: "per second" | "ms";
  readonly measure: (peer: string) => Promise<number>;
}

const { values: given } = parseArgs({
  options: {
    entries: { type: "string", default: "100000" },
    rounds: { type: "string", default: "3" },
    rows: { type: "string" },
    json: { type: "string" },
  },
});
const entries = Number(given.entries);
const rounds = Number(given.rounds);
const PEERS = ["foliokv", "node:sqlite"] as const;
const PROCESSES = 4;

const rows: Readonly<Record<string, Row>> = {
  set: simple("awaited set, one after the other"),
  batch: simple("batches of 1000 in a transaction", "batch"),
  concurrent: simple("100 un-awaited sets at a time", "concurrent"),
  get: simple("random get, first pass", "get"),
  getAgain: simple("random get, second pass", "getAgain"),
  miss: simple("get of a missing key", "miss"),
  scan: simple("full scan with decoded values, entries", "scan"),
  ranges: simple("ranges of 100 with values", "ranges"),
  processes: { label: `${PROCESSES} processes, awaited sets, total`, unit: "per second", measure: severalProcesses },
  visibility: { label: "visibility in another process, median", unit: "ms", measure: visibility },
};

function simple(label: string, row = "set"): Row {
  return {
    label,
    unit: "per second",
    measure: (peer) => inFolder(async (file) => (await child([peer, row, file, String(entries)])).result.perSecond),
  };
}

/** All processes begin at one moment; the time runs from the first one's start to the last one's end. */
function severalProcesses(peer: string): Promise<number> {
  return inFolder(async (file) => {
    await child([peer, "batch", file, "1"]);
    const startAt = String(Date.now() + 1500);
    const parts = Array.from({ length: PROCESSES }, (_, part) =>
      child([peer, "processes", file, String(entries), String(part), String(PROCESSES), startAt]),
    );
    const results = (await Promise.all(parts)).map(({ result }) => result);
    const start = Math.min(...results.map((r) => r.start));
    const end = Math.max(...results.map((r) => r.end));
    return (entries / (end - start)) * 1000;
  });
}

function visibility(peer: string): Promise<number> {
  return inFolder(async (file) => {
    await child([peer, "batch", file, "1"]);
    let writing: Promise<unknown> | undefined;
    const watching = child([peer, "visibility", file, "1"], () => {
      writing = child([peer, "moments", file, "1"]);
    });
    const { result } = await watching;
    await writing;
    return result.medianMs;
  });
}

interface Finished {
  readonly result: Readonly<Record<string, number>>;
}

function child(args: readonly string[], ready?: () => void): Promise<Finished> {
  return new Promise((resolve, reject) => {
    const program = fileURLToPath(new URL("measure.ts", import.meta.url));
    const process_ = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", program, ...args], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    let last = "";
    createInterface({ input: process_.stdout }).on("line", (line) => {
      if (line === "ready") ready?.();
      else last = line;
    });
    process_.on("close", (code) => {
      if (code === 0) resolve({ result: JSON.parse(last) as Record<string, number> });
      else reject(new Error(`${args.join(" ")} ended with ${code}`));
    });
  });
}

async function inFolder<T>(work: (file: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), "foliokv-bench-"));
  try {
    return await work(join(folder, "bench.db"));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];

function show(value: number, unit: Row["unit"]): string {
  return unit === "ms" ? `${value.toFixed(3)} ms` : Math.round(value).toLocaleString("en");
}

const wanted = given.rows === undefined ? Object.keys(rows) : given.rows.split(",");
const unknown = wanted.find((name) => !Object.hasOwn(rows, name));
if (unknown !== undefined) throw new Error(`There is no row ${unknown}; there are ${Object.keys(rows).join(", ")}`);

console.log(
  `${entries.toLocaleString("en")} entries of about 150 bytes, ${rounds} rounds, Node ${process.versions.node}`,
);
console.log(`${cpus().length} cores, ${cpus()[0]?.model ?? "unknown"}\n`);
console.log(`${"".padEnd(42)}${PEERS.map((peer) => peer.padStart(14)).join("")}         ratio`);
const table: { row: string; unit: string; foliokv: number; "node:sqlite": number; ratio: number }[] = [];
for (const name of wanted) {
  const row = rows[name];
  const measured: Record<string, number[]> = { foliokv: [], "node:sqlite": [] };
  for (let round = 0; round < rounds; round++) {
    for (const peer of round % 2 === 0 ? PEERS : PEERS.toReversed()) measured[peer].push(await row.measure(peer));
  }
  const [ours, theirs] = PEERS.map((peer) => median(measured[peer]));
  const ratio = row.unit === "ms" ? theirs / ours : ours / theirs;
  table.push({ row: row.label, unit: row.unit, foliokv: ours, "node:sqlite": theirs, ratio });
  const cells = [ours, theirs].map((value) => show(value, row.unit).padStart(14)).join("");
  console.log(`${row.label.padEnd(42)}${cells}${`${ratio.toFixed(2)}x`.padStart(14)}`);
}
console.log("\nA ratio above 1 means that foliokv is ahead.");
if (given.json !== undefined) {
  writeFileSync(
    given.json,
    `${JSON.stringify({ entries, rounds, node: process.versions.node, table }, undefined, 2)}\n`,
  );
}
