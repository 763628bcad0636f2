/**
 * Opens a database and vacuums it, or saves its index; kills or stops itself at a given call to the system that changes anything. Of a write that it
 * dies in, half is done.
 */
import { nodeFileSystem } from "../../../src/adapters/fs/file-node.ts";
import { createFsLedger } from "../../../src/adapters/fs/ledger.ts";
import { KV } from "../../../src/index.node.ts";
import { stepping } from "../../support/stepping.ts";
import { argument, described, report } from "./report.ts";

const { path, does, at, signal } = argument<{
  path: string;
  does: "vacuum" | "save";
  at: number;
  signal: "SIGKILL" | "SIGSTOP";
}>();

const steps = stepping(nodeFileSystem, (step, name, writeHalf) => {
  report({ step, name });
  if (step !== at) return;
  if (signal === "SIGKILL") writeHalf?.();
  process.kill(process.pid, signal);
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
  const author = await db.vacuum().then((result) => result.author, described);
  report({ author });
  if (signal === "SIGSTOP") {
    const woken = await db.set(["woken"], at);
    report({ key: "woken", version: woken.version });
  }
}
report({ ended: true });
