import { describe, expect, it } from "vitest";
import { dueSlot, isTurn, newestRuns, runsToMerge } from "../../../src/adapters/object/merge-plan.ts";
import type { RootRun } from "../../../src/adapters/object/root.ts";

const KIB = 1024;
const MIB = 1024 * KIB;

const runs = (...sizes: readonly number[]): RootRun[] =>
  sizes.map((size, i) => {
    const slot = sizes.length - i;
    return { epoch: 0, from: slot, to: slot, random: "0".repeat(16), size, footerPlace: 0, batchIds: 0 };
  });

describe("a checkpoint is due", () => {
  const small = (): { readonly bytes: number } => ({ bytes: 1000 });

  it("at the sixteenth slot behind the last one, for good", () => {
    expect(dueSlot({ checkpointSlot: 5 }, 20, small)).toBeUndefined();
    expect(dueSlot({ checkpointSlot: 5 }, 21, small)).toBe(21);
    expect(dueSlot({ checkpointSlot: 5 }, 40, small)).toBe(21);
    expect(dueSlot({ checkpointSlot: 30 }, 40, small)).toBeUndefined();
    expect(dueSlot({ checkpointSlot: 30 }, 46, small)).toBe(46);
  });

  it("at the slot with which 4 MiB have gathered", () => {
    const large = (): { readonly bytes: number } => ({ bytes: MIB });
    expect(dueSlot({ checkpointSlot: 0 }, 3, large)).toBeUndefined();
    expect(dueSlot({ checkpointSlot: 0 }, 6, large)).toBe(4);
  });

  it("and seen to by the authors of that slot and of every eighth behind it", () => {
    const turns = Array.from({ length: 40 }, (_, slot) => slot).filter((slot) => isTurn(slot, 16));
    expect(turns).toEqual([16, 24, 32]);
  });
});

describe("runs are merged on demand", () => {
  it("all of them if they are not too large together, or else the newest that are not", () => {
    expect(newestRuns(runs(1, 2, 3), 6)).toEqual({ first: 0, count: 3 });
    expect(newestRuns(runs(1, 2, 3), 5)).toEqual({ first: 0, count: 2 });
    expect(newestRuns(runs(1, 9, 3), 5)).toBeUndefined();
    expect(newestRuns(runs(9, 4, 2, 3, 1), 5)).toEqual({ first: 2, count: 2 });
    expect(newestRuns(runs(4, 4, 1), 5)).toEqual({ first: 1, count: 2 });
    expect(newestRuns(runs(5), 5)).toBeUndefined();
    expect(newestRuns([], 5)).toBeUndefined();
  });
});

describe("runs are merged", () => {
  it("when there are eight of one size class, the newest eight", () => {
    expect(runsToMerge(runs(...Array<number>(7).fill(5000)), 16 * MIB)).toBeUndefined();
    expect(runsToMerge(runs(...Array<number>(8).fill(5000)), 16 * MIB)).toEqual({ first: 0, count: 8 });
    expect(runsToMerge(runs(...Array<number>(12).fill(5000)), 16 * MIB)).toEqual({ first: 0, count: 8 });
  });

  it("with smaller ones in between, and without smaller ones before", () => {
    const some = runs(100, 5000, 5000, 100, 5000, 5000, 5000, 5000, 5000, 5000, 90_000);
    expect(runsToMerge(some, 16 * MIB)).toEqual({ first: 1, count: 9 });
  });

  it("not across a larger one", () => {
    expect(runsToMerge(runs(5000, 5000, 5000, 5000, 90_000, 5000, 5000, 5000, 5000), 16 * MIB)).toBeUndefined();
  });

  it("by classes of powers of eight", () => {
    expect(runsToMerge(runs(4096, 32_767, 8000, 9000, 30_000, 5000, 6000, 7000), 16 * MIB)).toEqual({
      first: 0,
      count: 8,
    });
    expect(runsToMerge(runs(4095, 32_767, 8000, 9000, 30_000, 5000, 6000, 7000), 16 * MIB)).toBeUndefined();
  });

  it("if their sum is not above the bound", () => {
    const large = runs(...Array<number>(8).fill(2.5 * MIB));
    expect(runsToMerge(large, 16 * MIB)).toBeUndefined();
    expect(runsToMerge(large, Infinity)).toEqual({ first: 0, count: 8 });
  });
});
