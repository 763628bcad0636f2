/** Writes a backup of a database, and kills itself at a given call to the system that changes anything. Of a write that it dies in, half is done. */
import { nodeFileSystem } from "../../../src/adapters/fs/file-node.ts";
import { createFsLedger } from "../../../src/adapters/fs/ledger.ts";
import { KV } from "../../../src/index.node.ts";
import { stepping } from "../../support/stepping.ts";
import { argument, report } from "./report.ts";

const { path, target, at } = argument<{ path: string; target: string; at: number }>();

const steps = stepping(nodeFileSystem, (step, name, writeHalf) => {
  report({ name });
  if (step !== at) return;
  writeHalf?.();
  process.kill(process.pid, "SIGKILL");
});
await using db = await KV.open(path, { readOnly: true });
steps.begin();
await db.backup(createFsLedger(target, {}, steps.calls));
