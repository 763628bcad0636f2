import { describe, expect, test } from "vitest";
import { memoryLedger } from "../../src/adapters/memory/index.ts";
import { fsLedger } from "../../src/adapters/fs/index.ts";
import type { CheckpointStore, Ledger, LedgerSession, ReopenResult, VacuumAttempt } from "../../src/core/ledger.ts";
import { nodeEnvironment } from "../../src/platform/environment-node.ts";
import { brokenLedgers, conformanceCases, ledgerConformance } from "../../src/testing/index.ts";
import { withMembers } from "../support/database.ts";
import { temporaryFolder } from "../support/folder.ts";
import { swapLedger } from "../support/swap-ledger.ts";

type Append = LedgerSession["append"];

const brokenSwaps: readonly (readonly [string, string, (session: LedgerSession) => Append])[] = [
  [
    "appends behind others unasked",
    "an append behind which somebody else was first appends nothing",
    (session) => async (commits, position) => {
      const first = await session.append(commits, position);
      if (first.status !== "behind") return first;
      return session.append(commits, (await session.read(position, { bytes: 2 ** 30, verify: false })).next);
    },
  ],
  [
    "appends and says that it was behind",
    "an append behind which somebody else was first appends nothing",
    (session) => async (commits, position) => {
      const first = await session.append(commits, position);
      if (first.status === "behind")
        await session.append(commits, (await session.read(position, { bytes: 2 ** 30, verify: false })).next);
      return first;
    },
  ],
  [
    "confirms without looking",
    "an append of nothing tells whether anything lies behind",
    (session) => async (commits, position) =>
      commits.length > 0
        ? session.append(commits, position)
        : { status: "appended", versions: [], places: [], next: position },
  ],
  [
    "takes the last commits first",
    "an append takes the first commits, as many as it tells versions of",
    (session) => (commits, position) => session.append(commits.slice(-3), position),
  ],
];

type Members = (session: LedgerSession) => Partial<LedgerSession>;

/** A session whose checkpoints are kept in another way. */
const keeping = (change: (store: CheckpointStore) => Partial<CheckpointStore>): Members => {
  return (session) => ({
    openCheckpoints: () => {
      const store = session.openCheckpoints?.() as CheckpointStore;
      const plain: CheckpointStore = {
        load: () => store.load(),
        createRun: () => store.createRun(),
        publish: (checkpoint) => store.publish(checkpoint),
        invalidate: () => store.invalidate(),
        discard: (runs) => store.discard(runs),
      };
      return { ...plain, ...change(store) };
    },
  });
};

const brokenGenerations: readonly (readonly [string, string, Members])[] = [
  [
    "goes on at another place in the next generation",
    "a vacuum leads every session to the next generation of the same ledger",
    (session) => ({
      reopen: async (position) => ({ ...(await session.reopen(position)), position: position - 1 }) as ReopenResult,
    }),
  ],
  [
    "copies nothing behind the snapshot",
    "what lies behind a snapshot's place is in the next generation as it was",
    (session) => ({
      vacuum: async (request) => {
        const { next } = await session.read(request.position, { bytes: 2 ** 30, verify: false });
        return (await session.vacuum?.({ ...request, position: next })) as VacuumAttempt;
      },
    }),
  ],
  [
    "begins with nothing",
    "a generation begins with the snapshot that the vacuum was given",
    () => ({ openSnapshot: () => undefined }),
  ],
  [
    "says of what is void that it was appended",
    "an append behind a seal is in the next generation once",
    (session) => ({
      append: async (commits, position) => {
        const result = await session.append(commits, position);
        if (result.status === "appended") return result;
        return { status: "appended", versions: [position + 1], places: [position + 2], next: position };
      },
    }),
  ],
  ["pins nothing", "what is pinned stays readable in later generations", () => ({ pin: () => () => undefined })],
  [
    "publishes nothing",
    "a checkpoint that is published is what others load",
    keeping(() => ({ publish: async () => "published" })),
  ],
  [
    "publishes over what others have published",
    "a checkpoint that covers no more than what is published is superseded",
    keeping((store) => ({
      publish: (checkpoint) => {
        store.invalidate();
        return store.publish(checkpoint);
      },
    })),
  ],
  [
    "offers what is invalid",
    "a checkpoint that was called invalid is not offered again",
    keeping(() => ({ invalidate: () => undefined })),
  ],
  [
    "discards everything",
    "runs that are discarded or abandoned leave the published checkpoint as it is",
    keeping((store) => ({ discard: () => store.invalidate() })),
  ],
];

describe("the conformance suite has teeth", () => {
  for (const { name, breaks, make } of brokenLedgers) {
    test(`a ledger that ${name} fails "${breaks}"`, async () => {
      const failed: string[] = [];
      const runs: Promise<void>[] = [];
      ledgerConformance({
        test: (title, run) => {
          const silent = run().then(
            () => undefined,
            () => void failed.push(title),
          );
          runs.push(silent);
        },
        environment: nodeEnvironment,
        create: async () => {
          const ledger = make(memoryLedger());
          return { ledger: () => ledger, dispose: async () => undefined };
        },
        capabilities: { canBeMissing: false, vacuum: false, checkpoints: false },
      });
      await Promise.all(runs);
      expect(failed).toContain(breaks);
    });
  }

  for (const [name, breaks, append] of brokenSwaps) {
    test(`a ledger whose authors resolve that ${name} fails "${breaks}"`, async () => {
      const failed: string[] = [];
      const runs: Promise<void>[] = [];
      ledgerConformance({
        test: (title, run) => runs.push(run().catch(() => void failed.push(title))),
        environment: nodeEnvironment,
        create: async () => {
          const { ledger } = swapLedger();
          const open: Ledger["open"] = async (options) => {
            const session = await ledger.open(options);
            return withMembers(session, { append: append(session) });
          };
          return { ledger: () => ({ ...ledger, open }), dispose: async () => undefined };
        },
        capabilities: { canBeMissing: false },
      });
      await Promise.all(runs);
      expect(failed).toContain(breaks);
    });
  }

  for (const [name, breaks, members] of brokenGenerations) {
    test(`a ledger in a file that ${name} fails "${breaks}"`, async () => {
      let failure: unknown;
      let ran = false;
      let run: (() => Promise<void>) | undefined;
      ledgerConformance({
        test: (title, each) => {
          if (title === breaks) run = each;
        },
        environment: nodeEnvironment,
        create: async () => {
          const folder = temporaryFolder();
          const ledger = fsLedger(folder.file("ledger.db"));
          const open: Ledger["open"] = async (options) => {
            ran = true;
            const session = await ledger.open(options);
            return withMembers(session, members(session));
          };
          return { ledger: () => ({ ...ledger, open }), dispose: async () => folder[Symbol.dispose]() };
        },
      });
      await run?.().catch((error: unknown) => (failure = error));
      expect(ran).toBe(true);
      expect(failure).toBeInstanceOf(Error);
    });
  }

  test("every broken ledger names a case that exists", () => {
    for (const { breaks } of brokenLedgers) expect(conformanceCases()).toContain(breaks);
  });
});
