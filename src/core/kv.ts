// For users who compile for an older library than Symbol.asyncDispose.
/// <reference lib="esnext.disposable" preserve="true" />
import { abortable, throwIfAborted } from "./abort.ts";
import { Atomic, type AtomicResult } from "./atomic.ts";
import type { AutoVacuum } from "./auto-vacuum.ts";
import { BlockCache, byteCache } from "./block-cache.ts";
import { NotLoaded, onceLoaded, whenLoaded } from "./bytes-at.ts";
import { ByteWriter } from "./bytes.ts";
import { CommitBuilder } from "./commit-builder.ts";
import type { PendingCommit, Verdict } from "./commit-queue.ts";
import type { EngineOptions } from "./engine-context.ts";
import { Engine } from "./engine.ts";
import { type Entry, makeEntry } from "./entry.ts";
import { type Environment, isPromise, type MaybePromise, type Timer } from "./environment.ts";
import { hasCode, InvalidArgumentError, KVError, notCommitted } from "./errors.ts";
import { Emitter, type KVEvents } from "./events.ts";
import { type HistoryEntry, type OpenHistory, readHistory } from "./history.ts";
import { ItemKind, NO_CHECKS, type Operation, writeDelete, writeSet } from "./commit.ts";
import { decodeKey, type EncodedKey, encodeKey, type Key, type KeyPart } from "./key.ts";
import type { Ledger } from "./ledger.ts";
import { EntryIterator } from "./entry-iterator.ts";
import { Deferred } from "./deferred.ts";
import { DroppedNet } from "./dropped.ts";
import { listRows } from "./listing.ts";
import { IndexDamaged } from "./held-run.ts";
import type { Layer } from "./layers.ts";
import {
  type BackupOptions,
  type CloseOptions,
  type Consistency,
  type DeleteAllOptions,
  type HistoryOptions,
  type KVOptions,
  type ListOptions,
  type OpenOptions,
  isOpenOption,
  parseListOptions,
  parseOptions,
  type ReadOptions,
  type RepairOptions,
  type SetOptions,
  show,
  type SyncOptions,
  type TransactionOptions,
  type VacuumOptions,
  type WatchIteratorOptions,
  type WatchOptions,
} from "./options.ts";
import { type BackupResult, Maintenance } from "./maintenance.ts";
import { type FileUrl, ledgerOf, type OpenTarget, type Platform } from "./open-target.ts";
import { Pacer } from "./pacer.ts";
import { Poller } from "./poller.ts";
import { type CompiledQuery, compileQuery, type Query } from "./query.ts";
import { tellReloaded } from "./reload.ts";
import { type OpenIterator, Snapshots } from "./snapshots.ts";
import type { Snapshot, ValueSource } from "./source.ts";
import { type KVStats, type Opened, statsOf } from "./stats.ts";
import { SyncTeller } from "./sync-teller.ts";
import { live, type Row } from "./resolve.ts";
import { StagedState, typeMismatch } from "./staged.ts";
import type { RepairReport } from "./repair.ts";
import type { Round } from "./round.ts";
import { runTransaction } from "./run-transaction.ts";
import type { Transaction } from "./transaction.ts";
import { Waits } from "./waits.ts";
import type { VacuumResult } from "./vacuum.ts";
import { encodeValue } from "./value.ts";
import { type WatchCallback, type WatchEntry, Watches, WatchIterator } from "./watch.ts";

/** What a write resolves to. */
export interface CommitResult {
  /** The version of the commit; `undefined` for a write that an open transaction has only staged. */
  readonly version: number | undefined;
}

/** A transaction between `beginTransaction` and its end. */
interface OpenTransaction {
  readonly state: StagedState;
  readonly builder: CommitBuilder;
  /** Set until it is known what the transaction sees: reads wait for it, writes do not. */
  beginning: Promise<void> | undefined;
  /** What it has to see. */
  readonly after: PendingCommit | undefined;
}

/** What a read sees that goes on later. */
interface ReadView {
  readonly rows: Layer;
  readonly values: ValueSource;
  readonly now: number;
  release(): void;
}

type State = "new" | "opening" | "open" | "closing" | "closed";

/**
 * A database: one replica of a ledger, with the means to read, write and watch it. The platform's entry point exports it as `KV`.
 *
 * Calls on one instance take effect in the order in which they are made. Keyed reads wait for own earlier writes that touch what they
 * ask for.
 */
export class CoreKV {
  readonly #platform: Platform;
  readonly #environment: Environment;
  readonly #pacer: Pacer;
  readonly #emitter = new Emitter();
  readonly #problem = (error: unknown): void => this.#emitter.emit("error", error);
  readonly #watches: Watches;
  readonly #poller: Poller;
  readonly #autoSync: boolean;
  readonly #syncIntervalMs: number;
  readonly #index: boolean;
  readonly #purgeAfterMs: number;
  readonly #autoVacuum: AutoVacuum | undefined;
  readonly #engineOptions: Pick<
    EngineOptions,
    "index" | "pendingBytesMax" | "cache" | "sideIndex" | "compaction" | "waitUntil"
  >;
  readonly #snapshots: Snapshots;
  readonly #teller: SyncTeller;
  readonly #droppedHistories: DroppedNet<OpenHistory>;
  readonly #watchIterators = new Set<{ end(): void }>();
  readonly #deferred: Deferred;
  #state: State = "new";
  #open: Opened | undefined;
  /** Resolves when `open` has ended, whichever way. */
  #opening: Promise<void> | undefined;
  #closing: Promise<void> | undefined;
  /** Where several requests share the instance: what they open, and since when, and for whom nothing has to be opened any more. */
  #sharedOpening: { readonly name: string; readonly since: number } | undefined;
  readonly #openWaits: Waits | undefined;
  readonly #waitUntil: ((promise: Promise<unknown>) => void) | undefined;
  #staged: OpenTransaction | undefined;
  /** For commits of one operation. */
  readonly #writer = new ByteWriter(PAYLOADS_BYTES);
  #lastTimerError: string | undefined;
  #polledAt = -Infinity;

