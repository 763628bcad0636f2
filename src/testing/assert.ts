import { hasCode, type KVErrorCode } from "../core/errors.ts";

/** Assertions of the suite's own: it brings no test library, and the caller's is not known. */

export class AssertionFailed extends Error {
  override readonly name = "AssertionFailed";
}

export function assert(condition: boolean, what: string): asserts condition {
  if (!condition) throw new AssertionFailed(`expected that ${what}`);
}

/** Compares plain data. */
export function assertEqual(actual: unknown, expected: unknown, what: string): void {
  const [a, b] = [plain(actual), plain(expected)];
  if (a !== b) throw new AssertionFailed(`${what}: expected ${shorten(b)}, got ${shorten(a)}`);
}

export async function assertRejects(promise: Promise<unknown>, code: KVErrorCode): Promise<void> {
  try {
    await promise;
  } catch (error) {
    if (hasCode(error, code)) return;
    throw new AssertionFailed(`expected ${code}, got ${String(error)}`);
  }
  throw new AssertionFailed(`expected ${code}, got no error`);
}

function plain(value: unknown): string {
  return JSON.stringify(value) ?? "undefined";
}

function shorten(text: string): string {
  return text.length > 400 ? `${text.slice(0, 400)}...` : text;
}
