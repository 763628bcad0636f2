import type { Environment } from "../../core/environment.ts";
import { KVError } from "../../core/errors.ts";
import type { FileSystemCalls } from "./file.ts";
import type { OpenFile } from "./open-file.ts";
import { QuickSyncs } from "./quick-syncs.ts";

export interface DurabilityOptions {
  readonly environment: Pick<Environment, "monotonic">;
  readonly strict: boolean;
  /** Of the ledger, for messages. */
  readonly path: string;
  readonly failedSyncs: FailedSyncs;
  /** Makes the name of a new file durable. */
  readonly syncDirectory: () => Promise<void>;
}

/** A generation's file. */
interface SyncedFile {
  readonly device: bigint;
  readonly inode: bigint;
  readonly generation: { readonly header: { readonly nonce: string } };
}

/**
 * Files whose sync has failed. The system reports that once, and a later sync, through another descriptor too, would succeed without what was lost:
 * known to all sessions of a process, in whatever ledger they were opened.
 */
export class FailedSyncs {
  static readonly #all = new WeakMap<FileSystemCalls, FailedSyncs>();
  readonly #names = new Set<string>();

  /** Those that these calls have to do with. */
  static of(calls: FileSystemCalls): FailedSyncs {
    const known = FailedSyncs.#all.get(calls) ?? new FailedSyncs();
    FailedSyncs.#all.set(calls, known);
    return known;
  }

  add(of: SyncedFile): void {
    this.#names.add(nameOf(of));
  }

  has(of: SyncedFile): boolean {
    return this.#names.size > 0 && this.#names.has(nameOf(of));
  }
}

/** An inode's number is given out again, a nonce is not. */
function nameOf({ device, inode, generation }: SyncedFile): string {
  return `${device}:${inode}:${generation.header.nonce}`;
}

/**
 * What makes a session's writes durable. Every sync of a ledger's file goes through here.
 *
 * The system reports a failed sync once, and a later one would succeed without what was lost: a `strict` session that has seen one fail takes no more
 * writes, and no later sync makes a success of it.
 */
export class Durability {
  readonly #options: DurabilityOptions;
  readonly #quickSyncs = new QuickSyncs();
  #directorySynced = false;
  #failure: KVError | undefined;
  #count = 0;

  constructor(options: DurabilityOptions) {
    this.#options = options;
  }

  /** Of a sync that has failed: there is nothing to be written any more. */
  get failure(): KVError | undefined {
    return this.#failure;
  }

  /** Syncs asked for. */
  get count(): number {
    return this.#count;
  }

  /** Writes go to this file from now on: its name may not be durable yet, and one of its syncs may have failed elsewhere. */
  enter(open: OpenFile): void {
    this.#directorySynced = false;
    const { strict, failedSyncs } = this.#options;
    if (strict && failedSyncs.has(open)) this.#failure = earlierFailure();
  }

  /**
   * Makes what was written durable at once, where that takes less than waiting for it would. False if it has to be waited for, by a sync that
   * begins anew.
   *
   * @throws KVError `CommitOutcomeUnknown`
   */
  atOnce(open: OpenFile): boolean {
    const { file } = open;
    if (file.syncDataNow === undefined || !this.#quickSyncs.isExpected || !this.#directorySynced) return false;
    const { environment, failedSyncs } = this.#options;
    if (!open.isSyncingNothing || this.#failure !== undefined || failedSyncs.has(open)) return false;
    const began = environment.monotonic();
    this.#count++;
    try {
      file.syncDataNow();
    } catch (error) {
      throw this.#failed(open, error);
    }
    this.#quickSyncs.took(environment.monotonic() - began);
    return true;
  }

  /**
   * Waits until what was written, and everything before it, is durable.
   *
   * @throws KVError `CommitOutcomeUnknown`
   */
  async wait(open: OpenFile): Promise<void> {
    const { environment } = this.#options;
    const began = environment.monotonic();
    try {
      // Another session's may have failed, which the system has told of there.
      await this.syncWhole(open);
      this.#quickSyncs.took(environment.monotonic() - began);
      // Another one may have failed meanwhile, and was told in the stead of this one.
      if (this.#failure !== undefined) throw this.#failure;
      if (this.#directorySynced) return;
      await this.#options.syncDirectory();
      this.#directorySynced = true;
    } catch (error) {
      throw this.#failed(open, error);
    }
  }

  /** Makes a file durable that may be another than the present one. Fails with what the system says. */
  async sync(open: OpenFile): Promise<void> {
    this.#count++;
    try {
      await open.syncData();
    } catch (error) {
      const { strict, failedSyncs } = this.#options;
      failedSyncs.add(open);
      if (strict && this.#failure === undefined) this.#failed(open, error);
      throw error;
    }
  }

  /** The same, for whoever says up to where the file is durable: fails, too, if one of its syncs has failed before, whoever made it. */
  async syncWhole(open: OpenFile): Promise<void> {
    await this.sync(open);
    if (this.#options.failedSyncs.has(open)) throw earlierFailure();
  }

  #failed(open: OpenFile, cause: unknown): KVError {
    const message = `${this.#options.path} could not be made durable: ${String(cause)}`;
    this.#options.failedSyncs.add(open);
    this.#failure = new KVError("CommitOutcomeUnknown", message, { cause, outcome: "unknown" });
    return this.#failure;
  }
}

function earlierFailure(): KVError {
  return new KVError("InputOutput", "an earlier attempt to make the file durable failed");
}
