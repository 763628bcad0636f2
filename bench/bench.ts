/**
 * `npm run bench [-- --entries 100000 --rounds 3 --rows set,get --peers lmdb --json file --markdown file]`: foliokv beside its peers on this machine.
 * The library is measured as its users get it: built, which `npm run bench` does first. Every measurement runs in a fresh process; within a round
 * the peers take turns; the table shows medians and ratios to the best peer. Peers that are packages are installed into this folder on first use.
 * `--rows` takes names of rows, or their beginnings up to a colon.
 *
 * `npm run bench -- growth [--entries 1000000]`: how the cost of foliokv grows with the number of entries.
 *
 * `npm run bench -- bucket [--entries 100000]`: requests and bytes of a database in a bucket, counted, and commits a second in simulated time.
 * `npm run bench -- workerd`: processor time and memory of a Worker's requests, in real workerd (on Linux).
 */
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { measureBucket } from "./bucket.ts";
import { measureGrowth } from "./growth.ts";
import type { Figures } from "./measure.ts";
import type { PeerKind } from "./peers/peer.ts";
import { headLine, machine, markdown, type Result, resultOf, tableLine } from "./report.ts";
import { type Row, rows } from "./rows.ts";
import { availablePeers, Databases, median, peersCalled } from "./runner.ts";

const { values: given, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    entries: { type: "string" },
    rounds: { type: "string" },
    rows: { type: "string" },
    peers: { type: "string" },
    json: { type: "string" },
    markdown: { type: "string" },
  },
});

const [command] = positionals;
if (command === "growth") await growth();
else if (command === "bucket") await bucket();
else if (command === "workerd") await workerd();
else if (command === undefined) await compare();
else throw new Error(`There is no command ${command}; there are growth, bucket and workerd`);

async function bucket(): Promise<void> {
  const table = await measureBucket(Number(given.entries ?? 100_000));
  console.log(table);
  save({ json: { table }, markdown: table });
}

async function workerd(): Promise<void> {
  // Nobody else needs Miniflare.
  const { measureWorkerd } = await import("./workerd.ts");
  const table = await measureWorkerd();
  console.log(table);
  save({ json: { table }, markdown: table });
}

async function growth(): Promise<void> {
  const entriesMax = Number(given.entries ?? 1_000_000);
  const rounds = Number(given.rounds ?? 1);
  console.log(`${machine()}\n`);
  using databases = new Databases();
  const { sizes, figures, table } = await measureGrowth(databases, { entriesMax, rounds });
  console.log(table);
  save({ json: { machine: machine(), rounds, sizes, figures }, markdown: table });
}

async function compare(): Promise<void> {
  const entries = Number(given.entries ?? 100_000);
  const rounds = Number(given.rounds ?? 3);
  const wanted = rowsCalled(given.rows);
  const { peers, missing } = await availablePeers(peersCalled(given.peers));
  console.log(`${entries.toLocaleString("en")} entries of about 143 bytes, medians of ${rounds} rounds`);
  console.log(machine());
  for (const { name, why } of missing) console.log(`${name} cannot be measured here: ${why}`);
  const names = peers.map(({ name }) => name);
  console.log(`\n${headLine(names)}`);
  const results: Result[] = [];
  using databases = new Databases();
  for (const [name, row] of wanted) {
    const measured = await measureRow(row, peers, { databases, entries, rounds });
    for (const line of row.lines) {
      const result = lineResult(name, line, measured);
      results.push(result);
      console.log(tableLine(result, names));
    }
  }
  console.log("\nA ratio above 1 means that foliokv is ahead of the best of the others.");
  save({
    json: { machine: machine(), entries, rounds, missing, results },
    markdown: markdown(results, names),
  });
}

type Measured = Readonly<Record<string, readonly Figures[]>>;

async function measureRow(
  row: Row,
  peers: readonly PeerKind[],
  { databases, entries, rounds }: { readonly databases: Databases; readonly entries: number; readonly rounds: number },
): Promise<Measured> {
  const taking = peers.filter(
    ({ name, shared }) => name === "foliokv" || row.peers === undefined || (row.peers === "shared" && shared),
  );
  const measured: Record<string, Figures[]> = Object.fromEntries(taking.map(({ name }) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    for (const { name } of round % 2 === 0 ? taking : taking.toReversed()) {
      measured[name].push(await row.measure(name, { databases, entries }));
    }
  }
  return measured;
}

function lineResult(name: string, line: Row["lines"][number], measured: Measured): Result {
  const figuresOf = (figure: string): Record<string, number[]> =>
    Object.fromEntries(
      Object.entries(measured).map(([peer, figures]) => [peer, figures.map((each) => each[figure] as number)]),
    );
  const { processor } = line;
  const processorUs =
    processor === undefined || Object.values(measured).some((figures) => figures[0]?.[processor] === undefined)
      ? undefined
      : Object.fromEntries(Object.entries(figuresOf(processor)).map(([peer, values]) => [peer, median(values)]));
  return resultOf(name, line, figuresOf(line.figure), processorUs, median);
}

function rowsCalled(names: string | undefined): [string, Row][] {
  if (names === undefined) return Object.entries(rows);
  return names.split(",").flatMap((name) => {
    const found = Object.entries(rows).filter(([each]) => each === name || each.startsWith(`${name}:`));
    if (found.length === 0) throw new Error(`There is no row ${name}; there are ${Object.keys(rows).join(", ")}`);
    return found;
  });
}

function save(what: { readonly json: unknown; readonly markdown: string }): void {
  if (given.json !== undefined) writeFileSync(given.json, `${JSON.stringify(what.json, undefined, 2)}\n`);
  if (given.markdown !== undefined) writeFileSync(given.markdown, what.markdown);
}
