import { describe, expect, it } from "vitest";
import { BlockCache } from "../../src/core/block-cache.ts";
import { BufferPool } from "../../src/core/buffer-pool.ts";
import { Checkpointer } from "../../src/core/checkpointer.ts";
import type { Environment } from "../../src/core/environment.ts";
import { HeldRun } from "../../src/core/held-run.ts";
import type { Checkpoint, CheckpointStore, StoredRun } from "../../src/core/ledger.ts";
import { memoryRun } from "../../src/core/memory-run.ts";
import { Pacer } from "../../src/core/pacer.ts";
import { Replica } from "../../src/core/replica.ts";
import { Row } from "../../src/core/resolve.ts";
import { Run } from "../../src/core/run.ts";
import { damagedIndex } from "../../src/core/saved-state.ts";
import { nodeEnvironment } from "../../src/platform/environment-node.ts";
import { buildRun } from "../support/runs.ts";

/** As many operations as make a save due. */
const DUE = 8 * 1024;

const environment = { ...nodeEnvironment, random: () => 0 };

function openRun(stored: StoredRun): HeldRun {
  const { crc32 } = environment;
  const run = Run.open(stored, {
    cache: new BlockCache(1 << 20, BufferPool),
    crc32,
    name: "a ledger",
    length: stored.length,
  });
  return new HeldRun(run, stored, damagedIndex);
}

/** A run with no entries, which covers everything up to a version. */
function snapshotUpTo(version: number): HeldRun {
  const { bytes } = buildRun([]);
  const stored: StoredRun = {
    id: `snapshot-${version}`,
    length: bytes.length,
    smallReads: true,
    read: (place, length) => bytes.subarray(place, place + length),
    close: () => undefined,
  };
  return openRun(stored);
}

/** Keeps checkpoints in memory. A run can be damaged before it is opened. */
class TestStore implements CheckpointStore {
  readonly published: Checkpoint[] = [];
  readonly made = new Set<string>();
  damage: ((bytes: Uint8Array) => void) | undefined;

  /** What another process has published. */
  others: Checkpoint | undefined;
  /** Whether another one seems to be about to. */
  busy: () => boolean = () => false;

  load(): Checkpoint | "missing" {
    return this.others ?? "missing";
  }

  isBusy(): boolean {
    return this.busy();
  }

  createRun(): ReturnType<CheckpointStore["createRun"]> {
    const sink = memoryRun();
    return {
      ...sink,
      finish: async () => {
        const stored = await sink.finish();
        const id = `stored-${this.made.size}`;
        this.made.add(id);
        const all = stored.read(0, stored.length) as Uint8Array;
        this.damage?.(all);
        return { ...stored, id };
      },
    };
  }

  publish(checkpoint: Checkpoint): Promise<"published"> {
    this.published.push(checkpoint);
    return Promise.resolve("published");
  }

  invalidate(): void {
    this.published.length = 0;
  }

  discard(): void {}
}

/** A replica with somebody who saves it; versions are positions. */
class Bench {
  readonly replica = new Replica({}, 1);
  readonly store = new TestStore();
  readonly problems: unknown[] = [];
  saves = true;
  indexDamaged = 0;
  position = 0;
  /** Runs of other processes that were closed. */
  closed = 0;
  /** How long was waited before each save, in ms. */
  readonly waits: number[] = [];
  readonly checkpointer: Checkpointer;

  constructor(random = 0) {
    const waiting: Environment = {
      ...nodeEnvironment,
      random: () => random,
      setTimer: (callback, ms, options) => {
        this.waits.push(ms);
        return nodeEnvironment.setTimer(callback, 0, options);
      },
    };
    const position = (): number => this.position;
    const store = (): CheckpointStore | undefined => (this.saves ? this.store : undefined);
    this.checkpointer = new Checkpointer(
      {
        environment: waiting,
        pacer: new Pacer(waiting),
        replica: this.replica,
        get position() {
          return position();
        },
        get store() {
          return store();
        },
        openRun,
        problem: (error) => this.problems.push(error),
        indexDamaged: () => this.indexDamaged++,
      },
      0,
    );
  }

