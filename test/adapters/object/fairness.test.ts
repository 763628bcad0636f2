import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { describe, expect, test } from "vitest";
import { countingStore } from "../../../src/adapters/object/counting-store.ts";
import { Fairness } from "../../../src/adapters/object/fairness.ts";
import { objectLedger } from "../../../src/adapters/object/ledger.ts";
import { memoryStore } from "../../../src/adapters/object/memory-store.ts";
import { hasCode } from "../../../src/core/errors.ts";
import type { LedgerSession } from "../../../src/core/ledger.ts";
import { FaultyStore } from "../../../src/testing/faulty-store.ts";
import { SimulatedTime } from "../../support/simulated-time.ts";

const MINUTES_5 = 5 * 60_000;
/** Of real time: fifty writers make 200,000 requests. */
const TIMEOUT_MS = 240_000;

interface Share {
  commits: number;
  contentions: number;
}

/** Writers that always have something to commit, each with its own way to the store, in ms there and back; `uploadMs`: so much more for each write. */
async function race(
  writers: readonly { readonly latencyMs: number; readonly uploadMs?: number }[],
  seed = 1,
): Promise<{ readonly shares: readonly Share[]; readonly requestsPerCommit: number; readonly perSecond: number }> {
  const time = new SimulatedTime(seed);
  const store = memoryStore({ now: time.now });
  const countings = writers.map(({ latencyMs, uploadMs = 0 }) =>
    countingStore(
      new FaultyStore(store, {
        environment: time,
        fate: ({ kind }) => {
          const wobble = (): number => (latencyMs / 2) * (0.8 + 0.4 * time.random());
          return { delayMs: { there: wobble() + (kind === "create" ? uploadMs : 0), back: wobble() } };
        },
      }),
    ),
  );
  const options = { createIfMissing: true, readOnly: false, allowNetworkFileSystem: false, environment: time };
  await time.until(objectLedger(store).open(options));
  const sessions = await time.until(Promise.all(countings.map((each) => objectLedger(each).open(options))));
  const before = requests();
  const end = time.now() + MINUTES_5;
  const shares = sessions.map((): Share => ({ commits: 0, contentions: 0 }));
  await time.until(Promise.all(sessions.map((session, i) => write(session, i, shares[i]))));
  const commits = shares.reduce((sum, share) => sum + share.commits, 0);
  return { shares, requestsPerCommit: (requests() - before) / commits, perSecond: commits / (MINUTES_5 / 1000) };

  function requests(): number {
    return countings
      .map((each) => Object.values(each.counts().requests).reduce((sum, count) => sum + count, 0))
      .reduce((sum, count) => sum + count, 0);
  }

  async function write(session: LedgerSession, i: number, share: Share): Promise<void> {
    const writer = new Uint8Array(12).fill(i + 1);
    let position = session.start;
    for (let counter = 1; time.now() < end; counter++) {
      const commit = { writer, counter, timestamp: time.now(), payload: Uint8Array.of(1) };
      try {
        const result = await session.append([commit], position);
        if (result.status === "appended") {
          position = result.next;
          share.commits++;
          continue;
        }
      } catch (error) {
        if (!hasCode(error, "Contention")) throw error;
        share.contentions++;
      }
      for (let status = "more"; status === "more";) {
        const read = await session.read(position, { bytes: 1 << 20, verify: false });
        position = read.next;
        status = read.status;
      }
    }
  }
}

function report(name: string, { shares, requestsPerCommit }: Awaited<ReturnType<typeof race>>): readonly number[] {
  const total = shares.reduce((sum, { commits }) => sum + commits, 0);
  const relative = shares.map(({ commits }) => (commits * shares.length) / total);
  const [least, most] = [Math.min(...relative), Math.max(...relative)].map((each) => each.toFixed(2));
  const contentions = shares.reduce((sum, share) => sum + share.contentions, 0);
  console.info(
    `${name}: ${(total / 300).toFixed(1)} slots/s, shares ${least} to ${most} of an equal one, ` +
      `${requestsPerCommit.toFixed(2)} requests a commit, ${contentions} contentions`,
  );
  return relative;
}

