/** Writes without end, tells of each acknowledgement before it goes on, and closes when it is told to, if it lives so long. */
import { KV } from "../../../src/index.node.ts";
import { argument, described, orders, report } from "./report.ts";
import { makeValue, type WriterTask } from "./writer-value.ts";

const { path, id, sizes, burst, pauseMs, vacuumEveryMs } = argument<WriterTask>();

let stopping = false;
void (async () => {
  for await (const order of orders()) if (order.do === "stop") break;
  stopping = true;
  process.stdin.destroy();
})();

const db = await KV.open(path);
const vacuumed = vacuumEveryMs === undefined ? undefined : vacuums(vacuumEveryMs);
try {
  for (let n = 1; !stopping; n += burst) {
    const commits: Promise<void>[] = [];
    for (let i = n; i < n + burst; i++) commits.push(write(i));
    await Promise.all(commits);
    if (pauseMs > 0) await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
  await vacuumed;
} catch (error) {
  report({ failed: described(error) });
}
await db.close();
process.stdin.destroy();

async function write(n: number): Promise<void> {
  const value = makeValue(id, n, sizes);
  const result = await db.atomic().set([id, n], value).sum(["commits"], 1).commit();
  if (result.ok) report({ n, version: result.version });
}

async function vacuums(pause: number): Promise<void> {
  while (!stopping) {
    report({ vacuums: true });
    const generation = await db.vacuum().then((result) => result.generation, described);
    report({ vacuums: false, generation });
    await new Promise((resolve) => setTimeout(resolve, Math.random() * pause));
  }
}
