import { bucketDefects } from "../simulation/bucket-defects.ts";
import { defects } from "../simulation/defects.ts";
import type { Change } from "../simulation/sources.ts";

/**
 * Defects of the database, put in while its files are loaded, that the checker has to find in what real processes record: they prove that the whole chain
 * has teeth. Most are some of those that the simulation has to find.
 */
export interface LiveDefect {
  readonly name: string;
  readonly ledger: "file" | "bucket";
  readonly changes: readonly Change[];
}

const ON_FILE = [
  "a commit is acknowledged before it is followed",
  "transactions check nothing",
  "what was written behind a seal is taken for committed",
];

const ON_BUCKET = [
  "what may still arrive is said not to be committed",
  "commits are not resolved against those before them in the batch",
];

/** What only a check of instants can find. */
export const staleReads: LiveDefect = {
  name: "a strong read does not follow",
  ledger: "file",
  changes: [
    {
      file: "core/freshness.ts",
      find: "if (strong) await this.followUntold(engine, { verify: true });",
      replace: "",
    },
  ],
};

export const liveDefects: readonly LiveDefect[] = [
  staleReads,
  ...ON_FILE.map((name) => ({ name, ledger: "file" as const, changes: changesOf(name, defects) })),
  ...ON_BUCKET.map((name) => ({ name, ledger: "bucket" as const, changes: changesOf(name, bucketDefects) })),
];

function changesOf(name: string, all: readonly { readonly name: string; readonly changes: readonly Change[] }[]) {
  const found = all.find((each) => each.name === name);
  if (found === undefined) throw new Error(`the simulation has no defect "${name}"`);
  return found.changes;
}
