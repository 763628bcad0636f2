import { KVError } from "../../core/errors.ts";
import { knownOptions, wrongOption } from "../../core/given-options.ts";
import type { Ledger, LedgerOpenOptions, LedgerSession } from "../../core/ledger.ts";
import { countingStore } from "./counting-store.ts";
import type { ObjectStore } from "./object-store.ts";
import type { Mending } from "./mending.ts";
import { findRoot, type Writers } from "./opening.ts";
import { OwnTurn } from "./own-turn.ts";
import { retryReads } from "./retry-reads.ts";
import { RootObject } from "./root-object.ts";
import { ObjectSession } from "./session.ts";

/** Who writes, and what is kept for how long. */
export interface StoreLedgerOptions {
  /**
   * `several`, the default: any number of writers, on a store that lets one of those win who create the same object. `single`: one writer at a time,
   * on any store; a second one is detected (`SecondWriterDetected`) after it has done harm.
   */
  readonly writers?: Writers | undefined;
  /**
   * For how long, in ms, slots that nobody needs any more are kept at least: a process that is stopped for longer cannot go on where it was, and
   * begins with the checkpoint. Default one day, at least one hour.
   */
  readonly graceMs?: number | undefined;
}

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
/** Slots that are asked for when a ledger is opened, before anybody knows whether they exist. */
const FIRST_SLOTS = 16;

/**
 * See `objectLedger`: all of the store. Without `mending`, repairs of it reject with `UnsupportedTarget`. `context` is the call, for messages. Throws
 * `InvalidOption`.
 */
export function storeLedger(store: ObjectStore, options: unknown, context: string, mending?: Mending): Ledger {
  const { writers = "several", graceMs = DAY } = knownOptions(options, ["writers", "graceMs"], context);
  if (writers !== "several" && writers !== "single")
    throw wrongOption(context, "writers", '"several" or "single"', writers);
  if (typeof graceMs !== "number" || !(graceMs >= HOUR && graceMs < Infinity)) {
    throw wrongOption(context, "graceMs", "a number of ms from one hour on", graceMs);
  }
  return {
    name: store.name,
    ordering: "compare-and-swap",
    open: (options) => open(store, { writers, graceMs, mending }, options),
  };
}

async function open(
  folder: ObjectStore,
  { writers, graceMs, mending }: { writers: Writers; graceMs: number; mending: Mending | undefined },
  options: LedgerOpenOptions,
): Promise<LedgerSession> {
  const { readOnly, environment } = options;
  if (!readOnly && writers === "several" && !folder.capabilities.create) {
    throw new KVError(
      "StoreUnsuitable",
      `${folder.name} lets several create the same object: it can be written with writers: "single" only`,
    );
  }
  const counting = countingStore(folder);
  const turn = new OwnTurn(retryReads(counting, { environment }), environment);
  const rootObject = new RootObject(turn.store, turn.environment);
  const context = { ...options, environment: turn.environment, writers, mending };
  const opened = await findRoot(rootObject, turn.store, context);
  const session = new ObjectSession({ ...options, counting, turn, rootObject, opened, writers, graceMs, mending });
  await session.prefetch(FIRST_SLOTS);
  return session;
}
