import type {
  CheckpointStore,
  LedgerCommit,
  LedgerSession,
  Position,
  ReadResult,
  StoredRun,
  VacuumAttempt,
} from "../core/ledger.ts";
import { assert, assertEqual } from "./assert.ts";
import { assertSameCommits, type Bench, BUDGET, bytes, type ConformanceCase, pattern } from "./conformance-bench.ts";

/** Stands for a snapshot run: to an adapter it is bytes. */
const RUN = pattern(10_000);

/** The duties of a ledger that can begin anew with a snapshot, in a next generation. */
export const vacuumCases: Readonly<Record<string, ConformanceCase>> = {
  "a vacuum leads every session to the next generation of the same ledger": async (bench) => {
    const { session, next } = await three(bench);
    const other = await bench.open();
    await bench.readAll(other, other.start);
    const before = session.identity;
    const attempt = await vacuum(session, next);
    for (const each of [session, other]) {
      assertEqual(await moveOn(each, next), next, "where reading goes on");
      assertEqual(each.identity?.ledgerId, before?.ledgerId, "ledger id");
      assertEqual(each.identity?.generation, (before?.generation ?? 0) + 1, "generation");
      assert(each.identity?.nonce !== before?.nonce, "the next generation has a nonce of its own");
    }
    assert(attempt.wins(), "the vacuum counts");
    const later = bench.commit(bytes("later"));
    await bench.append(other, next, [later]);
    assertSameCommits((await bench.readAll(session, next)).commits, [later]);
  },

  "what lies behind a snapshot's place is in the next generation as it was": async (bench) => {
    const { session, sent, met, next } = await three(bench);
    const { version } = met[1];
    // The place before the second commit, as a read of the first one gives it.
    const first = await session.read(session.start, { bytes: 1, verify: false });
    const from = first.commits.length === 1 ? first.next : session.start;
    await vacuum(session, from);
    await moveOn(session, next);
    const fresh = await bench.open({ createIfMissing: false });
    const { commits } = await bench.readAll(fresh, fresh.start);
    const kept = commits.filter((commit) => commit.version >= version);
    assertSameCommits(kept, sent.slice(1));
    assertEqual(
      kept.map((commit) => commit.version),
      met.slice(1).map((commit) => commit.version),
      "versions",
    );
    const { place, payload } = kept[0];
    assertEqual([...(await fresh.readValue(version, place, payload.length))], [...payload], "a value");
  },

  "a generation begins with the snapshot that the vacuum was given": async (bench) => {
    const { session, met, next } = await three(bench);
    await vacuum(session, next);
    await moveOn(session, next);
    const fresh = await bench.open({ createIfMissing: false });
    for (const each of [session, fresh]) {
      const snapshot = each.openSnapshot?.();
      assert(snapshot !== undefined, "there is a snapshot");
      assertEqual(snapshot.run.length, RUN.length, "bytes of the snapshot");
      assertEqual([...snapshot.run.read(17, 300)], [...RUN.subarray(17, 317)], "a part of the snapshot");
      assert(snapshot.below > met[2].version, "it covers the commits before it");
      assertEqual((await bench.readAll(each, each.start)).commits.length, 0, "commits behind the snapshot");
      snapshot.run.close();
    }
  },

  "an append behind a seal is in the next generation once": async (bench) => {
    const { session, next } = await three(bench);
    const other = await bench.open();
    await bench.readAll(other, other.start);
    await vacuum(session, next);
    const late = bench.commit(bytes("late"));
    const answer = await other.append([late], next);
    assert(answer.status !== "behind", "an append is not behind");
    const { commits } = await readToSeal(other, next);
    assert(answer.status === "read-on" || commits.length === 1, "what is called appended is met before the seal");
    const position = await moveOn(other, next);
    if (commits.length === 0) await bench.append(other, position, [late]);
    const fresh = await bench.open({ createIfMissing: false });
    assertSameCommits((await bench.readAll(fresh, fresh.start)).commits, [late]);
  },

  "what is pinned stays readable in later generations": async (bench) => {
    const { session, met, next } = await three(bench);
    const unpin = session.pin?.();
    for (let i = 0; i < 2; i++) {
      await vacuum(session, next);
      await moveOn(session, next);
    }
    const { version, place, payload } = met[0];
    assertEqual([...(await session.readValue(version, place, payload.length))], [...payload], "a value");
    unpin?.();
  },
};

