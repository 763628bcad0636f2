/**
 * Real processes on one file: writers, a reader, a watcher. One writer is killed with SIGKILL in the middle of its work, another one starts.
 * At the end, a fresh process must find every commit that was acknowledged, with the version that was promised. Exit code 0: it did.
 */
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { Acknowledgements } from "./acknowledgements.ts";
import { Program } from "./program.ts";
import { type Found, prove } from "./proof.ts";
import { type Line, Terminal } from "./terminal.ts";
import { grouped, picture, type Row } from "./view.ts";

/** `--quick` tells the story in a fraction of the time, for tests. */
const PACE = process.argv.includes("--quick") ? 0.1 : 1;
const PICTURE_MS = 100;
/** A column of the charts. */
const COLUMN_MS = 250;

const terminal = new Terminal(process.stdout, process.env);
const folder = mkdtempSync(join(tmpdir(), "foliokv-demo-"));
const file = join(folder, "demo.db");
const began = performance.now();
const programs = new Set<Program>();
const rows: Row[] = [];
const events: Line[] = [];
const promised = new Map<string, Acknowledgements>();
/** Counts at the last measurement. */
const before = new Map<Row, number>();

process.once("exit", () => {
  for (const program of programs) program.signal("SIGKILL");
  terminal.keep();
  rmSync(folder, { recursive: true, force: true });
});
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(130));

try {
  process.exitCode = (await story()) ? 0 : 1;
} catch (error) {
  terminal.print("", [{ text: `  ${error instanceof Error ? error.message : String(error)}`, style: "red" }]);
  process.exitCode = 1;
}

async function story(): Promise<boolean> {
  const timers = [setInterval(measure, COLUMN_MS), setInterval(show, terminal.isLive ? PICTURE_MS : 1000)];
  const watcher = startWatcher();
  await started(watcher);
  const reader = startReader();
  const [anna, ben, carla] = ["anna", "ben", "carla"].map(startWriter);
  await Promise.all([anna, ben, carla].map(started));
  happened("three writers, a reader and a watcher are at work");

  await wait(5000 * PACE);
  ben.signal("SIGKILL");
  await ben.ended;
  end(ben, "killed", "acknowledged before SIGKILL");
  happened([{ text: `ben got SIGKILL`, style: "red" }, " in the middle of his work; nobody waits for him"]);

  await wait(2000 * PACE);
  const dora = startWriter("dora");
  await started(dora);
  happened("dora has started, on the file as ben left it");

  await wait(5000 * PACE);
  for (const writer of [anna, carla, dora]) await stop(writer, "acknowledged");
  await stop(reader, "committed, as the last sync saw it");
  await stop(watcher, "entries seen, each once");
  happened("all have stopped; a fresh process reads the file");
  const found = await audit();
  timers.forEach(clearInterval);
  show();
  terminal.keep();
  const seen = rows.find((row) => row.role === "watcher")?.count ?? 0;
  const proof = prove({ promised, found, seen, killed: "ben" });
  terminal.print(...proof.lines);
  return proof.holds;
}

// --- the processes ---------------------------------------------------------------------------------------------------

function startWriter(name: string): Program {
  const acknowledgements = new Acknowledgements();
  promised.set(name, acknowledgements);
  const row = newRow("writer", name, "acknowledged");
  return start("writer", name, [file, name], row, ([, number, version]) => {
    acknowledgements.add(number, version);
    row.count = acknowledgements.count;
  });
}

function startReader(): Program {
  const row = newRow("reader", "rosa", "");
  return start("reader", "rosa", [file], row, ([, result, applied, total]) => {
    row.count = Number(total) || 0;
    row.note = `read; sync: ${result}, ${applied} applied`;
  });
}

function startWatcher(): Program {
  const row = newRow("watcher", "walt", "");
  return start("watcher", "walt", [file], row, ([, seen, latest, ms]) => {
    row.count = Number(seen);
    row.note = `seen; ${latest} came after ${ms} ms`;
  });
}

function newRow(role: Row["role"], name: string, note: string): Row & { pid: number } {
  return { role, name, pid: 0, state: "works", count: 0, note, pace: [] };
}

function start(
  role: Row["role"],
  name: string,
  args: readonly string[],
  row: Row & { pid: number },
  line: (words: readonly string[]) => void,
): Program {
  const program = new Program(role, name, args, line);
  row.pid = program.pid;
  rows.push(row);
  programs.add(program);
  return program;
}

/** Resolves when a process has printed its first line: from then on it follows the file. */
async function started(program: Program): Promise<void> {
  await Promise.race([program.printed, program.ended.then((how) => Promise.reject(new Error(`ended with ${how}`)))]);
}

async function stop(program: Program, note: string): Promise<void> {
  await program.stop();
  end(program, "done", note);
}

function end(program: Program, state: Row["state"], note: string): void {
  programs.delete(program);
  const row = rows.find((each) => each.name === program.name);
  if (row !== undefined) Object.assign(row, { state, note });
}

// --- what is shown ---------------------------------------------------------------------------------------------------

function measure(): void {
  for (const row of rows) {
    row.pace.push(row.count - (before.get(row) ?? 0));
    before.set(row, row.count);
  }
}

function seconds(): number {
  return (performance.now() - began) / 1000;
}

function show(): void {
  const fileBytes = statSync(file, { throwIfNoEntry: false })?.size ?? 0;
  if (terminal.isLive) terminal.draw(picture({ seconds: seconds(), fileBytes, rows, events }, terminal.columns));
  else {
    const counts = rows.map(
      (row) => `${row.name} ${grouped(row.count)}${row.state === "works" ? "" : ` (${row.state})`}`,
    );
    terminal.print(
      `${seconds().toFixed(1).padStart(5)} s  ${counts.join("  ")}  file ${Math.round(fileBytes / 1000)} kB`,
    );
  }
}

function happened(event: Line): void {
  const at = `${seconds().toFixed(1).padStart(5)} s  `;
  const line: Line = [{ text: at, style: "dim" }, ...(typeof event === "string" ? [event] : event)];
  events.push(line);
  if (terminal.isLive) show();
  else terminal.print(line);
}

/** Asks a fresh process. */
async function audit(): Promise<Found> {
  const entries = new Map([...promised.keys()].map((name) => [name, new Map<string, string>()]));
  let total = 0;
  const auditor = new Program("auditor", "auditor", [file], ([what, ...words]) => {
    if (what === "total") total = Number(words[0]);
    else entries.get(words[0])?.set(words[1], words[2]);
  });
  const how = await auditor.ended;
  if (how !== "0") throw new Error(`the auditor ended with ${how}`);
  return { entries, total };
}
