import { assert, assertEqual } from "./assert.ts";
import { assertSameCommits, bytes, type ConformanceCase, pattern } from "./conformance-bench.ts";

/** The duties of a ledger where an append succeeds only directly behind what its author has read. */
export const swapCases: Readonly<Record<string, ConformanceCase>> = {
  "an append behind which somebody else was first appends nothing": async (bench) => {
    const first = await bench.open();
    const second = await bench.open();
    const sent = [bench.commit(bytes("first")), bench.commit(bytes("late")), bench.commit(bytes("second"))];
    const { next } = await bench.append(first, first.start, [sent[0]]);
    assertEqual((await second.append([sent[1]], second.start)).status, "behind", "status");
    assertSameCommits((await bench.readAll(first, first.start)).commits, [sent[0]]);
    assertEqual((await first.append([], next)).status, "appended", "nothing lies behind the first one");
    const read = await bench.readAll(second, second.start);
    await bench.append(second, read.next, [sent[2]]);
    assertEqual((await first.append([sent[1]], next)).status, "behind", "status of the other one's next append");
    assertSameCommits((await bench.readAll(first, first.start)).commits, [sent[0], sent[2]]);
  },

  "of appends at the same time one goes behind the other": async (bench) => {
    const sessions = [await bench.open(), await bench.open(), await bench.open()];
    const sent = sessions.map(() => Array.from({ length: 5 }, (_, i) => bench.commit(pattern(i))));
    await Promise.all(
      sessions.map(async (session, i) => {
        let { next } = await bench.readAll(session, session.start);
        for (const commit of sent[i]) ({ next } = await bench.append(session, next, [commit]));
      }),
    );
    const { commits } = await bench.readAll(sessions[0], sessions[0].start);
    assertEqual(commits.length, 15, "commits");
    for (const each of sent) {
      const own = commits.filter(({ counter }) => each.some((commit) => commit.counter === counter));
      assertSameCommits(own, each);
    }
    for (const session of sessions) assertSameCommits((await bench.readAll(session, session.start)).commits, commits);
  },

  "an append of nothing tells whether anything lies behind": async (bench) => {
    const session = await bench.open();
    const other = await bench.open();
    const { next } = await bench.append(session, session.start, [bench.commit(bytes("a"))]);
    const confirmed = await session.append([], next);
    assert(confirmed.status === "appended" && confirmed.versions.length === 0, "nothing lies behind");
    assertEqual(confirmed.next, next, "position");
    const read = await bench.readAll(other, other.start);
    await bench.append(other, read.next, [bench.commit(bytes("b"))]);
    assertEqual((await session.append([], next)).status, "behind", "status once somebody else was there");
    const again = await bench.readAll(session, next);
    assertEqual((await session.append([], again.next)).status, "appended", "status once that was read");
    assertEqual((await bench.readAll(session, session.start)).commits.length, 2, "commits");
  },

  "an append takes the first commits, as many as it tells versions of": async (bench) => {
    const session = await bench.open();
    const batch = Array.from({ length: 40 }, (_, i) => bench.commit(pattern(60_000 + i)));
    const result = await session.append(batch, session.start);
    assert(result.status === "appended", "status");
    const taken = result.versions.length;
    assert(taken > 0 && taken <= batch.length && result.places.length === taken, "versions and places");
    const { commits, next } = await bench.readAll(session, session.start);
    assertSameCommits(commits, batch.slice(0, taken));
    assertEqual(
      commits.map(({ version }) => version),
      [...result.versions],
      "versions",
    );
    assertEqual(result.next, next, "position");
    await bench.append(session, next, batch.slice(taken));
    assertSameCommits((await bench.readAll(session, session.start)).commits, batch);
  },
};
