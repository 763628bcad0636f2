/**
 * What a sorted run does by itself, without the engine: `node bench/run-micro.ts [entries] [cache MiB]`. Values as in the other
 * benchmarks. The run is read in a process of its own, whose file the system has in memory.
 */
import { spawnSync } from "node:child_process";
import { closeSync, fstatSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BlockCache } from "../src/core/block-cache.ts";
import { BufferPool } from "../src/core/buffer-pool.ts";
import type { BytesAt } from "../src/core/bytes-at.ts";
import { encodeKey } from "../src/core/key.ts";
import { Row } from "../src/core/resolve.ts";
import { Run } from "../src/core/run.ts";
import { RunBuilder } from "../src/core/run-builder.ts";
import { PointLookups } from "../src/core/run-lookup.ts";
import { PointReads } from "../src/core/run-points.ts";
import { decodeValue, encodeValue } from "../src/core/value.ts";
import { nodeEnvironment } from "../src/platform/environment-node.ts";
import { entryOf, shuffled } from "./entries.ts";

const numbers = process.argv.slice(2).filter((each) => !each.startsWith("--"));
const entries = Number(numbers[0] ?? 1_000_000);
const cacheBytes = Number(numbers[1] ?? 32) * 1024 * 1024;
const references = process.argv.includes("--references");
const { crc32 } = nodeEnvironment;

/** Given to the reading process. */
const given = process.argv.find((each) => each.startsWith("--read="))?.slice("--read=".length);
const folder = given === undefined ? mkdtempSync(join(tmpdir(), "run-micro-")) : "";
const path = given ?? join(folder, "run");

function report(name: string, value: number, unit: string): void {
  console.log(`${name.padEnd(34)} ${value >= 100 ? Math.round(value).toLocaleString("en") : value.toFixed(2)} ${unit}`);
}

/** Per second, and per second of processor time, which others on the machine disturb less. */
function rate(name: string, count: number, work: () => void): void {
  const start = performance.now();
  const before = process.cpuUsage();
  work();
  const elapsed = performance.now() - start;
  const { user, system } = process.cpuUsage(before);
  const perCpuSecond = Math.round((count / (user + system)) * 1e6).toLocaleString("en");
  report(name, (count / elapsed) * 1000, `/s, ${perCpuSecond} per second of processor time`);
}

function build(): number {
  const file = openSync(path, "w");
  const builder = new RunBuilder({ crc32, Lookups: PointLookups, sink: (chunk) => void writeSync(file, chunk) });
  const begin = Date.UTC(2026, 0, 1);
  let valueBytes = 0;
  let longest = 0;
  const heap = process.memoryUsage.rss();
  const start = performance.now();
  for (let i = 0; i < entries; i++) {
    const value = encodeValue(entryOf(i));
    valueBytes += value.length;
    const row = new Row(1000 + i * 250, 0, begin + Math.floor(i / 80), 0, false, 20, value.length, i * 250, undefined);
    builder.add(encodeKey(["user", i]), row, references ? undefined : value);
  }
  const added = performance.now();
  const finishing = builder.finish({ base: 0, upto: 1000 + entries * 250 });
  for (;;) {
    const before = performance.now();
    const step = finishing.next();
    longest = Math.max(longest, performance.now() - before);
    if (step.done === true) {
      report("bytes an entry", builder.length / entries, `B, of which values ${(valueBytes / entries).toFixed(1)} B`);
      report("build, encoding the values", (entries / (performance.now() - start)) * 1000, "/s");
      break;
    }
  }
  report("  finishing it", performance.now() - added, "ms");
  report("  longest step of finishing", longest, "ms");
  report("  resident memory grew by", (process.memoryUsage.rss() - heap) / 1024 / 1024, "MiB");
  closeSync(file);
  return entries;
}

class FileBytes implements BytesAt {
  readonly smallReads = true;
  readonly file = openSync(path, "r");
  reads = 0;

  read(place: number, length: number, target?: Uint8Array): Uint8Array {
    this.reads++;
    const into = target ?? new Uint8Array(length);
    const count = readSync(this.file, into, 0, length, place);
    return count === into.length ? into : into.subarray(0, count);
  }
}

function open(): { readonly run: Run; readonly bytes: FileBytes; readonly cache: BlockCache } {
  const bytes = new FileBytes();
  const cache = new BlockCache(cacheBytes, BufferPool);
  const run = Run.open(bytes, { Lookups: PointReads, crc32, cache, name: "run", length: fstatSync(bytes.file).size });
  return { run, bytes, cache };
}

