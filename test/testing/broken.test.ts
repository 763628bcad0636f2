import { describe, expect, test } from "vitest";
import { memoryLedger } from "../../src/adapters/memory/index.ts";
import type { Ledger, LedgerSession } from "../../src/core/ledger.ts";
import { nodeEnvironment } from "../../src/platform/environment-node.ts";
import { brokenLedgers, conformanceCases, ledgerConformance } from "../../src/testing/index.ts";
import { withMembers } from "../support/database.ts";
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
        capabilities: { canBeMissing: false },
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

  test("every broken ledger names a case that exists", () => {
    for (const { breaks } of brokenLedgers) expect(conformanceCases()).toContain(breaks);
  });
});
