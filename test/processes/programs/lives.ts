/** Opens a database, does one thing with it, and ends when Node finds nothing left to wait for. Tells when that is. */
import { KV } from "../../../src/index.node.ts";
import { nextGeneration } from "../../support/generations.ts";
import { argument, report } from "./report.ts";

const { path, does } = argument<{ path: string; does: string }>();

const db = await KV.open(path, {
  syncIntervalMs: 10,
  autoSync: does !== "set behind a seal",
  ...(does === "strict set" ? { durability: "strict" } : {}),
});
process.on("exit", () => report({ exit: true }));

if (does === "sync listener") db.on("sync", () => undefined);
else if (does === "unreferenced watch") db.watch([], () => undefined, { ref: false });
else if (does === "iterator") await db.iterate([]).next();
else if (does === "sync") {
  await db.sync();
  report({ done: true });
} else if (does === "set behind a seal") {
  // Of a vacuum whose author is gone: the commit waits until this process has completed it.
  (await nextGeneration(path)).seal();
  await db.set(["from"], does);
  report({ done: true });
} else if (does === "set" || does === "strict set") {
  await db.set(["from"], does);
  report({ done: true });
} else if (does === "transaction") {
  let tries = 0;
  await db.transaction(async (tx) => {
    const value = (await tx.get<number>(["contended"])) ?? 0;
    // Somebody else's commit in between, twice: this one has to wait and run again.
    if (++tries < 3) await another(value + 1);
    tx.set(["contended"], value + 1);
  });
  report({ done: true, tries });
} else if (does === "watch") {
  const unwatch = db.watch<string>(["to"], async ({ key, value, version }) => {
    const read = await db.getEntry(key ?? []);
    report({ key, value, version, readVersion: read?.version });
    // The database stays open, and nobody waits any more.
    if (value === "enough") unwatch();
  });
} else if (does === "watch iterator") {
  for await (const { key, value, version } of db.watch<string>(["to"])) {
    report({ key, value, version });
    if (value === "enough") break;
  }
  report({ done: true });
}
report({ ready: true });

async function another(value: number): Promise<void> {
  await using other = await KV.open(path);
  await other.set(["contended"], value);
}
