import { expect, test } from "vitest";
import { memoryLedger } from "../../src/adapters/memory/index.ts";
import type { KVError } from "../../src/core/errors.ts";
import { TestClock } from "../support/database.ts";
import { swapLedger } from "../support/swap-ledger.ts";

const still = { autoSync: false } as const;

test("the same commits leave the same state on both kinds of ledger", async () => {
  const random = (() => {
    let state = 7;
    return (n: number): number => (state = (state * 48_271) % 2_147_483_647) % n;
  })();
  const clocks = [new TestClock(), new TestClock()];
  await using append = await clocks[0].open(memoryLedger(), still);
  await using swap = await clocks[1].open(swapLedger().ledger, still);
  for (let round = 0; round < 150; round++) {
    const passed = random(40);
    for (const clock of clocks) clock.time += passed;
    const plans = Array.from({ length: 1 + random(6) }, () =>
      Array.from({ length: 1 + random(4) }, () => [random(7), random(6), random(5)] as const),
    );
    const results = await Promise.all(
      [append, swap].map(async (db) => {
        const calls = plans.map(async (plan) => {
          const atomic = db.atomic();
          for (const [kind, key, n] of plan) {
            const expiry = n === 0 ? { expireIn: 50 + n } : {};
            if (kind === 0) atomic.check({ key: [key], version: null });
            else if (kind === 1) atomic.delete([key]);
            else if (kind === 2) atomic.set([key], { n }, expiry);
            else if (kind === 3) atomic.set([key], n, expiry);
            else if (kind === 4) atomic.min([key], n, expiry);
            else atomic.sum([key], n + 0.5, expiry);
          }
          try {
            return (await atomic.commit()).ok;
          } catch (error) {
            return (error as KVError).code;
          }
        });
        return await Promise.all(calls);
      }),
    );
    expect(results[1]).toEqual(results[0]);
    const [a, b] = await Promise.all(
      [append, swap].map(async (db) =>
        (await db.listAll([], { order: "version" })).map(({ key, value, timestamp, expiresAt }) => [
          key,
          value,
          timestamp,
          expiresAt,
        ]),
      ),
    );
    expect(b).toEqual(a);
  }
});
