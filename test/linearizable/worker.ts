/** One process of a run: opens the database, waits for the others, lets its clients make their calls, vacuums now and then, and closes. */
import { setTimeout as delay } from "node:timers/promises";
import type { Ledger } from "../../src/core/ledger.ts";
import type { KV, KVOptions } from "../../src/index.node.ts";
import type { StoreFaultRates } from "../../src/testing/faulty-store.ts";
import { argument, described, orders, report } from "../processes/programs/report.ts";
import { Random } from "../simulation/random.ts";
import { type Change, changeSources } from "../simulation/sources.ts";
import type { S3StoreOptions } from "../../src/adapters/s3/store.ts";
import { Recorder } from "./history.ts";

/** Before an open that was refused is tried again. */
const OPEN_AGAIN_MS = 500;

export interface WorkerTask {
  readonly target: FileTarget | BucketTarget;
  /** Names process and instance. */
  readonly instance: string;
  /** No other process of the run has it. */
  readonly number: number;
  readonly seed: number;
  readonly history: string;
  /** What `process.hrtime` said when the run began. */
  readonly began: string;
  readonly sources: readonly Change[];
  readonly keys: "single" | "several";
  readonly keyCount: number;
  readonly clients: number;
  /** Of each client. */
  readonly operations: number;
  readonly witnessBytesMax: number;
  readonly thinkMsMax: number;
  readonly options: KVOptions;
  readonly watches: boolean;
  readonly readOnly: boolean;
  /** So long at most between two vacuums. Undefined: none. */
  readonly vacuumEveryMs?: number;
}

export interface FileTarget {
  readonly path: string;
  readonly durability: "relaxed" | "strict";
}

export interface BucketTarget {
  readonly store: S3StoreOptions & {
    readonly credentials: { readonly accessKeyId: string; readonly secretAccessKey: string };
  };
  readonly client: "sdk" | "fetch";
  readonly faults: StoreFaultRates;
}

/** What a process that was not killed tells in the end. */
export interface WorkerReport {
  readonly vacuums: number;
  readonly invalidated: number;
  /** Codes of what is no failure of a call. */
  readonly events: readonly string[];
  readonly problems: readonly string[];
}

const task = argument<WorkerTask>();
const areAllMade = changeSources(task.sources);
// Loaded only now, so that the changes are in everything.
const { KV: Database } = await import("../../src/index.node.ts");
const { Client } = await import("./client.ts");
const bucket = "store" in task.target ? await bucketLedger(task.target) : undefined;
areAllMade();

const counts = { vacuums: 0, invalidated: 0 };
const events = new Set<string>();
const problems: string[] = [];
const db = await opened();
const recorder = new Recorder(task.history, task);
if (task.watches) db.watch([], () => undefined, { ref: false });
report({ ready: true });
for await (const order of orders()) if (order.do === "go") break;

let isDone = false;
const vacuuming = vacuums();
await Promise.all(Array.from({ length: task.clients }, (_, i) => client(i).run(task.operations)));
isDone = true;
await vacuuming;
await db.close();
report({ ...counts, events: [...events], problems } satisfies WorkerReport);
process.stdin.destroy();

function client(index: number): InstanceType<typeof Client> {
  const { keys, keyCount, witnessBytesMax, thinkMsMax, readOnly, clients, number, seed } = task;
  return new Client(db, recorder, {
    ...{ keys, keyCount, witnessBytesMax, thinkMsMax, readOnly },
    random: new Random(seed * 100 + index),
    number: number * 10 + index,
    isAlone: clients === 1,
    readsMayFail: bucket !== undefined,
    problem: (text) => problems.push(text),
  });
}

async function opened(): Promise<KV> {
  for (;;) {
    const instance = new Database(task.options);
    instance.on("error", (error) => events.add(String(described(error).code)));
    instance.on("sync", ({ result }) => result === "ledgerInvalidated" && counts.invalidated++);
    const { target, readOnly } = task;
    try {
      if (bucket !== undefined) return await instance.open(bucket, { readOnly });
      const { path, durability } = target as FileTarget;
      return await instance.open(path, readOnly ? { readOnly } : { durability });
    } catch (error) {
      if (bucket === undefined) throw error;
      await delay(OPEN_AGAIN_MS);
    }
  }
}

async function bucketLedger({ store, client: kind, faults }: BucketTarget): Promise<Ledger> {
  const { objectLedger } = await import("../../src/adapters/object/ledger.ts");
  const { FaultyStore, seededFates } = await import("../../src/testing/faulty-store.ts");
  const { nodeEnvironment: environment } = await import("../../src/platform/environment-node.ts");
  const { s3Store } = await import("../../src/adapters/s3/index.ts");
  const { s3FetchStore } = await import("../../src/adapters/s3-fetch/index.ts");
  const { endpoint = "", ...others } = store;
  const inner = kind === "sdk" ? s3Store(store) : s3FetchStore({ ...others, endpoint });
  return objectLedger(new FaultyStore(inner, { environment, fate: seededFates(task.seed, faults, environment) }));
}

async function vacuums(): Promise<void> {
  const { vacuumEveryMs, seed } = task;
  if (vacuumEveryMs === undefined) return;
  const random = new Random(seed * 100 + 99);
  while (!isDone) {
    await delay(random.next() * vacuumEveryMs);
    // Another process may be at it, or a bucket out of reach: no matter of order.
    await db.vacuum().then(
      () => counts.vacuums++,
      (error: unknown) => events.add(`vacuum: ${String(described(error).code)}`),
    );
  }
}
