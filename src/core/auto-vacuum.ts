import type { Engine } from "./engine.ts";
import type { Environment } from "./environment.ts";
import { KVError } from "./errors.ts";
import type { LedgerSession } from "./ledger.ts";

const MIB = 1024 * 1024;
/** A ledger that has doubled is vacuumed, once it has grown by so much. */
const GROWTH_BYTES_MIN = 16 * MIB;
/** One that has grown a little is vacuumed when the last time is so long ago. */
const LITTLE_BYTES = MIB;
const AGE_MS = 24 * 60 * 60 * 1000;
/** So long after a vacuum or an attempt at one none is begun: several processes may come to it at the same time. */
const PAUSE_MS = 60 * 1000;

/** Vacuums for an instance with `autoVacuum` when that is due. */
export class AutoVacuum {
  readonly #environment: Environment;
  /** monotonic() before which nothing is begun. */
  #notBefore: number;
  #lastError: string | undefined;

  constructor(environment: Environment) {
    this.#environment = environment;
    this.#notBefore = this.#pauseEnd();
  }

  /** `problem` is told of failures, of a lasting one only once. */
  vacuumIfDue(
    db: { isOpen(): boolean; vacuum(): Promise<unknown> },
    engine: Engine,
    problem: (error: unknown) => void,
  ): void {
    if (engine.refusal() !== undefined || !this.isDue(engine.session)) return;
    const failed = (error: unknown): void => {
      // Not the message: it names a sibling, each time another one.
      const cause = error instanceof KVError ? error.code : String(error);
      // Once per cause; that the database closes meanwhile is none.
      if (db.isOpen() && cause !== this.#lastError) problem(error);
      this.#lastError = cause;
    };
    db.vacuum().then(() => (this.#lastError = undefined), failed);
  }

  isDue(session: LedgerSession): boolean {
    const { monotonic, now } = this.#environment;
    if (session.vacuum === undefined || session.growth === undefined || monotonic() < this.#notBefore) return false;
    const { bytes, bytesAtStart, startedAt } = session.growth();
    const grown = bytes - bytesAtStart;
    if (grown < Math.max(GROWTH_BYTES_MIN, bytesAtStart) && (grown < LITTLE_BYTES || now() - startedAt < AGE_MS))
      return false;
    this.#notBefore = this.#pauseEnd();
    return true;
  }

  #pauseEnd(): number {
    return this.#environment.monotonic() + PAUSE_MS * (0.5 + this.#environment.random());
  }
}
