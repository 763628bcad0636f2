import type { CommitBuilder } from "./commit-builder.ts";
import type { Engine } from "./engine.ts";
import type { Environment } from "./environment.ts";
import { IndexDamaged } from "./held-run.ts";
import type { Ledger } from "./ledger.ts";
import type { parseOptions, VacuumProgress } from "./options.ts";
import type { Pacer } from "./pacer.ts";
import { InvalidArgumentError, KVError } from "./errors.ts";
import type { FileWork } from "./file-work.ts";
import { purgeExpired } from "./purge.ts";
import type { RepairReport } from "./repair.ts";
import type { VacuumContext, VacuumResult } from "./vacuum.ts";

export interface MaintenanceContext {
  readonly engine: Engine;
  readonly ledger: Ledger;
  readonly environment: Environment;
  readonly pacer: Pacer;
  readonly allowNetworkFileSystem: boolean;
  readonly purgeAfterMs: number;
  /** Left out by entries that know no files. */
  readonly fileWork: FileWork | undefined;
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

/** What `backup` has written. */
export interface BackupResult {
  readonly bytes: number;
  /** The version that the copy is of. */
  readonly version: number;
}

/** Work of a request that makes no progress for so long is taken for dead, and its turn for over. */
const DEAD_MS = 30_000;

type Parsed<K extends "vacuum" | "backup" | "repair"> = ReturnType<typeof parseOptions<K>>;

/** Vacuums, backups and repairs of one instance, one at a time. */
export class Maintenance {
  readonly #context: MaintenanceContext;
  #running: Promise<unknown> = Promise.resolve();
  /** Where requests share the instance: the work under way, and when it last made progress. */
  #shared: { progressAt: number } | undefined;
  #progress: VacuumProgress | undefined;
  #last: VacuumResult | undefined;

  constructor(context: MaintenanceContext) {
    this.#context = context;
  }

  get stats(): VacuumStats {
    return { running: this.#progress, last: this.#last };
  }

  vacuum({ keepHistory, ...options }: Parsed<"vacuum">): Promise<VacuumResult> {
    const { builder, commit, purgeAfterMs } = this.#context;
    return this.#inTurn(options, async (control) => {
      const { engine, ledger } = this.#context;
      const refusal = engine.refusal();
      if (refusal !== undefined) throw refusal;
      const purge = async (entries: Parameters<CommitBuilder["purge"]>[1]): Promise<void> => {
        const purging = builder();
        purging.purge(purgeAfterMs, entries);
        await commit(purging);
      };
      if (engine.session.compactState !== undefined) return await this.#compact(keepHistory, { ...control, purge });
      if (engine.session.vacuum === undefined)
        throw new KVError("VacuumRefused", `${ledger.name} is of a kind that cannot be vacuumed`);
      const result = await this.#files("vacuum")({
        ...this.#context,
        ...control,
        keepHistory,
        purge,
      });
      this.#last = result;
      return result;
    });
  }

  /** The vacuum of a ledger that keeps its state itself: what led to it goes by itself, in time. */
  async #compact(
    keepHistory: Parsed<"vacuum">["keepHistory"],
    control: Pick<VacuumContext, "progress" | "check" | "purge">,
  ): Promise<VacuumResult> {
    const { engine, ledger } = this.#context;
    if (keepHistory !== undefined) {
      const message = `vacuum: keepHistory is for files; how long ${ledger.name} keeps its history is an option of the ledger`;
      throw new InvalidArgumentError("InvalidOption", message);
    }
    const bytes = (): number => Number(engine.session.stats?.().bytes ?? 0);
    await engine.round({ verify: true });
    const bytesBefore = bytes();
    const purged = await purgeExpired({ ...this.#context, ...control });
    await engine.compact(control);
    const generation = engine.identity?.generation ?? 0;
    return (this.#last = { generation, author: true, purged, bytesBefore, bytesAfter: bytes() });
  }

  backup(target: Ledger, options: Parsed<"backup">): Promise<BackupResult> {
    return this.#inTurn(options, (control) =>
      this.#files("backup")({ ...this.#context, ...options, ...control, target }),
    );
  }

  /** `reports`: whether somebody reads what it reports. */
  repair(options: Parsed<"repair">, { reports }: { readonly reports: boolean }): Promise<RepairReport> {
    return this.#inTurn(options, (control) => this.#files("repair")({ ...this.#context, ...control, reports }));
  }

  #files<W extends "vacuum" | "backup" | "repair">(work: W): FileWork[W] {
    const { fileWork, ledger } = this.#context;
    if (fileWork !== undefined) return fileWork[work];
    throw new KVError("UnsupportedTarget", `${work} of ${ledger.name} is for processes: of Node, Deno or Bun`);
  }

  /** Resolves when nothing is under way. */
  async idle(): Promise<void> {
    const { engine, environment } = this.#context;
    const { waits } = engine;
    if (waits === undefined) {
      await this.#running;
      return;
    }
    const isFree = (): boolean =>
      this.#shared === undefined || environment.monotonic() - this.#shared.progressAt >= DEAD_MS;
    while (!isFree()) await waits.until(isFree);
  }

  /** A call while another is under way begins when that one has ended. */
  #inTurn<T>(
    { onProgress, signal }: Pick<Parsed<"vacuum">, "onProgress" | "signal">,
    work: (control: Pick<VacuumContext, "progress" | "check">) => Promise<T>,
  ): Promise<T> {
    const now = (): number => this.#context.environment.monotonic();
    const own = { progressAt: now() };
    let ended: { readonly by: unknown } | undefined;
    const end = (by: unknown): never => {
      ended = { by };
      throw by;
    };
    const progress = (progressed: VacuumProgress): void => {
      this.#progress = progressed;
      try {
        onProgress?.(progressed);
      } catch (error) {
        end(error);
      }
    };
    const check = (): void => {
      own.progressAt = now();
      if (signal?.aborted === true) end(signal.reason);
      this.#context.check();
    };
    const result = this.idle().then(async () => {
      this.#shared = own;
      check();
      try {
        return await work({ progress, check });
      } catch (error) {
        // What the caller has ended it with is passed on as it is, whatever was made of it on the way.
        if (ended !== undefined && error instanceof KVError && error.cause === ended.by) throw ended.by;
        const isIndexDamaged = error instanceof IndexDamaged || (error as Error).cause instanceof IndexDamaged;
        if (!isIndexDamaged) throw error;
      }
      // The index is built anew, and nobody needs to know.
      await this.#context.engine.rebuild();
      check();
      try {
        return await work({ progress, check });
      } catch (error) {
        if (!(error instanceof IndexDamaged)) throw error;
        throw new KVError("SnapshotExpired", "What is worked on is kept no longer, time and again", { cause: error });
      }
    });
    // Whoever comes next waits for the end, whatever it is; and how far this one came is no news any more.
    const over = (): void => {
      this.#progress = undefined;
      if (this.#shared === own) this.#shared = undefined;
    };
    this.#running = result.then(over, over);
    return result;
  }
}