describe("a writer", () => {
  const rival = new Uint8Array(12);

  test("lets others have their turn after a slot of theirs was seen of late, by the store's clock", () => {
    const fairness = new Fairness(new SimulatedTime());
    fairness.begin();
    fairness.seen(rival, 60_000);
    fairness.won();
    expect(fairness.yieldMs(1)).toBe(0);
    fairness.seen(rival, 2000);
    fairness.won();
    expect(fairness.yieldMs(1)).toBeGreaterThanOrEqual(250);
  });

  test("goes on as soon as all others have had their turn, and looks the more often for it the fewer they are", () => {
    const fairness = new Fairness(new SimulatedTime());
    const other = new Uint8Array(12).fill(1);
    for (const each of [rival, other]) fairness.seen(each);
    fairness.won();
    fairness.seen(rival);
    fairness.seen(rival);
    expect(fairness.yieldMs(1)).toBeGreaterThanOrEqual(250);
    expect(fairness.lookMs).toBe(200);
    fairness.seen(other);
    expect(fairness.yieldMs(1)).toBe(0);
    fairness.won();
    expect(fairness.yieldMs(1)).toBeGreaterThanOrEqual(250);
  });

  test("gives up after 20 slots lost in a row, or after 30 seconds without one", async () => {
    const time = new SimulatedTime();
    const fairness = new Fairness(time);
    for (let lost = 1; lost <= 20; lost++) {
      expect(fairness.isContended).toBe(false);
      fairness.lost();
    }
    expect(fairness.isContended).toBe(true);
    fairness.won();
    fairness.lost();
    expect(fairness.isContended).toBe(false);
    await time.until(new Promise<void>((resolve) => void time.setTimer(resolve, 30_000)));
    expect(fairness.isContended).toBe(true);
  });
});

test("who only reads keeps nothing of the authors that were there once", () => {
  setFlagsFromString("--expose-gc");
  const collectGarbage = runInNewContext("gc") as () => void;
  let now = 0;
  const fairness = new Fairness(Object.assign(new SimulatedTime(), { monotonic: () => now }));
  const author = new Uint8Array(12);
  const view = new DataView(author.buffer);
  const seeAuthors = (from: number, to: number): number => {
    for (let i = from; i < to; i++) {
      view.setUint32(0, i);
      fairness.seen(author);
      now += 1000;
    }
    collectGarbage();
    return process.memoryUsage().heapUsed;
  };
  const before = seeAuthors(0, 1000);
  expect(seeAuthors(1000, 200_000) - before).toBeLessThan(5_000_000);
});

test("a writer that many others are with gives up only after as many slots lost", () => {
  const fairness = new Fairness(new SimulatedTime());
  for (let author = 0; author < 45; author++) fairness.seen(new Uint8Array(12).fill(author));
  for (let lost = 1; lost <= 45; lost++) {
    expect(fairness.isContended).toBe(false);
    fairness.lost();
  }
  expect(fairness.isContended).toBe(true);
});

/** Of all writers together, for each commit: who waits for its turn looks what the others have written. */
const requestsMax = (writers: number): number => 4 + 1.6 * writers;

describe("several writers that always want to write", () => {
  test.each([2, 8, 50])(
    "%i of them with equal latencies: nobody gets less than a quarter of a share",
    async (count) => {
      const result = await race(Array.from({ length: count }, () => ({ latencyMs: 50 })));
      const shares = report(`${count} equal`, result);
      expect(Math.min(...shares)).toBeGreaterThanOrEqual(0.25);
      expect(result.requestsPerCommit).toBeLessThan(requestsMax(count));
      // Two that wait though the other one has had its turn make three.
      expect(result.perSecond).toBeGreaterThan(4);
    },
    TIMEOUT_MS,
  );

  test.each([2, 8, 50])(
    "%i of them at 20 to 120 ms: nobody gets less than a tenth of a share",
    async (count) => {
      const writers = Array.from({ length: count }, (_, i) => ({ latencyMs: 20 + (100 * i) / (count - 1) }));
      const result = await race(writers);
      const shares = report(`${count} unequal`, result);
      expect(Math.min(...shares)).toBeGreaterThanOrEqual(0.1);
      expect(result.requestsPerCommit).toBeLessThan(requestsMax(count));
      // As a rule whoever loses gets its slot in the end.
      expect(result.shares.reduce((sum, { contentions }) => sum + contentions, 0)).toBeLessThan(5);
    },
    TIMEOUT_MS,
  );

  test.each([2, 8, 50])(
    "one of %i with slow uploads gets its tenth too",
    async (count) => {
      const writers = Array.from({ length: count }, (_, i) => ({ latencyMs: 40, uploadMs: i === 0 ? 300 : 0 }));
      const result = await race(writers);
      expect(Math.min(...report(`${count}, one slow`, result))).toBeGreaterThanOrEqual(0.1);
      expect(result.requestsPerCommit).toBeLessThan(requestsMax(count));
    },
    TIMEOUT_MS,
  );
});
