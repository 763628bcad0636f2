import type { Environment } from "../core/environment.ts";
import { knownOptions, wrongOption } from "../core/given-options.ts";
import type { CommitRecord, Ledger } from "../core/ledger.ts";
import { assert, assertEqual, assertRejects } from "./assert.ts";
import {
  assertSameCommits,
  Bench,
  BUDGET,
  bytes,
  concat,
  type ConformanceCase,
  MARKERS,
  pattern,
  settle,
  text,
  WRITER,
} from "./conformance-bench.ts";
import { checkpointCases, vacuumCases } from "./generation-cases.ts";
import { swapCases } from "./swap-cases.ts";

/** What the caller's test runner offers: registers a test under a name. */
export type TestFunction = (name: string, run: () => Promise<void>) => unknown;

/** One storage to test, empty at first. */
export interface ConformanceStorage {
  /** Describes the storage. Called several times: every ledger it returns stands for the same storage, as in another process. */
  ledger(): Ledger;
  /** Releases the storage. Called once at the end of each test. */
  dispose(): Promise<void>;
}

/** What a ledger can do beyond the minimum. A case that needs something else is left out. */
export interface ConformanceCapabilities {
  /** Contents outlive the last session. Default true. */
  readonly persistent?: boolean;
  /** A storage that was never opened is empty, so that opening it without `createIfMissing` is `LedgerMissing`. Default true. */
  readonly canBeMissing?: boolean;
  /** It can begin anew with a snapshot, in a next generation (`vacuum`). Default true. */
  readonly vacuum?: boolean;
  /** It keeps checkpoints (`openCheckpoints`). Default true. */
  readonly checkpoints?: boolean;
}

/** What the suite needs: a way to register tests, a storage for each, and what those cannot do. */
export interface ConformanceOptions {
  readonly test: TestFunction;
  readonly environment: Environment;
  /** A new, empty storage for one test. */
  readonly create: () => Promise<ConformanceStorage>;
  readonly capabilities?: ConformanceCapabilities;
}

/**
 * Registers one test for each duty of a ledger. An adapter that passes them all carries the engine; the names are the same for every
 * adapter.
 *
 * @throws InvalidArgumentError `InvalidOption`.
 */
export function ledgerConformance(options: ConformanceOptions): void {
  checkOptions(options);
  for (const [name, run] of Object.entries(cases)) {
    if (options.capabilities?.persistent === false && needsPersistence.has(name)) continue;
    if (options.capabilities?.canBeMissing === false && needsMissing.has(name)) continue;
    if (options.capabilities?.vacuum === false && Object.hasOwn(vacuumCases, name)) continue;
    if (options.capabilities?.checkpoints === false && Object.hasOwn(checkpointCases, name)) continue;
    options.test(name, async () => {
      const storage = await options.create();
      const resolves = storage.ledger().ordering === "compare-and-swap";
      // The names stay the same: what is none of this ledger's duties passes.
      if ((resolves ? ofAppending : ofSwapping).has(name)) return storage.dispose();
      const bench = new Bench(storage, options.environment);
      try {
        await run(bench);
      } finally {
        await bench.close();
        await storage.dispose();
      }
    });
  }
}

function checkOptions(given: unknown): void {
  const context = "ledgerConformance";
  const options = knownOptions(given, ["test", "environment", "create", "capabilities"], context);
  for (const name of ["test", "create"]) {
    if (typeof options[name] !== "function") throw wrongOption(context, name, "a function", options[name]);
  }
  const { environment } = options;
  if (typeof environment !== "object" || environment === null) {
    throw wrongOption(context, "environment", "the environment that foliokv exports", environment);
  }
  const capabilities = ["persistent", "canBeMissing", "vacuum", "checkpoints"];
  for (const [name, can] of Object.entries(
    knownOptions(options.capabilities, capabilities, `${context}: capabilities`),
  )) {
    if (can !== undefined && typeof can !== "boolean") throw wrongOption(context, name, "true or false", can);
  }
}

