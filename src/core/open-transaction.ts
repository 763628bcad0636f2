import type { CommitBuilder } from "./commit-builder.ts";
import type { PendingCommit } from "./commit-queue.ts";
import type { CommitSender } from "./commit-sender.ts";
import type { Environment } from "./environment.ts";
import { KVError } from "./errors.ts";
import type { Freshness, ReadWait } from "./freshness.ts";
import type { Lifecycle } from "./lifecycle.ts";
import type { Snapshots } from "./snapshots.ts";
import { StagedState } from "./staged.ts";

/** A transaction between `beginTransaction` and its end. */
export interface OpenTransaction {
  readonly state: StagedState;
  readonly builder: CommitBuilder;
  /** Set until it is known what the transaction sees: reads wait for it, writes do not. */
  beginning: Promise<void> | undefined;
  /** What it waits for, where it has to. */
  readonly wait: ReadWait | undefined;
  /** What it has to see. */
  readonly after: PendingCommit | undefined;
  /** Reads that belong to it and do not hold yet what they read from. */
  readers: number;
}

export interface TransactionSlotParts {
  readonly environment: Environment;
  readonly lifecycle: Lifecycle;
  readonly snapshots: Snapshots;
  readonly freshness: Freshness;
  readonly sender: CommitSender;
}

const NOTHING = (): void => undefined;

/** Nobody takes more memory than that for what may turn out small. */
const EXPECTED_BYTES_MAX = 512 * 1024;

/** The one transaction that an instance may have open. */
export class TransactionSlot {
  readonly #parts: TransactionSlotParts;
  #current: OpenTransaction | undefined;
  /** As many bytes as the last one had, and some more: transactions of one program are often alike, and a buffer that grows is copied again and again. */
  #expectedBytes = 0;

  constructor(parts: TransactionSlotParts) {
    this.#parts = parts;
  }

  get current(): OpenTransaction | undefined {
    return this.#current;
  }

  /** What the open transaction sees and does, if there is one. */
  get staged(): StagedState | undefined {
    return this.#current?.state;
  }

  async begin(): Promise<void> {
    const { lifecycle, freshness, sender } = this.#parts;
    const engine = lifecycle.indexed();
    if (this.#current !== undefined)
      throw new KVError("TransactionOpen", "A transaction is open on this instance already", {
        outcome: "not committed",
      });
    const after = engine.queue.last;
    const wait = freshness.beforeRead(engine, after, false);
    const builder = sender.builder(engine, this.#expectedBytes);
    const state = new StagedState(builder);
    const transaction: OpenTransaction = { state, builder, beginning: undefined, wait, after, readers: 0 };
    // What is written from now on belongs to it, also while it waits for what was written before.
    this.#current = transaction;
    if (wait === undefined) return this.#see(transaction);
    transaction.beginning = wait.over.then(() => this.#see(transaction));
    await transaction.beginning;
  }

  /** Resolves when it is known what the transaction sees; `undefined` if it is already. */
  whenBegun(transaction: OpenTransaction): Promise<void> | undefined {
    let begun = transaction.beginning;
    if (begun === undefined) return undefined;
    const waits = this.#parts.lifecycle.opened?.engine.waits;
    // Where another request has begun it, whoever is first lets it see what it has to.
    if (waits !== undefined)
      begun = waits.until(() => transaction.after?.done !== false).then(() => this.#see(transaction));
    // Who waits has by then taken hold of what it reads from, or read it.
    void begun.then(NOTHING, NOTHING).then(this.keep(transaction));
    return begun;
  }

  #see(transaction: OpenTransaction): void {
    if (transaction.state.snapshot !== undefined) return;
    const { lifecycle, snapshots, environment } = this.#parts;
    const snapshot = snapshots.take(lifecycle.engine(), transaction.wait?.horizon.take());
    transaction.state.begin(snapshot, environment.now());
    transaction.beginning = undefined;
    this.release(transaction);
  }

  /** What the transaction sees stays until the returned function is called, once, also if it ends before. */
  keep(transaction: OpenTransaction): () => void {
    transaction.readers++;
    return () => {
      transaction.readers--;
      this.release(transaction);
    };
  }

  /** Ends the transaction, whatever is to become of it. */
  take(): OpenTransaction {
    this.#parts.lifecycle.engine();
    const transaction = this.#current;
    if (transaction === undefined)
      throw new KVError("NoTransaction", "No transaction is open on this instance", { outcome: "not committed" });
    this.#current = undefined;
    const { bytes } = transaction.builder;
    this.#expectedBytes = Math.min(bytes + (bytes >>> 3), EXPECTED_BYTES_MAX);
    this.release(transaction);
    return transaction;
  }

  /** As `take`, at the close: those who read in it may go on until that is over, and it is released. */
  drop(): OpenTransaction | undefined {
    const transaction = this.#current;
    this.#current = undefined;
    return transaction;
  }

  /** If it has ended, and nobody is about to read in it. */
  release(transaction: OpenTransaction): void {
    const { snapshot } = transaction.state;
    if (snapshot !== undefined && transaction.readers === 0 && this.#current !== transaction)
      this.#parts.snapshots.release(snapshot);
  }
}
