import { hasCode, KVError } from "../../core/errors.ts";
import { knownOptions, wrongOption } from "../../core/given-options.ts";
import type { Ledger, LedgerOpenOptions, LedgerSession } from "../../core/ledger.ts";
import { ObjectState } from "./checkpoint.ts";
import { Confirmation } from "./confirmation.ts";
import { countingStore } from "./counting-store.ts";
import { Follower } from "./follow.ts";
import type { CreateAnswer, ObjectStore } from "./object-store.ts";
import type { Mending } from "./mending.ts";
import { findRoot, type Writers } from "./opening.ts";
import { OwnTurn } from "./own-turn.ts";
import { retryReads } from "./retry-reads.ts";
import { type FoundRoot, RootObject } from "./root-object.ts";
import { ObjectSession } from "./session.ts";
import type { Batch } from "./settle.ts";
import { createAlone } from "./single-writer.ts";
import type { Site } from "./site.ts";
import { Tail } from "./tail.ts";

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
  const { readOnly, environment, cache } = options;
  const { name } = folder;
  if (!readOnly && writers === "several" && !folder.capabilities.create) {
    throw new KVError(
      "StoreUnsuitable",
      `${name} lets several create the same object: it can be written with writers: "single" only`,
    );
  }
  const counting = countingStore(folder);
  const turn = new OwnTurn(retryReads(counting, { environment }), environment);
  const rootObject = new RootObject(turn.store, turn.environment);
  const context = { ...options, environment: turn.environment, writers, mending };
  const { found, restored } = await findRoot(rootObject, turn.store, context);
  const { nonce, ledgerId, checkpointSlot, checkpointHash, floor, formers } = found.root;
  const site: Site = { name, store: turn.store, environment: turn.environment, nonce };
  let newest = found;
  const saw = (root: FoundRoot): void => void (newest = root);
  const confirmation = new Confirmation(rootObject, name, found, saw);
  const follower = new Follower(site, confirmation);
  const valueSite: Site = { name, store: retryReads(counting, { environment }), environment, nonce };
  const valueRoots = new RootObject(valueSite.store, environment);
  const tail = new Tail();
  const opened: { session?: ObjectSession } = {};
  const state = new ObjectState({
    site: valueSite,
    rootObject: valueRoots,
    graceMs,
    mending,
    found: () => newest,
    took: (root) => {
      saw(root);
      // One that was written here tells no time, and confirms nothing for longer than the one before.
      if (root.time !== undefined) confirmation.take(root);
    },
    facts: (slot) => tail.get(slot),
    gone: () => opened.session?.gone(),
  });
  try {
    await follower.prefetch(checkpointSlot + 1, FIRST_SLOTS);
  } catch (error) {
    // What is damaged, reading will tell: who wants to repair it has to open it.
    if (!hasCode(error, "LedgerDamaged")) throw error;
  }
  const session = new ObjectSession({
    site,
    values: { site: valueSite, confirmation: new Confirmation(valueRoots, name, found, () => undefined) },
    restored: restored && { ...restored, isSame: false },
    identity: { ledgerId, nonce, generation: formers.length + 1 },
    readOnly,
    confirmation,
    follower,
    turn,
    counting,
    cache,
    tail,
    state,
    start: floor - 1,
    stateEnd: checkpointSlot,
    stateEndHash: checkpointHash,
    ...(writers === "single" ? { writeAlone } : {}),
  });
  opened.session = session;
  return session;

  function writeAlone(
    batch: Batch,
    { predecessor, mayBeWritten }: { readonly predecessor: Uint8Array | undefined; readonly mayBeWritten: boolean },
  ): Promise<CreateAnswer> {
    const before =
      batch.slot > found.root.firstSlot && predecessor !== undefined
        ? { slot: batch.slot - 1, hash: predecessor }
        : undefined;
    return createAlone(site, batch, { before, mayBeWritten });
  }
}
