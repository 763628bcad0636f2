import type { Applier } from "./applier.ts";
import { decodeSingle } from "./commit.ts";
import type { EngineContext } from "./engine-context.ts";
import type { EngineState } from "./engine-state.ts";
import type { PassedCommit } from "./ledger.ts";

/**
 * Applies a commit while it is read, if that takes a set or a delete and nobody is to be told of it: as `Applier.meetEach` would. False, with nothing
 * done, for all others: then it comes to `meetEach`.
 */
export function takes(context: EngineContext, applier: Applier, state: EngineState, passed: PassedCommit): boolean {
  const { version, bytes, from, to } = passed;
  if (version <= state.metTo) return true;
  const { counts, listener, options, resolves } = context;
  if (!options.index || resolves || !listener.isIdle() || applier.ownCommits.find(passed) !== undefined) return false;
  const operation = decodeSingle(bytes, from, to);
  if (operation === undefined) return false;
  if (applier.counts(state, version)) counts.commits++;
  state.checkpointer?.count(1, to - from);
  state.replica.newest.putPlain(operation, passed, 0);
  state.replica.version = version;
  // Should reading fail further on, the position stays where it was.
  state.metTo = version;
  return true;
}
