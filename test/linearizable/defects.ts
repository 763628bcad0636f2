import { bucketDefects } from "../simulation/bucket-defects.ts";
import { defects } from "../simulation/defects.ts";
import type { Change } from "../simulation/sources.ts";

/**
 * Defects of the database, put in while its files are loaded, that the checker has to find in what real processes record: they prove that the whole chain
 * has teeth. Some are of those that the simulation has to find.
 */
export interface LiveDefect {
  readonly name: string;
  readonly ledger: "file" | "bucket";
  readonly changes: readonly Change[];
}

/** What only instants can show. */
const followsNothing: Change = {
  file: "core/freshness.ts",
  find: "if (strong) await this.followUntold(engine, { verify: true });",
  replace: "if (strong) await undefined;",
};

export const ownDefects: readonly LiveDefect[] = [
  { name: "a strong read does not follow", ledger: "file", changes: [followsNothing] },
  { name: "a strong read does not follow", ledger: "bucket", changes: [followsNothing] },
  {
    name: "a write whose answer was lost is said not to be committed",
    ledger: "bucket",
    changes: [
      {
        file: "adapters/object/settle.ts",
        find: `let isContradicted = answer.status === "exists";`,
        replace: `if (answer.status === "ambiguous") { batch.ambiguous = false; throw this.#unsettled(batch, answer.error); } let isContradicted = answer.status === "exists";`,
      },
    ],
  },
];

const ON_FILE = [
  "a commit is acknowledged before it is followed",
  "a read that waits sees what was called later",
  "transactions check nothing",
  "what was written behind a seal is taken for committed",
];

const ON_BUCKET = ["commits are not resolved against those before them in the batch"];

export const liveDefects: readonly LiveDefect[] = [
  ...ownDefects,
  ...ON_FILE.map((name): LiveDefect => ({ name, ledger: "file", changes: changesOf(name, defects) })),
  ...ON_BUCKET.map((name): LiveDefect => ({ name, ledger: "bucket", changes: changesOf(name, bucketDefects) })),
];

function changesOf(
  name: string,
  all: readonly { readonly name: string; readonly changes: readonly Change[] }[],
): readonly Change[] {
  const found = all.find((each) => each.name === name);
  if (found === undefined) throw new Error(`the simulation has no defect "${name}"`);
  return found.changes;
}