  /** Commits a few keys, and makes a save due. */
  fill(...keys: readonly string[]): void {
    for (const key of keys) this.commit(key);
    this.checkpointer.count(DUE, 0);
    this.checkpointer.check();
  }

  commit(key: string): void {
    this.position++;
    this.replica.apply(this.position, [{ key, row: new Row(this.position, 0, 0, 0, false, -1, 0, 0, 1) }]);
  }

  void(): void {
    this.position++;
    this.replica.version = this.position;
    this.replica.voidVersions.add(this.position);
  }

  /** What another process would publish here, with a run of these keys. */
  checkpointOf(...keys: readonly string[]): Checkpoint {
    const { bytes } = buildRun(keys.map((key) => ({ key, row: new Row(this.position, 0, 0, 0, false, -1, 0, 0, 1) })));
    const run: StoredRun = {
      id: `others-${this.position}`,
      length: bytes.length,
      smallReads: true,
      read: (place, length) => bytes.subarray(place, place + length),
      close: () => this.closed++,
    };
    return { position: this.position, version: this.position, runs: [run] };
  }

  adopted(count: number): Promise<void> {
    return expect.poll(() => this.checkpointer.counts.adopted).toBe(count);
  }

  saved(count: number): Promise<void> {
    return expect.poll(() => this.checkpointer.counts.saved).toBe(count);
  }
}

describe("a checkpoint", () => {
  it("names no run that was kept in memory while nothing could be saved", async () => {
    const bench = new Bench();
    bench.saves = false;
    bench.fill("a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l");
    await bench.saved(1);
    bench.saves = true;
    bench.fill("z");
    await bench.saved(2);
    const [{ runs, position }] = bench.store.published;
    expect(position).toBe(13);
    expect(runs.every(({ id }) => bench.store.made.has(id))).toBe(true);
    expect(runs.reduce((sum, stored) => sum + openRun(stored).run.info.entries, 0)).toBe(13);
  });

  it("never reaches less far than the snapshot that has come to lie underneath", async () => {
    const bench = new Bench();
    bench.fill("a");
    // Before anything is saved a vacuum is over, whose snapshot holds that and more.
    bench.commit("b");
    bench.replica.rebase({ run: snapshotUpTo(1), below: 2 });
    bench.checkpointer.rebased();
    await bench.checkpointer.stop();
    expect(bench.store.published).toEqual([]);
    expect(bench.replica.get("b")).toBeDefined();
    expect(bench.problems).toEqual([]);
  });

  it("that is being made in memory when a snapshot comes to lie underneath is given up, however far it has come", async () => {
    for (let turns = 0; turns < 16; turns++) {
      const bench = new Bench();
      bench.saves = false;
      bench.fill("a");
      await bench.saved(1);
      bench.fill("b");
      for (let turn = 0; turn < turns; turn++) await Promise.resolve();
      bench.replica.rebase({ run: snapshotUpTo(2), below: 3 });
      bench.checkpointer.rebased();
      await bench.checkpointer.stop();
      expect(bench.replica.runs).toEqual([]);
    }
  });

  it("asks for the state to be built anew, and reports nothing, when a run to be merged is damaged", async () => {
    const bench = new Bench();
    // Not the footer, which is looked at when a run is opened.
    bench.store.damage = (bytes) => bytes.fill(0xff, 1, 8);
    bench.fill("a");
    await bench.saved(1);
    bench.store.damage = undefined;
    bench.fill("b");
    await bench.saved(2);
    bench.fill("c");
    await bench.saved(3);
    bench.fill("d");
    await expect.poll(() => bench.indexDamaged).toBe(1);
    expect(bench.problems).toEqual([]);
  });
});

