import { cpus, release, totalmem, type } from "node:os";
import type { Line, Unit } from "./rows.ts";

/** A line of the table, measured. */
export interface Result {
  readonly row: string;
  readonly label: string;
  readonly unit: Unit;
  /** Medians; of peers that were measured. */
  readonly medians: Readonly<Record<string, number>>;
  /** Every round. */
  readonly rounds: Readonly<Record<string, readonly number[]>>;
  /** Medians of the processor time of one operation, in microseconds. */
  readonly processorUs?: Readonly<Record<string, number>>;
  /** foliokv beside the best other peer; above 1 it is ahead. */
  readonly ratio?: number;
  readonly best?: string;
  readonly aim?: string;
  readonly reached?: boolean;
}

/** Less is better, of these. */
const isCost = (unit: Unit): boolean => unit !== "per second" && unit !== "x";

/** Puts the figures of all rounds together. */
export function resultOf(
  row: string,
  line: Line,
  rounds: Readonly<Record<string, readonly number[]>>,
  processor: Readonly<Record<string, number>> | undefined,
  median: (values: readonly number[]) => number,
): Result {
  const medians = Object.fromEntries(Object.entries(rounds).map(([peer, values]) => [peer, median(values)]));
  const { foliokv: ours, ...others } = medians;
  const cost = isCost(line.unit);
  const [best] = Object.entries(others).sort(([, a], [, b]) => (cost ? a - b : b - a));
  // A multiple, and memory that may be taken, are no race.
  const ratio =
    best === undefined || ours === undefined || line.unit === "x" ? undefined : cost ? best[1] / ours : ours / best[1];
  const { aim } = line;
  const reached =
    aim === undefined || ours === undefined
      ? undefined
      : "ratio" in aim
        ? ratio === undefined
          ? undefined
          : ratio >= aim.ratio
        : "atMost" in aim
          ? ours <= aim.atMost
          : ours >= aim.atLeast;
  return {
    row,
    label: line.label,
    unit: line.unit,
    medians,
    rounds,
    ...(processor === undefined ? {} : { processorUs: processor }),
    ...(ratio === undefined ? {} : { ratio, best: best[0] }),
    ...(aim === undefined ? {} : { aim: showAim(aim, line.unit) }),
    ...(reached === undefined ? {} : { reached }),
  };
}

function showAim(aim: NonNullable<Line["aim"]>, unit: Unit): string {
  if ("ratio" in aim) return `>= ${aim.ratio}x`;
  return "atMost" in aim ? `<= ${aim.atMost} ${unit}` : `>= ${aim.atLeast} ${unit}`;
}

/** A figure with as many digits as mean anything. */
export function show(value: number | undefined, unit: Unit): string {
  if (value === undefined) return "-";
  if (unit === "per second" || value >= 1000) return Math.round(value).toLocaleString("en");
  return value >= 100 ? value.toFixed(0) : value >= 1 ? value.toFixed(1) : value.toFixed(2);
}

const showRatio = ({ ratio }: Result): string => (ratio === undefined ? "" : `${ratio.toFixed(2)}x`);
const showReached = ({ reached }: Result): string => (reached === undefined ? "" : reached ? "yes" : "no");
const unitOf = ({ unit }: Result): string => (unit === "per second" ? "/s" : unit);

const LABEL_WIDTH = 46;
const CELL_WIDTH = 15;

export function headLine(peers: readonly string[]): string {
  const cells = [...peers, "ratio", "aim"].map((each) => each.padStart(CELL_WIDTH)).join("");
  return `${"".padEnd(LABEL_WIDTH)}${cells}`;
}

export function tableLine(result: Result, peers: readonly string[]): string {
  const label = `${result.label}, ${unitOf(result)}`.padEnd(LABEL_WIDTH);
  const cells = [...peers.map((peer) => show(result.medians[peer], result.unit)), showRatio(result), result.aim ?? ""];
  const reached = showReached(result);
  return `${label}${cells.map((each) => each.padStart(CELL_WIDTH)).join("")}  ${reached}`;
}

/** The same as a table for docs/BENCHMARKS.md. */
export function markdown(results: readonly Result[], peers: readonly string[]): string {
  const head = ["", ...peers, "ratio", "aim", "reached", "processor time of one: foliokv, least of others (us)"];
  const lines = results.map((result) => {
    const { processorUs } = result;
    const others = Object.entries(processorUs ?? {}).filter(([peer]) => peer !== "foliokv");
    const least = Math.min(...others.map(([, value]) => value));
    const processor =
      processorUs?.foliokv === undefined
        ? ""
        : `${show(processorUs.foliokv, "ms")}, ${Number.isFinite(least) ? show(least, "ms") : "-"}`;
    return [
      `${result.label}, ${unitOf(result)}`,
      ...peers.map((peer) => show(result.medians[peer], result.unit)),
      showRatio(result),
      result.aim ?? "",
      showReached(result),
      processor,
    ];
  });
  return markdownTable(head, lines);
}

export function markdownTable(head: readonly string[], lines: readonly (readonly string[])[]): string {
  const all = [head, head.map((_, i) => (i === 0 ? "---" : "--:")), ...lines];
  return all.map((cells) => `| ${cells.join(" | ")} |\n`).join("");
}

/** What it was measured on. */
export function machine(): string {
  const cores = cpus();
  const memory = Math.round(totalmem() / 2 ** 30);
  return `${cores.length} cores (${cores[0]?.model ?? "unknown"}), ${memory} GiB, ${type()} ${release()}, Node ${process.versions.node}`;
}