/** The names of all cases, in order. */
export function conformanceCases(): string[] {
  return Object.keys(cases);
}

const cases: Readonly<Record<string, ConformanceCase>> = {
  "an empty ledger reads end": async (bench) => {
    const session = await bench.open();
    const result = await session.read(session.start, { bytes: BUDGET, verify: true });
    assertEqual(result.status, "end", "status");
    assertEqual(result.commits.length, 0, "commits");
  },

  "all sessions see one identity": async (bench) => {
    const first = await bench.open();
    const second = await bench.open();
    assert(first.identity !== undefined, "there is an identity");
    assertEqual(second.identity, first.identity, "identity");
    assertEqual(first.identity.generation, 1, "generation of a new ledger");
  },

  "a ledger that is missing is not created unasked": async (bench) => {
    await assertRejects(bench.open({ createIfMissing: false }), "LedgerMissing");
  },

  "sessions opened at the same time create one ledger": async (bench) => {
    const sessions = await Promise.all([bench.open(), bench.open(), bench.open()]);
    for (const session of sessions) assertEqual(session.identity, sessions[0].identity, "identity");
    await bench.append(sessions[0], sessions[0].start, [bench.commit(bytes("a"))]);
    const { commits } = await bench.readAll(sessions[2], sessions[2].start);
    assertEqual(commits.length, 1, "commits seen by another session");
  },

  "a commit comes back as it was": async (bench) => {
    const session = await bench.open();
    const payloads = [
      new Uint8Array(0),
      Uint8Array.of(7),
      bytes("hello"),
      new Uint8Array(300),
      new Uint8Array(300).fill(0xff),
      pattern(65_537),
      pattern(3 * 1024 * 1024 + 1),
    ];
    let position = session.start;
    const sent: CommitRecord[] = [];
    for (const payload of payloads) {
      const commit = bench.commit(payload);
      sent.push(commit);
      position = (await bench.append(session, position, [commit])).next;
    }
    const { commits } = await bench.readAll(session, session.start);
    assertSameCommits(commits, sent);
  },

  "timestamps keep fraction, sign and size": async (bench) => {
    const session = await bench.open();
    const sent = [0, 1.5, -1, 8.64e15, Date.UTC(2026, 0)].map((timestamp) => bench.commit(bytes("t"), timestamp));
    await bench.append(session, session.start, sent);
    assertSameCommits((await bench.readAll(session, session.start)).commits, sent);
  },

  "counters of 48 bits come back": async (bench) => {
    const session = await bench.open();
    const sent = [1, 2 ** 31, 2 ** 32 + 1, 2 ** 48 - 1].map((counter) => ({ ...bench.commit(bytes("c")), counter }));
    await bench.append(session, session.start, sent);
    assertSameCommits((await bench.readAll(session, session.start)).commits, sent);
  },

  "a payload may hold what the ledger itself holds": async (bench) => {
    const session = await bench.open();
    // Everything that can be read of the ledger, as payload of the next commit, several times over.
    let position = session.start;
    const sent: CommitRecord[] = [];
    for (let i = 0; i < 4; i++) {
      const copy = concat(sent.flatMap((commit) => [commit.writer, commit.payload, MARKERS]));
      const commit = bench.commit(copy.length === 0 ? MARKERS : copy);
      sent.push(commit);
      position = (await bench.append(session, position, [commit])).next;
    }
    assertSameCommits((await bench.readAll(session, session.start)).commits, sent);
  },

  "versions are safe integers above zero that grow": async (bench) => {
    const session = await bench.open();
    const { met } = await bench.append(
      session,
      session.start,
      Array.from({ length: 20 }, (_, i) => bench.commit(pattern(i))),
    );
    let before = 0;
    for (const { version } of met) {
      assert(Number.isSafeInteger(version) && version > before, `version ${version} lies above ${before}`);
      before = version;
    }
  },

  "all sessions see the same versions, places and order": async (bench) => {
    const first = await bench.open();
    const second = await bench.open();
    const { met } = await bench.append(first, first.start, [bench.commit(bytes("one")), bench.commit(bytes("two"))]);
    const { commits } = await bench.readAll(second, second.start);
    assertEqual(
      commits.map(({ version, place, counter }) => [version, place, counter]),
      met.map(({ version, place, counter }) => [version, place, counter]),
      "version, place and counter",
    );
  },

  "appends of two sessions interleave without loss": async (bench) => {
    const sessions = [await bench.open(), await bench.open()];
    const positions = sessions.map((session) => session.start);
    for (let round = 0; round < 20; round++) {
      const i = round % 2;
      const batch = Array.from({ length: 1 + (round % 3) }, () => bench.commit(pattern(round)));
      positions[i] = (await bench.append(sessions[i], positions[i], batch)).next;
    }
    const [a, b] = await Promise.all(sessions.map((session) => bench.readAll(session, session.start)));
    assertSameCommits(a.commits, b.commits);
    const counters = a.commits.map(({ counter }) => counter);
    assertEqual(new Set(counters).size, counters.length, "each commit once");
    assertEqual(
      counters,
      counters.toSorted((x, y) => x - y),
      "order of the appends",
    );
  },

  "an append that is not at the end is not called adjacent": async (bench) => {
    const first = await bench.open();
    const second = await bench.open();
    await bench.append(first, first.start, [bench.commit(bytes("first"))]);
    const result = await second.append([bench.commit(bytes("second"))], second.start);
    assertEqual(result.status, "read-on", "status");
    const { commits } = await bench.readAll(second, second.start);
    assertEqual(
      commits.map(({ payload }) => text(payload)),
      ["first", "second"],
      "payloads",
    );
  },

  "a batch keeps its order": async (bench) => {
    const session = await bench.open();
    const batch = Array.from({ length: 1000 }, (_, i) => bench.commit(bytes(String(i))));
    await bench.append(session, session.start, batch);
    assertSameCommits((await bench.readAll(session, session.start)).commits, batch);
  },

  "a read makes progress whatever its budget": async (bench) => {
    const session = await bench.open();
    const sent = [pattern(10), pattern(5000), pattern(200_000), pattern(1)].map((payload) => bench.commit(payload));
    await bench.append(session, session.start, sent);
    const { commits } = await bench.readAll(session, session.start, 1);
    assertSameCommits(commits, sent);
  },

  "a read with a small budget says more before the end": async (bench) => {
    const session = await bench.open();
    await bench.append(
      session,
      session.start,
      Array.from({ length: 10 }, () => bench.commit(pattern(1000))),
    );
    const result = await session.read(session.start, { bytes: 1500, verify: false });
    assertEqual(result.status, "more", "status");
    assert(result.commits.length < 10, "the budget is kept");
  },

  "reading goes on from every position, and again": async (bench) => {
    const session = await bench.open();
    const sent = Array.from({ length: 12 }, (_, i) => bench.commit(pattern(i * 100)));
    await bench.append(session, session.start, sent);
    const { commits, positions } = await bench.readAll(session, session.start, 1);
    for (let round = 0; round < 2; round++) {
      for (const position of positions) {
        const rest = await bench.readAll(session, position);
        assertSameCommits(rest.commits, commits.slice(commits.length - rest.commits.length));
      }
    }
  },

  "values are read by place, any part of a payload": async (bench) => {
    const session = await bench.open();
    const reader = await bench.open();
    const sent = [pattern(50), pattern(10_000), MARKERS].map((content) => bench.commit(content));
    const { met } = await bench.append(session, session.start, sent);
    const { version, place } = met[1];
    const { payload } = sent[1];
    for (const [from, length] of [
      [0, 10_000],
      [0, 1],
      [9_999, 1],
      [4_095, 3],
      [17, 0],
    ]) {
      for (const each of [session, reader]) {
        const value = await each.readValue(version, place + from, length);
        assertEqual([...value], [...payload.subarray(from, from + length)], `${length} bytes at ${from}`);
      }
    }
    const careful = sent[2].payload;
    const marked = await session.readValue(met[2].version, met[2].place + 2, careful.length - 2);
    assertEqual([...marked], [...careful.subarray(2)], "a part of a payload that needs care");
  },

  "bytes handed out are the receiver's own": async (bench) => {
    const session = await bench.open();
    const commit = bench.commit(bytes("untouched"));
    const untouched = commit.payload.slice();
    const { length } = untouched;
    const { met } = await bench.append(session, session.start, [commit]);
    const first = await bench.readAll(session, session.start);
    first.commits[0].payload.fill(0);
    const value = await session.readValue(met[0].version, met[0].place, length);
    value.fill(0);
    const again = await bench.readAll(session, session.start);
    assertEqual([...again.commits[0].payload], [...untouched], "payload read again");
    const valueAgain = await session.readValue(met[0].version, met[0].place, length);
    assertEqual([...valueAgain], [...untouched], "value read again");
  },

  "a later read does not change what an earlier one gave": async (bench) => {
    const session = await bench.open();
    await bench.append(session, session.start, [bench.commit(bytes("one")), bench.commit(bytes("two"))]);
    const first = await bench.readAll(session, session.start);
    const kept = text(first.commits[0].payload);
    const value = await session.readValue(first.commits[0].version, first.commits[0].place, 3);
    await bench.readAll(session, session.start);
    await session.readValue(first.commits[0].version, first.commits[0].place + 1, 2);
    assertEqual(text(first.commits[0].payload), kept, "payload");
    assertEqual(text(value), kept.slice(0, 3), "value");
  },

  "bytes handed in may be reused afterwards": async (bench) => {
    const session = await bench.open();
    const commit = bench.commit(bytes("original"));
    const original = text(commit.payload);
    await bench.append(session, session.start, [commit]);
    commit.payload.fill(0);
    commit.writer.fill(0);
    const { commits } = await bench.readAll(session, session.start);
    assertEqual(text(commits[0].payload), original, "payload");
    assertEqual([...commits[0].writer], [...WRITER], "writer");
  },

  "a payload that is too large is refused whole": async (bench) => {
    const session = await bench.open();
    const small = bench.commit(bytes("small"));
    const large = bench.tooLarge(session);
    await assertRejects(
      settle(() => session.append([small, large], session.start)),
      "CommitTooLarge",
    );
    assertEqual((await bench.readAll(session, session.start)).commits.length, 0, "commits");
  },

  "hasNews tells of what is behind a position": async (bench) => {
    const session = await bench.open();
    if (session.hasNews === undefined) return;
    const other = await bench.open();
    const { next } = await bench.readAll(session, session.start);
    assertEqual(session.hasNews(next), false, "nothing new");
    await bench.append(other, other.start, [bench.commit(bytes("news"))]);
    assertEqual(session.hasNews(next), true, "something new");
    const after = await bench.readAll(session, next);
    assertEqual(session.hasNews(after.next), false, "nothing new again");
  },

  "isUnchanged is true only where a read would find nothing": async (bench) => {
    const session = await bench.open();
    if (session.isUnchanged === undefined) return;
    const other = await bench.open();
    await bench.append(other, other.start, [bench.commit(bytes("first"))]);
    const { next } = await bench.readAll(session, session.start);
    assertEqual(session.isUnchanged(next), true, "at the end");
    assertEqual(session.isUnchanged(session.start), false, "before the end");
    await bench.append(other, next, [bench.commit(bytes("news"))]);
    assertEqual(session.isUnchanged(next), false, "something new");
  },

  "a hint arrives, and none after unsubscribing": async (bench) => {
    const session = await bench.open();
    if (session.subscribe === undefined) return;
    const other = await bench.open();
    const { next } = await bench.readAll(session, session.start);
    let hints = 0;
    let arrived: () => void = () => undefined;
    const arrival = new Promise<void>((resolve) => (arrived = resolve));
    const unsubscribe = session.subscribe(() => {
      hints++;
      arrived();
    });
    const appended = await bench.append(other, other.start, [bench.commit(bytes("hint"))]);
    await arrival;
    await bench.readAll(session, next);
    unsubscribe();
    const before = hints;
    await bench.append(other, appended.next, [bench.commit(bytes("no hint"))]);
    await new Promise<void>((resolve) => bench.environment.setTimer(resolve, 20, { ref: true }));
    assertEqual(hints, before, "hints after unsubscribing");
  },

  "a read-only session never writes": async (bench) => {
    const writer = await bench.open();
    await bench.append(writer, writer.start, [bench.commit(bytes("a"))]);
    const session = await bench.open({ readOnly: true, createIfMissing: false });
    assertEqual((await bench.readAll(session, session.start)).commits.length, 1, "commits");
    await assertRejects(
      settle(() => session.append([bench.commit(bytes("b"))], session.start)),
      "ReadOnly",
    );
    assertEqual((await bench.readAll(writer, writer.start)).commits.length, 1, "commits afterwards");
  },

  "what was appended is there for later sessions": async (bench) => {
    const first = await bench.open();
    const identity = first.identity;
    const sent = [bench.commit(bytes("kept")), bench.commit(pattern(70_000))];
    await bench.append(first, first.start, sent);
    await first.close();
    const second = await bench.open({ createIfMissing: false });
    assertEqual(second.identity, identity, "identity");
    assertSameCommits((await bench.readAll(second, second.start)).commits, sent);
  },

  "making durable changes nothing that can be seen": async (bench) => {
    const session = await bench.open();
    const { next } = await bench.append(session, session.start, [bench.commit(bytes("a"))]);
    await session.makeDurable?.();
    assertEqual((await bench.readAll(session, next)).commits.length, 0, "commits behind the end");
  },

  "closing is idempotent and leaves other sessions alone": async (bench) => {
    const session = await bench.open();
    const other = await bench.open();
    await session.close();
    await session.close();
    await bench.append(other, other.start, [bench.commit(bytes("alive"))]);
    assertEqual((await bench.readAll(other, other.start)).commits.length, 1, "commits");
  },
  "reading goes on behind the state that the ledger keeps": async (bench) => {
    const session = await bench.open();
    if (session.openState === undefined) return;
    const sent = Array.from({ length: 3 }, (_, i) => bench.commit(pattern(i)));
    await bench.append(session, session.start, sent);
    const later = await bench.open();
    const state = await later.openState?.();
    const read = await bench.readAll(later, state?.position ?? later.start);
    for (const run of state?.runs ?? []) run.close();
    assert((state?.position ?? later.start) >= later.start, "what is behind the state can be read");
    for (const { version } of read.commits) assert(version > (state?.version ?? 0), "what it covers is not read again");
    assertSameCommits(read.commits, sent.slice(sent.length - read.commits.length));
  },

  ...swapCases,
  ...vacuumCases,
  ...checkpointCases,
};

/** Of ledgers where anybody may append at any time. The others keep their states themselves, and go on for ever. */
const ofAppending: ReadonlySet<string> = new Set([
  "an append that is not at the end is not called adjacent",
  ...Object.keys(vacuumCases),
  ...Object.keys(checkpointCases),
]);
/** Of ledgers where an append succeeds only behind what its author has read. */
const ofSwapping: ReadonlySet<string> = new Set(Object.keys(swapCases));
const needsPersistence: ReadonlySet<string> = new Set(["what was appended is there for later sessions"]);
const needsMissing: ReadonlySet<string> = new Set(["a ledger that is missing is not created unasked"]);
