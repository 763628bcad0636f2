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
  readonly #dropped = new Map<string, Dropped>();

  get dropped(): readonly Dropped[] {
    return [...this.#dropped.values()].sort((a, b) => a.part.localeCompare(b.part) || a.from - b.from);
  }

  note(part: Dropped["part"], ranges: readonly AddressRange[]): void {
    for (const { from, to } of ranges) this.#dropped.set(`${part} ${from} ${to}`, { part, from, to });
  }

  /** A run of which what is whole is given, and the rest noted. */
  salvaged(run: Run, stored: StoredRun): HeldRun {
    return new SalvagedRun(run, stored, this);
  }

  /** Notes what an error tells of. Throws everything that is no damage. */
  noteError(part: Dropped["part"], error: unknown): void {
    if (!hasCode(error, "LedgerDamaged")) throw error;
    this.note(part, (error as KVError).ranges ?? [{ from: 0, to: 0 }]);
  }
}

/** A run of which some blocks may be damaged: gives what is whole and notes the rest. */
class SalvagedRun extends HeldRun {
  readonly #notes: DamageNotes;

  constructor(run: Run, stored: StoredRun, notes: DamageNotes) {
    super(run, stored, { rebuildable: false });
    this.#notes = notes;
  }

  override get(key: EncodedKey): Row | undefined {
    try {
      return super.get(key);
    } catch (error) {
      this.#notes.noteError("snapshot", error);
      // Whether there was anything nobody can tell: what depends on it has to be left out.
      throw error;
    }
  }

  override cursor(): OrderedCursor<Row> {
    return new SalvagingCursor(this.run.cursor(), this.#notes);
  }
}

/** Walks forward from the beginning, over what is damaged. */
class SalvagingCursor implements OrderedCursor<Row> {
  readonly #cursor: RunCursor;
  readonly #notes: DamageNotes;
  #value: Row | undefined;
  /** The block that is to be entered next, while what is before it is damaged: a call that has to wait for it goes on there. */
  #pending: number | undefined;

  constructor(cursor: RunCursor, notes: DamageNotes) {
    this.#cursor = cursor;
    this.#notes = notes;
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
      return this.#cursor.next() && this.#read();
    } catch (error) {
      this.#notes.noteError("snapshot", error);
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
    const skip = (error: unknown): void => {
      this.#notes.noteError("snapshot", error);
      this.#pending = (this.#pending ?? 0) + 1;
    };
    let found = false;
    for (let isRead = false; !isRead;) {
      found = this.#cursor.enterFrom(this.#pending, skip);
      try {
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
    return true;
  }
}
