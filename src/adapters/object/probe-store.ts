import type { Environment } from "../../core/environment.ts";
import { InvalidArgumentError } from "../../core/errors.ts";
import { knownOptions, wrongOption } from "../../core/given-options.ts";
import { assertStore } from "./assert-store.ts";
import type { ObjectStore } from "./object-store.ts";
import { judge, probe, type ProbeOptions, type ProbeReport, type Probing } from "./probe.ts";

const CONTEXT = "probeStore";
/** What is used of the environment. */
const CALLS = ["random", "randomBytes", "setTimer"] as const satisfies readonly (keyof Environment)[];

/** `probeStore` where the runtime offers this environment. */
export async function probeStoreIn(
  environment: Environment,
  store: ObjectStore,
  options?: ProbeOptions,
): Promise<ProbeReport> {
  assertStore(store, CONTEXT);
  return probe(store, parse(options, environment));
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

function parse(given: unknown, runtime: Environment): Probing {
  const names = ["environment", "connections", "racers", "keys"];
  const { environment = runtime, connections = [], racers, keys } = knownOptions(given, names, CONTEXT);
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