function get(run: Run, i: number): void {
  const row = run.get(encodeKey(["user", i]));
  if (row === undefined || row.version !== 1000 + i * 250) throw new Error(`entry ${i} is missing`);
  if (!references && (decoded(row) as { readonly age: number }).age !== 18 + (i % 60))
    throw new Error(`entry ${i} is another`);
}

function decoded(row: Row): unknown {
  return row.home?.value(row);
}

function gets(run: Run): void {
  for (const i of shuffled(entries)) get(run, i);
}

function scan(run: Run, decode: boolean): void {
  const cursor = run.cursor();
  let count = 0;
  let previous = "";
  for (let ok = cursor.seek(""); ok; ok = cursor.next()) {
    if (cursor.key <= previous) throw new Error("order");
    previous = cursor.key;
    if (decode && (decoded(cursor.value) as { readonly age: number }).age >= 0) count++;
    else if (!decode) count++;
  }
  if (count !== entries) throw new Error(`${count} entries`);
}

function backward(run: Run): void {
  const cursor = run.cursor();
  let count = 0;
  for (let ok = cursor.seekBefore(undefined); ok; ok = cursor.previous()) count++;
  if (count !== entries) throw new Error(`${count} entries`);
}

function ranges(run: Run, count: number): void {
  let left = count;
  for (const i of shuffled(entries - 100)) {
    const upper = encodeKey(["user", i + 100]);
    const cursor = run.cursor();
    let found = 0;
    for (let ok = cursor.seek(encodeKey(["user", i])); ok && cursor.key < upper; ok = cursor.next()) {
      if (references) found++;
      else if ((decoded(cursor.value) as { readonly age: number }).age >= 0) found++;
    }
    if (found !== 100) throw new Error("a range is incomplete");
    if (--left === 0) return;
  }
}

/** Resident memory, and what of it the runtime accounts to objects (garbage included) and to buffers. */
function memory(): void {
  const { rss, heapTotal, arrayBuffers } = process.memoryUsage();
  const mebibytes = (bytes: number): string => (bytes / 1024 / 1024).toFixed(0);
  report(
    "  resident memory",
    rss / 1024 / 1024,
    `MiB: heap ${mebibytes(heapTotal)}, buffers ${mebibytes(arrayBuffers)}`,
  );
}

function measure(): void {
  memory();
  {
    const times: number[] = [];
    for (let i = 0; i < 20; i++) {
      const start = performance.now();
      const { bytes } = open();
      times.push(performance.now() - start);
      closeSync(bytes.file);
    }
    report("open, the first time", times[0], "ms");
    report("open, median", times.sort((a, b) => a - b)[10], "ms");
    memory();
  }
  {
    const { run, cache, bytes } = open();
    rate("get, first pass", entries, () => gets(run));
    report("  reads a get", bytes.reads / entries, "");
    bytes.reads = 0;
    rate("get, second pass", entries, () => gets(run));
    report("  reads a get", bytes.reads / entries, "");
    rate("get of a missing key, first pass", entries, () => misses(run));
    rate("get of a missing key, second pass", entries, () => misses(run));
    report("  cache holds", cache.stats().bytes / 1024 / 1024, "MiB");
    memory();
    run.release();
    rate("scan with decoded values", entries, () => scan(run, !references));
    rate("scan with decoded values, again", entries, () => scan(run, !references));
    rate("scan of keys", entries, () => scan(run, false));
    rate("scan backward, counting", entries, () => backward(run));
    memory();
    const count = Math.floor(Math.min(entries / 20, 20_000));
    rate("ranges of 100, first pass", count, () => ranges(run, count));
    rate("ranges of 100, second pass", count, () => ranges(run, count));
    closeSync(bytes.file);
  }
  memory();
}

function misses(run: Run): void {
  let found = 0;
  // Keys that lie between those that are there: nothing but the hash tells them apart.
  for (let i = 0; i < entries; i++) if (run.get(encodeKey(["user", i + 0.5])) !== undefined) found++;
  if (found > 0) throw new Error("found what is not there");
}

/** What the rows above contain that is not the run's: making the key, decoding the value. */
function baseline(): void {
  const count = Math.min(entries, 100_000);
  const values = Array.from({ length: count }, (_, i) => encodeValue(entryOf(i)).slice());
  for (let pass = 0; pass < 2; pass++) {
    rate("baseline: decode a value", count, () => {
      for (const value of values) decodeValue(value);
    });
    rate("baseline: encode a key", count, () => {
      for (let i = 0; i < count; i++) if (encodeKey(["user", i]).length === 0) throw new Error("no key");
    });
  }
}

if (given === undefined) {
  build();
  spawnSync(process.execPath, [...process.argv.slice(1), `--read=${path}`], { stdio: "inherit" });
  rmSync(folder, { recursive: true });
} else {
  measure();
  baseline();
}
