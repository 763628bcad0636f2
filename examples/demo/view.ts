import { bars, type Line, type Span, type Style } from "./terminal.ts";

/** One process, as it is shown. */
export interface Row {
  readonly role: "writer" | "reader" | "watcher";
  readonly name: string;
  readonly pid: number;
  /** What it is at, or how it ended. */
  state: "works" | "killed" | "done";
  /** The number that counts for it: acknowledged, visible, seen. */
  count: number;
  /** What the number counts, and whatever else there is to say. */
  note: string;
  /** How much the number grew in each of the last pieces of time. */
  readonly pace: number[];
}

const STYLES: Readonly<Record<Row["role"], Style>> = { writer: "cyan", reader: "green", watcher: "magenta" };
const MARKS: Readonly<Record<Row["state"], Span>> = {
  works: { text: "●", style: "green" },
  killed: { text: "✗", style: "red" },
  done: { text: "○", style: "dim" },
};

export interface Scene {
  readonly seconds: number;
  readonly fileBytes: number;
  readonly rows: readonly Row[];
  /** What has happened, oldest first. */
  readonly events: readonly Line[];
}

/** The whole picture, for a screen so many columns wide. */
export function picture({ seconds, fileBytes, rows, events }: Scene, columns: number): Line[] {
  const chart = Math.max(0, Math.min(40, columns - 75));
  // Writers are compared with each other, not with those who see what all of them write.
  const top = (role: Row["role"]): number =>
    Math.max(1, ...rows.filter((row) => row.role === role).flatMap((row) => row.pace.slice(-chart)));
  const processes = rows.filter((row) => row.state === "works").length;
  return [
    "",
    [
      { text: "  foliokv", style: "bold" },
      { text: `   one file, ${processes} processes, no server and no lock`, style: "dim" },
      { text: `   ${seconds.toFixed(1).padStart(4)} s`, style: "dim" },
    ],
    "",
    ...rows.map((row) => rowLine(row, chart, top(row.role))),
    "",
    [{ text: "  the file  ", style: "dim" }, `${(fileBytes / 1000).toFixed(0).padStart(13)} kB`],
    "",
    ...events.map((event): Line => ["  ", ...(typeof event === "string" ? [event] : event)]),
  ];
}

function rowLine(row: Row, chart: number, top: number): Line {
  const dead = row.state === "killed";
  return [
    "  ",
    MARKS[row.state],
    { text: ` ${row.role.padEnd(7)} ${row.name.padEnd(6)}`, style: dead ? "dim" : STYLES[row.role] },
    { text: `${row.pid}`.padStart(8), style: "dim" },
    "  ",
    { text: bars(row.pace, chart, top), style: dead ? "dim" : STYLES[row.role] },
    { text: grouped(row.count).padStart(9), style: "bold" },
    { text: ` ${row.note}`, style: dead ? "red" : undefined },
  ];
}

/** 1,234,567 */
export function grouped(number: number): string {
  return String(number).replaceAll(/\B(?=(\d{3})+$)/g, ",");
}
