import type { EngineContext } from "./engine-context.ts";
import type { Follower } from "./follower.ts";
import type { Reopening } from "./reopening.ts";

/**
 * True if a round that verifies would find all as it was, and nothing to follow: then there need be none. Asked between two steps, when there is nothing
 * to do.
 */
export function isAtEnd(
  { session, state, stopped, isSealed, waits }: EngineContext,
  { isAstray }: Follower,
  { isMoved, isIndexDamaged, first }: Reopening,
): boolean {
  if (isAstray || isMoved || isIndexDamaged || first !== undefined) return false;
  if (stopped !== undefined || isSealed || waits !== undefined) return false;
  return session.isUnchanged?.(state.position) === true;
}
