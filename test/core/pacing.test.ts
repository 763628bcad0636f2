import { renameSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { fsLedger } from "../../src/adapters/fs/index.ts";
import type { Environment } from "../../src/core/environment.ts";
import { fileWork } from "../../src/core/file-work.ts";
import { CoreKV } from "../../src/core/kv.ts";
import { KV } from "../../src/index.node.ts";
import { nodeEnvironment } from "../../src/platform/environment-node.ts";
import { inFolder } from "../support/folder.ts";

const still = { autoSync: false } as const;
/** A pause is due after 8 ms; the portion before it may have been larger than it should. */
const GAP_MS_MAX = 16;

/** A clock that moves when work is done, and how long it was at most from one macrotask to the next. */
function workClock(): {
  readonly environment: Environment;
  work(ms: number): void;
  longestGap(): number;
  reset(): void;
} {
  let now = 0;
  let last = 0;
  let longest = 0;
  const met = (): void => {
    longest = Math.max(longest, now - last);
    last = now;
  };
  const reset = (): void => {
    last = now;
    longest = 0;
  };
  return {
    environment: {
      ...nodeEnvironment,
      monotonic: () => now,
      crc32: (bytes, seed) => {
        now += 0.01;
        return nodeEnvironment.crc32(bytes, seed);
      },
      macrotask: (callback) =>
        nodeEnvironment.macrotask(() => {
          met();
          callback();
        }),
    },
    work: (ms) => {
      now += ms;
    },
    longestGap: () => {
      met();
      return longest;
    },
    reset,
  };
}

async function write(path: string, count: number): Promise<void> {
  await using db = await KV.open(path, still);
  await Promise.all(Array.from({ length: count }, (_, i) => db.set(["n", i], i)));
}

describe("timers and other input get their turn", () => {
  it("while a long ledger is read from the beginning", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      await write(path, 20_000);
      const clock = workClock();
      const db = new CoreKV(still, { environment: clock.environment, ledgerAt: fsLedger, fileWork });
      await db.open(path);
      expect(await db.count([])).toBe(20_000);
      expect(clock.longestGap()).toBeLessThan(GAP_MS_MAX);
      await db.close();
    }));

  it("while watches compute for long", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      const clock = workClock();
      const db = new CoreKV(still, { environment: clock.environment, ledgerAt: fsLedger, fileWork });
      await db.open(path);
      let calls = 0;
      db.watch([], () => {
        calls++;
        clock.work(0.5);
      });
      await write(path, 1000);
      // Nothing is known before the first portion; those after it are cut to measure.
      await db.sync();
      clock.reset();
      await write(path, 1000);
      await db.sync();
      expect(calls).toBe(2000);
      expect(clock.longestGap()).toBeLessThan(GAP_MS_MAX);
      await db.close();
    }));

  it("while a reload is told of", () =>
    inFolder(async (folder) => {
      const [path, other] = [join(folder, "a.db"), join(folder, "b.db")];
      await write(other, 2000);
      const clock = workClock();
      const db = new CoreKV(still, { environment: clock.environment, ledgerAt: fsLedger, fileWork });
      await db.open(path);
      let calls = 0;
      db.watch([], (entry) => {
        if (entry.operation === "set" && entry.reloaded === true) calls++;
        clock.work(0.5);
      });
      renameSync(other, path);
      clock.reset();
      await db.sync();
      expect(calls).toBe(2000);
      expect(clock.longestGap()).toBeLessThan(GAP_MS_MAX);
      await db.close();
    }));

  it("while a burst of own commits is written and applied", () =>
    inFolder(async (folder) => {
      const clock = workClock();
      const db = new CoreKV(still, { environment: clock.environment, ledgerAt: fsLedger, fileWork });
      await db.open(join(folder, "a.db"));
      const burst = async (): Promise<void> => {
        const commits = Array.from({ length: 5000 }, (_, i) => db.set(["n", i], i));
        clock.reset();
        await Promise.all(commits);
      };
      await burst();
      await burst();
      expect(clock.longestGap()).toBeLessThan(2 * GAP_MS_MAX);
      expect(await db.count([])).toBe(5000);
      await db.close();
    }));
});
