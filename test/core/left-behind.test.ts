import { expect, test } from "vitest";
import { runKey } from "../../src/adapters/object/layout.ts";
import { objectLedger } from "../../src/adapters/object/ledger.ts";
import { memoryStore } from "../../src/adapters/object/memory-store.ts";
import type { ObjectStore } from "../../src/adapters/object/object-store.ts";
import { RootObject } from "../../src/adapters/object/root-object.ts";
import type { Root } from "../../src/adapters/object/root.ts";
import { CoreKV } from "../../src/core/kv.ts";
import { openWith } from "../support/database.ts";
import { Requests, type RunningRequest } from "../support/requests.ts";
import { SimulatedTime } from "../support/simulated-time.ts";

/** More than one block of them. */
const VALUE = "v".repeat(3000);

/**
 * A request of an isolate has added one to a sum, and is gone before it is told. The run that the isolate reads from is damaged, and somebody repairs the
 * ledger: what was added is in the state that the next incarnation begins with. Others of the isolate find the run gone.
 */
class Isolate {
  readonly time = new SimulatedTime(1);
  readonly bucket = memoryStore({ now: this.time.now });
  readonly db: CoreKV;
  /** Told of each request that the isolate sends, before it is. */
  before: (kind: "get" | "create", key: string) => Promise<void> | undefined = () => undefined;
  /** And of each that the bucket has done. */
  after: (kind: "get" | "create", key: string) => Promise<void> | undefined = () => undefined;
  readonly #requests = new Requests(this.time);
  readonly #ledger;

  constructor() {
    const around = async <T>(kind: "get" | "create", key: string, ask: () => Promise<T>): Promise<T> => {
      await this.before(kind, key);
      const answer = await ask();
      await this.after(kind, key);
      return answer;
    };
    const store: ObjectStore = {
      ...this.bucket,
      get: (key, range) => around("get", key, () => this.bucket.get(key, range)),
      create: (key, bytes) => around("create", key, () => this.bucket.create(key, bytes)),
    };
    this.#ledger = objectLedger(this.#requests.bound(store));
    const platform = {
      environment: this.#requests.environment,
      ledgerAt: () => {
        throw new Error("there are no files");
      },
    };
    this.db = new CoreKV({ cacheBytesMax: 0, syncIntervalMs: 3_600_000 }, platform);
  }

  request<T>(handle: (db: CoreKV) => Promise<T>): RunningRequest<T> {
    return this.#requests.begin(async () => handle(await this.db.open(this.#ledger)));
  }

  /** Lets a request die as it sends what `when` says, or is to be told of it. */
  async dies(
    handle: (db: CoreKV) => Promise<unknown>,
    place: "before" | "after",
    when: (kind: "get" | "create", key: string) => boolean,
  ): Promise<void> {
    let dying: RunningRequest<unknown> | undefined;
    const died = new Promise<void>((resolve) => {
      this[place] = (kind, key) => {
        if (dying === undefined || !when(kind, key)) return undefined;
        dying.end();
        dying = undefined;
        resolve();
        return undefined;
      };
    });
    dying = this.request(handle);
    await died;
  }

  process(): Promise<CoreKV> {
    return openWith(this.time, objectLedger(this.bucket), { autoSync: false });
  }

  async root(): Promise<Root> {
    const found = await new RootObject(this.bucket, this.time).read();
    if (found.status !== "found") throw new Error(found.status);
    return found.root;
  }

  /** Keys and a sum in one run, behind it what a request has added, which is gone. Returns the name of the run. */
  async addAndDie(): Promise<string> {
    const process = await this.process();
    await Promise.all(Array.from({ length: 64 }, (_, i) => process.set(["k", i], VALUE)));
    await process.set(["n"], 0);
    await process.vacuum();
    const { nonce, runs } = await this.root();
    expect(runs).toHaveLength(1);
    expect(await this.request((db) => db.get(["k", 3])).response).toBe(VALUE);
    await this.dies(
      (db) => db.atomic().sum(["n"], 1).commit(),
      "after",
      (kind, key) => kind === "create" && key.includes("/log/"),
    );
    return runKey(nonce, runs[0]);
  }

  /** Somebody repairs what is damaged of the run. That not everybody has heard of it is not waited for. */
  async repair(run: string): Promise<void> {
    const found = await this.bucket.get(run);
    if (found.status !== "found") throw new Error(found.status);
    const bytes = found.bytes.slice();
    bytes[20] ^= 0xff;
    await this.bucket.delete([run]);
    await this.bucket.create(run, bytes);
    const { nonce } = await this.root();
    const enough = new AbortController();
    const repair = (await this.process()).repair({ signal: enough.signal }).catch(() => undefined);
    while ((await this.root()).nonce === nonce) {
      await new Promise<void>((resolve) => void this.time.setTimer(resolve, 100));
    }
    enough.abort();
    await repair;
    await this.bucket.delete([run]);
  }

  /** What the sum is in the end, for everybody. */
  async sums(): Promise<unknown[]> {
    const process = await this.process();
    const own = await this.request((db) => db.get(["n"], { consistency: "strong" })).response;
    return [own, await process.get(["n"], { consistency: "strong" })];
  }
}

test("what was added before a repair is not added again by who begins the state anew behind it", async () => {
  const isolate = new Isolate();
  await isolate.time.until(
    (async () => {
      await isolate.repair(await isolate.addAndDie());
      expect(await isolate.request((db) => db.get(["k", 60])).response).toBe(VALUE);
      expect(await isolate.sums()).toEqual([1, 1]);
    })(),
  );
});

test("nor what others have made part of a newer state", async () => {
  const isolate = new Isolate();
  await isolate.time.until(
    (async () => {
      const run = await isolate.addAndDie();
      await (await isolate.process()).vacuum();
      await isolate.bucket.delete([run]);
      expect(await isolate.request((db) => db.get(["k", 60])).response).toBe(VALUE);
      expect(await isolate.sums()).toEqual([1, 1]);
    })(),
  );
});

test.each(["repair", "vacuum"] as const)(
  "nor by who takes over from one that is gone while it looks for what it has left behind: a %s",
  async (how) => {
    const isolate = new Isolate();
    await isolate.time.until(
      (async () => {
        const run = await isolate.addAndDie();
        const { nonce } = await isolate.root();
        if (how === "repair") await isolate.repair(run);
        else await (await isolate.process()).vacuum();
        await isolate.bucket.delete([run]);
        // The state has been read anew by then, and what lay behind the old one is asked for.
        let isAnew = false;
        await isolate.dies(
          (db) => db.get(["k", 60]),
          "before",
          (kind, key) => {
            isAnew ||= kind === "get" && key.includes("/run/") && key !== run;
            return isAnew && kind === "get" && (key === "root" || key.startsWith(`${nonce}/log/`));
          },
        );
        expect(await isolate.request((db) => db.get(["k", 60])).response).toBe(VALUE);
        expect(await isolate.sums()).toEqual([1, 1]);
      })(),
    );
  },
);
