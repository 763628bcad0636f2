import { NotLoaded, onceLoaded } from "./bytes-at.ts";
import type { MaybePromise } from "./environment.ts";
import { KVError } from "./errors.ts";
import { IndexDamaged } from "./held-run.ts";
import { type ReadContext, type Seen, viewOf } from "./read-view.ts";
import type { View } from "./source.ts";
import { StagedState } from "./staged.ts";

/** Reads that cannot be done at once: what they read has yet to arrive, or the saved index is damaged and has to be built anew. */

/** What has yet to arrive is waited for, and the read sees what it saw when it was called. `anew`: the whole call once more. */
export async function later<T>(
  context: ReadContext,
  error: unknown,
  seen: Seen | undefined,
  read: (view: View) => MaybePromise<unknown>,
  anew: () => Promise<T>,
): Promise<T> {
  if (!(error instanceof NotLoaded)) return again(context, error, seen, anew);
  const view = viewOf(context, seen);
  try {
    return (await onceLoaded(error, () => read(view))) as T;
  } catch (failure) {
    return await again(context, failure, seen, anew);
  } finally {
    view.release();
  }
}

/** A read that met a damaged run of the saved index is made again once the index was built anew. Other errors pass through. */
export async function again<T>(
  context: ReadContext,
  error: unknown,
  seen: Seen | undefined,
  anew: () => Promise<T>,
): Promise<T> {
  if (!(error instanceof IndexDamaged)) throw error;
  if (seen instanceof StagedState) throw expired(context, error);
  await context.lifecycle.engine().rebuild();
  return anew();
}

/** A listing in one piece, made again likewise. */
export async function whole<T>(context: ReadContext, list: () => Promise<T>): Promise<T> {
  const { lifecycle, transactions } = context;
  try {
    return await list();
  } catch (error) {
    const isDamaged = error instanceof KVError && error.cause instanceof IndexDamaged;
    if (!isDamaged || transactions.current !== undefined) throw error;
    await lifecycle.engine().rebuild();
    return list();
  }
}

/** What a frozen version whose index is damaged fails with. */
export function expired(context: ReadContext, error: unknown): unknown {
  if (!(error instanceof IndexDamaged)) return error;
  // Those who read what is frozen cannot wait for it: the next read finds it done. A failure is met by the next poll.
  context.lifecycle.opened?.engine.rebuild().catch(() => undefined);
  return new KVError("SnapshotExpired", "What was read is kept no longer, or its index is damaged: read again", {
    cause: error,
  });
}
