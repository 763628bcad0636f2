import { deepStrictEqual, ok } from "node:assert/strict";
import { KV } from "../../src/index.node.ts";
import { temporaryFolder } from "./folder.ts";
import { Program } from "./program.ts";
import { siblingsOf } from "./siblings.ts";

export interface VacuumFigures {
  /** Vacuums that became the next generation. */
  readonly generations: number;
  readonly vacuums: number;
  /** Times that a process found the ledger in its next generation. */
  readonly invalidated: number;
  /** Entries told of by differences, because a process had slept through a generation. */
  readonly reloaded: number;
  readonly entries: number;
  readonly bytes: number;
  /** The longest that any process waited for a commit, and for a transaction with all its tries. */
  readonly longestMs: number;
  readonly longestTransactionMs: number;
}

/**
 * Lets processes write into one file at the same time, several of them vacuuming it over and over. Throws unless every acknowledged commit is
 * there once, with its version, sums are exact, and every process saw every commit once.
 */
export async function vacuumingWriters(task: {
  readonly processes: number;
  /** Of each; a multiple of 40. */
  readonly commits: number;
  /** How many of them vacuum. */
  readonly vacuuming: number;
}): Promise<VacuumFigures> {
  const { processes, commits, vacuuming } = task;
  using folder = temporaryFolder();
  const path = folder.file("ledger.db");
  await using stack = new AsyncDisposableStack();
  const writers = Array.from({ length: processes }, (_, i) => {
    const argument = { path, id: `writer ${i + 1}`, commits, vacuums: i < vacuuming };
    return stack.use(new Program("vacuuming-writer.ts", argument));
  });
  await Promise.all(writers.map((writer) => writer.next(({ ready }) => ready === true)));
  for (const writer of writers) writer.send({ do: "write" });
  const written = await Promise.all(writers.map((writer) => writer.next(({ written: count }) => count === commits)));
  for (const writer of writers) writer.send({ do: "compare" });
  const reports = await Promise.all(writers.map((writer) => writer.next()));
  for (const writer of writers) deepStrictEqual(await writer.exited, { code: 0, signal: null }, writer.errors);

  await using db = await KV.open(path);
  const all = processes * commits;
  // 20 of 40 at once, some of them sums; five sums more; three staged, which set a key more; two transactions.
  const { count, digest } = reports[0];
  for (const report of reports) {
    const { wrong, unseen, seenWrong, seenMore, problems } = report;
    deepStrictEqual(
      { count: report.count, digest: report.digest, wrong, unseen, seenWrong, seenMore, problems },
      { count, digest, wrong: 0, unseen: 0, seenWrong: 0, seenMore: 0, problems: [] },
    );
    ok((report.invalidated as number) > 0);
  }
  const sum = (await db.get<number>(["sum"])) ?? 0;
  deepStrictEqual(
    {
      entries: await db.count([{}, {}]),
      count: await db.count([]),
      counter: await db.get(["counter"]),
      big: await db.get(["big"]),
      damage: db.stats().damage,
    },
    { entries: all, count: all + 4, counter: all / 20, big: 3n * BigInt(sum), damage: [] },
  );
  deepStrictEqual(count, all + 4);
  // Each author knows how many sums it made.
  deepStrictEqual(
    sum,
    written.reduce((total, { sums }) => total + (sums as number), 0),
  );
  await db.vacuum();
  await db.vacuum();
  deepStrictEqual(siblingsOf(path), []);
  const total = (name: string): number => reports.reduce((sum_, report) => sum_ + (report[name] as number), 0);
  const { generation = 0, session } = db.stats();
  return {
    generations: generation - 3,
    vacuums: total("vacuums"),
    invalidated: total("invalidated"),
    reloaded: total("reloaded"),
    entries: count as number,
    bytes: session.bytes as number,
    longestMs: Math.max(...written.map(({ longestMs }) => longestMs as number)),
    longestTransactionMs: Math.max(...written.map(({ longestTransactionMs }) => longestTransactionMs as number)),
  };
}
