import type { KV } from "../../src/index.node.ts";

/** Enough operations that the index is saved on the way. */
export const MANY = 40_000;

/** Sets items, a thousand in one commit. */
export async function fill(db: KV, from: number, to: number): Promise<void> {
  for (let i = from; i < to; i += 1000) {
    await db.beginTransaction();
    for (let j = i; j < Math.min(i + 1000, to); j++) void db.set(["item", j], { number: j, text: `item ${j}` });
    await db.endTransaction();
  }
}
