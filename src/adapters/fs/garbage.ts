import type { Environment } from "../../core/environment.ts";
import { readBeginning } from "./generation.ts";
import type { ReplacingCalls } from "./replacing.ts";

/** A sibling of an author that may still be at work is left alone for so long. */
const ABANDONED_MS = 60 * 60 * 1000;

export interface GarbageHost {
  readonly calls: ReplacingCalls;
  readonly environment: Environment;
  readonly directory: string;
  readonly name: string;
  /** The generation that the path leads to. */
  readonly generation: number;
}

/** Siblings lying about. */
export interface Garbage {
  /** Of this generation or an earlier one: nobody needs them. */
  readonly stale: readonly string[];
  /** Of the next generation, and not written to for long: to be dropped before they may be unlinked. */
  readonly abandoned: readonly { readonly path: string; readonly nonce: string }[];
}

export function findGarbage({ calls, environment, directory, name, generation }: GarbageHost): Garbage {
  const stale: string[] = [];
  const abandoned: { path: string; nonce: string }[] = [];
  for (const found of calls.list(directory)) {
    const of = generationOfSibling(found, name);
    if (of === undefined) continue;
    const path = `${directory}/${found}`;
    if (of <= generation) {
      stale.push(path);
    } else if (of === generation + 1) {
      const age = environment.now() - (calls.modifiedAt(path) ?? Infinity);
      const nonce = age > ABANDONED_MS ? nonceOf(calls, environment, path) : undefined;
      if (nonce !== undefined) abandoned.push({ path, nonce });
    }
  }
  return { stale, abandoned };
}

const SIBLING = /^(.+)\.([1-9][0-9]{0,14})-[0-9a-f]+$/s;

/** The generation in a sibling's name, undefined for the name of something else. */
export function generationOfSibling(found: string, ledgerName: string): number | undefined {
  const match = SIBLING.exec(found);
  return match?.[1] === ledgerName ? Number(match[2]) : undefined;
}

/** The ledger whose sibling would have this name, if there is one; undefined for a name that no sibling has. */
export function ledgerOfSibling(name: string): string | undefined {
  return SIBLING.exec(name)?.[1];
}

/** Without a header, whose author was stopped before its first write: nothing to name it by, so it stays until its generation has passed. */
function nonceOf(calls: ReplacingCalls, environment: Environment, path: string): string | undefined {
  const file = calls.openWritable(path);
  if (file === undefined) return undefined;
  try {
    const beginning = readBeginning(file, path, environment.crc32);
    return beginning.is === "ledger" ? beginning.generation.header.nonce : undefined;
  } finally {
    file.close();
  }
}