/** The duties of a ledger that keeps checkpoints. */
export const checkpointCases: Readonly<Record<string, ConformanceCase>> = {
  "a checkpoint that is published is what others load": async (bench) => {
    const { session, met, next } = await three(bench);
    assertEqual(await storeOf(session).load(), "missing", "what is loaded before");
    const run = await written(storeOf(session));
    const result = await storeOf(session).publish({ position: next, version: met[2].version, runs: [run] });
    assertEqual(result, "published", "result");
    const loaded = await storeOf(await bench.open({ createIfMissing: false })).load();
    assert(typeof loaded === "object", "there is a checkpoint");
    assertEqual([loaded.position, loaded.version], [next, met[2].version], "what it covers");
    assertEqual([...loaded.runs[0].read(17, 300)], [...RUN.subarray(17, 317)], "a part of its run");
    for (const each of [run, ...loaded.runs]) each.close();
  },

  "a checkpoint that covers no more than what is published is superseded": async (bench) => {
    const { session, met, next } = await three(bench);
    const runs = [await written(storeOf(session))];
    await storeOf(session).publish({ position: next, version: met[2].version, runs });
    const other = storeOf(await bench.open());
    const late = await written(other);
    const result = await other.publish({ position: next, version: met[2].version, runs: [late] });
    assertEqual(result, "superseded", "result");
    other.discard([late]);
    const loaded = await other.load();
    assert(typeof loaded === "object", "there is a checkpoint");
    assertEqual(loaded.runs[0].id, runs[0].id, "its run");
    for (const each of [...runs, late, ...loaded.runs]) each.close();
  },

  "a checkpoint that was called invalid is not offered again": async (bench) => {
    const { session, met, next } = await three(bench);
    const run = await written(storeOf(session));
    await storeOf(session).publish({ position: next, version: met[2].version, runs: [run] });
    storeOf(session).invalidate();
    run.close();
    const other = storeOf(await bench.open());
    assertEqual(typeof (await other.load()), "string", "what is loaded");
    const again = await written(other);
    const result = await other.publish({ position: next, version: met[2].version, runs: [again] });
    assertEqual(result, "published", "result of the next one");
    again.close();
  },

  "runs that are discarded or abandoned leave the published checkpoint as it is": async (bench) => {
    const { session, met, next } = await three(bench);
    const store = storeOf(session);
    const [run, needless] = [await written(store), await written(store)];
    const abandoned = store.createRun();
    abandoned.write(RUN);
    await abandoned.abandon();
    await store.publish({ position: next, version: met[2].version, runs: [run] });
    store.discard([needless]);
    const loaded = await store.load();
    assert(typeof loaded === "object", "there is a checkpoint");
    assertEqual([...loaded.runs[0].read(17, 300)], [...RUN.subarray(17, 317)], "a part of its run");
    for (const each of [run, needless, ...loaded.runs]) each.close();
  },
};

/** A session that has appended three commits and read to the end. */
async function three(bench: Bench): Promise<{
  readonly session: LedgerSession;
  readonly sent: readonly ReturnType<Bench["commit"]>[];
  readonly met: readonly LedgerCommit[];
  readonly next: Position;
}> {
  const session = await bench.open();
  const sent = ["one", "two", "three"].map((each) => bench.commit(bytes(each)));
  await bench.append(session, session.start, sent);
  const { commits, next } = await bench.readAll(session, session.start);
  return { session, sent, met: commits, next };
}

async function vacuum(session: LedgerSession, position: Position): Promise<VacuumAttempt> {
  assert(session.vacuum !== undefined, "a ledger that can be vacuumed has vacuum; others declare vacuum: false");
  return session.vacuum({
    position,
    reload: false,
    writeRun: async (write) => {
      write(RUN.subarray(0, 4000));
      write(RUN.subarray(4000));
      return { checksum: 7 };
    },
    progress: () => undefined,
    rest: () => undefined,
    check: () => undefined,
  });
}

async function readToSeal(
  session: LedgerSession,
  position: Position,
): Promise<{ readonly commits: LedgerCommit[]; readonly next: Position; readonly status: ReadResult["status"] }> {
  const commits: LedgerCommit[] = [];
  for (let next = position; ;) {
    const result = await session.read(next, { bytes: BUDGET, verify: true });
    commits.push(...result.commits);
    next = result.next;
    if (result.status !== "more") return { commits, next, status: result.status };
  }
}

/** What the engine does at a seal. Returns where reading goes on. */
async function moveOn(session: LedgerSession, position: Position): Promise<Position> {
  let read = await readToSeal(session, position);
  if (read.status === "sealed") {
    await session.help?.();
    read = await readToSeal(session, read.next);
  }
  assertEqual(read.status, "moved", "status behind the seal");
  const reopened = await session.reopen(read.next);
  assert(reopened.status === "continued", "the next generation continues the same history");
  return reopened.position;
}

function storeOf(session: LedgerSession): CheckpointStore {
  const store = session.openCheckpoints?.();
  assert(store !== undefined, "a ledger that keeps checkpoints gives a store; others declare checkpoints: false");
  return store;
}

async function written(store: CheckpointStore): Promise<StoredRun> {
  const sink = store.createRun();
  sink.write(RUN.subarray(0, 4000));
  sink.write(RUN.subarray(4000));
  return sink.finish();
}
