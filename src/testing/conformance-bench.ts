import { ByteWriter } from "../core/bytes.ts";
import { writeSet } from "../core/commit.ts";
import { isPromise, type Environment, type MaybePromise } from "../core/environment.ts";
import { encodeKey } from "../core/key.ts";
import type { CommitRecord, LedgerCommit, LedgerSession, Position } from "../core/ledger.ts";
import { encodeValue } from "../core/value.ts";
import { assert, assertEqual } from "./assert.ts";
import type { ConformanceStorage } from "./conformance.ts";

export const BUDGET = 1024 * 1024;
/** Of a value that is one of many. */
const PART_BYTES = 1024 * 1024;

/** One duty of a ledger: throws where it is not done. */
export type ConformanceCase = (bench: Bench) => Promise<void>;

/** Opens sessions of one storage, reads and writes on them, and closes them all. */
export class Bench {
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

  /** A commit with these bytes as its payload; where authors resolve, as the value of a plain set. */
  commit(content: Uint8Array, timestamp = 1_700_000_000_000): CommitRecord {
    const payload = this.#resolves ? plainSet(content, this.environment) : content;
    return { writer: WRITER.slice(), counter: ++this.#counter, timestamp, payload };
  }

  /** One that is larger than the session takes. */
  tooLarge(session: LedgerSession): CommitRecord {
    if (!this.#resolves) return this.commit(new Uint8Array(session.payloadBytesMax + 1));
    const writer = new ByteWriter();
    const value = encodeValue(new Uint8Array(PART_BYTES));
    for (let i = 0; writer.length <= session.payloadBytesMax; i++)
      writeSet(writer, this.environment.crc32, encodeKey(["part", i]), value, 0, undefined);
    return { ...this.commit(new Uint8Array(0)), payload: writer.view() };
  }

  get #resolves(): boolean {
    return this.#storage.ledger().ordering === "compare-and-swap";
  }

  /** Appends and reads on until all are met, as the engine does. Returns what was met and where that ended. */
  async append(
    session: LedgerSession,
    position: Position,
    commits: readonly CommitRecord[],
  ): Promise<{ readonly met: LedgerCommit[]; readonly next: Position }> {
    if (this.#resolves) return this.#appendBehind(session, position, commits);
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

  /** The same where an append may be behind, and may take the first commits only. */
  async #appendBehind(
    session: LedgerSession,
    position: Position,
    commits: readonly CommitRecord[],
  ): Promise<{ readonly met: LedgerCommit[]; readonly next: Position }> {
    const met: LedgerCommit[] = [];
    let next = position;
    while (met.length < commits.length) {
      const rest = commits.slice(met.length);
      const result = await session.append(rest, next);
      if (result.status === "behind") {
        const read = await this.readAll(session, next);
        assert(read.commits.length > 0, "there is something that the append was behind");
        next = read.next;
        continue;
      }
      assert(result.status === "appended", "an append that nothing went wrong with is certain");
      assert(result.versions.length > 0 && result.versions.length <= rest.length, "it takes at least one commit");
      for (const [i, version] of result.versions.entries()) met.push({ ...rest[i], version, place: result.places[i] });
      next = result.next;
    }
    return { met, next };
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
      for (const commit of result.commits) {
        const { isPartial, ...whole } = commit;
        commits.push(isPartial === true ? { ...whole, payload: await completed(session, commit) } : commit);
      }
      for (const run of result.state?.runs ?? []) run.close();
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

async function completed(session: LedgerSession, commit: LedgerCommit): Promise<Uint8Array> {
  assert(session.complete !== undefined, "who leaves bytes out can give them");
  return await session.complete(commit);
}

function plainSet(content: Uint8Array, { crc32 }: Environment): Uint8Array {
  const writer = new ByteWriter();
  writeSet(writer, crc32, encodeKey(["content"]), encodeValue(content), 0, undefined);
  return writer.view();
}

export const WRITER: Uint8Array = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12);

/** Bytes that a ledger of this library marks its records with, among others. */
export const MARKERS: Uint8Array = Uint8Array.of(
  ...[0xfc, 0x66, 0x6f, 0x6c, 0x69, 0x6f, 0x6b, 0x76, 0, 0, 0, 0, 2],
  ...[0xfc, 0xfc, 0x66, 0x6f, 0x6c, 0x69, 0x6f, 0x6b, 0x76, 0xa5, 0x5a],
);

export function assertSameCommits(actual: readonly CommitRecord[], expected: readonly CommitRecord[]): void {
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
export function checksum(payload: Uint8Array): number {
  let sum = 0;
  for (const byte of payload) sum = (Math.imul(sum, 31) + byte) | 0;
  return sum;
}

export function pattern(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (i * 7 + (i >>> 8)) & 0xff);
}

export function bytes(ascii: string): Uint8Array {
  return Uint8Array.from(ascii, (character) => character.charCodeAt(0));
}

export function text(payload: Uint8Array): string {
  return String.fromCharCode(...payload);
}

export function concat(parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

/** A synchronous throw and a rejection are one to the caller. */
export async function settle<T>(call: () => MaybePromise<T>): Promise<T> {
  const result = call();
  return isPromise(result) ? await result : result;
}
