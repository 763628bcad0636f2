import { type BlockCache, keepingBytes } from "./block-cache.ts";
import type { CommitSender } from "./commit-sender.ts";
import type { EngineListener, EngineOptions } from "./engine-context.ts";
import { Engine } from "./engine.ts";
import type { Environment } from "./environment.ts";
import { hasCode } from "./errors.ts";
import type { Freshness } from "./freshness.ts";
import type { Ledger } from "./ledger.ts";
import { closedError, type Lifecycle, type Opened } from "./lifecycle.ts";
import { Maintenance } from "./maintenance.ts";
import { parseOptions } from "./options.ts";
import type { Pacer } from "./pacer.ts";
import { tellReloaded } from "./reload.ts";
import type { SyncTeller } from "./sync-teller.ts";
import type { Watches } from "./watch.ts";

/** What belongs to the instance and is there before anything is opened. */
export interface OpeningContext extends Pick<
  EngineOptions,
  "index" | "pendingBytesMax" | "cache" | "sideIndex" | "compaction" | "waitUntil" | "fileWork"
> {
  readonly cache: BlockCache;
  readonly purgeAfterMs: number;
  readonly environment: Environment;
  readonly pacer: Pacer;
  readonly lifecycle: Lifecycle;
  readonly watches: Watches;
  readonly teller: SyncTeller;
  readonly freshness: Freshness;
  readonly sender: CommitSender;
  /** Told of what belongs to no call. */
  readonly problem: (error: unknown) => void;
}

/** Opens a ledger for an instance: the engine on it, caught up, and what keeps it small. */
export async function openLedger(
  context: OpeningContext,
  ledger: Ledger,
  parsed: ReturnType<typeof parseOptions<"open">>,
): Promise<Opened> {
  const { environment, cache, pacer, lifecycle, sender } = context;
  const { allowNetworkFileSystem } = parsed;
  const session = await ledger.open({ ...parsed, environment, ...keepingBytes(cache) });
  let engine: Engine | undefined;
  try {
    const listener = listenerOf(context, () => engine as Engine);
    const opened = (engine = new Engine(ledger, session, environment, { ...parsed, ...context }, listener, pacer));
    const maintenance = new Maintenance({
      ...context,
      engine,
      ledger,
      allowNetworkFileSystem,
      builder: () => sender.builder(opened),
      commit: (builder) => sender.send(opened, builder),
      check: () => {
        if (lifecycle.isClosing) throw closedError();
      },
    });
    if (!(await catchUp(engine, parsed)))
      await maintenance.repair(parseOptions("repair", "open", undefined), { reports: false });
    return { engine, maintenance, ledger, allowNetworkFileSystem, restored: session.restored };
  } catch (error) {
    await engine?.stop();
    throw error;
  }
}

/** What the engine does is told to those whom it concerns. */
function listenerOf(context: OpeningContext, engine: () => Engine): EngineListener {
  const { watches, freshness, teller, lifecycle, problem } = context;
  return {
    isIdle: () => watches.size === 0,
    needsEach: () => freshness.needsEach,
    applied: (record, _, changes) => watches.dispatch(record, changes),
    reloaded: (before, sameLedger) => {
      freshness.resubscribe();
      return tellReloaded(engine(), before, { ...context, sameLedger });
    },
    flushed: (round) => {
      if (lifecycle.opened !== undefined) teller.tellUnasked(lifecycle.opened.engine, round);
    },
    problem,
  };
}

/** Reads the ledger to its end. False if it is to be repaired first. */
async function catchUp(engine: Engine, { repair }: { readonly repair: boolean }): Promise<boolean> {
  try {
    await engine.catchUp();
    return !repair || engine.damage.length === 0;
  } catch (error) {
    if (!repair || !hasCode(error, "LedgerDamaged")) throw error;
    return false;
  }
}
