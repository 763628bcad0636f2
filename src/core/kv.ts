// For users who compile for an older library than Symbol.asyncDispose.
/// <reference lib="esnext.disposable" preserve="true" />
import { abortable, throwIfAborted } from "./abort.ts";
import { Atomic, type AtomicResult } from "./atomic.ts";
import { BlockCache } from "./block-cache.ts";
import { type CommitResult, CommitSender, type Outcome } from "./commit-sender.ts";
import { Deferred } from "./deferred.ts";
import { deleteAll, type DeleteContext } from "./delete-all.ts";
import { DroppedNet } from "./dropped.ts";
import type { Engine } from "./engine.ts";
import type { Entry } from "./entry.ts";
import type { EntryIterator } from "./entry-iterator.ts";
import { isPromise } from "./environment.ts";
import { InvalidArgumentError, KVError } from "./errors.ts";
import { Emitter, type KVEvents } from "./events.ts";
import { Freshness } from "./freshness.ts";
import type { HistoryEntry } from "./history.ts";
import { scan } from "./history-reads.ts";
import { encodeKey, type Key, type KeyPart } from "./key.ts";
import { get, getEntry, getMany, has } from "./keyed-reads.ts";
import { closedError, Lifecycle } from "./lifecycle.ts";
import type { BackupResult } from "./maintenance.ts";
import { OpenHistory } from "./open-history.ts";
import { ledgerOf, type OpenTarget, type Platform } from "./open-target.ts";
import { TransactionSlot } from "./open-transaction.ts";
import { openLedger, type OpeningContext } from "./opening.ts";
import {
  type BackupOptions,
  type CloseOptions,
  type DeleteAllOptions,
  type HistoryOptions,
  type KVOptions,
  type ListOptions,
  type OpenOptions,
  parseOptions,
  type ReadOptions,
  type RepairOptions,
  type SetOptions,
  splitOptions,
  type SyncOptions,
  type TransactionOptions,
  type VacuumOptions,
  type WatchIteratorOptions,
  type WatchOptions,
} from "./options.ts";
import { show } from "./show.ts";
import { Pacer } from "./pacer.ts";
import type { Query } from "./query.ts";
import { count, iterate, listAll, listKeys } from "./query-reads.ts";
import type { RepairReport } from "./repair.ts";
import { runTransaction } from "./run-transaction.ts";
import { Snapshots } from "./snapshots.ts";
import { type KVStats, statsOf } from "./stats.ts";
import { SyncTeller } from "./sync-teller.ts";
import type { Transaction } from "./transaction.ts";
import type { VacuumResult } from "./vacuum.ts";
import { type WatchCallback, type WatchEntry, Watches, WatchIterator } from "./watch.ts";

interface Parts extends DeleteContext, OpeningContext {
  readonly emitter: Emitter;
  readonly deferred: Deferred;
}

/**
 * A database: one replica of a ledger, with the means to read, write and watch it. The platform's entry point exports it as `KV`.
 *
 * Calls on one instance take effect in the order in which they are made. Reads wait for own earlier writes that touch what they ask for, and see none that
 * are called later.
 */
export class CoreKV {
  readonly #platform: Platform;
  /** What the calls are made with. Each part keeps what it has to remember to itself. */
  readonly #parts: Parts;
  readonly #lifecycle: Lifecycle;
  readonly #sender: CommitSender;
  readonly #transactions: TransactionSlot;
  readonly #watchIterators = new Set<{ end(): void }>();
  readonly #histories = new Set<OpenHistory>();
  readonly #droppedHistories: DroppedNet<OpenHistory>;
  #closing: Promise<void> | undefined;

