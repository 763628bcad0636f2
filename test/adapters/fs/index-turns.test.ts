import { readdirSync } from "node:fs";
import { join } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { nodeFileSystem } from "../../../src/adapters/fs/file-node.ts";
import { createFsLedger } from "../../../src/adapters/fs/ledger.ts";
import type { CheckpointStore, LedgerSession, StoredRun } from "../../../src/core/ledger.ts";
import { nodeEnvironment } from "../../../src/platform/environment-node.ts";
import { inFolder } from "../../support/folder.ts";
import { changingFiles, openSession } from "../../support/generations.ts";

/** Two processes with one file, as far as their indexes are concerned; time can be moved on. */
interface Two {
  readonly one: CheckpointStore;
  readonly other: CheckpointStore;
  /** Publishes these runs, up to a commit that is made for that. */
  readonly publish: (by: CheckpointStore, ...runs: readonly StoredRun[]) => Promise<string>;
  readonly later: (ms: number) => void;
  readonly isThere: (run: StoredRun) => boolean;
}

async function withTwo(test: (two: Two) => Promise<void>): Promise<void> {
  await inFolder(async (folder) => {
    let shift = 0;
    const environment = {
      ...nodeEnvironment,
      now: () => Date.now() + shift,
      monotonic: () => nodeEnvironment.monotonic() + shift,
    };
    const sessions: LedgerSession[] = [];
    const open = async (): Promise<CheckpointStore> => {
      const options = { createIfMissing: true, readOnly: false, allowNetworkFileSystem: false, environment };
      const session = await createFsLedger(join(folder, "a.db"), {}, nodeFileSystem).open(options);
      sessions.push(session);
      return session.openCheckpoints?.() as CheckpointStore;
    };
    const [one, other] = [await open(), await open()];
    let { next: position } = await sessions[0].read(sessions[0].start, { bytes: 65_536, verify: false });
    await test({
      one,
      other,
      publish: async (by, ...runs) => {
        const record = { writer: new Uint8Array(12), counter: 1, timestamp: 0, payload: new Uint8Array(1) };
        const appended = await sessions[0].append([record], position);
        if (appended.status !== "appended") throw new Error(appended.status);
        position = appended.next;
        return by.publish({ position, version: appended.versions[0], runs });
      },
      later: (ms) => (shift += ms),
      isThere: ({ id }) => readdirSync(folder).includes(id),
    });
    for (const session of sessions) await session.close();
  });
}

describe("whether another process seems to be saving", () => {
  it("is told by a run that is being written", () =>
    withTwo(async ({ one, other }) => {
      expect(one.isBusy?.()).toBe(false);
      const run = other.createRun();
      expect(one.isBusy?.()).toBe(true);
      await run.abandon();
      expect(one.isBusy?.()).toBe(false);
    }));

  it("is not told by runs of its own", () =>
    withTwo(async ({ one }) => {
      const first = one.createRun();
      const second = one.createRun();
      expect(one.isBusy?.()).toBe(false);
      expect(one.isBusy?.()).toBe(false);
      for (const run of [first, second]) await run.abandon();
    }));

  it("is not told by a run of somebody who has stopped writing it", () =>
    withTwo(async ({ one, other, later }) => {
      const run = other.createRun();
      later(2000);
      expect(one.isBusy?.()).toBe(false);
      await run.abandon();
    }));
});

/** A run with something in it. */
function aRun(store: CheckpointStore): Promise<StoredRun> {
  const sink = store.createRun();
  sink.write(new Uint8Array(10));
  return sink.finish();
}

it("what a run covers is made durable while the run is made, and what was written since when it is published", () =>
  inFolder(async (folder) => {
    const path = join(folder, "a.db");
    let syncs = 0;
    const counting = changingFiles((file, opened) => ({
      syncData: () => {
        if (opened === path) syncs++;
        return file.syncData();
      },
    }));
    const session = await openSession(path, { calls: counting });
    const store = session.openCheckpoints?.() as CheckpointStore;
    let { next: position } = await session.read(session.start, { bytes: 65_536, verify: false });
    const append = async (): Promise<{ readonly position: number; readonly version: number }> => {
      const record = { writer: new Uint8Array(12), counter: 1, timestamp: 0, payload: new Uint8Array(1) };
      const appended = await session.append([record], position);
      if (appended.status !== "appended") throw new Error(appended.status);
      position = appended.next;
      return { position, version: appended.versions[0] };
    };
    const first = await append();
    const runs = [await aRun(store)];
    expect(syncs).toBe(1);
    expect(await store.publish({ ...first, runs })).toBe("published");
    expect(syncs).toBe(1);
    runs.unshift(await aRun(store));
    expect(syncs).toBe(2);
    expect(await store.publish({ ...(await append()), runs })).toBe("published");
    expect(syncs).toBe(3);
    for (const run of runs) run.close();
    await session.close();
  }));

it("a file whose size cannot be asked for when a run is begun is made durable when that is published", () =>
  inFolder(async (folder) => {
    const path = join(folder, "a.db");
    let fails = false;
    const failing = changingFiles((file, opened) => ({
      status: () => {
        if (opened === path && fails) throw new Error("stale");
        return file.status();
      },
    }));
    const session = await openSession(path, { calls: failing });
    const store = session.openCheckpoints?.() as CheckpointStore;
    const { next } = await session.read(session.start, { bytes: 65_536, verify: false });
    const record = { writer: new Uint8Array(12), counter: 1, timestamp: 0, payload: new Uint8Array(1) };
    const appended = await session.append([record], next);
    if (appended.status !== "appended") throw new Error(appended.status);
    fails = true;
    const sink = store.createRun();
    fails = false;
    sink.write(new Uint8Array(10));
    // What nobody has heard of by then ends the process.
    await nextTurn();
    const run = await sink.finish();
    const checkpoint = { position: appended.next, version: appended.versions[0], runs: [run] };
    expect(await store.publish(checkpoint)).toBe("published");
    run.close();
    await session.close();
  }));

describe("a run that was merged with others", () => {
  it("is removed by whoever has published that, though not at once", () =>
    withTwo(async ({ one, other, publish, later, isThere }) => {
      const [first, second, third] = [await aRun(one), await aRun(other), await aRun(other)];
      await publish(one, first);
      await publish(other, second);
      // Somebody may have read the manifest that names it, and be about to open it.
      expect(isThere(first)).toBe(true);
      later(2000);
      await publish(other, third, second);
      expect(isThere(first)).toBe(false);
      expect(isThere(second)).toBe(true);
      for (const run of [first, second, third]) run.close();
    }));

  it("stays when another process names it again", () =>
    withTwo(async ({ one, other, publish, later, isThere }) => {
      const [first, second, third] = [await aRun(one), await aRun(other), await aRun(one)];
      await publish(one, first);
      await publish(other, second);
      await publish(one, third, first);
      later(2000);
      const fourth = await aRun(other);
      await publish(other, fourth, third, first);
      expect(isThere(first)).toBe(true);
      expect(isThere(second)).toBe(true);
      later(2000);
      for (const run of [first, second, third, fourth]) run.close();
    }));

  it("is not named again once it is gone", () =>
    withTwo(async ({ one, other, publish, later }) => {
      const [first, second, third] = [await aRun(one), await aRun(other), await aRun(one)];
      await publish(one, first);
      await publish(other, second);
      later(2000);
      await publish(other, await aRun(other), second);
      expect(await publish(one, third, first)).toBe("superseded");
      for (const run of [first, second, third]) run.close();
    }));
});
