import { equalBytes } from "../../core/bytes.ts";
import { hasCode } from "../../core/errors.ts";
import type { Confirmation, Standing } from "./confirmation.ts";
import type { Told } from "./object-store.ts";
import { needsListPermission } from "./opening.ts";
import type { Site } from "./site.ts";
import { damagedSlot } from "./slot.ts";
import { type ReadSlot, readSlot, type SlotAnswer, slotName } from "./slot-reader.ts";

/** A checkpoint that is so many slots ahead is quicker to begin with than to catch up with. */
export const RELOAD_SLOTS = 256;
/** After so many slots the root is looked at again, for a newer checkpoint: what it covers need not be kept in memory. */
const LOOK_SLOTS = 64;

/** What lies behind a slot. `end`: nothing, at the time of the call. */
export interface Followed {
  readonly slots: readonly ReadSlot[];
  readonly status: "more" | "end" | "moved";
}

/** A request for a slot: an answer, or what kept it from coming. */
type Asked = SlotAnswer | { readonly status: "failed"; readonly error: unknown };

/**
 * Follows a ledger slot by slot. There is never a list: the next slot has a name, and is there or not. Whoever is far behind asks for several at
 * once, twice as many each time.
 */
export class Follower {
  readonly #site: Site;
  readonly #confirmation: Confirmation;
  #window = 1;
  /** Slots that were read, are final, and have not been handed up yet. */
  readonly #ahead = new Map<number, ReadSlot>();
  /** The slot at which nothing was, when what is ahead was read. */
  #endAt: number | undefined;
  #sinceLook = 0;

  constructor(site: Site, confirmation: Confirmation) {
    this.#site = site;
    this.#confirmation = confirmation;
  }

