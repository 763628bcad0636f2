import { describe, expect, test } from "vitest";
import { objectLedger } from "../../../src/adapters/object/ledger.ts";
import { memoryStore } from "../../../src/adapters/object/memory-store.ts";
import { KV } from "../../../src/index.node.ts";

const still = { autoSync: false } as const;

describe("the state of a database in a bucket", () => {
  test("is written down every sixteen slots, and opened", async () => {
    const ledger = objectLedger(memoryStore({ now: () => Date.now() }));
    {
      await using db = await KV.open(ledger, still);
      for (let i = 0; i < 70; i++) await db.set(["k", i], i);
      for (let i = 0; i < 70; i += 2) await db.delete(["k", i]);
    }
    await using other = await KV.open(ledger, still);
    expect(other.stats().session.checkpointSlot).toBe(96);
    expect((await other.listAll([])).map(({ value }) => value)).toEqual(
      Array.from({ length: 35 }, (_, i) => 2 * i + 1),
    );
  });

  test("is one run without anything deleted after a vacuum, which removes what has expired too", async () => {
    const ledger = objectLedger(memoryStore({ now: () => Date.now() }));
    await using db = await KV.open(ledger, { ...still, purgeAfterMs: 0 });
    for (let i = 0; i < 40; i++) await db.set(["k", i], "v".repeat(100 * i));
    for (let i = 0; i < 20; i++) await db.delete(["k", i]);
    await db.set(["gone"], 1, { expireIn: 1 });
    await expect.poll(() => db.get(["gone"])).toBeNull();
    // What expires in this very millisecond is not purged yet.
    const expired = Date.now();
    await expect.poll(() => Date.now()).toBeGreaterThan(expired);
    const progress: number[] = [];
    const result = await db.vacuum({ onProgress: ({ doneBytes }) => void progress.push(doneBytes) });
    expect(result).toMatchObject({ author: true, purged: 1, generation: 1 });
    expect(db.stats()).toMatchObject({ session: { runs: 1 }, vacuum: { last: result } });
    expect(result.bytesAfter).toBe(db.stats().session.bytes);
    expect(progress.at(-1)).toBe(result.bytesAfter);
    for (const each of [db, await KV.open(ledger, still)]) {
      expect((await each.listAll([])).map(({ value }) => value)).toEqual(
        Array.from({ length: 20 }, (_, i) => "v".repeat(100 * (i + 20))),
      );
      expect(each.stats()).toMatchObject({ keys: 20 });
    }
    await expect(db.vacuum({ keepHistory: { forMs: 1 } })).rejects.toMatchObject({ code: "InvalidOption" });
  });
});
