import { isPromise, type Environment, type MaybePromise } from "../core/environment.ts";

import type { CommitRecord, Ledger, LedgerCommit, LedgerSession, Position } from "../core/ledger.ts";
import { assert, assertEqual, assertRejects } from "./assert.ts";

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
 */
export function ledgerConformance(options: ConformanceOptions): void {
  for (const [name, run] of Object.entries(cases)) {
    if (options.capabilities?.persistent === false && needsPersistence.has(name)) continue;
    if (options.capabilities?.canBeMissing === false && needsMissing.has(name)) continue;
    options.test(name, async () => {
      const storage = await options.create();
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

/** The names of all cases, in order. */
export function conformanceCases(): string[] {
  return Object.keys(cases);
}

const BUDGET = 1024 * 1024;

/** Opens sessions of one storage, reads and writes on them, and closes them all. */
class Bench {
  readonly #storage: ConformanceStorage;
  readonly environment: Environment;
  readonly #sessions: LedgerSession[] = [];
  #counter = 0;

  constructor(storage: ConformanceStorage, environment: Environment) {
    this.#storage = storage;
    this.environment = environment;
  }

  async open(
    options: { readonly readOnly?: boolean; readonly createIfMissing?: boolean } = {},
  ): Promise<LedgerSession> {
    const session = await this.#storage.ledger().open({
      createIfMissing: options.createIfMissing ?? true,
      readOnly: options.readOnly ?? false,
      allowNetworkFileSystem: false,
      environment: this.environment,
    });
    this.#sessions.push(session);
    return session;
  }

  commit(payload: Uint8Array, timestamp = 1_700_000_000_000): CommitRecord {
    return { writer: WRITER.slice(), counter: ++this.#counter, timestamp, payload };
  }

  /** Appends and reads on until all are met, as the engine does. Returns what was met and where that ended. */
  async append(
    session: LedgerSession,
    position: Position,
    commits: readonly CommitRecord[],
  ): Promise<{ readonly met: LedgerCommit[]; readonly next: Position }> {
    const result = await session.append(commits, position);
    if (result.status === "appended") {
      const met = commits.map((commit, i) => ({ ...commit, version: result.versions[i], place: result.places[i] }));
      return { met, next: result.next };
    }
    assertEqual(result.status, "read-on", "status of the append");
    assert(result.status === "read-on" && result.error === undefined, "the append reports no error");
    const read = await this.readAll(session, position);
    for (const commit of commits) {
      assert(
        read.commits.some((each) => each.counter === commit.counter),
        `commit ${commit.counter} is met behind an append`,
      );
    }
    return { met: read.commits, next: read.next };
  }

  async readAll(
    session: LedgerSession,
    position: Position,
    budgetBytes = BUDGET,
  ): Promise<{ readonly commits: LedgerCommit[]; readonly next: Position; readonly positions: Position[] }> {
    const commits: LedgerCommit[] = [];
    const positions: Position[] = [position];
    let next = position;
    for (let verify = true; ; verify = false) {
      const result = await session.read(next, { bytes: budgetBytes, verify });
      commits.push(...result.commits);
      next = result.next;
      positions.push(next);
      if (result.status === "end") return { commits, next, positions };
      assertEqual(result.status, "more", "status of a read before the end");
      assert(result.commits.length > 0 || next > position, "a read that says more has made progress");
    }
  }

  async close(): Promise<void> {
    for (const session of this.#sessions) await session.close();
  }
}

const WRITER = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12);

const cases: Readonly<Record<string, (bench: Bench) => Promise<void>>> = {
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
    const payload = pattern(10_000);
    const { met } = await bench.append(session, session.start, [
      bench.commit(pattern(50)),
      bench.commit(payload),
      bench.commit(MARKERS),
    ]);
    const { version, place } = met[1];
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
    const marked = await session.readValue(met[2].version, met[2].place + 2, MARKERS.length - 2);
    assertEqual([...marked], [...MARKERS.subarray(2)], "a part of a payload that needs care");
  },

  "bytes handed out are the receiver's own": async (bench) => {
    const session = await bench.open();
    const { met } = await bench.append(session, session.start, [bench.commit(bytes("untouched"))]);
    const first = await bench.readAll(session, session.start);
    first.commits[0].payload.fill(0);
    const value = await session.readValue(met[0].version, met[0].place, 9);
    value.fill(0);
    const again = await bench.readAll(session, session.start);
    assertEqual(text(again.commits[0].payload), "untouched", "payload read again");
    assertEqual(text(await session.readValue(met[0].version, met[0].place, 9)), "untouched", "value read again");
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
    assertEqual(text(value), "one", "value");
  },

  "bytes handed in may be reused afterwards": async (bench) => {
    const session = await bench.open();
    const payload = bytes("original");
    const commit = bench.commit(payload);
    await bench.append(session, session.start, [commit]);
    payload.fill(0);
    commit.writer.fill(0);
    const { commits } = await bench.readAll(session, session.start);
    assertEqual(text(commits[0].payload), "original", "payload");
    assertEqual([...commits[0].writer], [...WRITER], "writer");
  },

  "a payload that is too large is refused whole": async (bench) => {
    const session = await bench.open();
    const small = bench.commit(bytes("small"));
    const large = bench.commit(new Uint8Array(session.payloadBytesMax + 1));
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
};

const needsPersistence: ReadonlySet<string> = new Set(["what was appended is there for later sessions"]);
const needsMissing: ReadonlySet<string> = new Set(["a ledger that is missing is not created unasked"]);

/** Bytes that a ledger of this library marks its records with, among others. */
const MARKERS = Uint8Array.of(
  ...[0xfc, 0x66, 0x6f, 0x6c, 0x69, 0x6f, 0x6b, 0x76, 0, 0, 0, 0, 2],
  ...[0xfc, 0xfc, 0x66, 0x6f, 0x6c, 0x69, 0x6f, 0x6b, 0x76, 0xa5, 0x5a],
);

function assertSameCommits(actual: readonly CommitRecord[], expected: readonly CommitRecord[]): void {
  const plain = (commits: readonly CommitRecord[]): unknown[] =>
    commits.map(({ writer, counter, timestamp, payload }) => [
      [...writer],
      counter,
      timestamp,
      payload.length,
      checksum(payload),
    ]);
  assertEqual(plain(actual), plain(expected), "commits");
}

/** Enough to tell payloads apart without writing them out. */
function checksum(payload: Uint8Array): number {
  let sum = 0;
  for (const byte of payload) sum = (Math.imul(sum, 31) + byte) | 0;
  return sum;
}

function pattern(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (i * 7 + (i >>> 8)) & 0xff);
}

function bytes(ascii: string): Uint8Array {
  return Uint8Array.from(ascii, (character) => character.charCodeAt(0));
}

function text(payload: Uint8Array): string {
  return String.fromCharCode(...payload);
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

/** A synchronous throw and a rejection are one to the caller. */
async function settle<T>(call: () => MaybePromise<T>): Promise<T> {
  const result = call();
  return isPromise(result) ? await result : result;
}
