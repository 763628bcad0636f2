import { equalBytes } from "../../core/bytes.ts";
import { KVError } from "../../core/errors.ts";
import type { Confirmation } from "./confirmation.ts";
import { slotKey } from "./layout.ts";
import type { CreateAnswer } from "./object-store.ts";
import { pauseBetween, type Site } from "./site.ts";
import { type ReadSlot, readSlot, slotName } from "./slot-reader.ts";

/** How long the fate of a slot may stay open before its author is told that it is not known. */
const SETTLE_MS = 30_000;
/** How often a store may say that a slot is there and then that it is not. */
const CONTRADICTIONS_MAX = 5;

/** The bytes of a slot, and what is known of them. Plain data: whoever goes on with them needs nothing else. */
export interface Batch {
  readonly slot: number;
  readonly bytes: Uint8Array;
  readonly hash: Uint8Array;
  readonly batchId: Uint8Array;
  /** The bytes may have reached the store, or may still be on their way: nothing else tells what became of them than the slot itself. */
  ambiguous: boolean;
}

/** What became of a batch. `mine`: it is in the ledger. `other`: it is not, and never will be. `moved`: the slot itself cannot tell any more. */
export type Fate =
  | { readonly status: "mine"; readonly lastModified: number | undefined }
  | { readonly status: "other"; readonly read: ReadSlot }
  | { readonly status: "moved" };

/** Makes one attempt to write a slot, and says what the store says. `mayBeWritten`: an earlier one may have reached the store. */
export type WriteSlot = (batch: Batch, mayBeWritten: boolean) => Promise<CreateAnswer>;

/**
 * Creates a slot, and goes on until it is certain whose it is. The same bytes go to the same slot, however often; never to another one.
 *
 * Throws a `KVError` with outcome "not committed" if nothing was or will be written, or "unknown" if that is not certain after 30 s: `batch.ambiguous` then
 * says so as well, and this is to be called again before anything else is written.
 */
export class Settler {
  readonly #site: Site;
  readonly #confirmation: Confirmation;
  readonly #write: WriteSlot;

  constructor(site: Site, confirmation: Confirmation, write?: WriteSlot) {
    this.#site = site;
    this.#confirmation = confirmation;
    this.#write = write ?? (({ slot, bytes }) => site.store.create(slotKey(site.nonce, slot), bytes));
  }

  async settle(batch: Batch): Promise<Fate> {
    const { environment } = this.#site;
    const began = environment.monotonic();
    let contradictions = 0;
    for (let tries = 0; ; tries++) {
      const answer = await this.#send(batch);
      let error = "error" in answer ? answer.error : undefined;
      let isContradicted = answer.status === "exists";
      try {
        const fate = await this.#find(batch, answer);
        if (fate !== undefined) return fate;
      } catch (failure) {
        if (!isPassing(failure)) throw this.#unsettled(batch, failure);
        error = failure;
        isContradicted = false;
      }
      if (isContradicted && ++contradictions > CONTRADICTIONS_MAX) throw this.#inconsistent(batch);
      if (environment.monotonic() - began >= SETTLE_MS) throw this.#undecided(batch, error);
      await pauseBetween(environment, tries);
    }
  }

  /** Throws what is certain not to have been written. */
  async #send(batch: Batch): Promise<CreateAnswer> {
    const wasAmbiguous = batch.ambiguous;
    // Until the answer is there, nobody knows: who is interrupted here leaves it so.
    batch.ambiguous = true;
    const answer = await this.#write(batch, wasAmbiguous).catch((error: unknown) => {
      if (error instanceof KVError && error.outcome === "not committed") batch.ambiguous = false;
      throw error;
    });
    const isRefused = answer.status === "denied" || answer.status === "refused";
    if (!wasAmbiguous && (isRefused || answer.status === "conflict")) batch.ambiguous = false;
    if (isRefused && !wasAmbiguous) throw this.#unsettled(batch, answer.error);
    return answer;
  }

  /**
   * What has become of it: unless the store has said that it was created, the slot itself decides. "Exists" may be said of one's own: below an HTTP client
   * somebody may have sent it twice. Undefined if there is nothing.
   */
  async #find(batch: Batch, answer: CreateAnswer): Promise<Fate | undefined> {
    const { slot } = batch;
    const found = answer.status === "created" ? answer : await readSlot(this.#site, slot);
    if (found.status === "absent") {
      return (await this.#confirmation.ask(slot)) === "moved" ? { status: "moved" } : undefined;
    }
    // As long as that is not confirmed: then the slot is asked again with the next attempt.
    batch.ambiguous = true;
    if ((await this.#confirmation.of(found, slot)) === "moved") return { status: "moved" };
    if (found.status === "created") return { status: "mine", lastModified: found.time };
    const isMine = equalBytes(found.bytes, batch.bytes);
    return isMine ? { status: "mine", lastModified: found.lastModified } : { status: "other", read: found };
  }

  #inconsistent(batch: Batch): KVError {
    const message = `${this.#site.store.name} says of ${this.#slotName(batch)} that it is there, and that it is not`;
    return this.#unsettled(batch, new KVError("StoreInconsistent", message));
  }

  #undecided(batch: Batch, cause: KVError | undefined): KVError {
    if (batch.ambiguous) {
      const message = `What became of ${this.#slotName(batch)} could not be found out: ${cause?.message ?? "no answer"}`;
      return new KVError("CommitOutcomeUnknown", message, { cause, outcome: "unknown" });
    }
    return new KVError("Contention", `${this.#site.store.name} lets nobody write ${this.#slotName(batch)}`, {
      cause,
      outcome: "not committed",
    });
  }

  /** An error that ends the attempts, with what is known of the batch. */
  #unsettled({ ambiguous }: Batch, error: unknown): KVError {
    const code = error instanceof KVError ? error.code : "InputOutput";
    const message = error instanceof Error ? error.message : String(error);
    return new KVError(code, message, { cause: error, outcome: ambiguous ? "unknown" : "not committed" });
  }

  #slotName({ slot }: Batch): string {
    return slotName(this.#site, slot);
  }
}

/** Whether asking again may help. */
function isPassing(error: unknown): error is KVError {
  return (
    error instanceof KVError &&
    (error.code === "InputOutput" || error.code === "NoSpace" || error.code === "AccessDenied")
  );
}
