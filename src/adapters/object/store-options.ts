import { wrongOption } from "../../core/given-options.ts";

/** How long a request may take, in ms. Throws `InvalidOption`. */
export function parseRequestTimeout(ms: unknown = 10_000, context: string): number {
  if (typeof ms === "number" && ms > 0 && ms < 2 ** 31) return ms;
  throw wrongOption(context, "requestTimeoutMs", "a number of ms above 0", ms);
}

/** How many requests at once are of use. Throws `InvalidOption`. */
export function parseParallel(count: unknown, fallback: number, context: string): number {
  if (count === undefined) return fallback;
  if (typeof count === "number" && Number.isSafeInteger(count) && count >= 1) return count;
  throw wrongOption(context, "parallel", "a whole number from 1 on", count);
}
