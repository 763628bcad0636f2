import { createHash } from "node:crypto";
import type { KV } from "../../../src/index.node.ts";

/** One line for one thing that happened to one key, the same whether it was watched or read back. */
export function line(entry: { version: number; key?: readonly unknown[] | undefined; operation?: string | undefined }) {
  return `${entry.version} ${entry.operation} ${(entry.key ?? []).join("/")}\n`;
}

/** Everything that the ledger says has happened: how many things, a digest of all in order, and the version of each key's commits. */
export async function readBack(db: KV): Promise<{ count: number; digest: string; versions: Map<string, number[]> }> {
  const hash = createHash("sha256");
  const versions = new Map<string, number[]>();
  let count = 0;
  for await (const entry of db.scan([])) {
    hash.update(line(entry));
    count++;
    const key = entry.key.join("/");
    const seen = versions.get(key);
    if (seen === undefined) versions.set(key, [entry.version]);
    else seen.push(entry.version);
  }
  return { count, digest: hash.digest("hex"), versions };
}
