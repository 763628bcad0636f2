import { KV } from "../../src/index.node.ts";
import { readBack } from "../processes/programs/history.ts";
import { temporaryFolder } from "./folder.ts";
import { type Message, Program } from "./program.ts";

/** Lets processes write into one file at the same time; tells what each of them found, and what one that opens afterwards finds. */
export async function manyWriters({ processes, commits }: { processes: number; commits: number }) {
  using folder = temporaryFolder();
  const path = folder.file("ledger.db");
  const ids = Array.from({ length: processes }, (_, i) => `writer ${i + 1}`);
  await using stack = new AsyncDisposableStack();
  const writers = ids.map((id) => stack.use(new Program("mass-writer.ts", { path, id, commits })));
  await Promise.all(writers.map((writer) => writer.next(({ ready }) => ready === true)));
  for (const writer of writers) writer.send({ do: "write" });
  await Promise.all(writers.map((writer) => writer.next(({ written }) => written === commits)));
  for (const writer of writers) writer.send({ do: "compare" });
  const reports: Message[] = await Promise.all(writers.map((writer) => writer.next()));
  await Promise.all(writers.map((writer) => writer.exited));
  await using db = await KV.open(path);
  const result = {
    ...(await readBack(db)),
    counter: await db.get<number>(["counter"]),
    sum: await db.get<number>(["sum"]),
    damage: db.stats().damage,
    voidCommits: db.stats().counts.voidCommits,
    bytes: db.stats().session.bytes,
  };
  return { ids, reports, result };
}
