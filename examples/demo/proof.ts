import type { Acknowledgements, Comparison } from "./acknowledgements.ts";
import type { Line } from "./terminal.ts";
import { grouped } from "./view.ts";

/** What a fresh process found. */
export interface Found {
  /** Versions by number, by writer. */
  readonly entries: ReadonlyMap<string, ReadonlyMap<string, string>>;
  /** What every commit has counted in. */
  readonly total: number;
}

export interface Evidence {
  readonly promised: ReadonlyMap<string, Acknowledgements>;
  readonly found: Found;
  /** Entries that the watcher was told of. */
  readonly seen: number;
  /** The one writer that may have committed more than it could acknowledge. */
  readonly killed: string;
}

/** Compares what was promised with what was found: a table, the claims, and whether all of them hold. */
export function prove({ promised, found, seen, killed }: Evidence): {
  readonly lines: Line[];
  readonly holds: boolean;
} {
  const rows = [...promised].map(([name, acknowledgements]) => {
    return { name, ...acknowledgements.compare(found.entries.get(name) ?? new Map()) };
  });
  const all = rows.reduce(add);
  const entries = all.present + all.beyond;
  const claims: [claim: string, holds: boolean][] = [
    [
      "every acknowledged commit is there, with the version that was promised",
      rows.every((row) => row.acknowledged > 0 && row.sameVersion === row.acknowledged),
    ],
    [
      "beyond them there is only what the killed writer had under way",
      rows.every((row) => row.beyond === 0 || row.name === killed),
    ],
    [
      `the total that all commits counted in is ${grouped(found.total)}, the number of entries`,
      found.total === entries,
    ],
    [`the watcher was told of ${grouped(seen)} entries, each of them once`, seen === entries],
  ];
  const holds = claims.every((claim) => claim[1]);
  return {
    holds,
    lines: [
      "",
      [{ text: `  ${cells("writer", "acknowledged", "found", "same version")}`, style: "dim" }],
      ...rows.map((row): Line => [
        `  ${numbers(row)}`,
        { text: row.beyond === 0 ? "" : `   ${row.beyond} more, unacknowledged`, style: "dim" },
      ]),
      [{ text: `  ${numbers({ ...all, name: "all" })}`, style: "bold" }],
      "",
      ...claims.map(([claim, is]): Line => [{ text: is ? "  ✓ " : "  ✗ ", style: is ? "green" : "red" }, claim]),
      "",
      holds
        ? [{ text: "  Nothing that was acknowledged is lost.", style: "green" }]
        : [{ text: "  The proof does not hold.", style: "red" }],
    ],
  };
}

type Row = Comparison & { readonly name: string };

function add(left: Row, right: Row): Row {
  return {
    name: left.name,
    acknowledged: left.acknowledged + right.acknowledged,
    present: left.present + right.present,
    sameVersion: left.sameVersion + right.sameVersion,
    beyond: left.beyond + right.beyond,
  };
}

function numbers({ name, acknowledged, present, sameVersion }: Row): string {
  return cells(name, grouped(acknowledged), grouped(present), grouped(sameVersion));
}

function cells(name: string, ...rest: readonly string[]): string {
  return name.padEnd(8) + rest.map((each) => each.padStart(15)).join("");
}
