import { isPromise, type MaybePromise } from "../core/environment.ts";
import { InvalidArgumentError, KVError } from "../core/errors.ts";
import { knownOptions, wrongOption } from "../core/given-options.ts";
import type { AppendResult, CommitRecord, Ledger, LedgerSession, ReadResult } from "../core/ledger.ts";
import { show } from "../core/show.ts";

/** What a faulty ledger does wrong, and when: each is asked before the call it is named after. */
export interface LedgerFaults {
  /**
   * `"lost answer"`: the append lands, and the caller only learns that it has to read on. `"refused"`: nothing lands, and it is certain.
   * `"half"`: the first half of the batch lands, and the caller is told that there is no room. `"unknown"`: it lands, and the
   * caller is told that nobody can know.
   */
  readonly append?: (commits: readonly CommitRecord[]) => "lost answer" | "refused" | "half" | "unknown" | undefined;
  /** True: the read fails. */
  readonly read?: () => boolean;
  /** Waits before each call: makes every answer a promise. */
  readonly delay?: () => Promise<void>;
}

/**
 * A ledger that does to its engine what storages do: for tests of whatever stands on a ledger.
 *
 * @throws InvalidArgumentError `InvalidArgument` for a ledger that is none, `InvalidOption`.
 */
export function faultyLedger(ledger: Ledger, faults: LedgerFaults): Ledger {
  if (typeof (ledger as Ledger | undefined | null)?.open !== "function") {
    throw new InvalidArgumentError("InvalidArgument", `faultyLedger: a ledger is needed; received ${show(ledger)}`);
  }
  for (const [name, fault] of Object.entries(knownOptions(faults, ["append", "read", "delay"], "faultyLedger"))) {
    if (fault !== undefined && typeof fault !== "function")
      throw wrongOption("faultyLedger", name, "a function", fault);
  }
  return {
    name: ledger.name,
    ordering: ledger.ordering,
    open: async (options) => wrap(await ledger.open(options), faults),
  };
}

function wrap(session: LedgerSession, faults: LedgerFaults): LedgerSession {
  const delayed = <T>(call: () => MaybePromise<T>): MaybePromise<T> =>
    faults.delay === undefined ? call() : faults.delay().then(call);
  return overriding(session, {
    read: (position, budget) =>
      delayed(() => {
        if (faults.read?.() === true) throw new KVError("InputOutput", "The read failed, as asked for");
        return session.read(position, budget);
      }),
    append: (commits, position) => delayed(() => faultyAppend(session, commits, position, faults.append?.(commits))),
    readValue: (version, place, length) => delayed(() => session.readValue(version, place, length)),
  });
}

function faultyAppend(
  session: LedgerSession,
  commits: readonly CommitRecord[],
  position: number,
  fault: ReturnType<NonNullable<LedgerFaults["append"]>>,
): MaybePromise<AppendResult> {
  if (fault === undefined) return session.append(commits, position);
  if (fault === "refused")
    throw new KVError("InputOutput", "Nothing was appended, as asked for", { outcome: "not committed" });
  const landed = session.append(fault === "half" ? commits.slice(0, commits.length >> 1) : commits, position);
  const answer = (): AppendResult => {
    if (fault === "unknown")
      throw new KVError("CommitOutcomeUnknown", "Nobody can know, as asked for", { outcome: "unknown" });
    if (fault === "lost answer") return { status: "read-on" };
    return {
      status: "read-on",
      error: new KVError("NoSpace", "Half was appended, as asked for", { outcome: "not committed" }),
    };
  };
  return isPromise(landed) ? landed.then(answer) : answer();
}

/** A session with some methods replaced; everything else goes to the one underneath, getters included. */
function overriding(session: LedgerSession, methods: Partial<LedgerSession>): LedgerSession {
  return new Proxy(session, {
    get(target, property) {
      const replaced: unknown = Reflect.get(methods, property);
      if (replaced !== undefined) return replaced;
      const value: unknown = Reflect.get(target, property, target);
      return typeof value === "function" ? (value as (...given: unknown[]) => unknown).bind(target) : value;
    },
  });
}

