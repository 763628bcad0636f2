/**
 * Opens a database and vacuums it, or saves its index; kills itself at a given call to the system that changes anything. Of a write that it dies in,
 * half is done.
 */
import { nodeFileSystem } from "../../../src/adapters/fs/file-node.ts";
import { createFsLedger } from "../../../src/adapters/fs/ledger.ts";
import { KV } from "../../../src/index.node.ts";
import { stepping } from "../../support/stepping.ts";
import { argument, report } from "./report.ts";

const { path, does, at } = argument<{ path: string; does: "vacuum" | "save"; at: number }>();

const steps = stepping(nodeFileSystem, (step, name, writeHalf) => {
  report({ step, name });
  if (step !== at) return;
  writeHalf?.();
  process.kill(process.pid, "SIGKILL");
});
if (does === "save") {
  steps.begin();
  await using _ = await KV.open(createFsLedger(path, {}, steps.calls), { createIfMissing: false });
} else {
  await using other = await KV.open(path, { autoSync: false, sideIndex: false });
  const syncDirectory = async (directory: string): Promise<void> => {
    await steps.calls.syncDirectory(directory);
    // Behind what the author copies: whoever helps has something to do.
    const { version } = await other.set(["late"], at);
    report({ key: "late", version });
  };
  await using db = await KV.open(createFsLedger(path, {}, { ...steps.calls, syncDirectory }), { sideIndex: false });
  const { version } = await db.set(["early"], at);
  report({ key: "early", version });
  steps.begin();
  await db.vacuum();
}
report({ ended: true });
