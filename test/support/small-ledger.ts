import { readFileSync } from "node:fs";
import { KV } from "../../src/index.node.ts";

export interface SmallCommit {
  readonly key: readonly [string];
  readonly value: unknown;
  /** Offsets of its frame. */
  readonly from: number;
  readonly to: number;
}

/** A ledger of a few commits of different kinds, and where each lies. Each sets a key of its own. */
export async function makeSmallLedger(path: string): Promise<{ bytes: Uint8Array; commits: readonly SmallCommit[] }> {
  const values = [
    1.5,
    "a text",
    { list: [1, null, "x"] },
    new Uint8Array([0xfc, 0, 0, 0]),
    12345678901234567890n,
    true,
  ];
  await using db = await KV.open(path);
  const begun: Omit<SmallCommit, "to">[] = [];
  for (const [i, value] of values.entries()) {
    const key = [`key ${i}`] as const;
    const { version } = await db.set(key, value);
    // In a ledger that was never vacuumed, a version is an offset.
    begun.push({ key, value, from: version as number });
  }
  const bytes = new Uint8Array(readFileSync(path));
  return { bytes, commits: begun.map((commit, i) => ({ ...commit, to: begun[i + 1]?.from ?? bytes.length })) };
}

/** What a database holds of these commits: of each, the value or null. */
export function read(db: KV, commits: readonly SmallCommit[]): Promise<unknown[]> {
  return Promise.all(commits.map(({ key }) => db.get(key)));
}
