import { writeSync } from "node:fs";
import { createInterface } from "node:readline";

/** What the test gave to the program. */
export function argument<T>(): T {
  return JSON.parse(process.argv[2]) as T;
}

/** Tells the test something, and goes on only when the system has it: it arrives even if this process is killed right afterwards. */
export function report(message: object): void {
  const line = Buffer.from(`${JSON.stringify(message)}\n`);
  for (let at = 0; at < line.length;) at += writeSync(1, line, at);
}

/** The messages that the test sends, in order. Waiting for one keeps the process alive. */
export async function* orders(): AsyncGenerator<{ readonly [name: string]: unknown }, void, undefined> {
  for await (const line of createInterface({ input: process.stdin })) {
    yield JSON.parse(line) as { readonly [name: string]: unknown };
  }
}

/** A thrown error, as plain data. */
export function described(error: unknown): { readonly [name: string]: unknown } {
  const { code, outcome } = error as { code?: unknown; outcome?: unknown };
  return { code: code ?? String(error), ...(outcome === undefined ? {} : { outcome }) };
}
