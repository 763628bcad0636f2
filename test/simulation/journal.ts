import type { Model } from "./model.ts";
import type { Process } from "./world.ts";

/** `"nothing"`: there was nothing to do, and nothing was written. */
export type Outcome = "committed" | "nothing" | "conflict" | "mismatch" | "not committed" | "unknown";

/** A sum, min or max of a commit. `key` is the encoded one, `expireIn` 0 for never. */
export interface Combine {
  readonly kind: "sum" | "min" | "max";
  readonly key: string;
  readonly operand: number | bigint;
  readonly expireIn: number;
}

/** One call that may have made a commit, and what the caller was told. */
export interface Write {
  readonly process: Process;
  readonly what: string;
  /** Found in a value that the commit writes, and in no other commit; undefined for deletes. */
  readonly token: string | undefined;
  /** True for calls that enter the queue before they return: their order is the order of the calls. */
  readonly queued: boolean;
  /** Its place among all calls of its process. */
  readonly number: number;
  /** Steps of the world at which it was called, and at which the caller was told. */
  readonly calledAt: number;
  toldAt: number | undefined;
  /** Generations, by nonce, of whose file a sync had failed before: nothing may be committed to those any more. */
  readonly behindFailedSyncs: readonly string[];
  /** Undefined until the caller is told; for ever, if its process dies before. */
  outcome: Outcome | undefined;
  version: number | undefined;
  error: unknown;
  /** What a transaction read, by encoded key: the version, 0 for absent. */
  reads: ReadonlyMap<string, number>;
  /** The sums, minima and maxima that it asked for. */
  combines: readonly Combine[];
  /** The version that its author saw at the call, and the newest one that there was when the caller was told. */
  readonly from: number;
  to: number;
}

/** One call to a watch callback. */
export interface Seen {
  /** For what differs behind a reload, `to` is the version that was reloaded to, if that could be asked for. */
  readonly as: "commit" | "reloaded" | "reset";
  readonly to: number | undefined;
  readonly key: string;
  readonly version: number;
  readonly timestamp: number;
  readonly value: number | bigint | string | undefined;
}

/** What one process has seen and done, as far as it came. */
export interface Log {
  readonly process: Process;
  readonly name: string;
  readonly readOnly: boolean;
  readonly indexed: boolean;
  readonly strict: boolean;
  readonly writes: Write[];
  /** Version at which the watch began; undefined if it never did. */
  watchedFrom: number | undefined;
  readonly seen: Seen[];
  /** Sum of `applied` of the `sync` events since the watch began. */
  applied: number;
  /** Set when it had followed to the end of the run: the version that it had reached, and whether its events must add up. */
  final: { readonly version: number; readonly allTold: boolean; readonly reloads: number } | undefined;
  /** Calls under way. */
  readonly pending: Set<string>;
}

/** What is looked at when the run is over: undefined if all is well, else what is not. */
export type Check = (model: Model) => string | undefined;

/** Everything that was put on record in a run. */
export class Journal {
  readonly logs: Log[] = [];
  readonly checks: { readonly who: string; readonly what: string; readonly check: Check }[] = [];
  /** The newest version that any caller was told of, by an answer or as what reads see. */
  #seen = 0;
  /** What authors were told to be committed, and when that was in ms of the world: of a transaction, to whose author no version is told, its token. */
  readonly #acknowledged: { readonly at: number; readonly commit: number | string }[] = [];
  /** A power failure may take nothing up to this version: a strict replica was told so by `sync()`. */
  synced = 0;
  /** The newest version that whoever asks now has to see. */
  newest: () => number = () => this.#seen;

  /** Somebody sees a version: it lies in the ledger, for everybody who looks. */
  see(version: number): void {
    this.#seen = Math.max(this.#seen, version);
  }

  acknowledge(commit: number | string, at: number): void {
    if (typeof commit === "number") this.see(commit);
    this.#acknowledged.push({ at, commit });
  }

  /** How many commits were acknowledged until then. */
  acknowledgedUntil(at: number): number {
    return this.#acknowledged.findLastIndex((each) => each.at <= at) + 1;
  }

  /** The newest version of the first so many of them. */
  newestOf(count: number, model: Model): number {
    const version = (commit: number | string): number =>
      typeof commit === "number" ? commit : (model.versionOf(commit) ?? 0);
    return this.#acknowledged.slice(0, count).reduce((newest, { commit }) => Math.max(newest, version(commit)), 0);
  }

  begin(process: Process, traits: Pick<Log, "readOnly" | "indexed" | "strict">): Log {
    const log: Log = {
      process,
      name: process.name,
      ...traits,
      writes: [],
      watchedFrom: undefined,
      seen: [],
      applied: 0,
      final: undefined,
      pending: new Set(),
    };
    this.logs.push(log);
    return log;
  }
}
