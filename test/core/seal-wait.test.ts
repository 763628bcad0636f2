import { existsSync, renameSync, readFileSync, unlinkSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { Environment } from "../../src/core/environment.ts";
import { SealWait } from "../../src/core/seal-wait.ts";
import { KV } from "../../src/index.node.ts";
import { nodeEnvironment } from "../../src/platform/environment-node.ts";
import { inFolder } from "../support/folder.ts";
import { nextGeneration, openSession } from "../support/generations.ts";

const rarely = { syncIntervalMs: 1_000_000 } as const;

/** Timers that never fire, and those of them that are set. */
function stoppedTimers(): { readonly environment: Environment; readonly set: Set<{ readonly ref: boolean }> } {
  const set = new Set<{ readonly ref: boolean }>();
  const setTimer: Environment["setTimer"] = (_, __, options) => {
    set.add(options);
    return { cancel: () => set.delete(options) };
  };
  return { environment: { ...nodeEnvironment, setTimer }, set };
}

describe("the wait for the generation behind a seal", () => {
  it("keeps the process alive from when a commit waits, and leaves no timer behind", () => {
    const { environment, set } = stoppedTimers();
    let waiting = 0;
    const wait = new SealWait(environment, "a ledger", {
      get waiting() {
        return waiting;
      },
      look: () => undefined,
      help: async () => undefined,
      expired: () => undefined,
    });
    wait.sealed({ helpAtOnce: false });
    expect([...set].filter(({ ref }) => ref)).toHaveLength(0);
    waiting = 1;
    wait.commitsWait();
    wait.commitsWait();
    expect([...set].filter(({ ref }) => ref)).toHaveLength(1);
    wait.over();
    expect(set.size).toBe(0);
    wait.sealed({ helpAtOnce: false });
    expect(set.size).toBe(2);
    wait.over();
    expect(set.size).toBe(0);
  });

  it("keeps the process alive from when somebody awaits a vacuum, whether the seal was met before or not", () => {
    const { environment, set } = stoppedTimers();
    const wait = new SealWait(environment, "a ledger", {
      waiting: 0,
      look: () => undefined,
      help: async () => undefined,
      expired: () => undefined,
    });
    wait.sealed({ helpAtOnce: false });
    expect([...set].filter(({ ref }) => ref)).toHaveLength(0);
    wait.sealed({ helpAtOnce: true });
    wait.sealed({ helpAtOnce: true });
    expect([...set].filter(({ ref }) => ref)).toHaveLength(1);
    wait.over();
    expect(set.size).toBe(0);
  });

  it("begins to help with the next seal when help with an earlier one has taken until then", async () => {
    const due: (() => void)[] = [];
    const setTimer: Environment["setTimer"] = (callback) => {
      due.push(callback);
      return { cancel: () => void due.splice(0, Infinity, ...due.filter((each) => each !== callback)) };
    };
    const helping: (() => void)[] = [];
    const wait = new SealWait({ ...nodeEnvironment, setTimer }, "a ledger", {
      waiting: 0,
      look: () => undefined,
      help: () => new Promise((resolve) => helping.push(resolve)),
      expired: () => undefined,
    });
    const runTimers = async (): Promise<void> => {
      for (const callback of due.splice(0)) callback();
      await new Promise(setImmediate);
    };
    wait.sealed({ helpAtOnce: false });
    await runTimers();
    expect(helping).toHaveLength(1);
    wait.over();
    wait.sealed({ helpAtOnce: false });
    await runTimers();
    expect(helping).toHaveLength(1);
    helping[0]();
    await new Promise(setImmediate);
    await runTimers();
    expect(helping).toHaveLength(2);
    wait.stop();
    wait.sealed({ helpAtOnce: true });
    expect(due).toHaveLength(0);
  });

  it("ends with a sync event that says so, though nobody asked for the look that ended it", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      await using db = await KV.open(path, rarely);
      await db.set(["a"], 1);
      const results: string[] = [];
      db.on("sync", ({ result }) => results.push(result));
      const next = await nextGeneration(path);
      next.seal();
      await db.set(["a"], 2);
      expect(db.stats().generation).toBe(2);
      expect(results.filter((result) => result === "ledgerInvalidated")).toHaveLength(1);
    }));

  it("is told of by the next sync() where there is no autoSync", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      await using db = await KV.open(path, { autoSync: false });
      await db.set(["a"], 1);
      const results: string[] = [];
      db.on("sync", ({ result }) => results.push(result));
      const next = await nextGeneration(path);
      next.seal();
      await db.set(["a"], 2);
      expect(results).toEqual([]);
      await db.sync();
      await db.sync();
      expect(results).toEqual(["ledgerInvalidated", "ready"]);
    }));
});

describe("whoever helps", () => {
  it("does not bring back a ledger that was deleted, and overwrites nothing that was put in its place", () =>
    inFolder(async (folder) => {
      const [path, other] = [join(folder, "a.db"), join(folder, "b.db")];
      for (const each of [path, other]) await (await KV.open(each, rarely)).close();
      const next = await nextGeneration(path);
      next.seal();
      const session = await openSession(path);
      const result = await session.read(session.start, { bytes: 1 << 20, verify: false });
      expect(result.status).toBe("sealed");
      unlinkSync(path);
      await session.help?.();
      expect(existsSync(path)).toBe(false);
      const bytes = readFileSync(other);
      renameSync(other, path);
      await session.help?.();
      expect(readFileSync(path)).toEqual(bytes);
      await session.close();
    }));
});

describe("a follow round", () => {
  it("that several wait for is told of once", () =>
    inFolder(async (folder) => {
      await using db = await KV.open(join(folder, "a.db"), { autoSync: false });
      let events = 0;
      db.on("sync", () => events++);
      const before = db.stats().counts.rounds;
      await Promise.all([db.sync(), db.sync(), db.sync()]);
      expect(db.stats().counts.rounds - before).toBe(2);
      expect(events).toBe(2);
    }));
});
