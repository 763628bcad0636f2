import { expect, test } from "vitest";
import { manyWriters } from "../support/many-writers.ts";

/** A multiple of 200. */
const COMMITS = 20_000;

test("four processes find each other's commits exactly once, in one order, watched live and read back", async () => {
  const { ids, result, reports } = await manyWriters({ processes: 4, commits: COMMITS });
  for (const report of reports) {
    expect(report).toEqual({
      count: result.count,
      digest: result.digest,
      watchedCount: result.count,
      watchedDigest: result.digest,
      wrong: 0,
    });
  }
  const keys = ids.flatMap((id) => Array.from({ length: COMMITS }, (_, i) => `${id}/${i + 1}`));
  expect(keys.filter((key) => result.versions.get(key)?.length !== 1)).toEqual([]);
  expect(result.counter).toBe((4 * COMMITS) / 100);
  expect(result.sum).toBe((4 * COMMITS) / 10);
  expect(result.damage).toEqual([]);
}, 180_000);