describe("runs", () => {
  it("stand beside each other until there are four of a size, which become one", async () => {
    const bench = new Bench();
    const sizes: number[][] = [];
    for (let n = 0; n < 17; n++) {
      bench.fill(...Array.from({ length: 100 }, (_, i) => `${n} ${i}`));
      await bench.saved(n + 1);
      sizes.push(bench.replica.runs.map(({ run }) => run.info.entries));
    }
    expect(sizes.slice(0, 5)).toEqual([[100], [100, 100], [100, 100, 100], [400], [100, 400]]);
    expect(sizes[14]).toEqual([100, 100, 100, 400, 400, 400]);
    expect(sizes.slice(15)).toEqual([[1600], [100, 1600]]);
    expect(bench.replica.get("3 99")).toBeDefined();
  });

  it("are never more than twelve", async () => {
    const bench = new Bench();
    for (let n = 0, size = 1 << 12; size > 0; size >>= 1, n++) {
      // Each is half of the one before: none has its like.
      bench.fill(...Array.from({ length: size }, (_, i) => `${n} ${i}`));
      await bench.saved(n + 1);
    }
    expect(bench.replica.runs.length).toBeLessThanOrEqual(12);
    for (let n = 0; n <= 12; n++) expect(bench.replica.get(`${n} 0`)).toBeDefined();
  });
});

describe("several processes that come to a save at the same time", () => {
  it("wait for the one that is at it, and save nothing themselves", async () => {
    const bench = new Bench();
    let asked = 0;
    bench.store.busy = () => {
      if (++asked === 3) bench.store.others = bench.checkpointOf("a", "b");
      return true;
    };
    bench.fill("a", "b");
    await bench.adopted(1);
    expect(asked).toBe(3);
    expect(bench.store.made.size).toBe(0);
    expect(bench.replica.newest.rows).toBe(0);
    expect(bench.replica.get("b")).toBeDefined();
  });

  it("take over nothing any more when the replica was given up while they waited", async () => {
    const bench = new Bench();
    bench.fill("a");
    bench.store.others = bench.checkpointOf("a");
    bench.checkpointer.abandon();
    bench.replica.release();
    await bench.checkpointer.stop();
    expect(bench.replica.runs).toEqual([]);
  });

  it("keep nothing open of what they take over when the replica is given up meanwhile, however far they have come", async () => {
    for (let turns = 0; turns < 24; turns++) {
      const bench = new Bench();
      bench.fill("a");
      const others = bench.checkpointOf("a");
      const abandoned = new Promise<void>((resolve) => {
        bench.store.load = () => {
          void (async () => {
            for (let turn = 0; turn < turns; turn++) await Promise.resolve();
            bench.checkpointer.abandon();
            bench.replica.release();
            resolve();
          })();
          return others;
        };
      });
      await abandoned;
      await bench.checkpointer.stop();
      expect(bench.closed).toBe(1);
    }
  });

  it("save by themselves if the one that is at it never comes to its end", async () => {
    const bench = new Bench();
    bench.store.busy = () => true;
    bench.fill("a");
    await bench.saved(1);
    expect(bench.store.published.length).toBe(1);
  });

  it("have it soon enough not to let commits wait", async () => {
    const bench = new Bench();
    let asked = 0;
    bench.store.busy = () => ++asked > 0;
    for (const key of ["a", "b", "c", "d"]) {
      bench.checkpointer.count(3 * DUE, 0);
      bench.fill(key);
    }
    expect(bench.checkpointer.isOverdue).toBe(true);
    await bench.checkpointer.whenRelieved();
    expect(bench.store.published.length).toBe(1);
    expect(asked).toBe(1);
  });

  it("save what has come while they waited as well, so that those who closed later are spared", async () => {
    const bench = new Bench();
    bench.fill("a");
    bench.commit("b");
    bench.checkpointer.count(1, 0);
    bench.checkpointer.check();
    await bench.saved(1);
    expect(bench.store.published.map(({ position }) => position)).toEqual([2]);
    expect(bench.replica.newest.rows).toBe(0);
  });

  it("save nothing that is only half applied", async () => {
    const bench = new Bench();
    bench.fill("a");
    bench.commit("b");
    bench.checkpointer.count(1, 0);
    await bench.saved(1);
    expect(bench.store.published.map(({ position }) => position)).toEqual([1]);
  });

  it("count from what another one has saved", async () => {
    const bench = new Bench();
    bench.commit("a");
    bench.checkpointer.count(DUE / 2, 0);
    bench.checkpointer.check();
    const others = bench.checkpointOf("a");
    bench.commit("b");
    bench.checkpointer.count(DUE / 2, 0);
    bench.store.others = others;
    bench.checkpointer.check();
    await bench.adopted(1);
    bench.store.others = undefined;
    bench.commit("c");
    bench.checkpointer.count(DUE / 2 - 1, 0);
    bench.checkpointer.check();
    await new Promise((resolve) => setImmediate(resolve));
    expect(bench.store.made.size).toBe(0);
    bench.commit("d");
    bench.checkpointer.count(1024, 0);
    bench.checkpointer.check();
    await bench.saved(1);
    expect(bench.store.published[0].position).toBe(4);
  });
});

