import type { Environment } from "../../core/environment.ts";
import { KVError } from "../../core/errors.ts";
import type { OpenFile } from "./open-file.ts";
import { QuickSyncs } from "./quick-syncs.ts";

export interface DurabilityOptions {
  readonly environment: Pick<Environment, "monotonic">;
  readonly strict: boolean;
  /** Of the ledger, for messages. */
  readonly path: string;
  /** Files of the ledger whose sync has failed, by device and inode: shared by all its sessions. */
  readonly failedSyncs: Set<string>;
  /** Makes the name of a new file durable. */
  readonly syncDirectory: () => Promise<void>;
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
    if (this.#options.failedSyncs.has(nameOf(open)))
      this.#failure = new KVError("InputOutput", "an earlier attempt to make the file durable failed");
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
    if (!open.isSyncingNothing || this.#failure !== undefined) return false;
    const { environment } = this.#options;
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
      await this.sync(open);
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
      if (this.#options.strict) {
        this.#options.failedSyncs.add(nameOf(open));
        if (this.#failure === undefined) this.#failed(open, error);
      }
      throw error;
    }
  }

  #failed(open: OpenFile, cause: unknown): KVError {
    const message = `${this.#options.path} could not be made durable: ${String(cause)}`;
    this.#options.failedSyncs.add(nameOf(open));
    this.#failure = new KVError("CommitOutcomeUnknown", message, { cause, outcome: "unknown" });
    return this.#failure;
  }
}

function nameOf({ device, inode }: OpenFile): string {
  return `${device}:${inode}`;
}
