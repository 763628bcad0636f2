import { describe, expect, test } from "vitest";
import { decodeCommit, VALUE_HEADER_BYTES } from "../../src/core/commit.ts";
import type { Ledger, LedgerCommit } from "../../src/core/ledger.ts";
import { KV } from "../../src/index.node.ts";
import { macrotask, withMembers } from "../support/database.ts";
import { swapLedger } from "../support/swap-ledger.ts";

const LARGE = "x".repeat(20_000);

/** A ledger that leaves the bytes of large values out of what it hands up, and how often it was asked for the whole. */
function partialLedger(): { readonly ledger: Ledger; completed: number; failing: number } {
  const { ledger } = swapLedger();
  const made = {
    completed: 0,
    failing: 0,
    ledger: {
      ...ledger,
      open: async (...given: Parameters<Ledger["open"]>) => {
        const session = await ledger.open(...given);
        const wholes = new Map<number, Uint8Array>();
        const withHoles = (commit: LedgerCommit): LedgerCommit => {
          const payload = commit.payload.slice();
          let isPartial = false;
          for (const { valueOffset, valueLength } of decodeCommit(payload).operations) {
            if (valueLength < 16_000) continue;
            const from = valueOffset + VALUE_HEADER_BYTES;
            payload.fill(0, from + 1, from + valueLength);
            isPartial = true;
          }
          if (!isPartial) return commit;
          wholes.set(commit.version, commit.payload);
          return { ...commit, payload, isPartial };
        };
        return withMembers(session, {
          read: async (position, budget) => {
            const result = await session.read(position, budget);
            return { ...result, commits: result.commits.map(withHoles) };
          },
          complete: async ({ version }) => {
            await macrotask();
            if (made.failing-- > 0) throw new Error("no answer");
            made.completed++;
            return wholes.get(version) as Uint8Array;
          },
        });
      },
    } satisfies Ledger,
  };
  return made;
}

const still = { autoSync: false } as const;

describe("commits that a ledger hands up in part", () => {
  test("are completed before a watch is told of them, and not for anybody else", async () => {
    const made = partialLedger();
    await using db = await KV.open(made.ledger, still);
    await using other = await KV.open(made.ledger, still);
    await db.set(["large"], LARGE);
    await other.sync();
    expect(await other.get(["large"])).toBe(LARGE);
    expect(made.completed).toBe(0);
    const seen: unknown[] = [];
    other.watch([], ({ value }) => seen.push(value));
    await db.atomic().set(["small"], 1).set(["large"], `${LARGE}!`).commit();
    await db.set(["after"], 2);
    await other.sync();
    expect(seen).toEqual([1, `${LARGE}!`, 2]);
    expect(made.completed).toBe(1);
    expect(await other.get(["large"])).toBe(`${LARGE}!`);
  });

  test("that cannot be completed now are told of by a later round, each once and in order", async () => {
    const made = partialLedger();
    await using db = await KV.open(made.ledger, still);
    await using other = await KV.open(made.ledger, still);
    const seen: unknown[] = [];
    other.watch([], ({ key, value }) => seen.push([key?.[0], String(value).length]));
    await Promise.all([db.set(["a"], 1), db.set(["large"], LARGE), db.set(["b"], 1)]);
    made.failing = 1;
    await expect(other.sync()).rejects.toThrow();
    expect(seen).toEqual([["a", 1]]);
    await other.sync();
    expect(seen).toEqual([
      ["a", 1],
      ["large", LARGE.length],
      ["b", 1],
    ]);
    expect(other.stats().counts.commits).toBe(3);
  });

  test("are told whole by scan", async () => {
    const made = partialLedger();
    await using db = await KV.open(made.ledger, still);
    await db.set(["large"], LARGE);
    const told: unknown[] = [];
    for await (const { value } of db.scan([])) told.push(value);
    expect(told).toEqual([LARGE]);
  });
});