  constructor(options: KVOptions | undefined, platform: Platform) {
    const parsed = parseOptions("kv", "new KV", options);
    const { environment, fileWork } = platform;
    const index = !parsed.disableIndex;
    const pendingBytesMax =
      parsed.pendingBytesMax ??
      (environment.isolated === true ? PENDING_BYTES_MAX.isolated : PENDING_BYTES_MAX.process);
    const emitter = new Emitter();
    const problem = (error: unknown): void => emitter.emit("error", error);
    const lifecycle = new Lifecycle({
      environment,
      keepsKeys: index,
      begun: ({ engine }) => {
        teller.begin(engine);
        freshness.start();
      },
    });
    const watches = new Watches(problem, () => {
      lifecycle.opened?.engine.measureAnew();
      freshness.adjust();
    });
    const teller = new SyncTeller(emitter, parsed.autoSync);
    // Who keeps no keys has nothing that a snapshot could be made of.
    const AutoVacuum = parsed.autoVacuum && index ? fileWork?.AutoVacuum : undefined;
    const autoVacuum = AutoVacuum === undefined ? undefined : new AutoVacuum(environment);
    const polled = (engine: Engine): void => autoVacuum?.vacuumIfDue(this, engine, problem);
    const waitUntil = guarded(parsed.waitUntil, problem);
    const base = {
      ...parsed,
      waitUntil,
      index,
      pendingBytesMax,
      environment,
      fileWork,
      emitter,
      problem,
      lifecycle,
      watches,
      teller,
      polled,
      pacer: new Pacer(environment),
      cache: new BlockCache(parsed.cacheBytesMax, fileWork?.BufferPool),
      deferred: new Deferred(environment, problem),
      snapshots: new Snapshots(environment, parsed.pinnedBytesMax),
      sender: new CommitSender(environment, waitUntil),
    };
    const freshness = new Freshness(base);
    const transactions = new TransactionSlot({ ...base, freshness });
    this.#platform = platform;
    this.#parts = { ...base, freshness, transactions };
    this.#lifecycle = lifecycle;
    this.#sender = base.sender;
    this.#transactions = transactions;
    this.#droppedHistories = new DroppedNet(environment, (open) => open.end());
  }

  // --- opening and closing -----------------------------------------------------------------------------------------

