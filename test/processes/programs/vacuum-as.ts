/** Gives up its rights for those of somebody else, works with a database, and tells what came of it. */
import { KV } from "../../../src/index.node.ts";
import { fill, MANY } from "../../support/items.ts";
import { argument, described, report } from "./report.ts";

const { path, uid, gid, does } = argument<{
  path: string;
  uid: number;
  gid: number;
  does: "vacuum" | "fill" | "read";
}>();
process.setgroups?.([]);
process.setgid?.(gid);
process.setuid?.(uid);

const errors: unknown[] = [];
try {
  const db = new KV({ autoSync: false });
  db.on("error", (error) => errors.push(described(error)));
  await db.open(path, { readOnly: does === "read" });
  const count = await db.count([]);
  if (does === "read") {
    await db.close();
    report({ count, errors });
  } else {
    if (does === "fill") for (let i = 0; i < 3; i++) await fill(db, 0, MANY);
    const set = await db.set(["by", "somebody"], uid).then(() => "committed", described);
    const vacuum = await db.vacuum().then(({ generation }) => generation, described);
    await db.close();
    report({ count, set, vacuum, errors });
  }
} catch (error) {
  report({ ...described(error), errors });
}
