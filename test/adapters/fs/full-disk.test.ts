import { rmSync, statSync, writeFileSync } from "node:fs";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import { KV, KVError } from "../../../src/index.node.ts";
import { smallDisk } from "../../support/small-disk.ts";

const MIB = 1024 * 1024;
const disk = smallDisk(2 * MIB);
if ("reason" in disk) console.warn(`Tests of a full disk are skipped: ${disk.reason}`);
else afterAll(() => disk[Symbol.dispose]());
const file = (name: string): string => ("reason" in disk ? name : disk.file(name));

// Of the test before an index may be left, and its file may still be in the closing.
beforeEach(async () => {
  if (!("reason" in disk)) await disk.empty();
});

/** Sets values one behind the other without awaiting; of each, what became of it. */
async function fill(db: KV, from: number, count: number, bytes: number): Promise<(number | KVError)[]> {
  const commits: Promise<number | KVError>[] = [];
  for (let i = from; i < from + count; i++) {
    commits.push(
      db.set([i], new Uint8Array(bytes).fill(i)).then(
        ({ version }) => version as number,
        (error: unknown) => error as KVError,
      ),
    );
  }
  return Promise.all(commits);
}

describe.skipIf("reason" in disk).each(["relaxed", "strict"] as const)("a full disk, %s", (durability) => {
  test("rejects what does not fit and all behind it, keeps what was acknowledged, and takes more once there is room", async () => {
    const path = file(`${durability}.db`);
    const ballast = file("ballast");
    writeFileSync(ballast, new Uint8Array(MIB));
    // What is saved beside it on closing would take the room of the next test.
    const noIndex = { sideIndex: false } as const;
    await using db = await KV.open(path, { durability, ...noIndex });
    const outcomes: (number | KVError)[] = [];
    // Several batches, the last of which is cut somewhere within.
    while (!outcomes.some((outcome) => outcome instanceof KVError)) {
      outcomes.push(...(await fill(db, outcomes.length, 7, 30_000)));
    }
    const committed = outcomes.findIndex((outcome) => outcome instanceof KVError);
    expect(committed).toBeGreaterThan(7);
    for (const outcome of outcomes.slice(committed)) {
      expect(outcome).toMatchObject({ code: "NoSpace", outcome: "not committed" });
    }
    // Smaller ones do not slip in, or each says that it did.
    const more = (await fill(db, 1000, 5, 30_000)).filter((outcome) => !(outcome instanceof KVError));
    expect(more).toEqual([]);

    for (const reader of [db, await KV.open(path, { readOnly: true }), await KV.open(path, noIndex)]) {
      expect(await reader.listKeys([])).toEqual(Array.from({ length: committed }, (_, i) => [i]));
      for (let i = 0; i < committed; i++) expect((await reader.getEntry([i]))?.version).toBe(outcomes[i]);
      expect(reader.stats().damage).toEqual([]);
      if (reader !== db) await reader.close();
    }

    rmSync(ballast);
    await db.set(["there is room"], true);
    await using other = await KV.open(path, noIndex);
    expect(await other.get(["there is room"])).toBe(true);
    expect(await other.count([])).toBe(committed + 1);
    // What has lost its name is closed in another thread: the next test would find its room taken for a while.
    for (const each of [db, other]) await each.close();
    rmSync(path);
  });
});

test.skipIf("reason" in disk)("what waits behind commits without room is not let in before them", async () => {
  const path = file("order.db");
  const ballast = file("ballast");
  writeFileSync(ballast, new Uint8Array(MIB));
  await using db = await KV.open(path);
  // More than one batch can hold, then one that would fit.
  const large = Array.from({ length: 3 }, (_, i) => db.set(["large", i], new Uint8Array(8 * MIB)));
  const small = db.set(["small"], 1);
  // There is room again the moment that anybody learns of it.
  const rejections = [
    large[0].catch((error: unknown) => {
      rmSync(ballast);
      return error;
    }),
    ...large.slice(1).map((commit) => commit.catch((error: unknown) => error)),
    small.catch((error: unknown) => error),
  ];
  for (const rejection of rejections) {
    expect(await rejection).toMatchObject({ code: "NoSpace", outcome: "not committed" });
  }
  expect(await db.count([])).toBe(0);
  await db.set(["small"], 2);
  await using other = await KV.open(path);
  expect(await other.listAll([])).toMatchObject([{ key: ["small"], value: 2 }]);
  for (const each of [db, other]) await each.close();
  rmSync(path);
});

test.skipIf("reason" in disk)("a ledger is not created without room, and is once there is some", async () => {
  const path = file("new.db");
  const ballast = file("ballast");
  for (let size = 2 * MIB; size > 0; size -= 4096) {
    try {
      writeFileSync(ballast, new Uint8Array(size));
      break;
    } catch {
      // Not even this fits: the rest of the disk is taken by what the other tests left.
    }
  }
  writeFileSync(path, "");
  await expect(KV.open(path)).rejects.toMatchObject({ code: "NoSpace" });
  expect(statSync(path).size).toBe(0);
  rmSync(ballast);
  await using db = await KV.open(path);
  await db.set(["there is room"], true);
  expect(await db.get(["there is room"])).toBe(true);
});