  /** Reads the first slots from `from` on without being asked: `count` at once, more behind them as long as there are more. */
  async prefetch(from: number, count: number): Promise<Standing> {
    this.#window = count;
    return (await this.#fill(from, { mayPassOver: true })) === "moved" ? "moved" : "final";
  }

  /** A slot that was met elsewhere, and is final. */
  put(read: ReadSlot): void {
    this.#ahead.set(read.slot.slot, read);
  }

  /** What was read of this slot already, if anything. */
  peek(slot: number): ReadSlot | undefined {
    return this.#ahead.get(slot);
  }

  /** What is known to lie nowhere may have been written since. */
  lookAnew(): void {
    this.#endAt = undefined;
  }

  /**
   * The slots from `from` on, about as many bytes as asked for and at least one if there is one. `predecessor`: hash of the one before, if that is known.
   * `mayPassOver`: a checkpoint far ahead, or one that covers what is damaged, is reason enough to say "moved".
   */
  async next(
    from: number,
    options: { readonly bytes: number; readonly predecessor: Uint8Array | undefined; readonly mayPassOver: boolean },
  ): Promise<Followed> {
    for (const slot of this.#ahead.keys()) if (slot < from) this.#ahead.delete(slot);
    if (!this.#ahead.has(from) && this.#endAt !== from && (await this.#fill(from, options)) === "moved") {
      return { slots: [], status: "moved" };
    }
    const slots: ReadSlot[] = [];
    let { predecessor } = options;
    let slot = from;
    for (let bytes = 0; bytes < options.bytes || slot === from; slot++) {
      const read = this.#ahead.get(slot);
      if (read === undefined) break;
      if (predecessor !== undefined && !equalBytes(read.slot.predecessor, predecessor)) {
        // What lies before it is whole, and is handed up first.
        if (slots.length > 0) break;
        // Where everything was deleted, somebody who had not heard of it yet may have gone on from what was there before.
        this.#ahead.clear();
        if (await this.#isPassed(slot, options)) return { slots: [], status: "moved" };
        throw damagedSlot(slotName(this.#site, slot), slot, "it does not continue what lies before it");
      }
      this.#ahead.delete(slot);
      slots.push(read);
      bytes += read.bytes.length;
      predecessor = read.hash;
    }
    if (this.#endAt !== slot) return { slots, status: "more" };
    this.#endAt = undefined;
    return { slots, status: "end" };
  }

  /** Asks for the slots from `from` on, and keeps what is final. */
  async #fill(from: number, options: { readonly mayPassOver: boolean }): Promise<Standing> {
    const { parallel } = this.#site.store.capabilities;
    this.#endAt = undefined;
    const known = this.#confirmation.found.root.tailHint - from + 1;
    const count = Math.max(1, Math.min(parallel, Math.max(this.#window, known)));
    const asked = await Promise.all(Array.from({ length: count }, (_, i) => this.#ask(from + i)));
    const isBelowOther = (i: number): boolean =>
      from + i <= this.#confirmation.found.root.tailHint || asked.slice(i + 1).some(({ status }) => status === "found");
    const found: ReadSlot[] = [];
    let absent: Told | undefined;
    for (const [i, first] of asked.entries()) {
      const answer = first.status === "absent" && isBelowOther(i) ? await this.#askAgain(from + i) : first;
      if (answer.status === "failed") {
        if (found.length > 0) break;
        if (hasCode(answer.error, "LedgerDamaged") && (await this.#isPassed(from, options))) return "moved";
        throw await this.#whyDenied(answer.error, from);
      }
      if (answer.status === "absent") {
        absent = answer;
        break;
      }
      found.push(answer);
    }
    this.#sinceLook += found.length;
    const times = [...found, ...(absent === undefined ? [] : [absent])].map(({ time }) => time);
    const standing = await this.#confirm(from, times);
    if (standing === "moved" || (options.mayPassOver && this.#isFarBehind(from))) return "moved";
    for (const read of found) this.#ahead.set(read.slot.slot, read);
    const end = from + found.length;
    // A root that was read only now may name a slot as far as that: then it is asked for once more.
    if (absent !== undefined && end > this.#confirmation.found.root.tailHint) this.#endAt = end;
    this.#window = absent === undefined ? Math.min(parallel, count * 2) : 1;
    return "final";
  }

  /** All answers of a window at once: the latest of them is the hardest to confirm, and the lowest slot the first to go. */
  async #confirm(from: number, times: readonly (number | undefined)[]): Promise<Standing> {
    if (this.#sinceLook >= LOOK_SLOTS) {
      this.#sinceLook = 0;
      return await this.#confirmation.ask(from);
    }
    // Of answers that tell none, no time is near enough.
    return await this.#confirmation.of({ time: Math.max(...times.map((time) => time ?? NaN)) }, from);
  }

  #isFarBehind(from: number): boolean {
    return this.#confirmation.found.root.checkpointSlot - (from - 1) > RELOAD_SLOTS;
  }

  /**
   * Wrong bytes count no more than right ones where the incarnation is over: somebody may have repaired it. Nor does it matter what is wrong with a
   * slot that a checkpoint covers: whoever opens the ledger goes on from there.
   */
  async #isPassed(slot: number, { mayPassOver }: { readonly mayPassOver: boolean }): Promise<boolean> {
    if ((await this.#confirmation.ask(slot)) === "moved") return true;
    return mayPassOver && this.#confirmation.found.root.checkpointSlot >= slot;
  }

  /** A credential that may read the root and not the next slot may not list, or has been revoked: then it may not read the root either. */
  async #whyDenied(error: unknown, slot: number): Promise<unknown> {
    if (!hasCode(error, "AccessDenied")) return error;
    const { name, nonce } = this.#site;
    await this.#confirmation.ask(slot);
    return needsListPermission(error, { name, nonce, slot });
  }

  async #ask(slot: number): Promise<Asked> {
    try {
      return await readSlot(this.#site, slot);
    } catch (error) {
      return { status: "failed", error };
    }
  }

  /** A slot that was not there, below one that is. The requests may have passed each other; or else it is lost, if the root still wants it. */
  async #askAgain(slot: number): Promise<Asked> {
    const again = await this.#ask(slot);
    if (again.status !== "absent") return again;
    const error = damagedSlot(slotName(this.#site, slot), slot, "it is not there, and there are slots behind it");
    return { status: "failed", error };
  }
}
