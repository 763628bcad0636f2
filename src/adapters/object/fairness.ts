import { toHex } from "../../core/bytes.ts";
import type { Environment } from "../../core/environment.ts";

/** Others' slots that were seen, and own ones that were lost, count for so long. */
const RIVALS_MS = 5000;
/** The wait before the next try grows by so much with each slot lost. */
const LOSS_MS = 30;
/** Whoever has won lets others have a turn: at least so long, or longer the more they are. */
const YIELD_MS = { min: 500, eachRival: 120 } as const;
/** Meanwhile it looks so often what they have written: the fewer they are, the sooner all of them have had a turn. */
const LOOK_MS = { eachRival: 100, max: 1000 } as const;
/**
 * Whoever writes without a break, and hears of nobody, makes one after so long: others may be there who always come too late. The longer that has
 * been, the further behind they are, and the longer the break.
 */
const ALONE_MS = { first: 1000, max: 8000, eachBreak: 8 } as const;
/** Every so many slots one is left to those who have lost so many in a row: long enough for a slow upload. */
const RESERVED = { every: 16, losses: 4, ms: 700 } as const;
/** A writer gives up after so many slots lost, or as many as there are others if that is more: each may have its turn before. Or after so long without any success. */
const LOSSES_MAX = 20;
const CONTENTION_MS = 30_000;

/**
 * Takes care that of several writers each gets its share. A store lets the first one win, and the first one is always the one who is nearest: it
 * knows first that the slot before is taken. So who has lost waits a little, ever longer; and who has won while others were there waits much
 * longer. Who always wins never hears of those who always lose: so it makes a break now and then, in which they can make themselves heard.
 */
export class Fairness {
  readonly #environment: Environment;
  /** When slots of others were last seen, by author. */
  readonly #rivals = new Map<string, number>();
  /** Who has written since the last slot that was won here. */
  readonly #hadTurn = new Set<string>();
  #lostAt = -Infinity;
  #losses = 0;
  /** When the first of the losses in a row was. */
  #losingSince = 0;
  #yieldUntil = -Infinity;
  #wonAt = -Infinity;
  /** When the newest slot was seen, or written. */
  #slotAt = -Infinity;
  /** Since when there was no break long enough for somebody else to write. */
  #aloneSince = 0;
  #aloneMs: number = ALONE_MS.first;

  constructor(environment: Environment) {
    this.#environment = environment;
  }

  /** A slot of somebody else was seen. `ageMs`: as the store tells it, in whole seconds. */
  seen(author: Uint8Array, ageMs = 0): void {
    if (ageMs > RIVALS_MS) return;
    const now = this.#environment.monotonic();
    for (const [rival, at] of this.#rivals) {
      if (now - at <= RIVALS_MS) continue;
      this.#rivals.delete(rival);
      // Who only reads, or has long written nothing, meets ever new authors.
      this.#hadTurn.delete(rival);
    }
    const rival = toHex(author);
    this.#rivals.set(rival, now);
    this.#slotAt = now;
    // Whoever goes on waiting when everybody has written lets the store stand still.
    if (this.#hadTurn.add(rival).size >= this.#rivals.size) this.#yieldUntil = now;
  }

  /** Somebody else was first. */
  lost(): void {
    this.#lostAt = this.#environment.monotonic();
    if (this.#losses++ === 0) this.#losingSince = this.#lostAt;
  }

  /** There is something to write. */
  begin(): void {
    const now = this.#environment.monotonic();
    if (now - this.#wonAt < YIELD_MS.min) return;
    this.#aloneSince = now;
    this.#aloneMs = ALONE_MS.first;
  }

  won(): void {
    const now = this.#environment.monotonic();
    this.#wonAt = now;
    this.#slotAt = now;
    this.#losses = 0;
    this.#hadTurn.clear();
    const isAlone = !this.#isContested;
    if (isAlone && now - this.#aloneSince < this.#aloneMs) return;
    const forOthers = isAlone ? this.#aloneMs / ALONE_MS.eachBreak : YIELD_MS.eachRival * this.rivals;
    const mean = Math.max(YIELD_MS.min, forOthers);
    this.#yieldUntil = now + mean * (0.5 + this.#environment.random());
    this.#aloneSince = this.#yieldUntil;
    this.#aloneMs = Math.min(this.#aloneMs * 2, ALONE_MS.max);
  }

  /** How long to let others have their turn before trying to write this slot. */
  yieldMs(slot: number): number {
    const now = this.#environment.monotonic();
    const isForOthers = slot % RESERVED.every === 0 && this.#losses < RESERVED.losses && this.#isContested;
    return Math.max(0, this.#yieldUntil - now, isForOthers ? this.#slotAt + RESERVED.ms - now : 0);
  }

  /** When to look next what others have written, while they have their turn. */
  get lookMs(): number {
    return Math.min(LOOK_MS.max, LOOK_MS.eachRival * Math.max(1, this.rivals));
  }

  /** How long to wait, after a slot was lost, before reading what others have written and trying again. Another one each time. */
  drawWaitMs(): number {
    return this.#losses * LOSS_MS * this.#environment.random();
  }

  /** Other writers, of late. */
  get rivals(): number {
    const now = this.#environment.monotonic();
    return [...this.#rivals.values()].filter((at) => now - at <= RIVALS_MS).length;
  }

  get #isContested(): boolean {
    return this.rivals > 0 || this.#environment.monotonic() - this.#lostAt <= RIVALS_MS;
  }

  /** True if others were faster so often that it is time to say so. */
  get isContended(): boolean {
    if (this.#losses === 0) return false;
    if (this.#environment.monotonic() - this.#losingSince >= CONTENTION_MS) return true;
    return this.#losses >= Math.max(LOSSES_MAX, this.rivals);
  }

  /** Whoever was told of the contention begins anew. */
  gaveUp(): void {
    this.#losses = 0;
  }
}
