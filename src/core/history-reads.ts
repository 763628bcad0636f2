import type { Engine } from "./engine.ts";
import { type HistoryEntry, readHistory } from "./history.ts";
import { type HistoryOptions, parseOptions } from "./options.ts";
import type { OpenHistory } from "./open-history.ts";
import { compileQuery, type Query } from "./query.ts";
import { again } from "./late-reads.ts";
import { beforeRead, type ReadContext } from "./read-view.ts";

/** Reads of what has happened: up to where a history is told, and which commits were void. */

/** What `scan` tells. `open` holds what is read from meanwhile, and may end it. */
export async function* scan<T>(
  context: ReadContext,
  query: Query,
  options: HistoryOptions | undefined,
  open: OpenHistory,
): AsyncGenerator<HistoryEntry<T>, void, undefined> {
  const { snapshot } = parseOptions("history", "scan", options);
  const { environment, pacer, lifecycle, transactions } = context;
  const { engine, ledger, allowNetworkFileSystem } = lifecycle.whileOpen();
  const compiled = compileQuery(query);
  // Before anything is waited for: the database may be closed meanwhile.
  open.begin();
  try {
    const staged = transactions.staged;
    const wait = beforeRead(context, engine, undefined, engine.queue.touchingRange(compiled));
    if (wait !== undefined) await wait.over;
    const frozen = wait?.horizon.take();
    frozen?.release();
    if (engine.identity === undefined) return;
    // Before it is asked which commits are void: of those that come while that is found out, nobody here knows it.
    const { version } = frozen ?? staged?.snapshot ?? engine.replica;
    const voidVersions = lifecycle.keepsKeys ? await voidVersionsOf(context, engine) : undefined;
    yield* readHistory<T>({
      ledger,
      allowNetworkFileSystem,
      environment,
      pacer,
      query: compiled,
      version,
      open,
      isFrozen: staged !== undefined,
      note: (state, notices) => engine.note(state, notices),
      ledgerId: engine.identity.ledgerId,
      snapshot,
      begin: (session) => engine.begin(session),
      voidVersions,
      isResolved: ledger.ordering === "compare-and-swap",
    });
  } finally {
    open.end();
  }
}

async function voidVersionsOf(context: ReadContext, engine: Engine): Promise<ReadonlySet<number>> {
  try {
    return await engine.replica.allVoidVersions();
  } catch (error) {
    return again(context, error, undefined, () => voidVersionsOf(context, engine));
  }
}
