import type { Environment } from "../../core/environment.ts";
import { InvalidArgumentError } from "../../core/errors.ts";
import { knownOptions, wrongOption } from "../../core/given-options.ts";
import { assertStore } from "./assert-store.ts";
import type { ObjectStore } from "./object-store.ts";
import { judge, probe, type ProbeOptions, type ProbeReport } from "./probe.ts";

const CONTEXT = "probeStore";
/** What is used of the environment. */
const CALLS = ["random", "randomBytes", "setTimer"] as const satisfies readonly (keyof Environment)[];

/**
 * Finds out whether a store does what an object ledger with several writers rests on: one winner of racing creates and of racing replaces, no
 * stale replace, no stale read, parts as asked for, and a clear answer for what is not there. What fails on the way is tried again some times. Writes below
 * `probe-<random>/`, and deletes it in the end, as far as it may. With the defaults that takes some 2,400 requests. Rejects for nothing that the store does.
 *
 * @throws InvalidArgumentError `InvalidArgument` for a store that is none, `InvalidOption`.
 */
export async function probeStore(store: ObjectStore, options: ProbeOptions): Promise<ProbeReport> {
  assertStore(store, CONTEXT);
  return probe(store, parse(options));
}

/**
 * Throws unless every property holds: `StoreUnsuitable`, which names what is missing, or where nothing is known to be missing what kept it from being found out
 * (`InputOutput`, `AccessDenied`, ...).
 *
 * @throws InvalidArgumentError `InvalidArgument` for what is no report of `probeStore`.
 */
export function requireSuitable(report: ProbeReport): void {
  if (!Array.isArray((report as ProbeReport | undefined | null)?.verdicts)) {
    throw new InvalidArgumentError("InvalidArgument", "requireSuitable: a report of probeStore is needed");
  }
  judge(report);
}

function parse(given: unknown): ProbeOptions {
  const names = ["environment", "connections", "racers", "keys"];
  const { environment, connections = [], racers, keys } = knownOptions(given, names, CONTEXT);
  const asked = Object(environment) as Partial<Environment>;
  if (CALLS.some((name) => typeof asked[name] !== "function")) {
    throw wrongOption(CONTEXT, "environment", "the environment that foliokv exports", environment);
  }
  if (!Array.isArray(connections)) throw wrongOption(CONTEXT, "connections", "an array of stores", connections);
  for (const each of connections) assertStore(each, `${CONTEXT}: connections`);
  return {
    environment: environment as Environment,
    connections: connections as ObjectStore[],
    racers: parseCount("racers", racers, 2),
    keys: parseCount("keys", keys, 1),
  };
}

function parseCount(name: string, count: unknown, from: number): number | undefined {
  if (count === undefined) return undefined;
  if (typeof count === "number" && Number.isSafeInteger(count) && count >= from) return count;
  throw wrongOption(CONTEXT, name, `a whole number from ${from} on`, count);
}
