/** Meets a seal with the rights of somebody who can write to the ledger and not to its folder; tells what its commits wait for in vain. */
import { nodeFileSystem } from "../../../src/adapters/fs/file-node.ts";
import { createFsLedger } from "../../../src/adapters/fs/ledger.ts";
import type { ReplacingCalls } from "../../../src/adapters/fs/replacing.ts";
import { fileWork } from "../../../src/core/file-work.ts";
import { CoreKV } from "../../../src/core/kv.ts";
import type { Ledger } from "../../../src/core/ledger.ts";
import { fastClock } from "../../support/fast-clock.ts";
import { argument, described, orders, report } from "./report.ts";

const { path, uid } = argument<{ path: string; uid: number }>();
process.setgroups?.([]);
process.setgid?.(uid);
process.setuid?.(uid);

const { environment, forward } = fastClock();
const replacing = nodeFileSystem.replacing as ReplacingCalls;
const rename: ReplacingCalls["rename"] = (from, to) => {
  // Once it has tried to help the wait is cut short.
  forward(60_000);
  return replacing.rename(from, to);
};
const calls = { ...nodeFileSystem, replacing: { ...replacing, rename } };
const ledgerAt = (): Ledger => createFsLedger(path, {}, calls);
const db = new CoreKV({ autoSync: false, sideIndex: false }, { environment, ledgerAt, fileWork });
await db.open(path);
for await (const { again } of orders()) {
  if (again !== true) break;
  const set = await db.set(["by"], uid).then(
    () => "committed",
    (error: unknown) => ({ ...described(error), message: (error as Error).message }),
  );
  report({ set, read: await db.get(["a"]), generation: db.stats().generation });
}
await db.close();
process.stdin.destroy();
