/** Opens paths with the rights of a user who has none, and tells what came of each. */
import { KV } from "../../../src/index.node.ts";
import { argument, described, report } from "./report.ts";

const { cases } = argument<{ cases: { path: string; readOnly: boolean }[] }>();
if (process.getuid?.() === 0) {
  process.setgroups?.([]);
  process.setgid?.(65534);
  process.setuid?.(65534);
}
for (const { path, readOnly } of cases) {
  try {
    await using db = await KV.open(path, { readOnly });
    const value = await db.get(["a"]);
    const write = await db.set(["b"], 1).then(() => "committed", described);
    report({ value, write });
  } catch (error) {
    report(described(error));
  }
}
