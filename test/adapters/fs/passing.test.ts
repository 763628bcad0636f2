import { appendFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { MARKER } from "../../../src/adapters/fs/frame.ts";
import type { CommitRecord, LedgerSession, PassedCommit, ReadResult } from "../../../src/core/ledger.ts";
import { inFolder } from "../../support/folder.ts";
import { openSession } from "../../support/generations.ts";

const WRITER = new Uint8Array(12).fill(7);
const STUMP = MARKER.subarray(0, 5);
/** Larger than what is read at once. */
const LARGE_BYTES = 100_000;
const WINDOW_BYTES = 10_000;

/** A session on a new ledger. */
function onSession(test: (session: LedgerSession, path: string) => Promise<void>): Promise<void> {
  return inFolder(async (folder) => {
    const path = join(folder, "ledger.db");
    const session = await openSession(path);
    try {
      await test(session, path);
    } finally {
      await session.close();
    }
  });
}

function record(counter: number, payload: Uint8Array): CommitRecord {
  return { writer: WRITER, counter, timestamp: counter / 4, payload };
}

async function append(session: LedgerSession, ...payloads: readonly Uint8Array[]): Promise<void> {
  const commits = payloads.map((payload, i) => record(i + 1, payload));
  expect(await session.append(commits, 0)).toEqual({ status: "read-on" });
}

/** What was passed, as plain objects with a payload of their own. */
function taking(takes: (commit: PassedCommit) => boolean = () => true) {
  const passed: object[] = [];
  const take = (commit: PassedCommit): boolean => {
    if (!takes(commit)) return false;
    const { version, place, writer, counter, timestamp, bytes, from, to } = commit;
    passed.push({ version, place, writer, counter, timestamp, payload: bytes.slice(from, to) });
    return true;
  };
  return { passed, take };
}

async function readFrom(
  session: LedgerSession,
  position: number,
  take?: (commit: PassedCommit) => boolean,
  bytes = 1 << 20,
): Promise<ReadResult> {
  return await session.read(position, { bytes, verify: false, take });
}

describe("commits that are passed while they are read", () => {
  it("are those that would be returned, however they lie in what is read at once", () =>
    onSession(async (session) => {
      const payloads = Array.from({ length: 300 }, (_, i) => new Uint8Array((i * 37) % 500).fill(i));
      await append(session, ...payloads, new Uint8Array(LARGE_BYTES), ...payloads);
      const { commits, next } = await readFrom(session, session.start);
      const { passed, take } = taking();
      let position = session.start;
      const returned: object[] = [];
      for (let status = "more"; status === "more";) {
        const result = await readFrom(session, position, take, WINDOW_BYTES);
        // Each in its place: nothing is passed behind what is returned.
        passed.push(...result.commits);
        returned.push(...result.commits);
        ({ next: position, status } = result);
      }
      expect(passed).toEqual(commits);
      expect(position).toBe(next);
      // Only the large one does not fit into what is read at once.
      expect(returned.length).toBeLessThan(WINDOW_BYTES / 50);
    }));

  it("end before the first that is not taken, which is returned with all that follow", () =>
    onSession(async (session) => {
      await append(session, ...[1, 2, 3, 4].map((n) => Uint8Array.of(n)));
      const { passed, take } = taking(({ counter }) => counter !== 3);
      const { commits, status } = await readFrom(session, session.start, take);
      expect([passed, commits]).toMatchObject([
        [{ counter: 1 }, { counter: 2 }],
        [{ counter: 3 }, { counter: 4 }],
      ]);
      expect(status).toBe("end");
    }));

  it("are none that lie behind something that has to be told first", () =>
    onSession(async (session, path) => {
      await append(session, Uint8Array.of(1));
      appendFileSync(path, STUMP);
      await append(session, Uint8Array.of(2));
      const { passed, take } = taking();
      const result = await readFrom(session, session.start, take);
      expect(passed).toMatchObject([{ payload: Uint8Array.of(1) }]);
      expect(result).toMatchObject({ status: "end", commits: [{ payload: Uint8Array.of(2) }] });
      expect(result.notices).toMatchObject([{ kind: "stump" }]);
    }));

  it("are none whose bytes are masked", () =>
    onSession(async (session) => {
      await append(session, Uint8Array.of(1), MARKER, Uint8Array.of(2));
      const { passed, take } = taking();
      const { commits } = await readFrom(session, session.start, take);
      expect(passed).toMatchObject([{ payload: Uint8Array.of(1) }]);
      expect(commits).toMatchObject([{ payload: MARKER }, { payload: Uint8Array.of(2) }]);
    }));

  it("are what the next read makes sure of", () =>
    onSession(async (session) => {
      await append(session, Uint8Array.of(1), Uint8Array.of(2));
      const { take } = taking();
      const { next } = await readFrom(session, session.start, take);
      await append(session, Uint8Array.of(3));
      const verified = await session.read(next, { bytes: 1 << 20, verify: true });
      expect(verified).toMatchObject({ status: "end", commits: [{ payload: Uint8Array.of(3) }] });
    }));
});
