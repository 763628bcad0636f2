import { join } from "node:path";
import { expect, test } from "vitest";
import { fsLedger } from "../../src/adapters/fs/index.ts";
import { nodeEnvironment } from "../../src/platform/environment-node.ts";
import { openWith } from "../support/database.ts";
import { inFolder } from "../support/folder.ts";

/** What the checksum of a value takes, in ms. A large one is checked when it is read, for its record and for the run. */
const VALUE_MS = 1;

/** The longest turn of a vacuum of some values of this size, if the checksum of each takes long, and nothing else takes any time. */
async function longestTurn(folder: string, bytes: number, count: number): Promise<number> {
  let elapsed = 0;
  let turnBegan = 0;
  let longest = 0;
  let isVacuuming = false;
  const crc32 = (checked: Uint8Array, seed?: number): number => {
    if (isVacuuming && checked.length >= bytes && checked.length < bytes + 100) elapsed += VALUE_MS;
    longest = Math.max(longest, elapsed - turnBegan);
    return nodeEnvironment.crc32(checked, seed);
  };
  const environment = { ...nodeEnvironment, crc32, monotonic: () => elapsed };
  await using db = await openWith(environment, fsLedger(join(folder, "a.db")));
  for (let i = 0; i < count; i++) void db.set(["n", i], new Uint8Array(bytes).fill(i));
  expect(await db.get(["n", count - 1])).toHaveLength(bytes);
  isVacuuming = true;
  const turn = (): void => {
    turnBegan = elapsed;
    if (isVacuuming) setImmediate(turn);
  };
  turn();
  await db.vacuum();
  isVacuuming = false;
  expect(elapsed).toBeGreaterThanOrEqual(count * VALUE_MS);
  return longest;
}

test.each([
  ["the first rows take long", 1000, 16],
  ["values are large", 64 * 1024, 60],
])("a vacuum gives way in time where %s", (_, bytes, count) =>
  inFolder(async (folder) => {
    // Four milliseconds, a row before the clock is looked at first, and the one that is under way when they are over.
    expect(await longestTurn(folder, bytes, count)).toBeLessThanOrEqual(4 + 2 * 3 * VALUE_MS);
  }),
);
