/** A program that uses every entry of the package: it compiles wherever TypeScript does, with all declarations checked. */
import {
  type Entry,
  type Environment,
  hasCode,
  KV,
  type KVError,
  type Ledger,
  type SyncEvent,
  type WatchEntry,
} from "foliokv";
import { fsLedger } from "foliokv/fs";
import { memoryLedger } from "foliokv/memory";
import { type ConformanceStorage, faultyLedger, ledgerConformance } from "foliokv/testing";

export async function program(): Promise<number> {
  const ledgers: Ledger[] = [
    memoryLedger(),
    fsLedger("data.db", { durability: "strict" }),
    faultyLedger(memoryLedger(), {}),
  ];
  const db: KV = await KV.open(ledgers[0], { autoSync: false, readOnly: false });
  const { version } = await db.set(["a", 1, 2n, true, new Uint8Array(1)], new Map([[1, new Date()]]), {
    expireIn: 1000,
  });
  const value: string | null = await db.get<string>(["a"]);
  const entry: Entry<number> | null = await db.getEntry<number>(["a"], { consistency: "strong" });
  for await (const each of db.iterate<string>(["a", {}, { from: 1, to: 2 }], { reverse: true })) each.value.at(0);
  const stop = db.watch<number>(["a"], (change: WatchEntry<number>) => {
    if (change.operation === "set") change.value.toFixed();
  });
  stop();
  db.on("sync", (event: SyncEvent) => event.applied.toFixed());
  const total: number = await db.transaction(async (transaction) => {
    transaction.set(["b"], 1);
    return (await transaction.get<number>(["b"])) ?? 0;
  });
  const result = await db
    .atomic()
    .check({ key: ["a"], version: null })
    .sum(["c"], 1)
    .commit();
  if (result.ok) result.version.toFixed();
  const known = (error: unknown): boolean => hasCode(error, "CommitTooLarge") || (error as KVError).code === "Closed";
  // @ts-expect-error There is no such option.
  await db.open("x", { fast: true });
  // @ts-expect-error A key is an array.
  await db.get("key");
  // @ts-expect-error Objects are no parts of keys.
  await db.set([{}], 1);
  await db.close();
  return total + (version ?? 0) + Number(known(undefined)) + (value?.length ?? 0) + (entry?.value ?? 0);
}

export function suite(
  test: (name: string, run: () => Promise<void>) => void,
  environment: Environment,
  create: () => Promise<ConformanceStorage>,
): void {
  ledgerConformance({ test, environment, create });
}
