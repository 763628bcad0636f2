import type { PendingCommit } from "./commit-queue.ts";
import type { Engine } from "./engine.ts";
import type { Environment } from "./environment.ts";
import type { Freshness } from "./freshness.ts";
import type { EncodedKey } from "./key.ts";
import type { Layer } from "./layers.ts";
import type { Lifecycle } from "./lifecycle.ts";
import type { TransactionSlot } from "./open-transaction.ts";
import { type Consistency, parseOptions } from "./options.ts";
import type { Pacer } from "./pacer.ts";
import { live, type Row } from "./resolve.ts";
import type { Snapshots } from "./snapshots.ts";
import type { Snapshot, ValueSource } from "./source.ts";
import type { StagedState } from "./staged.ts";

/**
 * What reads wait for, and what they see: the transaction that was open when they were called (`staged`), if one was, whatever began while they
 * waited; otherwise the visible version.
 */

/** What a read sees that goes on later. */
export interface ReadView {
  readonly rows: Layer;
  readonly values: ValueSource;
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
): Promise<void> | undefined {
  const strong = options !== undefined && parseOptions("read", "read", options).consistency === "strong";
  const transaction = context.transactions.current;
  if (transaction !== undefined) return context.transactions.whenBegun(transaction);
  return context.freshness.beforeRead(engine, pending, strong);
}

export function rowsOf(context: ReadContext, staged: StagedState | undefined): Layer {
  return staged?.rows ?? context.lifecycle.engine().replica;
}

export function valuesOf(context: ReadContext, staged: StagedState | undefined): ValueSource {
  return staged ?? context.lifecycle.engine().source;
}

export function nowOf(context: ReadContext, staged: StagedState | undefined): number {
  return staged?.now ?? context.environment.now();
}

export function rowUnder(context: ReadContext, staged: StagedState | undefined, key: EncodedKey): Row | undefined {
  const row = rowsOf(context, staged).get(key);
  if (row === undefined || row.deleted) return undefined;
  return row.expiresAt === 0 ? row : live(row, nowOf(context, staged));
}

/** What a read sees now, until released. */
export function viewOf(context: ReadContext, staged: StagedState | undefined): ReadView {
  if (staged !== undefined) {
    const release = hold(context, staged);
    return { rows: staged.freeze(), values: staged, now: staged.now, release };
  }
  const { rows, source, release } = context.lifecycle.engine().freeze();
  return { rows, values: source, now: context.environment.now(), release };
}

/** What a read reads from stays there until that is called, whatever becomes of the transaction or of the state. */
function hold(context: ReadContext, staged: StagedState | undefined): () => void {
  return staged === undefined ? context.lifecycle.engine().freeze().release : (staged.snapshot?.hold() ?? NOTHING);
}

/** A value that has yet to arrive. */
export function held<T>(context: ReadContext, staged: StagedState | undefined, value: Promise<unknown>): Promise<T> {
  return (value as Promise<T>).finally(hold(context, staged));
}

/** For a read that goes over many rows: its frozen version counts as one that somebody holds. */
export async function pinned<T>(
  context: ReadContext,
  staged: StagedState | undefined,
  work: (snapshot: Snapshot) => Promise<T>,
): Promise<T> {
  const snapshot = context.snapshots.take(context.lifecycle.engine());
  const release = staged?.snapshot?.hold();
  try {
    return await work(snapshot);
  } finally {
    context.snapshots.release(snapshot);
    release?.();
  }
}
