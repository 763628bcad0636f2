import type { Query } from "../index.node.ts";

/** What people type: a line in words, keys and queries, values. */

/** A word or a line that cannot be understood. */
export class UsageError extends Error {}

/**
 * The words of a line. A word that begins with a bracket, brace or quotation mark is JSON up to where that ends, spaces within it included.
 * `most`: of so many, the last is all that is left of the line, as it stands there.
 */
export function wordsOf(line: string, most = Infinity): string[] {
  const words: string[] = [];
  let rest = line.trim();
  while (rest !== "") {
    if (words.length === most - 1) return [...words, rest];
    const word = /^[[{"]/.test(rest) ? jsonAtStart(rest) : (/^\S+/.exec(rest)?.[0] ?? rest);
    words.push(word);
    rest = rest.slice(word.length).trimStart();
  }
  return words;
}

function jsonAtStart(text: string): string {
  for (const match of text.matchAll(/[\]}"](?=\s|$)/g)) {
    const candidate = text.slice(0, match.index + 1);
    if (isJson(candidate)) return candidate;
  }
  throw new UsageError(`${text} is not JSON`);
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** `["users",1]` as JSON, or `users.1` for short, in which digits are a number if that is written so. Whether it is a key is found out by who takes one. */
export function queryIn(text: string): Query {
  if (text.startsWith("[")) {
    const parsed: unknown = isJson(text) ? JSON.parse(text) : undefined;
    if (!Array.isArray(parsed))
      throw new UsageError(`${text} is no key: a JSON array, or parts with dots between them`);
    return parsed as Query;
  }
  return text.split(".").map((part) => (/^-?\d+$/.test(part) && String(Number(part)) === part ? Number(part) : part));
}

/** How the kinds of values are written that `set:...` names. */
export const VALUES = {
  json: (text: string): unknown => {
    if (isJson(text)) return JSON.parse(text);
    throw new UsageError(`${text} is not JSON; set:string takes a text as it is`);
  },
  string: (text: string): unknown => text,
  number: (text: string): unknown => checked(Number(text), text.trim() !== "" && !Number.isNaN(Number(text)), text),
  boolean: (text: string): unknown => checked(text === "true", text === "true" || text === "false", text),
  date: (text: string): unknown => checked(new Date(text), !Number.isNaN(Date.parse(text)), text),
  bigint: (text: string): unknown => checked(/^-?\d+$/.test(text) && BigInt(text), /^-?\d+$/.test(text), text),
} as const;

function checked(value: unknown, isFine: boolean, text: string): unknown {
  if (isFine) return value;
  throw new UsageError(`${text} is not of this kind`);
}
