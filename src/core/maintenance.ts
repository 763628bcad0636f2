import type { CommitBuilder } from "./commit-builder.ts";
import type { Engine } from "./engine.ts";
import type { Environment } from "./environment.ts";
import type { Ledger } from "./ledger.ts";
import type { parseOptions, VacuumProgress } from "./options.ts";
import type { Pacer } from "./pacer.ts";
import { runVacuum, type VacuumResult } from "./vacuum.ts";

export interface MaintenanceContext {
  readonly engine: Engine;
  readonly ledger: Ledger;
  readonly environment: Environment;
  readonly pacer: Pacer;
  readonly allowNetworkFileSystem: boolean;
  readonly purgeAfterMs: number;
  readonly builder: () => CommitBuilder;
  readonly commit: (builder: CommitBuilder) => Promise<unknown>;
  /** Throws when the database is closing. */
  readonly check: () => void;
}

/** What `stats().vacuum` tells. */
export interface VacuumStats {
  /** How far the one under way has come. */
  readonly running: VacuumProgress | undefined;
  /** What the last one of this instance has done. */
  readonly last: VacuumResult | undefined;
}

type ParsedVacuumOptions = ReturnType<typeof parseOptions<"vacuum">>;

/** Vacuums of one instance, one at a time. */
export class Maintenance {
  readonly #context: MaintenanceContext;
  #running: Promise<VacuumResult> | undefined;
  #progress: VacuumProgress | undefined;
  #last: VacuumResult | undefined;

  constructor(context: MaintenanceContext) {
    this.#context = context;
  }

  get stats(): VacuumStats {
    return { running: this.#progress, last: this.#last };
  }

  /** A call while another vacuum of this instance is under way begins when that one has ended. */
  vacuum(options: ParsedVacuumOptions): Promise<VacuumResult> {
    const run = (): Promise<VacuumResult> => this.#vacuum(options);
    this.#running = this.#running === undefined ? run() : this.#running.then(run, run);
    return this.#running;
  }

  /** Resolves when nothing is under way. */
  async idle(): Promise<void> {
    await this.#running?.catch(() => undefined);
  }

  async #vacuum({ onProgress, keepHistory, signal }: ParsedVacuumOptions): Promise<VacuumResult> {
    const { check, builder, commit, purgeAfterMs } = this.#context;
    try {
      const result = await runVacuum({
        ...this.#context,
        keepHistory,
        progress: (progress) => {
          this.#progress = progress;
          onProgress?.(progress);
        },
        purge: async (entries) => {
          const purge = builder();
          purge.purge(purgeAfterMs, entries);
          await commit(purge);
        },
        check: () => {
          if (signal?.aborted === true) throw signal.reason;
          check();
        },
      });
      this.#last = result;
      return result;
    } finally {
      this.#progress = undefined;
    }
  }
}