  constructor(options: KVOptions | undefined, platform: Platform) {
    const parsed = parseOptions("kv", "new KV", options);
    this.#platform = platform;
    this.#environment = platform.environment;
    this.#autoSync = parsed.autoSync;
    this.#syncIntervalMs = parsed.syncIntervalMs;
    this.#index = !parsed.disableIndex;
    const { cacheBytesMax, sideIndex, compaction, waitUntil } = parsed;
    const isolated = this.#environment.isolated === true;
    const pendingBytesMax =
      parsed.pendingBytesMax ?? (isolated ? PENDING_BYTES_MAX.isolated : PENDING_BYTES_MAX.process);
    this.#waitUntil = waitUntil;
    if (isolated) this.#openWaits = new Waits(this.#environment);
    this.#purgeAfterMs = parsed.purgeAfterMs;
    // Who keeps no keys has nothing that a snapshot could be made of.
    const { AutoVacuum } = platform.fileWork ?? {};
    if (AutoVacuum !== undefined && parsed.autoVacuum && this.#index)
      this.#autoVacuum = new AutoVacuum(this.#environment);
    const cache = new BlockCache(cacheBytesMax);
    this.#engineOptions = { index: this.#index, pendingBytesMax, cache, sideIndex, compaction, waitUntil };
    this.#pacer = new Pacer(this.#environment);
    this.#snapshots = new Snapshots(this.#environment, parsed.pinnedBytesMax);
    this.#teller = new SyncTeller(this.#emitter, parsed.autoSync);
    this.#deferred = new Deferred(this.#environment, this.#problem);
    this.#droppedHistories = new DroppedNet(this.#environment, (open) => open.state?.retire());
    this.#watches = new Watches(this.#problem, () => {
      this.#open?.engine.measureAnew();
      this.#adjustPoller();
    });
    this.#poller = new Poller({
      environment: this.#environment,
      intervalMs: this.#syncIntervalMs,
      poll: () => this.#poll(),
      hinted: () => this.#hinted(),
    });
  }

  // --- opening and closing -----------------------------------------------------------------------------------------

  /**
   * Opens a ledger, or the file at a path, and catches up with it.
   *
   * @throws KVError `LedgerMissing`, `NotALedger`, `UnsupportedFormat`, `AccessDenied`, `NetworkFileSystem`, `UnsupportedTarget`,
   * `AlreadyOpen`, `Closed`, ... After a failed open the instance is as it was before, and may try again.
   */
  async open(target: OpenTarget, options?: OpenOptions): Promise<this> {
    if (this.#state === "closing" || this.#state === "closed") throw closedError();
    const isShared = this.#openWaits !== undefined;
    if (this.#state !== "new" && !isShared) throw alreadyOpen();
    const parsed = parseOptions("open", "open", options);
    const ledger = ledgerOf(target, parsed.durability, this.#platform);
    if (isShared) return this.#openShared(ledger, parsed, this.#openWaits as Waits);
    this.#state = "opening";
    const opened = this.#openLedger(ledger, parsed);
    this.#opening = opened.catch(() => undefined);
    await opened;
    return this;
  }

  /**
   * Any number of requests may open one instance on the same ledger. One of them does; when that takes long, because it is gone or because it is slow,
   * another one does it as well, and who is first has done it for all.
   */
  async #openShared(ledger: Ledger, parsed: ReturnType<typeof parseOptions<"open">>, waits: Waits): Promise<this> {
    for (let patienceMs = OPEN_PATIENCE_MS; ; patienceMs *= 2) {
      if (this.#closing !== undefined) throw closedError();
      const name = this.#open?.ledger.name ?? this.#sharedOpening?.name ?? ledger.name;
      if (name !== ledger.name) throw alreadyOpen();
      if (this.#state === "open") return this;
      const opening = this.#sharedOpening;
      if (opening === undefined) break;
      const isOver = (): boolean => this.#sharedOpening !== opening;
      const isLate = (): boolean => this.#environment.monotonic() - opening.since >= patienceMs;
      await waits.until(() => isOver() || isLate());
      if (!isOver() && this.#closing === undefined) break;
    }
    const own = { name: ledger.name, since: this.#environment.monotonic() };
    this.#sharedOpening = own;
    this.#state = "opening";
    try {
      await this.#openLedger(ledger, parsed);
    } catch (error) {
      throw this.#closing === undefined ? error : closedError();
    } finally {
      if (this.#sharedOpening === own) this.#sharedOpening = undefined;
    }
    return this;
  }

  /** Likewise; what takes too long is let go of where it is opened. */
  #whenOpened(waits: Waits): Promise<void> {
    const opening = this.#sharedOpening;
    if (opening === undefined) return Promise.resolve();
    const isLate = (): boolean => this.#environment.monotonic() - opening.since >= OPEN_PATIENCE_MS;
    return waits.until(() => this.#sharedOpening !== opening || isLate());
  }

  async #openLedger(ledger: Ledger, parsed: ReturnType<typeof parseOptions<"open">>): Promise<void> {
    let engine: Engine | undefined;
    let maintenance: Maintenance;
    try {
      const { cache } = this.#engineOptions;
      const session = await ledger.open({
        ...parsed,
        environment: this.#environment,
        cache: (dropped) => byteCache(cache, dropped),
      });
      engine = new Engine(
        ledger,
        session,
        this.#environment,
        { ...parsed, ...this.#engineOptions, fileWork: this.#platform.fileWork },
        {
          isIdle: () => this.#watches.size === 0,
          needsEach: () => !this.#autoSync || this.#watches.size > 0 || this.#emitter.count("sync") > 0,
          applied: (record, version, changes) => this.#watches.dispatch(record, version, changes),
          reloaded: (before, sameLedger) => {
            this.#poller.adjust({ hints: undefined, keepAlive: this.#watches.refs > 0 });
            this.#adjustPoller();
            return tellReloaded(engine as Engine, before, {
              sameLedger,
              pacer: this.#pacer,
              watches: this.#watches,
              problem: this.#problem,
            });
          },
          flushed: (round) => this.#flushed(round),
          problem: this.#problem,
        },
        this.#pacer,
      );
      maintenance = this.#makeMaintenance(engine, ledger, parsed.allowNetworkFileSystem);
      if (!(await catchUp(engine, parsed)))
        await maintenance.repair(parseOptions("repair", "open", undefined), { reports: false });
    } catch (error) {
      await engine?.stop();
      if (this.#closing === undefined && this.#state !== "open") this.#state = "new";
      throw error;
    }
    if (this.#closing !== undefined) {
      await engine.stop();
      throw closedError();
    }
    // Another request was faster.
    if (this.#state === "open") return engine.stop();
    this.#sharedOpening = undefined;
    this.#open = { engine, ledger, allowNetworkFileSystem: parsed.allowNetworkFileSystem, maintenance };
    this.#state = "open";
    this.#teller.begin(engine);
    // Its timers would end with the request that has opened: reads follow by themselves, and whoever listens starts it.
    if (this.#autoSync && this.#openWaits === undefined) this.#poller.start();
    this.#adjustPoller();
  }

  /** Parts options of the constructor from those of `open`, for the static `open` of an entry. */
  protected static splitOptions(options: (KVOptions & OpenOptions) | undefined): [KVOptions, OpenOptions] {
    const own: Record<string, unknown> = {};
    const opening: Record<string, unknown> = {};
    for (const [name, value] of Object.entries(options ?? {})) (isOpenOption(name) ? opening : own)[name] = value;
    return [own, opening];
  }

  /** True from the time that `open` has succeeded until `close` is called. */
  isOpen(): boolean {
    return this.#state === "open";
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
      const wasOpen = this.#state === "open";
      this.#state = "closing";
      // It waits before it ends anything: listeners are called while everything is still there, and may close likewise.
      const closing = (this.#closing = this.#close(timeoutMs));
      if (wasOpen) this.#emitter.emit("closing");
      return closing;
    } catch (error) {
      return Promise.reject(error);
    }
  }

  async #close(timeoutMs: number): Promise<void> {
    const staged = this.#staged;
    this.#staged = undefined;
    this.#poller.stop();
    await (this.#openWaits === undefined ? this.#opening : this.#whenOpened(this.#openWaits));
    if (this.#open !== undefined) {
      const drained = await this.#deferred.drain(this.#open, timeoutMs);
      this.#snapshots.endIterators(closedError());
      this.#watches.clear();
      for (const iterator of [...this.#watchIterators]) iterator.end();
      if (staged?.state.snapshot !== undefined) this.#snapshots.release(staged.state.snapshot);
      await this.#open.engine.stop({ patient: drained });
    }
    this.#state = "closed";
    if (staged !== undefined) {
      throw new KVError(
        "TransactionOpen",
        `A transaction was open when the database was closed: ${staged.state.size} staged operations were dropped`,
        {
          outcome: "not committed",
        },
      );
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /**
   * Lets `close` wait for a promise. A rejection goes to `onError`, or becomes an `error` event. Returns the promise.
   *
   * @throws KVError `Closed` when nobody would wait for it any more.
   */
  defer<T>(promise: Promise<T>, onError?: (error: unknown) => void): Promise<T> {
    if (this.#state === "closed") throw closedError();
    this.#deferred.add(promise, onError);
    return promise;
  }

  // --- writing -----------------------------------------------------------------------------------------------------

  /** Writes a value under a key. Encoded before it returns: changing the value afterwards changes nothing. */
  set(key: Key, value: unknown, options?: SetOptions): Promise<CommitResult> {
    try {
      const engine = this.#engine();
      const expireIn = options === undefined ? 0 : parseOptions("set", "set", options).expireIn;
      const encoded = encodeKey(key);
      if (this.#staged !== undefined) {
        this.#staged.state.set(encoded, value, expireIn);
        return Promise.resolve({ version: undefined });
      }
      const writer = this.#writer;
      writer.reset();
      const numeric = typeof value === "number" || typeof value === "bigint" ? value : undefined;
      const operation = writeSet(writer, this.#environment.crc32, encoded, encodeValue(value), expireIn, numeric);
      return this.#commitOne(engine, operation);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** Deletes a key. Deleting an absent one is a commit too. */
  delete(key: Key): Promise<CommitResult> {
    try {
      const engine = this.#engine();
      const encoded = encodeKey(key);
      if (this.#staged !== undefined) {
        this.#staged.state.delete(encoded);
        return Promise.resolve({ version: undefined });
      }
      this.#writer.reset();
      return this.#commitOne(engine, writeDelete(this.#writer, encoded));
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
    try {
      const engine = this.#indexed();
      const { atomic } = parseOptions("deleteAll", "deleteAll", options);
      const compiled = compileQuery(query);
      let keys: EncodedKey[];
      try {
        keys = this.#keysNow(engine, compiled);
      } catch (error) {
        if (error instanceof NotLoaded) return this.#deleteAllLate(engine, compiled, atomic);
        const again = this.#again(notCommitted(error), this.#staged?.state, () => this.deleteAll(query, options));
        return again.catch((failure: unknown) => Promise.reject(notCommitted(failure)));
      }
      if (this.#staged !== undefined) {
        this.#staged.state.deleteEach(keys);
        return Promise.resolve(keys.length);
      }
      if (keys.length === 0) return Promise.resolve(0);
      return this.#deleteKeys(engine, keys, atomic);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** As `deleteAll`, of rows that have yet to arrive: of what was frozen when it was called, and of what was pending then. */
  async #deleteAllLate(engine: Engine, query: CompiledQuery, atomic: boolean): Promise<number> {
    const transaction = this.#staged;
    if (transaction !== undefined) return this.#stageDeletesLate(engine, query, transaction);
    const pending = this.#pendingNow(engine);
    // Where another request may have to take over, nobody may be made wait for one that is gone.
    const keepsPlace = engine.waits === undefined;
    let failure: unknown;
    const place = keepsPlace
      ? engine.keepPlace(
          (key) => query.matches(key),
          (error) => (failure = error),
        )
      : undefined;
    let builders: CommitBuilder[] = [];
    let count = 0;
    try {
      const keys = await this.#keysLate(undefined, query);
      for (const { operations, certain } of pending) followDeletes(keys, query, operations, certain);
      count = keys.size;
      if (count > 0) builders = this.#deletes(engine, keys, atomic);
      if (failure !== undefined) throw failure;
    } catch (error) {
      if (place !== undefined) engine.fill(place, []).settled();
      throw notCommitted(this.#expired(error));
    }
    const commits: Promise<unknown>[] = [];
    if (place === undefined) {
      for (const builder of builders) commits.push(this.#commit(engine, builder));
      return Promise.all(commits).then(() => count);
    }
    const filling = builders.map((builder) => {
      let settled = NOTHING;
      let rejected: (error: unknown) => void = NOTHING;
      const done = new Promise<void>((resolve, reject) => {
        settled = resolve;
        rejected = reject;
      });
      commits.push(done);
      return { ...builder.finish(), settled, rejected };
    });
    const filled = engine.fill(place, filling);
    void Promise.allSettled(commits).then(() => filled.settled());
    return Promise.all(commits).then(() => count);
  }

  async #stageDeletesLate(engine: Engine, query: CompiledQuery, transaction: OpenTransaction): Promise<number> {
    const { state, builder, beginning } = transaction;
    const pending = beginning === undefined ? [] : this.#pendingNow(engine);
    const { size } = builder;
    const keys = await this.#keysLate(beginning === undefined ? state : undefined, query);
    for (const { operations, certain } of pending) followDeletes(keys, query, operations, certain);
    if (this.#staged !== transaction) {
      const message = "The transaction ended before it was known what there was to delete: await deleteAll";
      throw new KVError("NoTransaction", message, { outcome: "not committed" });
    }
    const count = keys.size;
    // What was staged since comes later, and says itself what becomes of its keys.
    for (const { key } of builder.operationsFrom(size)) keys.delete(key);
    state.deleteEach([...keys]);
    return count;
  }

  async #keysLate(staged: StagedState | undefined, query: CompiledQuery): Promise<Set<EncodedKey>> {
    const keys = new Set<EncodedKey>();
    const view = this.#view(staged);
    try {
      const listing = listRows(view.rows, query, { ...ALL, now: view.now });
      const step = (): boolean => listing.next();
      for (let ok = whenLoaded(step); isPromise(ok) ? await ok : ok; ok = whenLoaded(step)) keys.add(listing.key);
    } finally {
      view.release();
    }
    return keys;
  }

  #deleteKeys(engine: Engine, keys: readonly EncodedKey[], atomic: boolean): Promise<number> {
    const commits = this.#deletes(engine, keys, atomic).map((builder) => this.#commit(engine, builder));
    return Promise.all(commits).then(() => keys.length);
  }

  /** One commit, or as many as it takes. */
  #deletes(engine: Engine, keys: Iterable<EncodedKey>, atomic: boolean): CommitBuilder[] {
    let builder = this.#builder(engine);
    const builders = [builder];
    for (const key of keys) {
      try {
        builder.delete(key);
      } catch (error) {
        if (!hasCode(error, "CommitTooLarge") || builder.size === 0) throw error;
        if (atomic) {
          const message = "The keys do not fit into one commit; { atomic: false } deletes them in several";
          throw new KVError("CommitTooLarge", message, { outcome: "not committed", cause: error });
        }
        builder = this.#builder(engine);
        builders.push(builder);
        builder.delete(key);
      }
    }
    return builders;
  }

  /** The keys that match once everything queued so far has taken effect. */
  #keysNow(engine: Engine, query: CompiledQuery): EncodedKey[] {
    const staged = this.#staged;
    const keys = new Set<EncodedKey>();
    const listed = staged?.beginning === undefined ? staged?.state : undefined;
    const listing = listRows(this.#rows(listed), query, { ...ALL, now: this.#now(listed) });
    while (listing.next()) keys.add(listing.key);
    if (listed !== undefined) return [...keys];
    for (const { operations, certain } of this.#pendingNow(engine)) followDeletes(keys, query, operations, certain);
    return [...keys];
  }

  /** What is pending now, in order. A commit that may turn out to be void does nothing for certain. */
  #pendingNow(engine: Engine): { readonly operations: readonly Operation[]; readonly certain: boolean }[] {
    const pending = [...engine.queue.pending()].map(({ checks, operations }) => ({
      operations,
      certain: checks.length === 0 && operations.every(({ kind }) => kind <= ItemKind.delete),
    }));
    if (this.#staged !== undefined) pending.push({ operations: this.#staged.state.unseen, certain: true });
    return pending;
  }

  /** Begins an atomic commit: conditions and operations that take effect together or not at all. Never joins an open transaction. */
  atomic(): Atomic {
    const engine = this.#indexed();
    return new Atomic(this.#builder(engine), (builder) => {
      const current = this.#engine();
      return current.promise<AtomicResult>((resolve, reject) => {
        this.#enqueue(
          current,
          builder,
          (verdict, version) => resolve(verdict === "applied" ? { ok: true, version } : { ok: false }),
          reject,
        );
      });
    });
  }

  #builder(engine: Engine): CommitBuilder {
    return new CommitBuilder(this.#environment, engine.session.payloadBytesMax);
  }

  /** Commits the one operation that the shared writer holds. It has no condition and cannot misfit. */
  #commitOne(engine: Engine, operation: Operation): Promise<CommitResult> {
    const payload = this.#writer.detach();
    return engine.promise((resolve, reject) => {
      const commit = { checks: NO_CHECKS, operations: [operation] };
      const pending = engine.enqueue(payload, commit, (_, version) => resolve({ version }), reject);
      this.#waitUntil?.(engine.whenDone(pending));
    });
  }

  #commit(engine: Engine, builder: CommitBuilder): Promise<CommitResult> {
    return engine.promise((resolve, reject) => {
      this.#enqueue(engine, builder, (_, version) => resolve({ version }), reject);
    });
  }

  #enqueue(
    engine: Engine,
    builder: CommitBuilder,
    settled: (verdict: Exclude<Verdict, "mismatch">, version: number) => void,
    rejected: (error: unknown) => void,
  ): PendingCommit {
    const { payload, commit } = builder.finish();
    const pending = engine.enqueue(
      payload,
      commit,
      (verdict, version) => {
        if (verdict !== "mismatch") return settled(verdict, version);
        const combined = commit.operations.find((o) => o.kind >= ItemKind.sum && o.kind <= ItemKind.max);
        rejected(typeMismatch((combined ?? commit.operations[0]).key));
      },
      rejected,
    );
    this.#waitUntil?.(engine.whenDone(pending));
    return pending;
  }

  // --- transactions ------------------------------------------------------------------------------------------------

  /**
   * Begins a transaction of this instance: from now on every `set`, `delete` and read on it, whoever calls, belongs to it, until
   * `endTransaction` commits it or `abortTransaction` drops it. Sees one frozen version plus its own writes. It has no conditions: a value
   * read and written back can overwrite somebody else's change; `transaction(fn)` cannot.
   *
   * @throws KVError `TransactionOpen` if one is open.
   */
  async beginTransaction(): Promise<void> {
    const engine = this.#indexed();
    if (this.#staged !== undefined)
      throw new KVError("TransactionOpen", "A transaction is open on this instance already");
    const after = engine.queue.last;
    const wait = this.#beforeRead(engine, undefined, after);
    const builder = this.#builder(engine);
    const staged: OpenTransaction = { state: new StagedState(builder), builder, beginning: undefined, after };
    // What is written from now on belongs to it, also while it waits for what was written before.
    this.#staged = staged;
    if (wait === undefined) return this.#begin(staged);
    staged.beginning = wait.then(() => this.#begin(staged));
    await staged.beginning;
  }

  /** Where another request has begun it, whoever is first lets it see what it has to. */
  #whenBegun(staged: OpenTransaction): Promise<void> | undefined {
    const waits = this.#open?.engine.waits;
    if (waits === undefined || staged.beginning === undefined) return staged.beginning;
    return waits.until(() => staged.after?.done !== false).then(() => this.#begin(staged));
  }

  #begin(staged: OpenTransaction): void {
    if (staged.state.snapshot !== undefined) return;
    const snapshot = this.#snapshots.take(this.#engine());
    staged.state.begin(snapshot, this.#environment.now());
    staged.beginning = undefined;
    if (this.#staged !== staged) this.#snapshots.release(snapshot);
  }

  /** Commits everything that the open transaction has staged, as one commit. With nothing staged it appends nothing. */
  endTransaction(): Promise<CommitResult> {
    try {
      const staged = this.#takeStaged();
      const engine = this.#engine();
      if (staged.state.size === 0) {
        return Promise.resolve({ version: staged.state.snapshot?.version ?? engine.replica.version });
      }
      return this.#commit(engine, staged.builder);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** Drops everything that the open transaction has staged. */
  async abortTransaction(): Promise<void> {
    this.#takeStaged();
  }

  #takeStaged(): OpenTransaction {
    const staged = this.#staged;
    this.#engine();
    if (staged === undefined) throw new KVError("NoTransaction", "No transaction is open on this instance");
    this.#staged = undefined;
    if (staged.state.snapshot !== undefined) this.#snapshots.release(staged.state.snapshot);
    return staged;
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
    return runTransaction(fn, {
      engine: this.#indexed(),
      environment: this.#environment,
      pacer: this.#pacer,
      timeoutMs,
      signal,
      follow: () => this.#followUntold(this.#engine(), { verify: false }),
      snapshot: () => this.#snapshots.take(this.#engine()),
      release: (snapshot) => this.#snapshots.release(snapshot),
      builder: () => this.#builder(this.#engine()),
      commit: (builder) =>
        this.#engine().promise<Exclude<Verdict, "mismatch">>((resolve, reject) => {
          this.#enqueue(this.#engine(), builder, resolve, reject);
        }),
    });
  }

  // --- reading -----------------------------------------------------------------------------------------------------

  /** The value under exactly this key, or null. `T` is what the caller expects; it is not checked. */
  get<T = unknown>(key: Key, options?: ReadOptions): Promise<T | null> {
    const staged = this.#staged?.state;
    let encoded: EncodedKey = "";
    try {
      const engine = this.#indexed();
      encoded = encodeKey(key);
      const wait = this.#beforeRead(engine, options, engine.queue.touching(encoded));
      if (wait !== undefined) return this.#getAfter<T>(wait, staged, encoded, () => this.get<T>(key, options));
      const value = this.#valueUnder(staged, encoded);
      return value instanceof Promise ? this.#held<T>(staged, value) : Promise.resolve(value as T);
    } catch (error) {
      return this.#later<T | null>(error, staged, valueUnder(encoded), () => this.get<T>(key, options));
    }
  }

  async #getAfter<T>(
    wait: Promise<void>,
    staged: StagedState | undefined,
    key: EncodedKey,
    again: () => Promise<T | null>,
  ): Promise<T | null> {
    await wait;
    try {
      const value = this.#valueUnder(staged, key);
      return value instanceof Promise ? await this.#held<T>(staged, value) : (value as T | null);
    } catch (error) {
      return this.#later<T | null>(error, staged, valueUnder(key), again);
    }
  }

  #valueUnder(staged: StagedState | undefined, key: EncodedKey): MaybePromise<unknown> {
    const row = this.#row(staged, key);
    return row === undefined ? null : this.#values(staged).value(row);
  }

  /**
   * A read that could not be done at once. What has yet to arrive is waited for, and the read sees what it saw when it was called; the saved index,
   * if a run of it is damaged, is built anew first.
   */
  async #later<T>(
    error: unknown,
    staged: StagedState | undefined,
    read: (view: ReadView) => MaybePromise<unknown>,
    anew: () => Promise<T>,
  ): Promise<T> {
    if (!(error instanceof NotLoaded)) return this.#again(error, staged, anew);
    const view = this.#view(staged);
    try {
      return (await onceLoaded(error, () => read(view))) as T;
    } catch (failure) {
      return await this.#again(failure, staged, anew);
    } finally {
      view.release();
    }
  }

  /** What a read sees now, until released. */
  #view(staged: StagedState | undefined): ReadView {
    if (staged !== undefined) {
      const release = this.#hold(staged);
      return { rows: staged.freeze(), values: staged, now: staged.now, release };
    }
    const { rows, source, release } = this.#engine().freeze();
    return { rows, values: source, now: this.#environment.now(), release };
  }

  /** What a read reads from stays there until that is called, whatever becomes of the transaction or of the state. */
  #hold(staged: StagedState | undefined): () => void {
    return staged === undefined ? this.#engine().freeze().release : (staged.snapshot?.hold() ?? NOTHING);
  }

  /** A value that has yet to arrive. */
  #held<T>(staged: StagedState | undefined, value: Promise<unknown>): Promise<T> {
    return (value as Promise<T>).finally(this.#hold(staged));
  }

  /** A read that met a damaged run of the saved index is made again once the index was built anew. Other errors pass through. */
  async #again<T>(error: unknown, staged: StagedState | undefined, read: () => Promise<T>): Promise<T> {
    if (!(error instanceof IndexDamaged)) throw error;
    if (staged !== undefined) throw this.#expired(error);
    await this.#engine().rebuild();
    return read();
  }

  /** A listing in one piece, made again likewise. */
  async #whole<T>(list: () => Promise<T>): Promise<T> {
    try {
      return await list();
    } catch (error) {
      if (!(error instanceof KVError && error.cause instanceof IndexDamaged) || this.#staged !== undefined) throw error;
      await this.#engine().rebuild();
      return list();
    }
  }

  /** What a frozen version whose index is damaged fails with. */
  #expired(error: unknown): unknown {
    if (!(error instanceof IndexDamaged)) return error;
    // Those who read what is frozen cannot wait for it: the next read finds it done. A failure is met by the next poll.
    this.#open?.engine.rebuild().catch(() => undefined);
    return new KVError("SnapshotExpired", "What was read is kept no longer, or its index is damaged: read again", {
      cause: error,
    });
  }

  /** Value, version, timestamp and expiry under exactly this key, or null. */
  async getEntry<T = unknown>(key: Key, options?: ReadOptions): Promise<Entry<T> | null> {
    const engine = this.#indexed();
    const encoded = encodeKey(key);
    const staged = this.#staged?.state;
    const wait = this.#beforeRead(engine, options, engine.queue.touching(encoded));
    if (wait !== undefined) await wait;
    try {
      const row = this.#row(staged, encoded);
      if (row === undefined) return null;
      const value = this.#values(staged).value(row);
      return makeEntry(encoded, row, (value instanceof Promise ? await this.#held(staged, value) : value) as T);
    } catch (error) {
      return this.#later(error, staged, entryUnder<T>(encoded), () => this.getEntry<T>(key, options));
    }
  }

  /** True if there is an entry under exactly this key. */
  async has(key: Key, options?: ReadOptions): Promise<boolean> {
    const engine = this.#indexed();
    const encoded = encodeKey(key);
    const staged = this.#staged?.state;
    const wait = this.#beforeRead(engine, options, engine.queue.touching(encoded));
    if (wait !== undefined) await wait;
    try {
      return this.#row(staged, encoded) !== undefined;
    } catch (error) {
      const read = ({ rows, now }: ReadView): boolean => live(rows.get(encoded), now) !== undefined;
      return this.#later(error, staged, read, () => this.has(key, options));
    }
  }

  /** The entries under these keys, or null, in the order asked, all of one version. */
  async getMany<T = unknown>(keys: readonly Key[], options?: ReadOptions): Promise<(Entry<T> | null)[]> {
    const engine = this.#indexed();
    if (!Array.isArray(keys))
      throw new InvalidArgumentError("InvalidArgument", `getMany takes an array of keys; received ${show(keys)}`);
    const encoded = keys.map((key) => encodeKey(key));
    let pending: PendingCommit | undefined;
    for (const key of encoded) {
      const touching = engine.queue.touching(key);
      if (touching !== undefined && touching.record.counter > (pending?.record.counter ?? 0)) pending = touching;
    }
    const staged = this.#staged?.state;
    const wait = this.#beforeRead(engine, options, pending);
    if (wait !== undefined) await wait;
    const now = this.#now(staged);
    const source = this.#values(staged);
    const found: (Row | undefined)[] = [];
    try {
      for (const key of encoded) found.push(live(this.#rows(staged).get(key), now));
    } catch (error) {
      if (!(error instanceof NotLoaded)) return this.#again(error, staged, () => this.getMany<T>(keys, options));
      // The rest of them is looked for in what is frozen now.
    }
    return this.#pinned(staged, async (snapshot) => {
      const rows = staged?.freeze() ?? snapshot.rows;
      const entries: (Entry<T> | null)[] = [];
      for (let i = 0; i < encoded.length; i++) {
        const row = i < found.length ? found[i] : await this.#lateRow(rows, encoded[i], now);
        if (row === undefined) {
          entries.push(null);
        } else {
          const value = source.value(row);
          entries.push(makeEntry(encoded[i], row, (value instanceof Promise ? await value : value) as T));
        }
        if (this.#pacer.due()) await this.#pacer.rest();
      }
      return entries;
    });
  }

  async #lateRow(rows: Layer, key: EncodedKey, now: number): Promise<Row | undefined> {
    try {
      return await whenLoaded(() => live(rows.get(key), now));
    } catch (error) {
      throw this.#expired(error);
    }
  }

  /**
   * The entries that a query matches, of one frozen version, one after the other; the iterator's `cursor` goes on behind the last one.
   * End it early with `return()` or by leaving the loop.
   */
  iterate<T = unknown>(query: Query, options?: ListOptions): EntryIterator<T> {
    const open: OpenIterator = { iterator: undefined, snapshot: undefined };
    const iterator = this.#iterator<T>(query, options, open);
    this.#snapshots.watchIterator(iterator, open);
    return iterator;
  }

  #iterator<T>(query: Query, options: ListOptions | undefined, open: OpenIterator): EntryIterator<T> {
    const engine = this.#indexed();
    const parsed = parseListOptions("iterate", options);
    const compiled = compileQuery(query);
    const transaction = this.#staged;
    const staged = transaction?.state;
    this.#snapshots.addIterator(open);
    return new EntryIterator<T>({
      pacer: this.#pacer,
      order: parsed.order,
      begin: async () => {
        const wait =
          (transaction === undefined ? undefined : this.#whenBegun(transaction)) ??
          this.#beforeRead(engine, { consistency: parsed.consistency }, engine.queue.touchingRange(compiled));
        if (wait !== undefined) await wait;
        const snapshot = this.#snapshots.take(this.#engine());
        open.snapshot = snapshot;
        const rows = staged?.freeze() ?? snapshot.rows;
        const now = staged?.now ?? this.#environment.now();
        const release = staged?.snapshot?.hold();
        return {
          listing: listRows(rows, compiled, { ...parsed, after: parsed.cursor, now }),
          source: staged ?? snapshot.source,
          release: () => {
            this.#snapshots.release(snapshot);
            release?.();
          },
        };
      },
      failed: (error) => this.#expired(error),
      ended: () => this.#snapshots.removeIterator(open),
    });
  }

  /** The entries that a query matches, of one frozen version, in an array. */
  async listAll<T = unknown>(query: Query, options?: ListOptions): Promise<Entry<T>[]> {
    return this.#whole(() => {
      // Walked to its end here: nobody can drop it before.
      const open: OpenIterator = { iterator: undefined, snapshot: undefined };
      const iterator = this.#iterator<T>(query, options, open);
      open.iterator = { deref: () => iterator };
      return iterator.collect();
    });
  }

  /** The full keys that a query matches, in order. Decodes no values. */
  async listKeys(query: Query, options?: ListOptions): Promise<KeyPart[][]> {
    return this.#whole(async () => {
      const keys: KeyPart[][] = [];
      await this.#visit(query, options, "listKeys", (key) => keys.push(decodeKey(key)));
      return keys;
    });
  }

  /** How many entries a query matches. Decodes no values. */
  async count(query: Query, options?: ReadOptions): Promise<number> {
    const { consistency } = parseOptions("read", "count", options);
    return this.#whole(async () => {
      let count = 0;
      await this.#visit(query, { consistency }, "count", () => count++);
      return count;
    });
  }

  async #visit(
    query: Query,
    options: ListOptions | undefined,
    name: string,
    visitor: (key: EncodedKey) => void,
  ): Promise<void> {
    const engine = this.#indexed();
    const parsed = parseListOptions(name, options);
    const compiled = compileQuery(query);
    const staged = this.#staged?.state;
    const wait = this.#beforeRead(engine, { consistency: parsed.consistency }, engine.queue.touchingRange(compiled));
    if (wait !== undefined) await wait;
    const visit = async (snapshot: Snapshot): Promise<void> => {
      const rows = staged?.freeze() ?? snapshot.rows;
      const listing = listRows(rows, compiled, { ...parsed, after: parsed.cursor, now: this.#now(staged) });
      const step = (): boolean => listing.next();
      let count = 0;
      for (let ok = whenLoaded(step); isPromise(ok) ? await ok : ok; ok = whenLoaded(step)) {
        visitor(listing.key);
        if ((++count & 255) === 0 && this.#pacer.due()) await this.#pacer.rest();
      }
    };
    try {
      await this.#pinned(staged, visit);
    } catch (error) {
      throw this.#expired(error);
    }
  }

  /**
   * What has happened to the keys that a query matches, in commit order, as far back as the ledger goes and up to the version visible when
   * the first entry is asked for, or when the open transaction began. Reads the ledger again from its beginning.
   */
  scan<T = unknown>(query: Query, options?: HistoryOptions): AsyncGenerator<HistoryEntry<T>, void, undefined> {
    const open: OpenHistory = { state: undefined };
    const entries = this.#scan<T>(query, options, open);
    this.#droppedHistories.watch(entries, open);
    return entries;
  }

  async *#scan<T>(
    query: Query,
    options: HistoryOptions | undefined,
    open: OpenHistory,
  ): AsyncGenerator<HistoryEntry<T>, void, undefined> {
    const { snapshot } = parseOptions("history", "scan", options);
    const engine = this.#engine();
    const { ledger, allowNetworkFileSystem } = this.#open as Opened;
    const compiled = compileQuery(query);
    const staged = this.#staged?.state;
    const wait = this.#beforeRead(engine, undefined, engine.queue.touchingRange(compiled));
    if (wait !== undefined) await wait;
    if (engine.identity === undefined) return;
    // Before it is asked which commits are void: of those that come while that is found out, nobody here knows it.
    const version = staged?.snapshot?.version ?? engine.replica.version;
    const voidVersions = this.#index ? await this.#voidVersions(engine) : undefined;
    yield* readHistory<T>({
      ledger,
      allowNetworkFileSystem,
      environment: this.#environment,
      pacer: this.#pacer,
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
  }

  async #voidVersions(engine: Engine): Promise<ReadonlySet<number>> {
    try {
      return await engine.replica.allVoidVersions();
    } catch (error) {
      return this.#again(error, undefined, () => this.#voidVersions(engine));
    }
  }

  /** What has happened to one key: see `scan`. */
  async *history<T = unknown>(key: Key, options?: HistoryOptions): AsyncGenerator<HistoryEntry<T>, void, undefined> {
    const encoded = encodeKey(key);
    this.#indexed();
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
    const { waits } = this.#indexed();
    if (typeof second === "function") {
      const { ref, signal } = parseOptions("watch", "watch", third);
      return this.#watches.add(query, second as WatchCallback, { ref, signal });
    }
    const { ref, signal, bufferMax } = parseOptions("watchIterator", "watch", second);
    const iterator = new WatchIterator<T>(
      bufferMax,
      waits === undefined ? undefined : (begin) => waits.promise(begin, () => this.#pollIfDue()),
    );
    const stop = this.#watches.add(query, (entry) => iterator.push(entry as WatchEntry<T>), {
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
    return this.#watches.remove(query, callback as WatchCallback);
  }

  /**
   * Follows the ledger to its end and emits a `sync` event.
   *
   * @throws what keeps the ledger from being followed; nothing is lost, and a later call tries again.
   */
  async sync(options?: SyncOptions): Promise<void> {
    const engine = this.#engine();
    const { signal } = parseOptions("sync", "sync", options);
    throwIfAborted(signal);
    await abortable(this.#syncNow(engine), signal);
  }

  async #syncNow(engine: Engine): Promise<void> {
    try {
      const round = await engine.round({ verify: true });
      if (engine.session.makeDurable !== undefined) await engine.makeDurable();
      this.#lastTimerError = undefined;
      this.#teller.tell(engine, round);
    } catch (error) {
      this.#teller.tellError(engine, error);
      throw error;
    }
  }

  on<E extends keyof KVEvents>(event: E, listener: KVEvents[E]): this {
    this.#emitter.on(checkEvent(event), checkListener(listener));
    this.#adjustPoller();
    return this;
  }

  once<E extends keyof KVEvents>(event: E, listener: KVEvents[E]): this {
    this.#emitter.once(checkEvent(event), checkListener(listener));
    this.#adjustPoller();
    return this;
  }

  off<E extends keyof KVEvents>(event: E, listener: KVEvents[E]): this {
    this.#emitter.off(checkEvent(event), checkListener(listener));
    this.#adjustPoller();
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
    this.#indexed();
    return (this.#open as Opened).maintenance.vacuum(parsed);
  }

  /**
   * Writes a consistent, vacuumed copy of the present state to a new file, while everybody goes on. The copy is the same ledger at an earlier
   * time; with `newLedgerId` it is one of its own.
   *
   * @throws KVError `TargetExists` if there is something at the path; `NoSpace`, `AccessDenied`, ...: then nothing is left behind.
   */
  async backup(path: string | FileUrl, options?: BackupOptions): Promise<BackupResult> {
    const parsed = parseOptions("backup", "backup", options);
    this.#indexed();
    const target = typeof path === "string" ? path : this.#platform.ledgerAt(path, {}).name;
    if (target === "") throw new InvalidArgumentError("InvalidArgument", "backup: the path is empty");
    return (this.#open as Opened).maintenance.backup(target, parsed);
  }

  /**
   * Lets a damaged ledger begin anew with all that is whole in it, for every replica, and keeps the damaged original under another name. Resolves
   * with what could not be kept. With nothing damaged it does nothing.
   */
  async repair(options?: RepairOptions): Promise<RepairReport> {
    const parsed = parseOptions("repair", "repair", options);
    this.#engine();
    return (this.#open as Opened).maintenance.repair(parsed, { reports: true });
  }

  #makeMaintenance(engine: Engine, ledger: Ledger, allowNetworkFileSystem: boolean): Maintenance {
    return new Maintenance({
      engine,
      ledger,
      allowNetworkFileSystem,
      environment: this.#environment,
      pacer: this.#pacer,
      purgeAfterMs: this.#purgeAfterMs,
      fileWork: this.#platform.fileWork,
      builder: () => this.#builder(engine),
      commit: (builder) => this.#commit(engine, builder),
      check: () => {
        if (this.#closing !== undefined) throw closedError();
      },
    });
  }

  /** Figures about this instance. */
  stats(): KVStats {
    const snapshots = this.#snapshots.stats(this.#engine(), this.#environment.monotonic());
    return statsOf(this.#open as Opened, { snapshots, watches: this.#watches.size });
  }

  // --- helpers -----------------------------------------------------------------------------------------------------

  #engine(): Engine {
    if (this.#state === "open" && this.#open !== undefined) return this.#open.engine;
    if (this.#state === "closing" || this.#state === "closed") throw closedError();
    throw new KVError("NotOpen", "The database is not open: await open() first", { outcome: "not committed" });
  }

  #indexed(): Engine {
    const engine = this.#engine();
    if (this.#index) return engine;
    throw new KVError("IndexDisabled", "This instance was made with disableIndex: only set, delete and scan work");
  }

  /** What a read has to wait for: `undefined` if for nothing. */
  #beforeRead(
    engine: Engine,
    options: { readonly consistency?: Consistency | undefined } | undefined,
    pending: PendingCommit | undefined,
  ): Promise<void> | undefined {
    const strong = options !== undefined && parseOptions("read", "read", options).consistency === "strong";
    if (this.#staged !== undefined) return this.#whenBegun(this.#staged);
    if (strong || pending !== undefined) return this.#readAfter(engine, pending, strong);
    const now = this.#environment.monotonic();
    if (this.#autoSync && engine.isBehind(now, this.#syncIntervalMs)) {
      // A ledger that cannot be followed can still be read; the poll and `sync` say what is wrong.
      const followed = this.#followUntold(engine, { verify: false }).catch(() => undefined);
      return engine.session.hasNews === undefined ? this.#atMost(this.#syncIntervalMs, followed) : followed;
    }
    return this.#pacer.due(now) ? this.#pacer.rest() : undefined;
  }

  /** No read waits longer than that for news: an append that gets no answer may be in the way. */
  async #atMost(ms: number, promise: Promise<void>): Promise<void> {
    let timer: Timer | undefined;
    const late = new Promise<void>((resolve) => (timer = this.#environment.setTimer(resolve, ms, { ref: true })));
    await Promise.race([promise, late]);
    timer?.cancel();
  }

  async #readAfter(engine: Engine, pending: PendingCommit | undefined, strong: boolean): Promise<void> {
    if (pending !== undefined) await engine.whenDone(pending);
    if (strong) await this.#followUntold(engine, { verify: true });
    this.#engine();
  }

  /** Follows, and leaves it to the next `sync` event to tell of it. */
  async #followUntold(engine: Engine, options: { readonly verify: boolean }): Promise<void> {
    const round = await engine.round({ ...options, haste: "skip" });
    if (round.invalidated) this.#teller.tellUnasked(engine, round);
  }

  // What a read sees: the transaction that was open when it was called, if one was, whatever began while it waited.

  #rows(staged: StagedState | undefined): Layer {
    return staged?.rows ?? this.#engine().replica;
  }

  #values(staged: StagedState | undefined): ValueSource {
    return staged ?? this.#engine().source;
  }

  #now(staged: StagedState | undefined): number {
    return staged?.now ?? this.#environment.now();
  }

  #row(staged: StagedState | undefined, key: EncodedKey): Row | undefined {
    const row = this.#rows(staged).get(key);
    if (row === undefined || row.deleted) return undefined;
    return row.expiresAt === 0 ? row : live(row, this.#now(staged));
  }

  async #pinned<T>(staged: StagedState | undefined, work: (snapshot: Snapshot) => Promise<T>): Promise<T> {
    const snapshot = this.#snapshots.take(this.#engine());
    const release = staged?.snapshot?.hold();
    try {
      return await work(snapshot);
    } finally {
      this.#snapshots.release(snapshot);
      release?.();
    }
  }

  #adjustPoller(): void {
    const engine = this.#state === "open" ? this.#open?.engine : undefined;
    if (engine === undefined) return;
    const waits = this.#autoSync && (this.#watches.size > 0 || this.#emitter.count("sync") > 0);
    const session = engine.session;
    const hints =
      waits && session.subscribe !== undefined
        ? (listener: () => void) => this.#subscribe(engine, listener)
        : undefined;
    this.#poller.adjust({ hints, keepAlive: this.#watches.refs > 0 });
    if (waits && this.#openWaits !== undefined) this.#poller.startOnce();
  }

  #subscribe(engine: Engine, listener: () => void): () => void {
    return engine.session.subscribe?.(listener) ?? (() => undefined);
  }

  /** One poll. Errors become `sync` events, a lasting one only once. */
  async #poll(): Promise<void> {
    const engine = this.#open?.engine;
    if (engine === undefined || this.#state !== "open") return;
    try {
      const round = await engine.round({ verify: true, haste: "leave" });
      this.#lastTimerError = undefined;
      this.#teller.tell(engine, round);
      this.#autoVacuum?.vacuumIfDue(this, engine, this.#problem);
    } catch (error) {
      const cause = error instanceof KVError ? error.code : String(error);
      if (this.#state === "open" && cause !== this.#lastTimerError) this.#teller.tellError(engine, error);
      this.#lastTimerError = cause;
    }
  }

  /** As the poller does, for whoever waits for news in a request of his own. */
  #pollIfDue(): void {
    const engine = this.#open?.engine;
    const now = this.#environment.monotonic();
    if (engine === undefined || !this.#autoSync || now - this.#polledAt < this.#syncIntervalMs) return;
    if (!engine.isBehind(now, this.#syncIntervalMs)) return;
    this.#polledAt = now;
    void this.#poll();
  }

  async #hinted(): Promise<void> {
    const engine = this.#open?.engine;
    if (engine === undefined || this.#state !== "open") return;
    try {
      // The session says by itself that a file has lost its name; where the path leads is for the poll to find out.
      const round = await engine.round({ verify: false });
      if (this.#teller.hasUntold(engine) || round.invalidated) this.#teller.tell(engine, round);
    } catch {
      // The next poll meets the same failure and tells of it.
    }
  }

  #flushed(round: Round): void {
    const engine = this.#open?.engine;
    if (engine !== undefined) this.#teller.tellUnasked(engine, round);
  }
}

/** Which keys there are once these operations have been done, in case of doubt more of them. */
function followDeletes(
  keys: Set<EncodedKey>,
  query: CompiledQuery,
  operations: readonly Operation[],
  certain: boolean,
): void {
  for (const { key, kind } of operations) {
    if (kind === ItemKind.purge || !query.matches(key)) continue;
    if (kind !== ItemKind.delete) keys.add(key);
    else if (certain) keys.delete(key);
  }
}

const NOTHING = (): void => undefined;

function valueUnder(key: EncodedKey): (view: ReadView) => MaybePromise<unknown> {
  return ({ rows, values, now }) => {
    const row = live(rows.get(key), now);
    return row === undefined ? null : values.value(row);
  };
}

function entryUnder<T>(key: EncodedKey): (view: ReadView) => MaybePromise<Entry<T> | null> {
  return ({ rows, values, now }) => {
    const row = live(rows.get(key), now);
    if (row === undefined) return null;
    const value = values.value(row);
    return isPromise(value)
      ? value.then((arrived) => makeEntry(key, row, arrived as T))
      : makeEntry(key, row, value as T);
  };
}

/** The default of `pendingBytesMax`. */
const PENDING_BYTES_MAX = { process: 256 * 1024 * 1024, isolated: 32 * 1024 * 1024 } as const;

/** How long another request may take to open, at first, before one that waits for it opens as well. */
const OPEN_PATIENCE_MS = 500;

/** So many bytes of pending commits share a buffer. */
const PAYLOADS_BYTES = 32 * 1024;

const ALL = { reverse: false, limit: Infinity, order: "key", after: undefined } as const;

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

function alreadyOpen(): KVError {
  return new KVError("AlreadyOpen", "This instance is open already, or opening");
}

function closedError(): KVError {
  return new KVError("Closed", "The database was closed", { outcome: "not committed" });
}

const EVENTS: readonly string[] = ["sync", "error", "closing"] satisfies readonly (keyof KVEvents)[];

function checkEvent<E extends keyof KVEvents>(event: E): E {
  if (EVENTS.includes(event)) return event;
  throw new InvalidArgumentError("InvalidArgument", `There is no event ${show(event)}; there are ${EVENTS.join(", ")}`);
}

function checkListener<L>(listener: L): L {
  if (typeof listener === "function") return listener;
  throw new InvalidArgumentError("InvalidArgument", `A listener is a function; received ${show(listener)}`);
}
