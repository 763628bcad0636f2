import { readdirSync } from "node:fs";
import { basename, dirname } from "node:path";
import { generationOfSibling } from "../../src/adapters/fs/garbage.ts";

/** The names of the siblings that vacuums have left beside a ledger. */
export function siblingsOf(path: string): string[] {
  return readdirSync(dirname(path)).filter((name) => generationOfSibling(name, basename(path)) !== undefined);
}
