import type { Figures } from "./measure.ts";
import { type Databases, measured, median, bytesIn } from "./runner.ts";
import { markdownTable, show } from "./report.ts";
import type { Unit } from "./rows.ts";

/** How the cost of foliokv grows with the number of entries. */

const SIZES = [1000, 10_000, 100_000, 1_000_000, 10_000_000];
const OPERATIONS = 50_000;

interface Cost {
  readonly label: string;
  readonly unit: Unit;
  readonly of: (figures: Figures) => number;
}

const costs: readonly Cost[] = [
  { label: "open, ms", unit: "ms", of: (f) => f.openMs },
  { label: "open, set one key, close, ms", unit: "ms", of: (f) => f.briefMs },
  { label: "awaited set of any of the keys, /s", unit: "per second", of: (f) => f.sets },
  { label: "random get, /s", unit: "per second", of: (f) => f.gets },
  { label: "random get, vacuumed, /s", unit: "per second", of: (f) => f.getsVacuumed },
  { label: "range of 100, /s", unit: "per second", of: (f) => f.ranges },
  { label: "range of 100, vacuumed, /s", unit: "per second", of: (f) => f.rangesVacuumed },
  { label: "vacuum, ms", unit: "ms", of: (f) => f.vacuumMs },
  { label: "vacuum, us an entry", unit: "ms", of: (f) => (f.vacuumMs * 1000) / f.entries },
  { label: "memory grown by opening, MiB", unit: "MiB", of: (f) => f.openMiB },
  { label: "memory grown by reading everything, MiB", unit: "MiB", of: (f) => f.readMiB },
  { label: "bytes on disk an entry", unit: "MB", of: (f) => f.bytes / f.entries },
  { label: "the same, vacuumed", unit: "MB", of: (f) => f.bytesVacuumed / f.entries },
];

/** Measures each size up to `entriesMax`, and returns the table. */
export async function measureGrowth(
  databases: Databases,
  options: { readonly entriesMax: number; readonly rounds: number },
): Promise<{ readonly sizes: readonly number[]; readonly figures: readonly Figures[]; readonly table: string }> {
  const sizes = SIZES.filter((size) => size <= options.entriesMax);
  const figures: Figures[] = [];
  for (const entries of sizes) {
    const rounds: Figures[] = [];
    for (let round = 0; round < options.rounds; round++) rounds.push(await measureSize(databases, entries));
    const names = Object.keys(rounds[0]);
    figures.push(Object.fromEntries(names.map((name) => [name, median(rounds.map((each) => each[name]))])));
    console.error(`${entries.toLocaleString("en")} entries measured`);
  }
  const lines = costs.map(({ label, unit, of }) => [label, ...figures.map((each) => show(of(each), unit))]);
  const table = markdownTable(["entries", ...sizes.map((size) => size.toLocaleString("en"))], lines);
  return { sizes, figures, table };
}

async function measureSize(databases: Databases, entries: number): Promise<Figures> {
  const task = { peer: "foliokv", entries, limit: OPERATIONS };
  return databases.within(databases.empty(), async (folder) => {
    const on = (work: "open" | "brief" | "gets" | "ranges" | "memory" | "setAnywhere" | "vacuum"): Promise<Figures> =>
      measured({ ...task, folder, work });
    await measured({ ...task, folder, work: "fill", order: "ordered" });
    const bytes = bytesIn(folder);
    const { openMs } = await on("open");
    const { openMiB } = await on("memory");
    const gets = await on("gets");
    const ranges = await on("ranges");
    const { briefMs } = await on("brief");
    const sets = await on("setAnywhere");
    const { vacuumMs } = await on("vacuum");
    const bytesVacuumed = bytesIn(folder);
    const getsVacuumed = await on("gets");
    const rangesVacuumed = await on("ranges");
    const { readMiB } = await on("memory");
    return {
      entries,
      openMs,
      briefMs,
      sets: sets.perSecond,
      gets: gets.first,
      getsVacuumed: getsVacuumed.first,
      ranges: ranges.perSecond,
      rangesVacuumed: rangesVacuumed.perSecond,
      vacuumMs,
      openMiB,
      readMiB,
      bytes,
      bytesVacuumed,
    };
  });
}