  /**
   * Opens a ledger, or the file at a path, and catches up with it.
   *
   * @throws KVError `LedgerMissing`, `NotALedger`, `UnsupportedFormat`, `AccessDenied`, `NetworkFileSystem`, `UnsupportedTarget`,
   * `AlreadyOpen`, `Closed`, ... After a failed open the instance is as it was before, and may try again.
   */
  async open(target: OpenTarget, options?: OpenOptions): Promise<this> {
    this.#lifecycle.checkMayOpen();
    const parsed = parseOptions("open", "open", options);
    const ledger = ledgerOf(target, parsed.durability, this.#platform);
    await this.#lifecycle.open(ledger, () => openLedger(this.#parts, ledger, parsed));
    return this;
  }

  /** Parts options of the constructor from those of `open`, for the static `open` of an entry. */
  protected static splitOptions(options: (KVOptions & OpenOptions) | undefined): [KVOptions, OpenOptions] {
    return splitOptions(options);
  }

  /** True from the time that `open` has succeeded until `close` is called. */
  isOpen(): boolean {
    return this.#lifecycle.isOpen;
  }

  /**
   * Waits for everything that was accepted, then releases the ledger. Idempotent, and final. Watches and open iterators end.
   *
   * @throws KVError `TransactionOpen` after closing, if a transaction was open: what it had staged is dropped.
   */
  close(options?: CloseOptions): Promise<void> {
    try {
      const { timeoutMs } = parseOptions("close", "close", options);
      if (this.#closing !== undefined) return this.#closing;
      const wasOpen = this.#lifecycle.beginClosing();
      // It waits before it ends anything: listeners are called while everything is still there, and may close likewise.
      const closing = (this.#closing = this.#close(timeoutMs));
      if (wasOpen) this.#parts.emitter.emit("closing");
      return closing;
    } catch (error) {
      return Promise.reject(error);
    }
  }

  async #close(timeoutMs: number): Promise<void> {
    const { freshness, deferred, snapshots, watches } = this.#parts;
    const transaction = this.#transactions.drop();
    freshness.stop();
    await this.#lifecycle.whenOpened();
    const { opened } = this.#lifecycle;
    if (opened !== undefined) {
      const drained = await deferred.drain(opened, timeoutMs);
      snapshots.endIterators(closedError());
      for (const open of [...this.#histories]) open.fail(closedError());
      watches.clear();
      for (const iterator of [...this.#watchIterators]) iterator.end();
      if (transaction !== undefined) this.#transactions.release(transaction);
      await opened.engine.stop({ patient: drained });
    }
    this.#lifecycle.endClosing();
    if (transaction !== undefined) {
      const message = `A transaction was open when the database was closed: the operations staged in it, ${transaction.state.size}, were dropped`;
      throw new KVError("TransactionOpen", message, { outcome: "not committed" });
    }
  }

  /** As `close()`: for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /**
   * Lets `close` wait for a promise. A rejection goes to `onError`, or becomes an `error` event. Returns the promise.
   *
   * @throws KVError `Closed` when nobody would wait for it any more.
   */
  defer<T>(promise: Promise<T>, onError?: (error: unknown) => void): Promise<T> {
    if (!isPromise(promise))
      throw new InvalidArgumentError("InvalidArgument", `defer takes a promise; received ${show(promise)}`);
    if (onError !== undefined && typeof onError !== "function")
      throw new InvalidArgumentError("InvalidArgument", `defer: onError is a function; received ${show(onError)}`);
    if (this.#lifecycle.isClosed) throw closedError();
    this.#parts.deferred.add(promise, onError);
    return promise;
  }

  // --- writing -----------------------------------------------------------------------------------------------------

  /**
   * Writes a value under a key. Encoded before it returns: changing the value afterwards changes nothing. Resolves when the commit is in the ledger;
   * in an open transaction at once, without a version.
   *
   * @throws KVError `QueueFull`, `CommitTooLarge`, `ReadOnly`, `NoSpace`, `CommitOutcomeUnknown`, ...: `outcome` says whether it may have been committed.
   */
  set<T = unknown>(key: Key, value: T, options?: SetOptions): Promise<CommitResult> {
    try {
      const engine = this.#lifecycle.engine();
      const expireIn = options === undefined ? 0 : parseOptions("set", "set", options).expireIn;
      const encoded = encodeKey(key);
      const { staged } = this.#transactions;
      if (staged === undefined) return this.#sender.set(engine, encoded, value, expireIn);
      staged.set(encoded, value, expireIn);
      return Promise.resolve({ version: undefined });
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** Deletes a key. Deleting an absent one is a commit too. */
  delete(key: Key): Promise<CommitResult> {
    try {
      const engine = this.#lifecycle.engine();
      const encoded = encodeKey(key);
      const { staged } = this.#transactions;
      if (staged === undefined) return this.#sender.delete(engine, encoded);
      staged.delete(encoded);
      return Promise.resolve({ version: undefined });
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /**
   * Deletes what a query matches at this moment, own pending writes included, in one commit. Resolves with the number of keys.
   *
   * @throws KVError `CommitTooLarge` if they do not fit into one commit; `{ atomic: false }` deletes in pieces.
   */
  deleteAll(query: Query, options?: DeleteAllOptions): Promise<number> {
    return deleteAll(this.#parts, query, options);
  }

  /** Begins an atomic commit: conditions and operations that take effect together or not at all. Never joins an open transaction. */
  atomic(): Atomic {
    const sender = this.#sender;
    const lifecycle = this.#lifecycle;
    return new Atomic(sender.builder(lifecycle.indexed()), (builder) =>
      sender.sendChecked(lifecycle.engine(), builder, atomicResult),
    );
  }

  // --- transactions ------------------------------------------------------------------------------------------------

  /**
   * Begins a transaction of this instance: from now on every `set`, `delete` and read on it, whoever calls, belongs to it, until
   * `endTransaction` commits it or `abortTransaction` drops it. Sees one frozen version plus its own writes. It has no conditions: a value
   * read and written back can overwrite somebody else's change; `transaction(fn)` cannot.
   *
   * @throws KVError `TransactionOpen` if one is open.
   */
  beginTransaction(): Promise<void> {
    return this.#transactions.begin();
  }

  /** Commits everything that the open transaction has staged, as one commit. With nothing staged it appends nothing. */
  endTransaction(): Promise<CommitResult> {
    try {
      const { state, builder } = this.#transactions.take();
      const engine = this.#lifecycle.engine();
      if (state.size > 0) return this.#sender.send(engine, builder);
      builder.finish();
      return Promise.resolve({ version: state.snapshot?.version ?? engine.replica.version });
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** Drops everything that the open transaction has staged. */
  async abortTransaction(): Promise<void> {
    // Nothing is added to it any more, not by a getter that has called this either.
    this.#transactions.take().builder.finish();
  }

  /**
   * Runs a function as a serializable transaction: it reads one frozen version, and its writes are committed together only if no
   * entry that it read has changed; otherwise it runs again. Resolves with what the function returned. Any number may run at once.
   *
   * @throws KVError `TransactionConflict` when conflicts with other writers last longer than `timeoutMs`; `TypeMismatch`;
   * `TransactionTooLarge`. What the function throws ends the transaction and is passed on; nothing is committed.
   */
  async transaction<T>(fn: (transaction: Transaction) => T | Promise<T>, options?: TransactionOptions): Promise<T> {
    if (typeof fn !== "function") {
      throw new InvalidArgumentError("InvalidArgument", `transaction takes a function; received ${show(fn)}`);
    }
    const { timeoutMs, signal } = parseOptions("transaction", "transaction", options);
    const { environment, pacer, freshness, snapshots, sender } = this.#parts;
    const lifecycle = this.#lifecycle;
    return runTransaction(fn, {
      engine: lifecycle.indexed(),
      environment,
      pacer,
      timeoutMs,
      signal,
      follow: () => freshness.followUntold(lifecycle.engine(), { verify: false }),
      snapshot: () => snapshots.take(lifecycle.engine()),
      release: (snapshot) => snapshots.release(snapshot),
      builder: () => sender.builder(lifecycle.engine()),
      commit: (builder) => sender.sendChecked(lifecycle.engine(), builder, outcomeAlone),
    });
  }

  // --- reading -----------------------------------------------------------------------------------------------------

  /** The value under exactly this key, or null. `T` is what the caller expects; it is not checked. */
  get<T = unknown>(key: Key, options?: ReadOptions): Promise<T | null> {
    return get<T>(this.#parts, key, options);
  }

  /** Value, version, timestamp and expiry under exactly this key, or null. */
  getEntry<T = unknown>(key: Key, options?: ReadOptions): Promise<Entry<T> | null> {
    return getEntry<T>(this.#parts, key, options);
  }

  /** True if there is an entry under exactly this key. */
  has(key: Key, options?: ReadOptions): Promise<boolean> {
    return has(this.#parts, key, options);
  }

  /** The entries under these keys, or null, in the order asked, all of one version. */
  getMany<T = unknown>(keys: readonly Key[], options?: ReadOptions): Promise<(Entry<T> | null)[]> {
    return getMany<T>(this.#parts, keys, options);
  }

  /**
   * The entries that a query matches, of one frozen version, one after the other; the iterator's `cursor` goes on behind the last one.
   * End it early with `return()` or by leaving the loop.
   */
  iterate<T = unknown>(query: Query, options?: ListOptions): EntryIterator<T> {
    return iterate<T>(this.#parts, query, options);
  }

  /** The entries that a query matches, of one frozen version, in an array. */
  listAll<T = unknown>(query: Query, options?: ListOptions): Promise<Entry<T>[]> {
    return listAll<T>(this.#parts, query, options);
  }

  /** The full keys that a query matches, in order. Decodes no values. */
  listKeys(query: Query, options?: ListOptions): Promise<KeyPart[][]> {
    return listKeys(this.#parts, query, options);
  }

  /** How many entries a query matches. Decodes no values. */
  async count(query: Query, options?: ReadOptions): Promise<number> {
    const { consistency } = parseOptions("read", "count", options);
    return count(this.#parts, query, consistency);
  }

  /**
   * What has happened to the keys that a query matches, in commit order, as far back as the ledger goes and up to the version visible when
   * the first entry is asked for, or when the open transaction began. Reads the ledger again from its beginning.
   */
  scan<T = unknown>(query: Query, options?: HistoryOptions): AsyncGenerator<HistoryEntry<T>, void, undefined> {
    const open = new OpenHistory(this.#histories);
    const entries = scan<T>(this.#parts, query, options, open);
    this.#droppedHistories.watch(entries, open);
    return entries;
  }

  /** What has happened to one key: see `scan`. */
  async *history<T = unknown>(key: Key, options?: HistoryOptions): AsyncGenerator<HistoryEntry<T>, void, undefined> {
    const encoded = encodeKey(key);
    this.#lifecycle.indexed();
    for await (const entry of this.scan<T>(key, options)) {
      if (encodeKey(entry.key) === encoded) yield entry;
    }
  }

  // --- watching, following, events ---------------------------------------------------------------------------------

  /**
   * Calls back for every commit that touches the key or anything below it, once a commit and key, in commit order, own writes and
   * others' alike. No initial value: for state plus changes, watch, then get, and ignore versions at or below the one got. Returns a
   * function that ends the watch. Without a callback it returns an async iterator with a bounded buffer.
   */
  watch<T = unknown>(query: Query, callback: WatchCallback<T>, options?: WatchOptions): () => void;
  watch<T = unknown>(query: Query, options?: WatchIteratorOptions): AsyncIterableIterator<WatchEntry<T>>;
  watch<T>(
    query: Query,
    second?: WatchCallback<T> | WatchIteratorOptions,
    third?: WatchOptions,
  ): (() => void) | AsyncIterableIterator<WatchEntry<T>> {
    const { waits } = this.#lifecycle.indexed();
    if (typeof second === "function") {
      const { ref, signal } = parseOptions("watch", "watch", third);
      return this.#parts.watches.add(query, second as WatchCallback, { ref, signal });
    }
    const { ref, signal, bufferMax } = parseOptions("watchIterator", "watch", second);
    const iterator = new WatchIterator<T>(
      bufferMax,
      waits === undefined ? undefined : (begin) => waits.promise(begin, () => this.#parts.freshness.pollIfDue()),
    );
    const stop = this.#parts.watches.add(query, (entry) => iterator.push(entry as WatchEntry<T>), {
      ref,
      signal,
      ended: () => iterator.end(),
    });
    this.#watchIterators.add(iterator);
    iterator.attach(() => {
      this.#watchIterators.delete(iterator);
      stop();
    });
    return iterator;
  }

  /** Ends the watches with this query and this callback. True if there were any. */
  unwatch<T = unknown>(query: Query, callback: WatchCallback<T>): boolean {
    checkListener(callback);
    return this.#parts.watches.remove(query, callback as WatchCallback);
  }

  /**
   * Follows the ledger to its end and emits a `sync` event.
   *
   * @throws what keeps the ledger from being followed; nothing is lost, and a later call tries again.
   */
  async sync(options?: SyncOptions): Promise<void> {
    const engine = this.#lifecycle.engine();
    const { signal } = parseOptions("sync", "sync", options);
    throwIfAborted(signal);
    await abortable(this.#parts.freshness.sync(engine), signal);
  }

  /** Calls `listener` for each such event from now on. One that listens already is not added again. */
  on<E extends keyof KVEvents>(event: E, listener: KVEvents[E]): this {
    this.#parts.emitter.on(checkEvent(event), checkListener(listener));
    this.#parts.freshness.adjust();
    return this;
  }

  /** The same for the next one alone. */
  once<E extends keyof KVEvents>(event: E, listener: KVEvents[E]): this {
    this.#parts.emitter.once(checkEvent(event), checkListener(listener));
    this.#parts.freshness.adjust();
    return this;
  }

  /** Ends what `on` or `once` has begun with this listener. */
  off<E extends keyof KVEvents>(event: E, listener: KVEvents[E]): this {
    this.#parts.emitter.off(checkEvent(event), checkListener(listener));
    this.#parts.freshness.adjust();
    return this;
  }

  /**
   * Lets the ledger begin anew with the present state, so that a file shrinks to what it needs, while everybody goes on reading and writing.
   * Entries that expired long ago are removed for everybody. Versions stay; `scan` and `history` reach back to the vacuum, or further with
   * `keepHistory`.
   *
   * @throws KVError `VacuumRefused` where the file cannot be replaced; `NoSpace`, `LedgerDamaged`, `LedgerSealed`, ...: then nothing has happened.
   */
  async vacuum(options?: VacuumOptions): Promise<VacuumResult> {
    const parsed = parseOptions("vacuum", "vacuum", options);
    this.#lifecycle.indexed();
    return this.#lifecycle.whileOpen().maintenance.vacuum(parsed);
  }

  /**
   * Writes a consistent, vacuumed copy of the present state to where there is no ledger yet, while everybody goes on: to a path, or to a ledger of any kind,
   * whatever kind this one is. Versions, timestamps and expiries stay what they are, and the copy's own versions go on above them. It is the same ledger at an earlier
   * time; with `newLedgerId` it is one of its own.
   *
   * @throws KVError `TargetExists` if there is something already; `LedgerDamaged`; `SnapshotExpired` if it took so long that others have deleted what it
   * reads; `NoSpace`, `AccessDenied`, `UnsupportedTarget`, ...: then there is no copy.
   */
  async backup(target: OpenTarget, options?: BackupOptions): Promise<BackupResult> {
    const parsed = parseOptions("backup", "backup", options);
    this.#lifecycle.indexed();
    const ledger = ledgerOf(target, undefined, this.#platform, "backup");
    return this.#lifecycle.whileOpen().maintenance.backup(ledger, parsed);
  }

  /**
   * Lets a damaged ledger begin anew with all that is whole in it, for every replica, and keeps the damaged original under another name. Resolves
   * with what could not be kept. With nothing damaged it does nothing.
   */
  async repair(options?: RepairOptions): Promise<RepairReport> {
    const parsed = parseOptions("repair", "repair", options);
    return this.#lifecycle.whileOpen().maintenance.repair(parsed, { reports: true });
  }

  /** Figures about this instance. */
  stats(): KVStats {
    const { environment, snapshots, watches } = this.#parts;
    const opened = this.#lifecycle.whileOpen();
    return statsOf(opened, {
      snapshots: snapshots.stats(opened.engine, environment.monotonic()),
      watches: watches.size,
    });
  }
}

/** The default of `pendingBytesMax`. */
const PENDING_BYTES_MAX = { process: 256 * 1024 * 1024, isolated: 32 * 1024 * 1024 } as const;

/** What it throws, as that of a request that has ended may, is nothing that becomes of a commit: it has been sent by then. */
function guarded(
  waitUntil: KVOptions["waitUntil"],
  problem: (error: unknown) => void,
): ((promise: Promise<unknown>) => void) | undefined {
  if (waitUntil === undefined) return undefined;
  return (promise) => {
    try {
      waitUntil(promise);
    } catch (error) {
      problem(error);
    }
  };
}

const atomicResult = (outcome: Outcome, version: number): AtomicResult =>
  outcome === "applied" ? { ok: true, version } : { ok: false };

const outcomeAlone = (outcome: Outcome): Outcome => outcome;

const EVENTS: readonly string[] = ["sync", "error", "closing"] satisfies readonly (keyof KVEvents)[];

function checkEvent<E extends keyof KVEvents>(event: E): E {
  if (EVENTS.includes(event)) return event;
  throw new InvalidArgumentError("InvalidArgument", `There is no event ${show(event)}; there are ${EVENTS.join(", ")}`);
}

function checkListener<L>(listener: L): L {
  if (typeof listener === "function") return listener;
  throw new InvalidArgumentError("InvalidArgument", `A listener is a function; received ${show(listener)}`);
}
