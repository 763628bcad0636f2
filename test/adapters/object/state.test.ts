import { describe, expect, test } from "vitest";
import { countingStore } from "../../../src/adapters/object/counting-store.ts";
import { objectLedger } from "../../../src/adapters/object/ledger.ts";
import { memoryStore } from "../../../src/adapters/object/memory-store.ts";
import { KV } from "../../../src/index.node.ts";

const still = { autoSync: false } as const;

describe("the state of a database in a bucket", () => {
  test("is written down every sixteen slots, and opened", async () => {
    const store = countingStore(memoryStore({ now: () => Date.now() }));
    const ledger = objectLedger(store);
    {
      await using db = await KV.open(ledger, still);
      for (let i = 0; i < 70; i++) await db.set(["k", i], i);
    }
    await using other = await KV.open(ledger, still);
    expect(await other.count([])).toBe(70);
  });
});
