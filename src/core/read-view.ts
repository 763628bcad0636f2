import type { PendingCommit } from "./commit-queue.ts";
import type { Engine } from "./engine.ts";
import type { Environment } from "./environment.ts";
import type { Freshness, ReadWait } from "./freshness.ts";
import type { EncodedKey } from "./key.ts";
import { Horizon } from "./horizon.ts";
import type { Layer } from "./layers.ts";
import type { Lifecycle } from "./lifecycle.ts";
import type { TransactionSlot } from "./open-transaction.ts";
import { type Consistency, parseOptions } from "./options.ts";
import type { Pacer } from "./pacer.ts";
import { live, type Row } from "./resolve.ts";
import type { Snapshots } from "./snapshots.ts";
import type { Snapshot, ValueSource, View } from "./source.ts";
import { StagedState } from "./staged.ts";

/**
 * What reads wait for, and what they see: the transaction that was open when they were called (`staged`), if one was, whatever began while they
 * waited; otherwise the visible version or, where they have waited, what was frozen for them before an own commit that was called later.
 */

/** What a read sees, if it is not the visible version. */
export type Seen = StagedState | Snapshot;

/** A view for a read that goes on later. */
export interface ReadView extends View {
  readonly rows: Layer;
  readonly now: number;
  release(): void;
}

/** What the reads of one instance are made with. */
export interface ReadContext {
  readonly environment: Environment;
  readonly pacer: Pacer;
  readonly lifecycle: Lifecycle;
  readonly freshness: Freshness;
  readonly transactions: TransactionSlot;
  readonly snapshots: Snapshots;
}

const NOTHING = (): void => undefined;

/** What a read has to wait for: `undefined` if for nothing. `pending`: an own write that it has to see. */
export function beforeRead(
  context: ReadContext,
  engine: Engine,
  options: { readonly consistency?: Consistency | undefined } | undefined,
  pending: PendingCommit | undefined,
  transaction = context.transactions.current,
): ReadWait | undefined {
  const strong = options !== undefined && parseOptions("read", "read", options).consistency === "strong";
  if (transaction === undefined) return context.freshness.beforeRead(engine, pending, strong);
  const over = context.transactions.whenBegun(transaction);
  return over && { over, horizon: new Horizon() };
}

export function rowsOf(context: ReadContext, seen: Seen | undefined): Layer {
  return seen?.rows ?? context.lifecycle.engine().replica;
}

export function valuesOf(context: ReadContext, view: View | undefined): ValueSource {
  return view?.source ?? context.lifecycle.engine().source;
}

export function nowOf(context: ReadContext, view: View | undefined): number {
  return view?.now ?? context.environment.now();
}

export function rowUnder(context: ReadContext, view: View | undefined, key: EncodedKey): Row | undefined {
  const row = (view?.rows ?? context.lifecycle.engine().replica).get(key);
  if (row === undefined || row.deleted) return undefined;
  return row.expiresAt === 0 ? row : live(row, nowOf(context, view));
}

/** What a read sees now, until released. */
export function viewOf(context: ReadContext, seen: Seen | undefined): ReadView {
  const now = nowOf(context, seen);
  if (seen instanceof StagedState) return { rows: seen.freeze(), source: seen, now, release: hold(context, seen) };
  const { rows, source, release } = seen ?? context.lifecycle.engine().freeze();
  return { rows, source, now, release: seen?.hold() ?? release };
}

/** What a read reads from stays there until that is called, whatever becomes of the transaction or of the state. */
function hold(context: ReadContext, seen: Seen | undefined): () => void {
  return seen === undefined ? context.lifecycle.engine().freeze().release : (seen.hold() ?? NOTHING);
}

/** A value that has yet to arrive. */
export function held<T>(context: ReadContext, seen: Seen | undefined, value: Promise<unknown>): Promise<T> {
  return (value as Promise<T>).finally(hold(context, seen));
}

/** For a read that goes over many rows: its frozen version counts as one that somebody holds. */
export async function pinned<T>(
  context: ReadContext,
  seen: Seen | undefined,
  work: (snapshot: Snapshot) => Promise<T>,
): Promise<T> {
  const frozen = seen instanceof StagedState ? undefined : seen;
  const snapshot = context.snapshots.take(context.lifecycle.engine(), frozen);
  const release = seen?.hold();
  try {
    return await work(snapshot);
  } finally {
    context.snapshots.release(snapshot);
    release?.();
  }
}
