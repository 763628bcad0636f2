import { toHex } from "../../core/bytes.ts";
import type { Environment } from "../../core/environment.ts";

/** Others' slots that were seen, and own ones that were lost, count for so long. */
const RIVALS_MS = 5000;
/** The wait before the next try grows by so much with each slot lost. */
const LOSS_MS = 30;
/** Whoever has won lets others have a turn: at least so long, or longer the more they are. */
const YIELD_MS = { min: 500, eachRival: 120 } as const;
/** A writer gives up after so many slots lost, or so long without any success. */
const LOSSES_MAX = 20;
const CONTENTION_MS = 30_000;

/**
 * Takes care that of several writers each gets its share. A store lets the first one win, and the first one is always the one who is nearest: it
 * knows first that the slot before is taken. So who has lost waits a little, ever longer; and who has won while others were there waits much
 * longer.
 */
export class Fairness {
  readonly #environment: Environment;
  /** When slots of others were last seen, by author. */
  readonly #rivals = new Map<string, number>();
  #lostAt = -Infinity;
  #losses = 0;
  /** When the first of the losses in a row was. */
  #losingSince = 0;
  #yieldUntil = -Infinity;

  constructor(environment: Environment) {
    this.#environment = environment;
  }

  /** A slot of somebody else was seen. */
  seen(author: Uint8Array): void {
    const now = this.#environment.monotonic();
    for (const [rival, at] of this.#rivals) if (now - at > RIVALS_MS) this.#rivals.delete(rival);
    this.#rivals.set(toHex(author), now);
  }

  /** Somebody else was first. */
  lost(): void {
    this.#lostAt = this.#environment.monotonic();
    if (this.#losses++ === 0) this.#losingSince = this.#lostAt;
  }

  won(): void {
    const now = this.#environment.monotonic();
    const rivals = [...this.#rivals.values()].filter((at) => now - at <= RIVALS_MS).length;
    const isContested = rivals > 0 || now - this.#lostAt <= RIVALS_MS;
    this.#losses = 0;
    if (!isContested) return;
    const mean = Math.max(YIELD_MS.min, YIELD_MS.eachRival * rivals);
    this.#yieldUntil = now + mean * (0.5 + this.#environment.random());
  }

  /** How long to let others have their turn before the next try. */
  get yieldMs(): number {
    return Math.max(0, this.#yieldUntil - this.#environment.monotonic());
  }

  /** How long to wait, after having read what others have written, before the next try. Another one each time. */
  drawWaitMs(): number {
    return this.#losses * LOSS_MS * this.#environment.random();
  }

  /** True if others were faster so often that it is time to say so. */
  get isContended(): boolean {
    if (this.#losses === 0) return false;
    return this.#losses >= LOSSES_MAX || this.#environment.monotonic() - this.#losingSince >= CONTENTION_MS;
  }

  /** Whoever was told of the contention begins anew. */
  gaveUp(): void {
    this.#losses = 0;
  }
}
