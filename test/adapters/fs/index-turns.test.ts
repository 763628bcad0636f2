import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { nodeFileSystem } from "../../../src/adapters/fs/file-node.ts";
import { createFsLedger } from "../../../src/adapters/fs/ledger.ts";
import type { CheckpointStore, LedgerSession } from "../../../src/core/ledger.ts";
import { nodeEnvironment } from "../../../src/platform/environment-node.ts";
import { inFolder } from "../../support/folder.ts";

/** Two processes with one file, as far as their indexes are concerned; time can be moved on. */
async function withTwo(
  test: (stores: { one: CheckpointStore; other: CheckpointStore; later: (ms: number) => void }) => Promise<void>,
): Promise<void> {
  await inFolder(async (folder) => {
    let shift = 0;
    const environment = { ...nodeEnvironment, now: () => Date.now() + shift };
    const sessions: LedgerSession[] = [];
    const open = async (): Promise<CheckpointStore> => {
      const options = { createIfMissing: true, readOnly: false, allowNetworkFileSystem: false, environment };
      const session = await createFsLedger(join(folder, "a.db"), {}, nodeFileSystem).open(options);
      sessions.push(session);
      return session.openCheckpoints?.() as CheckpointStore;
    };
    await test({ one: await open(), other: await open(), later: (ms) => (shift += ms) });
    for (const session of sessions) await session.close();
  });
}

describe("whether another process seems to be saving", () => {
  it("is told by a run that is being written", () =>
    withTwo(async ({ one, other }) => {
      expect(one.isBusy?.()).toBe(false);
      const run = other.createRun();
      expect(one.isBusy?.()).toBe(true);
      run.abandon();
      expect(one.isBusy?.()).toBe(false);
    }));

  it("is not told by runs of its own", () =>
    withTwo(async ({ one }) => {
      const first = one.createRun();
      const second = one.createRun();
      expect(one.isBusy?.()).toBe(false);
      expect(one.isBusy?.()).toBe(false);
      for (const run of [first, second]) run.abandon();
    }));

  it("is not told by a run of somebody who has stopped writing it", () =>
    withTwo(async ({ one, other, later }) => {
      const run = other.createRun();
      later(2000);
      expect(one.isBusy?.()).toBe(false);
      run.abandon();
    }));
});
