import { describe } from "vitest";
import { fsLedger } from "../../src/adapters/fs/index.ts";
import { memoryLedger } from "../../src/adapters/memory/index.ts";
import type { Environment } from "../../src/core/environment.ts";
import { fileWork } from "../../src/core/file-work.ts";
import { CoreKV } from "../../src/core/kv.ts";
import type { AppendResult, CommitRecord, Ledger, LedgerSession } from "../../src/core/ledger.ts";
import type { KVOptions } from "../../src/core/options.ts";
import { KV } from "../../src/index.node.ts";
import { nodeEnvironment } from "../../src/platform/environment-node.ts";
import { temporaryFolder } from "./folder.ts";
import { objectLedger } from "../../src/adapters/object/ledger.ts";
import { memoryStore } from "../../src/adapters/object/memory-store.ts";
import { swapLedger } from "./swap-ledger.ts";

/** A ledger of a test, and what has to be cleaned up behind it. */
export interface TestLedger extends Disposable {
  readonly ledger: Ledger;
}

/** Runs the same tests on a ledger in memory and on one in a file. */
export function onEachLedger(tests: (make: () => TestLedger) => void): void {
  describe("in memory", () => tests(() => ({ ledger: memoryLedger(), [Symbol.dispose]: () => undefined })));
  describe("in a file", () =>
    tests(() => {
      const folder = temporaryFolder();
      return { ledger: fsLedger(folder.file("ledger.db")), [Symbol.dispose]: () => folder[Symbol.dispose]() };
    }));
}

/** And on one whose authors resolve their commits. */
export function onEachOrdering(tests: (make: () => TestLedger) => void): void {
  onEachLedger(tests);
  describe("where authors resolve", () =>
    tests(() => ({ ledger: swapLedger().ledger, [Symbol.dispose]: () => undefined })));
  describe("in a bucket", () =>
    tests(() => ({
      ledger: withoutPauses(objectLedger(memoryStore({ name: "bucket", now: Date.now }))),
      [Symbol.dispose]: () => undefined,
    })));
}

/** The ledger, of which every pause is over at once: when nobody is in anybody's way, letting others have their turn takes time and proves nothing. */
export function withoutPauses(ledger: Ledger): Ledger {
  let passedMs = 0;
  const quick = (environment: Environment): Environment => ({
    ...environment,
    monotonic: () => environment.monotonic() + passedMs,
    setTimer: (callback, ms, options) => {
      passedMs += ms;
      return environment.setTimer(callback, 0, options);
    },
  });
  return {
    name: ledger.name,
    ordering: ledger.ordering,
    open: (options) => ledger.open({ ...options, environment: quick(options.environment) }),
  };
}

/** Two databases on one ledger in memory: to each other what two processes are on one file. */
export interface Pair extends AsyncDisposable {
  readonly ledger: Ledger;
  readonly db: KV;
  readonly other: KV;
}

export async function openPair(options: KVOptions = {}, ledger: Ledger = memoryLedger()): Promise<Pair> {
  const db = await KV.open(ledger, options);
  const other = await KV.open(ledger);
  return {
    ledger,
    db,
    other,
    [Symbol.asyncDispose]: async () => {
      await Promise.all([db.close(), other.close()]);
    },
  };
}

/** The platform's environment with clocks that are set by hand. */
export class TestClock {
  /** ms since the epoch. */
  time = 1_700_000_000_000;

  /** ms that have passed, for intervals, besides those that do. */
  elapsed = 0;

  readonly environment: Environment = {
    ...nodeEnvironment,
    now: () => this.time,
    monotonic: () => nodeEnvironment.monotonic() + this.elapsed,
  };

  /** A database that reads this clock. */
  async open(ledger: Ledger, options: KVOptions = {}, environment: Partial<Environment> = {}): Promise<CoreKV> {
    return openWith({ ...this.environment, ...environment }, ledger, options);
  }
}

/** A database in a given environment. */
export function openWith(environment: Environment, ledger: Ledger, options: KVOptions = {}): Promise<CoreKV> {
  return new CoreKV(options, { environment, ledgerAt: (path) => fsLedger(path), fileWork }).open(ledger);
}

/** What of a ledger's session a test watches. */
export interface Observed {
  readonly ledger: Ledger;
  /** Each append: the commits that it was asked for. */
  readonly appends: (readonly CommitRecord[])[];
  /** Appends wait until `release`. */
  hold(): void;
  release(): void;
}

/** A ledger that notes its appends and holds them back when asked to. */
export function observed(ledger: Ledger): Observed {
  const appends: (readonly CommitRecord[])[] = [];
  let held: Promise<void> | undefined;
  let release = (): void => undefined;
  const open: Ledger["open"] = async (options) => {
    const session = await ledger.open(options);
    const append = (commits: readonly CommitRecord[], position: number): AppendResult | Promise<AppendResult> => {
      appends.push(commits);
      return held === undefined
        ? session.append(commits, position)
        : held.then(() => session.append(commits, position));
    };
    return withMembers(session, { append });
  };
  return {
    ledger: { name: ledger.name, ordering: ledger.ordering, open },
    appends,
    hold: () => void (held ??= new Promise((resolve) => (release = resolve))),
    release: () => {
      held = undefined;
      release();
    },
  };
}

/** A ledger whose commits may have so many bytes. */
export function withLimit(ledger: Ledger, payloadBytesMax: number): Ledger {
  return { ...ledger, open: async (options) => withMembers(await ledger.open(options), { payloadBytesMax }) };
}

/** Undefined: left out. */
type SessionMembers = { readonly [K in keyof LedgerSession]?: LedgerSession[K] | undefined };

/** A session with some members replaced; everything else goes to the one underneath. */
export function withMembers(session: LedgerSession, members: SessionMembers): LedgerSession {
  return new Proxy(session, {
    get(target, property) {
      if (Object.hasOwn(members, property)) return Reflect.get(members, property) as unknown;
      const value: unknown = Reflect.get(target, property, target);
      return typeof value === "function" ? (value as (...given: unknown[]) => unknown).bind(target) : value;
    },
  });
}

/** Resolves in a fresh macrotask: what settles by itself has settled. */
export const macrotask = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** True if the promise has settled, whichever way, by the next macrotask. */
export async function settles(promise: Promise<unknown>): Promise<boolean> {
  let settled = false;
  promise.then(
    () => (settled = true),
    () => (settled = true),
  );
  await macrotask();
  return settled;
}

/** A promise and the function that resolves it. */
export function signal(): { readonly given: Promise<void>; give(): void } {
  let give = (): void => undefined;
  const given = new Promise<void>((resolve) => (give = resolve));
  return { given, give };
}
