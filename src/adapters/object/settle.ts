import { equalBytes } from "../../core/bytes.ts";
import { KVError } from "../../core/errors.ts";
import type { Confirmation } from "./confirmation.ts";
import { slotKey } from "./layout.ts";
import type { CreateAnswer } from "./object-store.ts";
import { pause, type Site } from "./site.ts";
import { type ReadSlot, readSlot, type SlotAnswer, slotName } from "./slot-reader.ts";

/** How long the fate of a slot may stay open before its author is told that it is not known. */
const SETTLE_MS = 30_000;
/** How often a store may say that a slot is there and then that it is not. */
const CONTRADICTIONS_MAX = 5;
/** Before the same is sent again: first, and at most. */
const WAIT_MS = { first: 50, max: 2000 } as const;

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

/** How one attempt went. `contradicted`: the store has said that there is something, and then that there is not. */
type Attempt =
  | { readonly status: "done"; readonly fate: Fate }
  | { readonly status: "again" | "contradicted"; readonly error?: KVError | undefined };

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
      const attempt = await this.#attempt(batch);
      if (attempt.status === "done") return attempt.fate;
      if (attempt.status === "contradicted" && ++contradictions > CONTRADICTIONS_MAX) throw this.#inconsistent(batch);
      if (environment.monotonic() - began >= SETTLE_MS) throw this.#undecided(batch, attempt.error);
      await pause(environment, Math.min(WAIT_MS.first * 2 ** tries, WAIT_MS.max) * (0.5 + environment.random()));
    }
  }

  async #attempt(batch: Batch): Promise<Attempt> {
    const wasAmbiguous = batch.ambiguous;
    // Until the answer is there, nobody knows: who is interrupted here leaves it so.
    batch.ambiguous = true;
    const answer = await this.#write(batch, wasAmbiguous).catch((error: unknown) => {
      if (error instanceof KVError && error.outcome === "not committed") batch.ambiguous = false;
      throw error;
    });
    if (answer.status === "created")
      return await this.#final(batch, answer, { status: "mine", lastModified: answer.time });
    if (answer.status === "denied" || answer.status === "refused") {
      if (!wasAmbiguous) {
        batch.ambiguous = false;
        throw notWritten(answer.error);
      }
      return await this.#look(batch, { status: "again", error: answer.error });
    }
    // "Exists" may be said of one's own: below an HTTP client somebody may have sent it twice.
    if (answer.status === "conflict" && !wasAmbiguous) batch.ambiguous = false;
    const status = answer.status === "exists" ? "contradicted" : "again";
    return await this.#look(batch, { status, error: answer.status === "ambiguous" ? answer.error : undefined });
  }

  /** The slot itself decides. `otherwise`: what it is if there is nothing. */
  async #look(batch: Batch, otherwise: Exclude<Attempt, { readonly status: "done" }>): Promise<Attempt> {
    let found: SlotAnswer;
    try {
      found = await readSlot(this.#site, batch.slot);
    } catch (error) {
      if (!isPassing(error)) throw this.#unsettled(batch, error);
      return { status: "again", error };
    }
    if (found.status === "found") {
      const isMine = equalBytes(found.bytes, batch.bytes);
      return await this.#final(
        batch,
        found,
        isMine ? { status: "mine", lastModified: found.lastModified } : { status: "other", read: found },
      );
    }
    let standing: Awaited<ReturnType<Confirmation["ask"]>>;
    try {
      standing = await this.#confirmation.ask(batch.slot, this.#site.nonce);
    } catch (error) {
      return this.#open(batch, error);
    }
    return standing === "moved" ? { status: "done", fate: { status: "moved" } } : otherwise;
  }

  /** What was found about a slot counts if it is confirmed. */
  async #final(batch: Batch, answer: { readonly time: number | undefined }, fate: Fate): Promise<Attempt> {
    try {
      const standing = await this.#confirmation.of(answer, batch.slot, this.#site.nonce);
      return { status: "done", fate: standing === "final" ? fate : { status: "moved" } };
    } catch (error) {
      // The slot is asked again with the next attempt.
      batch.ambiguous = true;
      return this.#open(batch, error);
    }
  }

  /** What kept the root from being read. */
  #open(batch: Batch, error: unknown): Attempt {
    if (!isPassing(error)) throw this.#unsettled(batch, error);
    return { status: "again", error };
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

function notWritten(error: KVError): KVError {
  return new KVError(error.code, error.message, { cause: error, outcome: "not committed" });
}

/** Whether asking again may help. */
function isPassing(error: unknown): error is KVError {
  return (
    error instanceof KVError &&
    (error.code === "InputOutput" || error.code === "NoSpace" || error.code === "AccessDenied")
  );
}
