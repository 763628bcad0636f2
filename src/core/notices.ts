import type { EngineContext } from "./engine-context.ts";
import type { EngineState } from "./engine-state.ts";
import { type AddressRange, describeRanges, KVError } from "./errors.ts";
import type { LedgerNotice } from "./ledger.ts";

/** Counts, or tells of, what was found between the commits: each once, whoever finds it. */
export class Notices {
  readonly #context: EngineContext;
  /** Those that were counted or told of, so that a state built anew does not do it again. */
  readonly #noted = new Set<string>();

  constructor(context: EngineContext) {
    this.#context = context;
  }

  note(state: EngineState, notices: readonly LedgerNotice[]): void {
    const { ledger, listener, counts } = this.#context;
    const damaged: AddressRange[] = [];
    const ledgerId = state.source.session.identity?.ledgerId;
    for (const { kind, from, to } of notices) {
      if (kind === "damage") state.damage.push({ from, to });
      if (kind === "lost") state.hasLost = true;
      const name = `${ledgerId} ${kind} ${from} ${to}`;
      if (this.#noted.has(name)) continue;
      this.#noted.add(name);
      if (kind === "stump") {
        counts.stumps++;
      } else if (kind === "lost") {
        counts.lostBytes += to - from;
        const message = `${to - from} bytes at addresses ${from} to ${to} of ${ledger.name} were lost in a power failure`;
        listener.problem(new KVError("LedgerDamaged", message, { ranges: [{ from, to }] }));
      } else if (kind === "copy") {
        const message = `One copy of the header of ${ledger.name}, at addresses ${from} to ${to}, is damaged; the other one serves`;
        listener.problem(new KVError("LedgerDamaged", message, { ranges: [{ from, to }] }));
      } else {
        damaged.push({ from, to });
      }
    }
    if (damaged.length === 0) return;
    const message = `${ledger.name} is damaged at ${describeRanges(damaged)}; what is whole can be read, nothing can be written`;
    listener.problem(new KVError("LedgerDamaged", message, { ranges: damaged }));
  }
}