describe("a save", () => {
  it("waits for others as long as it is due to what they have written", async () => {
    const bench = new Bench(0.5);
    for (const own of [0, DUE / 2, DUE]) {
      bench.checkpointer.countOwn(own);
      bench.fill("a");
      await bench.saved(bench.waits.length);
    }
    expect(bench.waits).toEqual([125, 62.5, 0]);
  });
});

describe("on closing", () => {
  it.each([
    [255, 0],
    [256, 1],
  ])("after %d operations, %d checkpoints are published", async (operations, published) => {
    const bench = new Bench();
    bench.commit("a");
    bench.checkpointer.count(operations, 0);
    bench.checkpointer.check();
    await bench.checkpointer.stop();
    expect(bench.store.published.length).toBe(published);
    expect(bench.store.made.size).toBe(published);
  });

  it("no run is made where none can be saved", async () => {
    const bench = new Bench();
    bench.saves = false;
    bench.commit("a");
    bench.checkpointer.count(1000, 0);
    bench.checkpointer.check();
    await bench.checkpointer.stop();
    expect(bench.checkpointer.counts.saved).toBe(0);
    expect(bench.replica.get("a")).toBeDefined();
  });

  it("nothing is published that is only half applied", async () => {
    const bench = new Bench();
    bench.checkpointer.check();
    bench.commit("a");
    bench.checkpointer.count(1000, 0);
    await bench.checkpointer.stop();
    expect(bench.store.published).toEqual([]);
    expect(bench.replica.get("a")).toBeDefined();
  });

  it("what another one has published is not skipped to any more once it is being saved", async () => {
    const bench = new Bench();
    bench.commit("a");
    bench.checkpointer.count(1000, 0);
    bench.checkpointer.check();
    bench.position = 9;
    bench.store.others = bench.checkpointOf("a", "z");
    bench.position = 1;
    const skipped = bench.checkpointer.skipAhead(() => true);
    await Promise.all([bench.checkpointer.stop(), skipped]);
    expect(await skipped).toBe(undefined);
    expect(bench.replica.version).toBe(1);
    expect(bench.replica.get("z")).toBe(undefined);
    expect(bench.replica.get("a")).toBeDefined();
  });
});

describe("void versions", () => {
  it("are saved when commits have brought nothing else", async () => {
    const bench = new Bench();
    bench.void();
    bench.checkpointer.count(0, 8 * 1024 * 1024);
    bench.checkpointer.check();
    await bench.saved(1);
    expect(bench.store.published.map(({ position }) => position)).toEqual([1]);
    expect(bench.replica.voidVersions.size).toBe(0);
    expect([...(await bench.replica.allVoidVersions())]).toEqual([1]);
  });

  it("stay known that lie above a snapshot, though no entry of their run does", async () => {
    const bench = new Bench();
    bench.commit("a");
    bench.void();
    bench.void();
    bench.fill();
    await bench.saved(1);
    expect(bench.replica.voidVersions.size).toBe(0);
    bench.replica.rebase({ run: snapshotUpTo(2), below: 3 });
    bench.checkpointer.rebased();
    expect([...(await bench.replica.allVoidVersions())]).toContain(3);
  });
});
