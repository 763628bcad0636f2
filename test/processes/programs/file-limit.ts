/** Runs with a limit on the size of files: fills a ledger until it is reached, tells what became of each commit, and goes on when the limit is lifted. */
import { KV } from "../../../src/index.node.ts";
import { argument, described, orders, report } from "./report.ts";

const { path } = argument<{ path: string }>();
const BURST = 10;

const db = await KV.open(path);
let failed = false;
for (let n = 1; !failed; n += BURST) {
  const commits: Promise<void>[] = [];
  for (let i = n; i < n + BURST; i++) {
    commits.push(
      db.set([i], new Uint8Array(7000).fill(i)).then(
        ({ version }) => report({ n: i, version }),
        (error: unknown) => {
          failed = true;
          report({ n: i, ...described(error) });
        },
      ),
    );
  }
  await Promise.all(commits);
}
report({ readable: await db.count([]) });
for await (const order of orders()) {
  if (order.do !== "write") break;
  report({ later: await db.set(["later"], 1).then(() => "committed", described) });
}
await db.close();
process.stdin.destroy();
