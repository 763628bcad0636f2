import type { Applier } from "./applier.ts";
import type { EngineContext } from "./engine-context.ts";
import type { EngineState } from "./engine-state.ts";
import { isPromise, type MaybePromise } from "./environment.ts";
import type { LedgerCommit, PassedCommit, ReadResult } from "./ledger.ts";
import type { Notices } from "./notices.ts";
import type { Saving } from "./saving.ts";

export interface ReadingParts {
  readonly applier: Applier;
  readonly notices: Notices;
  readonly saving: Saving;
}

export interface ReadingOptions {
  /** At most about so many at once. */
  readonly bytes: number;
  readonly verify: boolean;
  /** Applies commits. False if that cannot be gone on with: the state stays where it is. */
  readonly meet: (commits: readonly LedgerCommit[]) => MaybePromise<boolean>;
}

/** Reads on from a state's position, applies what it finds and sees to it that it is saved: once. Undefined if it could not be applied. */
export async function readOn(
  context: EngineContext,
  { applier, notices, saving }: ReadingParts,
  state: EngineState,
  { bytes, verify, meet }: ReadingOptions,
): Promise<ReadResult | undefined> {
  const { environment, readBytes } = context;
  const takes = context.options.fileWork?.takes;
  const take = takes && ((commit: PassedCommit): boolean => takes(context, applier, state, commit));
  let began = environment.monotonic();
  const read = state.source.session.read(state.position, { bytes, verify, take });
  const result = isPromise(read) ? await context.own(read) : read;
  if (isPromise(read)) began = environment.monotonic();
  if (result.notices !== undefined) notices.note(state, result.notices);
  const met = meet(result.commits);
  if (!(isPromise(met) ? await met : met)) return undefined;
  state.position = result.next;
  if (result.state !== undefined) await context.own(state.adopt(result.state));
  if (result.status === "more" && bytes === readBytes.size) readBytes.took(environment.monotonic() - began);
  const relief = saving.checkpoint(state);
  if (relief !== undefined) await relief;
  return result;
}
