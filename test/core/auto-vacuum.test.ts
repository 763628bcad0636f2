import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { AutoVacuum } from "../../src/core/auto-vacuum.ts";
import type { Engine } from "../../src/core/engine.ts";
import { KVError } from "../../src/core/errors.ts";
import type { LedgerSession } from "../../src/core/ledger.ts";
import { KV } from "../../src/index.node.ts";
import { nodeEnvironment } from "../../src/platform/environment-node.ts";
import { inFolder } from "../support/folder.ts";

const MIB = 1024 * 1024;
const HOUR = 3600 * 1000;

function atTime(clock: { ms: number }): AutoVacuum {
  return new AutoVacuum({ ...nodeEnvironment, now: () => clock.ms, monotonic: () => clock.ms, random: () => 0.5 });
}

function sessionOf(bytes: number, bytesAtStart: number, startedAt = 0): LedgerSession {
  const session: Partial<LedgerSession> = {
    vacuum: async () => ({ wins: () => true }),
    growth: () => ({ bytes, bytesAtStart, startedAt }),
  };
  return session as LedgerSession;
}

describe("an automatic vacuum", () => {
  it("is due when the ledger has doubled and grown by 16 MiB, and not again at once", () => {
    const clock = { ms: 0 };
    const auto = atTime(clock);
    clock.ms = HOUR;
    expect(auto.isDue(sessionOf(15 * MIB, 0))).toBe(false);
    expect(auto.isDue(sessionOf(59 * MIB, 30 * MIB))).toBe(false);
    expect(auto.isDue(sessionOf(60 * MIB, 30 * MIB))).toBe(true);
    expect(auto.isDue(sessionOf(60 * MIB, 30 * MIB))).toBe(false);
    clock.ms += HOUR;
    expect(auto.isDue(sessionOf(60 * MIB, 30 * MIB))).toBe(true);
  });

  it("is due for a little growth once the last one is a day ago", () => {
    const clock = { ms: 0 };
    const auto = atTime(clock);
    clock.ms = 23 * HOUR;
    expect(auto.isDue(sessionOf(2 * MIB, 0))).toBe(false);
    clock.ms = 24 * HOUR;
    expect(auto.isDue(sessionOf(MIB / 2, 0))).toBe(false);
    expect(auto.isDue(sessionOf(2 * MIB, 0))).toBe(true);
  });

  it("is due 30 to 90 s after the instance was made, and after each one, by chance", () => {
    for (const [random, seconds] of [
      [0, 30],
      [0.5, 60],
      [1, 90],
    ]) {
      const clock = { ms: 0 };
      const auto = new AutoVacuum({ ...nodeEnvironment, monotonic: () => clock.ms, random: () => random });
      for (let i = 0; i < 2; i++) {
        clock.ms += seconds * 1000 - 1;
        expect(auto.isDue(sessionOf(60 * MIB, 0))).toBe(false);
        clock.ms += 1;
        expect(auto.isDue(sessionOf(60 * MIB, 0))).toBe(true);
      }
    }
  });

  it("that fails is told of once, whatever the file is called that it could not make, and again behind one that succeeds", async () => {
    const clock = { ms: 0 };
    const auto = atTime(clock);
    const engine = { refusal: () => undefined, session: sessionOf(60 * MIB, 0) } as unknown as Engine;
    const told: unknown[] = [];
    const full = (): Promise<never> =>
      Promise.reject(new KVError("NoSpace", `ENOSPC: no space left on device, open 'a.db.2-${clock.ms}'`));
    for (const vacuum of [full, full, () => Promise.resolve(), full]) {
      clock.ms += HOUR;
      auto.vacuumIfDue({ isOpen: () => true, vacuum }, engine, (error) => told.push([clock.ms / HOUR, error]));
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(told).toMatchObject([
      [1, { code: "NoSpace" }],
      [4, { code: "NoSpace" }],
    ]);
  });

  it("never is for a ledger that does not shrink", () => {
    const clock = { ms: 0 };
    const auto = atTime(clock);
    clock.ms = HOUR;
    expect(auto.isDue({} as LedgerSession)).toBe(false);
  });
});

describe("frozen versions", () => {
  it("that keep more than pinnedBytesMax end, the oldest first, and stats tells what they keep", () =>
    inFolder(async (folder) => {
      await using db = await KV.open(join(folder, "a.db"), { pinnedBytesMax: 100_000 });
      for (let i = 0; i < 2000; i++) void db.set(["item", i], i);
      const oldest = db.iterate(["item"]);
      const younger = db.iterate(["item"]);
      await oldest.next();
      for (let i = 0; i < 2000; i++) void db.set(["item", i], 2 * i);
      await db.get(["item", 1999]);
      expect(db.stats().snapshots.count).toBe(1);
      expect(db.stats().snapshots.pinnedBytes).toBeGreaterThan(100_000);
      // Whoever freezes another version makes room for it.
      expect((await younger.next()).value?.value).toBe(0);
      await expect(oldest.next()).rejects.toMatchObject({ code: "SnapshotExpired" });
      expect(db.stats().snapshots.pinnedBytes).toBeLessThan(100_000);
      await younger.return();
    }));
});
