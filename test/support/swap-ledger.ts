import { memoryLedger } from "../../src/adapters/memory/index.ts";
import type { AppendResult, CommitRecord, Ledger } from "../../src/core/ledger.ts";
import { macrotask, withMembers } from "./database.ts";

/** A compare-and-swap ledger in memory, each answer of which takes a macrotask, and what a test may make it do. */
export interface SwapLedger {
  readonly ledger: Ledger;
  /** Every append that was asked for. */
  readonly appends: (readonly CommitRecord[])[];
  /** As many commits as one append takes. */
  takes: number;
  /** Awaited by each append before it is decided, and may append to the ledger meanwhile, or throw. */
  before: (commits: readonly CommitRecord[]) => void | Promise<void>;
  /** Awaited by each append once it is decided. */
  after: (commits: readonly CommitRecord[], result: AppendResult) => void | Promise<void>;
}

/** `isQuiet`: nobody can tell without reading whether there is anything new. */
export function swapLedger({ isQuiet = false }: { readonly isQuiet?: boolean } = {}): SwapLedger {
  const inner = memoryLedger({ name: "swap" });
  const appends: (readonly CommitRecord[])[] = [];
  const open: Ledger["open"] = async (options) => {
    const session = await inner.open(options);
    const { hasNews, payloadBytesMax } = session;
    return withMembers(session, {
      ...(isQuiet ? { hasNews: undefined, subscribe: undefined } : {}),
      read: async (position, budget) => {
        await macrotask();
        return session.read(position, budget);
      },
      readValue: async (version, place, length) => {
        await macrotask();
        return session.readValue(version, place, length);
      },
      append: async (commits, position) => {
        appends.push(commits);
        if (options.readOnly) return session.append(commits, position);
        await macrotask();
        await swap.before(commits);
        const behind = hasNews?.call(session, position) === true;
        // What is refused is refused by the ledger underneath.
        const taken = commits.some(({ payload }) => payload.length > payloadBytesMax)
          ? commits
          : commits.slice(0, swap.takes);
        const nothing = { status: "appended", versions: [], places: [], next: position } as const;
        const result: AppendResult = behind
          ? { status: "behind" }
          : taken.length === 0
            ? nothing
            : await session.append(taken, position);
        await swap.after(commits, result);
        return result;
      },
    });
  };
  const swap: SwapLedger = {
    ledger: { name: inner.name, ordering: "compare-and-swap", open },
    appends,
    takes: Infinity,
    before: () => undefined,
    after: () => undefined,
  };
  return swap;
}