/** A ledger that breaks the contract in one way, and the case of the conformance suite that must notice. */
export interface BrokenLedger {
  readonly name: string;
  readonly breaks: string;
  readonly make: (ledger: Ledger) => Ledger;
}

/** Ledgers broken on purpose: they prove that the conformance suite has teeth. */
export const brokenLedgers: readonly BrokenLedger[] = [
  broken("hands commits up in the wrong order", "a batch keeps its order", (session) => ({
    read: (position, budget) =>
      changeRead(session, position, budget, (result) => ({ ...result, commits: result.commits.toReversed() })),
  })),
  broken("drops the last commit of a read", "a commit comes back as it was", (session) => ({
    read: (position, budget) =>
      changeRead(session, position, budget, (result) => ({ ...result, commits: result.commits.slice(0, -1) })),
  })),
  broken("doubles commits", "appends of two sessions interleave without loss", (session) => ({
    read: (position, budget) =>
      changeRead(session, position, budget, (result) => ({
        ...result,
        commits: result.commits.flatMap((each) => [each, each]),
      })),
  })),
  broken("reuses its buffer", "a later read does not change what an earlier one gave", (session) => {
    const buffer = new Uint8Array(64 * 1024);
    return {
      readValue: (version, place, length) => {
        const value = session.readValue(version, place, length) as Uint8Array;
        buffer.set(value);
        return buffer.subarray(0, length);
      },
    };
  }),
  broken("says end too early", "a read with a small budget says more before the end", (session) => ({
    read: (position, budget) => changeRead(session, position, budget, (result) => ({ ...result, status: "end" })),
  })),
  broken(
    "tells the wrong versions of an append",
    "all sessions see the same versions, places and order",
    (session) => ({
      append: (commits, position) => {
        const result = session.append(commits, position) as AppendResult;
        return result.status === "appended"
          ? { ...result, versions: result.versions.map((version) => version + 1) }
          : result;
      },
    }),
  ),
  broken("calls every append adjacent", "an append that is not at the end is not called adjacent", (session) => ({
    append: (commits, position) => {
      const result = session.append(commits, position) as AppendResult;
      if (result.status !== "read-on") return result;
      return {
        status: "appended",
        versions: commits.map((_, i) => position + i + 1),
        places: commits.map(() => 0),
        next: position,
      };
    },
  })),
  broken("reads values from the wrong place", "values are read by place, any part of a payload", (session) => ({
    readValue: (version, place, length) => session.readValue(version, Math.max(0, place - 1), length),
  })),
  broken("writes through a read-only session", "a read-only session never writes", (_, ledger, environment) => ({
    append: async (commits, position) => {
      const session = await ledger.open({
        createIfMissing: true,
        readOnly: false,
        allowNetworkFileSystem: false,
        environment,
      });
      return session.append(commits, position);
    },
  })),
  broken("never has news", "hasNews tells of what is behind a position", () => ({ hasNews: () => false })),
  broken("is never changed", "isUnchanged is true only where a read would find nothing", () => ({
    isUnchanged: () => true,
  })),
  broken("rounds timestamps", "timestamps keep fraction, sign and size", (session) => ({
    append: (commits, position) =>
      session.append(
        commits.map((commit) => ({ ...commit, timestamp: Math.round(commit.timestamp) })),
        position,
      ),
  })),
];

function broken(
  name: string,
  breaks: string,
  methods: (
    session: LedgerSession,
    ledger: Ledger,
    environment: Parameters<Ledger["open"]>[0]["environment"],
  ) => Partial<LedgerSession>,
): BrokenLedger {
  return {
    name,
    breaks,
    make: (ledger) => ({
      name: ledger.name,
      ordering: ledger.ordering,
      open: async (options) => {
        const session = await ledger.open(options);
        return overriding(session, methods(session, ledger, options.environment));
      },
    }),
  };
}

function changeRead(
  session: LedgerSession,
  position: number,
  budget: Parameters<LedgerSession["read"]>[1],
  change: (result: ReadResult) => ReadResult,
): MaybePromise<ReadResult> {
  const result = session.read(position, budget);
  return isPromise(result) ? result.then(change) : change(result);
}
