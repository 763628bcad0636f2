import { type AddressRange, hasCode, type KVError } from "./errors.ts";
import { HeldRun } from "./held-run.ts";
import type { EncodedKey } from "./key.ts";
import type { StoredRun } from "./ledger.ts";
import type { OrderedCursor } from "./ordered-view.ts";
import type { Row } from "./resolve.ts";
import type { Run } from "./run.ts";
import type { RunCursor } from "./run-cursor.ts";

/** Something that was found damaged and could not be kept. */
export interface Dropped extends AddressRange {
  /** `ledger`: logical addresses, where commits lay. `snapshot`: places within the run that the ledger begins with. */
  readonly part: "ledger" | "snapshot";
}

/** Takes note of what is damaged, each place once. */
export class DamageNotes {
  readonly #noted = new Map<string, { readonly dropped: Dropped; readonly run: StoredRun | undefined }>();
  readonly #madeGood = new Set<StoredRun>();

  get dropped(): readonly Dropped[] {
    const kept = [...this.#noted.values()].filter(({ run }) => run === undefined || !this.#madeGood.has(run));
    return kept.map(({ dropped }) => dropped).sort((a, b) => a.part.localeCompare(b.part) || a.from - b.from);
  }

  /** True if anything was found, also if it was made good. */
  get isDamaged(): boolean {
    return this.#noted.size > 0;
  }

  /** `run`: whose places these are, where there are several. */
  note(part: Dropped["part"], ranges: readonly AddressRange[], run?: StoredRun): void {
    for (const { from, to } of ranges) {
      this.#noted.set(`${part} ${from} ${to} ${run?.id ?? ""}`, { dropped: { part, from, to }, run });
    }
  }

  /** Nothing is lost with what is damaged of this run. */
  madeGood(run: StoredRun): void {
    this.#madeGood.add(run);
  }

  /** Runs of which something is lost. */
  get damagedRuns(): ReadonlySet<StoredRun> {
    const runs = [...this.#noted.values()].flatMap(({ run }) => run ?? []);
    return new Set(runs.filter((run) => !this.#madeGood.has(run)));
  }

  /** A run of which what is whole is given, and the rest noted. */
  salvaged(run: Run, stored: StoredRun): HeldRun {
    return new SalvagedRun(run, stored, this);
  }

  /** Notes what an error tells of. Throws everything that is no damage. */
  noteError(part: Dropped["part"], error: unknown, run?: StoredRun): void {
    if (!hasCode(error, "LedgerDamaged")) throw error;
    this.note(part, (error as KVError).ranges ?? [{ from: 0, to: 0 }], run);
  }
}

/** A run of which some blocks may be damaged: gives what is whole and notes the rest. */
class SalvagedRun extends HeldRun {
  readonly #run: Run;
  readonly #told: (error: unknown) => void;

  constructor(run: Run, stored: StoredRun, notes: DamageNotes) {
    super(run, stored);
    this.#run = run;
    this.#told = (error) => notes.noteError("snapshot", run.failure(error), stored);
  }

  override get(key: EncodedKey): Row | undefined {
    try {
      return super.get(key);
    } catch (error) {
      this.#told(error);
      // Whether there was anything nobody can tell: what depends on it has to be left out.
      throw error;
    }
  }

  override cursor(): OrderedCursor<Row> {
    return new SalvagingCursor(this.#run.cursor(), this.#told);
  }
}

/** Walks forward from the beginning, over what is damaged. */
class SalvagingCursor implements OrderedCursor<Row> {
  readonly #cursor: RunCursor;
  /** Notes an error. Throws what is no damage. */
  readonly #told: (error: unknown) => void;
  #value: Row | undefined;
  /** The cursor stands on a row that was not read yet: a call that has to wait for it goes on there. */
  #moved = false;
  /** The block that is to be entered next, while what is before it is damaged: a call that has to wait for it goes on there. */
  #pending: number | undefined;

  constructor(cursor: RunCursor, told: (error: unknown) => void) {
    this.#cursor = cursor;
    this.#told = told;
  }

  get key(): EncodedKey {
    return this.#cursor.key;
  }

  get value(): Row {
    return this.#value as Row;
  }

  seek(key: EncodedKey): boolean {
    let found = this.#from(this.#pending ?? 0);
    while (found && this.key < key) found = this.next();
    return found;
  }

  next(): boolean {
    if (this.#pending !== undefined) return this.#from(this.#pending);
    const { blockNumber } = this.#cursor;
    try {
      this.#moved ||= this.#cursor.next();
      return this.#moved && this.#read();
    } catch (error) {
      this.#told(error);
      return this.#from(blockNumber + 1);
    }
  }

  seekBefore(): boolean {
    throw new RangeError("what is salvaged is read forward only");
  }

  previous(): boolean {
    throw new RangeError("what is salvaged is read forward only");
  }

  #from(number: number): boolean {
    this.#pending = number;
    this.#moved = false;
    const skip = (error: unknown): void => {
      this.#told(error);
      this.#pending = (this.#pending ?? 0) + 1;
    };
    let found = false;
    for (let isRead = false; !isRead;) {
      try {
        found = this.#cursor.enter(this.#pending, 1);
        isRead = !found || this.#read();
      } catch (error) {
        skip(error);
      }
    }
    this.#pending = undefined;
    return found;
  }

  #read(): boolean {
    this.#value = this.#cursor.value;
    this.#moved = false;
    return true;
  }
}
