import { expect, test } from "vitest";
import { temporaryFolder } from "../support/folder.ts";
import { Program } from "../support/program.ts";

test("of several processes that write as fast as they can, none is kept from it", async () => {
  using folder = temporaryFolder();
  await using stack = new AsyncDisposableStack();
  const task = { path: folder.file("ledger.db"), sizes: [100], burst: 1, pauseMs: 0 };
  const writers = ["a", "b", "c"].map((id) => stack.use(new Program("writer.ts", { ...task, id })));
  const commits = (writer: Program): number => writer.messages.length;
  await Promise.all(writers.map((writer) => writer.next()));
  const before = writers.map(commits);
  for (const [i, writer] of writers.entries()) while (commits(writer) < before[i] + 1000) await writer.next();
  const made = writers.map((writer, i) => commits(writer) - before[i]);
  // They share two cores or more with whatever else runs here: only a gross difference is theirs.
  expect(Math.max(...made) / Math.min(...made)).toBeLessThan(100);
});
