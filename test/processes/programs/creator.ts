/** Opens each path that it is told, whether it is there or not, writes to it, and tells which ledger that was. */
import { KV } from "../../../src/index.node.ts";
import { argument, described, orders, report } from "./report.ts";

const { id } = argument<{ readonly id: string }>();

report({ ready: true });
for await (const { path } of orders()) {
  if (typeof path !== "string") break;
  try {
    await using db = await KV.open(path, { autoSync: false });
    const { version } = await db.set(["by", id], id);
    report({ path, ledgerId: db.stats().ledgerId, version });
  } catch (error) {
    report({ path, failed: described(error) });
  }
}
process.stdin.destroy();
