import type { EncodedKey } from "./key.ts";
import type { Layer } from "./layers.ts";
import type { StoredRun } from "./ledger.ts";
import type { OrderedCursor } from "./ordered-view.ts";
import type { Row } from "./resolve.ts";
import type { Run } from "./run.ts";

/** A run that the replica and what was frozen of it read from; closed when the last of them lets go. */
export class HeldRun implements Layer {
  readonly run: Run;
  readonly stored: StoredRun;
  #holds = 1;

  /** Held once, by whoever makes it. */
  constructor(run: Run, stored: StoredRun) {
    this.run = run;
    this.stored = stored;
  }

  get(key: EncodedKey): Row | undefined {
    return this.run.get(key);
  }

  cursor(): OrderedCursor<Row> {
    return this.run.cursor();
  }

  hold(): this {
    this.#holds++;
    return this;
  }

  release(): void {
    if (--this.#holds > 0) return;
    this.run.release();
    this.stored.close();
  }
}
