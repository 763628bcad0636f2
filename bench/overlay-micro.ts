/**
 * `node --expose-gc bench/overlay-micro.ts [entries]`: the overlay beside what a transaction stages, each with rows as the engine makes
 * them. Nanoseconds of processor time an operation (all threads, so that the garbage collector's work counts), and bytes of memory an entry.
 */
import { encodeKey } from "../src/core/key.ts";
import type { OrderedView } from "../src/core/ordered-view.ts";
import { Overlay } from "../src/core/overlay.ts";
import { Row } from "../src/core/resolve.ts";
import { StagedRows } from "../src/core/staged-rows.ts";
import { shuffled } from "./entries.ts";

const entries = Number(process.argv[2] ?? 100_000);
const ROUNDS = 3;

type View = Pick<OrderedView<Row>, "get" | "cursor">;

interface Index extends OrderedView<Row> {
  write(key: string, row: Row): void;
  freeze(): View & { release?(): void };
}

class Staged extends StagedRows {
  write(key: string, row: Row): void {
    this.set(key, row);
  }
}

class Slab extends Overlay {
  constructor() {
    super({ seed: 1 });
  }

  write(key: string, row: Row): void {
    this.put(key, row);
  }
}

const order = [...shuffled(entries)];
let version = 0;
const rowOf = (deleted = false): Row =>
  new Row(++version, 0, 1.7e12 + version, 0, deleted, 20, 143, 1e10 + version * 200, undefined);
const keyOf = (i: number): string => encodeKey(["user", i]);

const results = new Map<string, number[]>();

function measure(name: string, count: number, work: () => void): void {
  const start = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(start);
  const nanoseconds = ((user + system) * 1e3) / count;
  results.set(name, [...(results.get(name) ?? []), nanoseconds]);
}

function scan(view: View): number {
  const cursor = view.cursor();
  let sum = 0;
  for (let ok = cursor.seek(""); ok; ok = cursor.next()) sum += cursor.value.valueLength + cursor.key.length;
  return sum;
}

function run(make: () => Index): void {
  globalThis.gc?.();
  const ascending = make();
  measure("insert, ascending keys", entries, () => {
    for (let i = 0; i < entries; i++) ascending.write(keyOf(i), rowOf());
    scan(ascending.freeze());
  });
  globalThis.gc?.();
  const before = process.memoryUsage();
  const index = make();
  measure("insert, random keys, then ordered", entries, () => {
    for (const i of order) index.write(keyOf(i), rowOf());
    scan(index);
  });
  globalThis.gc?.();
  const after = process.memoryUsage();
  const bytes = after.heapUsed + after.arrayBuffers - before.heapUsed - before.arrayBuffers;
  results.set("bytes an entry, key included", [bytes / entries]);
  measure("get", entries, () => {
    for (const i of order) if (index.get(keyOf(i)) === undefined) throw new Error("missing");
  });
  measure("get of a missing key", entries, () => {
    for (const i of order) if (index.get(encodeKey(["nobody", i])) !== undefined) throw new Error("found");
  });
  measure("update", entries, () => {
    for (const i of order) index.write(keyOf(i), rowOf());
  });
  measure("update, a freeze before each", entries, () => {
    for (const i of order) {
      const view = index.freeze();
      index.write(keyOf(i), rowOf());
      view.release?.();
    }
  });
  const held = index.freeze();
  measure("update beside a frozen version", entries, () => {
    for (const i of order) index.write(keyOf(i), rowOf());
  });
  measure("scan of the frozen version", entries, () => scan(held));
  held.release?.();
  measure("scan", entries, () => scan(index));
  measure("range of 100", entries / 10, () => {
    let found = 0;
    for (const i of order.slice(0, entries / 10)) {
      const view = index.freeze();
      const cursor = view.cursor();
      let ok = cursor.seek(keyOf(Math.min(i, entries - 100)));
      for (let n = 0; ok && n < 100; n++) {
        found += cursor.value.valueLength;
        ok = cursor.next();
      }
      view.release?.();
    }
    return found;
  });
  measure("insert one, look at the next one", entries, () => {
    for (const i of order) {
      const key = encodeKey(["user", i + 0.5]);
      index.write(key, rowOf());
      const cursor = index.cursor();
      if (!cursor.seek(key)) throw new Error("missing");
    }
  });
  measure("delete", entries, () => {
    for (const i of order) index.write(keyOf(i), rowOf(true));
  });
}

const kinds: Readonly<Record<string, () => Index>> = { staged: () => new Staged(), overlay: () => new Slab() };
const [only] = process.argv.slice(3);
if (only === undefined) {
  // Each in a process of its own: shared code would be compiled for both.
  const { execFileSync } = await import("node:child_process");
  const tables = Object.keys(kinds).map((kind) => {
    const args = ["--expose-gc", process.argv[1], String(entries), kind];
    return JSON.parse(execFileSync(process.execPath, args, { encoding: "utf8" })) as Record<string, number>;
  });
  console.log(`${entries.toLocaleString("en")} entries, ns of processor time an operation\n`);
  console.log(
    `${"".padEnd(38)}${Object.keys(kinds)
      .map((kind) => kind.padStart(10))
      .join("")}`,
  );
  for (const name of Object.keys(tables[0])) {
    console.log(`${name.padEnd(38)}${tables.map((table) => table[name].toFixed(0).padStart(10)).join("")}`);
  }
} else {
  for (let round = 0; round < ROUNDS; round++) run(kinds[only]);
  const best = [...results].map(([name, values]) => [name, Math.min(...values)]);
  console.log(JSON.stringify(Object.fromEntries(best)));
}
