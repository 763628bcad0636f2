import { describe, expect, it } from "vitest";
import { BlockCache } from "../../src/core/block-cache.ts";
import { KVError } from "../../src/core/errors.ts";
import type {
  BuiltState,
  Checkpoint,
  LedgerSession,
  StateRequest,
  StateWork,
  StoredRun,
} from "../../src/core/ledger.ts";
import { Pacer } from "../../src/core/pacer.ts";
import { Replica } from "../../src/core/replica.ts";
import { Row } from "../../src/core/resolve.ts";
import { Source } from "../../src/core/source.ts";
import { StateKeeper } from "../../src/core/state-keeper.ts";
import { ManualEnvironment } from "../support/manual-environment.ts";

/** A replica over a session that does nothing but what a test says. */
class Kept {
  readonly environment = new ManualEnvironment();
  readonly replica = new Replica({}, 1);
  readonly requests: StateRequest[] = [];
  readonly told: Promise<unknown>[] = [];
  readonly problems: KVError[] = [];
  /** What the session says to `keepState`. */
  work: (request: StateRequest) => StateWork | undefined = () => undefined;
  position = 0;
  readonly keeper: StateKeeper;
  #runs = 0;

  constructor() {
    const session = {
      keepState: (request: StateRequest) => {
        this.requests.push(request);
        return this.work(request);
      },
    } as Partial<LedgerSession> as LedgerSession;
    const position = (): number => this.position;
    this.keeper = new StateKeeper(
      {
        environment: this.environment,
        pacer: new Pacer(this.environment),
        cache: new BlockCache(1 << 20),
        name: "ledger",
        session,
        source: new Source(session, "ledger", this.environment),
        replica: this.replica,
        get position() {
          return position();
        },
        saves: () => true,
        compaction: false,
        waitUntil: (promise) => void this.told.push(promise),
        problem: (error) => void this.problems.push(error),
      },
      0,
    );
  }

  /** One commit: its position is its version. */
  set(key: string, value: number | undefined): void {
    const version = ++this.position;
    const row = new Row(version, 0, 0, 0, value === undefined, -1, 0, 0, value);
    this.replica.apply(version, [{ key, row }]);
  }

  /** The request of now. */
  async request(): Promise<StateRequest> {
    this.work = () => ({ done: Promise.resolve(), commitsWait: false });
    await this.keeper.keep();
    await this.environment.pass(0);
    this.work = () => undefined;
    return this.requests[this.requests.length - 1];
  }

  stored({ bytes, openFrom }: BuiltState, closed: () => void = () => undefined): StoredRun {
    return {
      id: `run-${++this.#runs}`,
      length: bytes.length,
      openFrom,
      read: (place, length) => bytes.subarray(place, place + length),
      close: closed,
    };
  }

  /** What a delta since a version holds now, and the checkpoint that it makes. */
  async delta(since: number, below: readonly StoredRun[] = []): Promise<Checkpoint> {
    let built: Promise<BuiltState> | undefined;
    this.work = (request) => {
      built = request.buildDelta(since);
      return { done: built.then(() => undefined), commitsWait: false };
    };
    await this.keeper.keep();
    const run = this.stored(await this.environment.until(built as Promise<BuiltState>));
    this.work = () => undefined;
    await this.environment.pass(0);
    return { position: this.position, version: this.replica.version, runs: [run, ...below] };
  }

  content(rows: Pick<Replica, "cursor"> = this.replica): [string, unknown][] {
    const found: [string, unknown][] = [];
    const cursor = rows.cursor();
    for (let ok = cursor.seek(""); ok; ok = cursor.next()) {
      if (!cursor.value.deleted) found.push([cursor.key, cursor.value.numeric]);
    }
    return found;
  }
}

const CONTENT: [string, unknown][] = [
  ["b", 2],
  ["c", 5],
  ["d", 4],
];

function filled(): Kept {
  const kept = new Kept();
  kept.set("a", 1);
  kept.set("b", 2);
  kept.set("c", 3);
  kept.set("d", 4);
  kept.set("c", 5);
  kept.set("a", undefined);
  return kept;
}

describe("a state that was written down", () => {
  it("is read from its runs, and leaves the memory", async () => {
    const kept = filled();
    const state = await kept.delta(0);
    await kept.environment.until(kept.keeper.adopt(state));
    expect(kept.replica.runs).toHaveLength(1);
    expect(kept.replica.newest.rows).toBe(0);
    expect(kept.content()).toEqual(CONTENT);
  });

  it("leaves in memory what came after it, also while it is taken over", async () => {
    const kept = filled();
    const state = await kept.delta(0);
    kept.set("d", 40);
    const adopting = kept.keeper.adopt(state);
    kept.set("b", undefined);
    await kept.environment.until(adopting);
    kept.set("e", 50);
    expect(kept.content()).toEqual([
      ["c", 5],
      ["d", 40],
      ["e", 50],
    ]);
    // The next delta is what came after: three keys, one of them deleted.
    const next = await kept.delta(state.version, state.runs);
    await kept.environment.until(kept.keeper.adopt(next));
    expect(kept.replica.runs.map(({ run }) => [run.info.entries, run.info.tombstones])).toEqual([
      [3, 1],
      [4, 1],
    ]);
    expect(kept.content()).toEqual([
      ["c", 5],
      ["d", 40],
      ["e", 50],
    ]);
  });

  it("changes nothing for who reads what was frozen before", async () => {
    const kept = filled();
    const frozen = kept.replica.freeze();
    kept.set("c", 6);
    const state = await kept.delta(0);
    await kept.environment.until(kept.keeper.adopt(state));
    kept.set("c", 7);
    expect(kept.content(frozen)).toEqual(CONTENT);
    frozen.release();
  });

  it("is not taken over before everything that it holds was applied", async () => {
    const kept = filled();
    const { runs } = await kept.delta(0);
    let closed = 0;
    const ahead = { position: 9, version: 9, runs: [{ ...runs[0], close: () => void closed++ }] };
    await kept.environment.until(kept.keeper.adopt(ahead));
    expect(kept.replica.runs).toHaveLength(0);
    expect(closed).toBe(1);
    expect(kept.content()).toEqual(CONTENT);
  });

  it("is not taken over for a newer one", async () => {
    const kept = filled();
    const old = await kept.delta(0);
    kept.set("e", 8);
    const state = await kept.delta(0);
    await kept.environment.until(kept.keeper.adopt(state));
    await kept.environment.until(kept.keeper.adopt(old));
    expect(kept.content()).toEqual([...CONTENT, ["e", 8]]);
    expect(kept.replica.runs.map(({ stored }) => stored.id)).toEqual(state.runs.map(({ id }) => id));
  });

  it("that cannot be opened is left alone, and told of unless it is only gone", async () => {
    const kept = filled();
    const state = await kept.delta(0);
    const [run] = state.runs;
    const damaged = { ...run, read: () => new Uint8Array(run.length) };
    await kept.environment.until(kept.keeper.adopt({ ...state, runs: [damaged] }));
    expect(kept.problems.map(({ code }) => code)).toEqual(["LedgerDamaged"]);
    const gone = {
      ...run,
      read: () => {
        throw new KVError("SnapshotExpired", "as asked for");
      },
    };
    await kept.environment.until(kept.keeper.adopt({ ...state, runs: [gone] }));
    expect(kept.problems).toHaveLength(1);
    expect(kept.content()).toEqual(CONTENT);
  });

  it("holds what commits have changed since a version, and nothing that came before or after", async () => {
    const kept = filled();
    const request = await kept.request();
    kept.set("z", 9);
    const run = kept.stored(await kept.environment.until(request.buildDelta(3)));
    await kept.environment.until(kept.keeper.adopt({ position: 6, version: 6, runs: [run] }));
    const [{ run: opened }] = kept.replica.runs;
    expect(kept.content({ cursor: () => opened.cursor() })).toEqual([
      ["c", 5],
      ["d", 4],
    ]);
    expect(opened.info).toMatchObject({ entries: 3, tombstones: 1, base: 4, upto: 6 });
  });
});

describe("runs that are merged", () => {
  it("are one, in which the newest row of a key counts; the lowest has nothing that is deleted", async () => {
    const kept = filled();
    const first = await kept.delta(0);
    kept.set("b", undefined);
    kept.set("c", 9);
    const second = await kept.delta(first.version);
    const request = await kept.request();
    for (const lowest of [false, true]) {
      let closed = 0;
      const close = (): void => void closed++;
      const runs = [...second.runs, ...first.runs].map((run) => ({ ...run, close }));
      const merged = kept.stored(await kept.environment.until(request.buildMerged(runs, { lowest })));
      expect(closed).toBe(2);
      await kept.environment.until(kept.keeper.adopt({ position: 8, version: 8, runs: [merged] }));
      const [{ run }] = kept.replica.runs;
      expect(run.info).toMatchObject({ tombstones: lowest ? 0 : 2, entries: lowest ? 2 : 4, base: 1, upto: 8 });
      expect(kept.content()).toEqual([
        ["c", 9],
        ["d", 4],
      ]);
    }
  });
});

describe("writing down", () => {
  it("goes on in the background, one at a time, and is told of where somebody has to know", async () => {
    const kept = filled();
    let finish = (): void => undefined;
    const done = new Promise<void>((resolve) => (finish = resolve));
    kept.work = () => ({ done, commitsWait: false });
    expect(kept.keeper.keep()).toBeUndefined();
    expect(kept.keeper.keep()).toBeUndefined();
    expect(kept.requests).toHaveLength(1);
    expect(kept.told).toHaveLength(1);
    finish();
    await kept.told[0];
    void kept.keeper.keep();
    expect(kept.requests).toHaveLength(2);
  });

  it("makes commits wait where it has to, also when that turns out in its course", async () => {
    const kept = filled();
    let finish = (): void => undefined;
    const done = new Promise<void>((resolve) => (finish = resolve));
    let commitsWait = false;
    kept.work = () => ({
      done,
      get commitsWait() {
        return commitsWait;
      },
    });
    expect(kept.keeper.keep()).toBeUndefined();
    commitsWait = true;
    const waiting = kept.keeper.keep();
    expect(waiting).toBeInstanceOf(Promise);
    finish();
    await waiting;
  });

  it("is not begun any more when the database is closed, and waited for", async () => {
    const kept = filled();
    let finish = (): void => undefined;
    const done = new Promise<void>((resolve) => (finish = resolve));
    kept.work = () => ({ done, commitsWait: false });
    void kept.keeper.keep();
    let stopped = false;
    const stopping = kept.keeper.stop().then(() => (stopped = true));
    await kept.environment.pass(0);
    expect(stopped).toBe(false);
    expect(() => kept.requests[0].check()).not.toThrow();
    finish();
    await stopping;
    void kept.keeper.keep();
    expect(kept.requests).toHaveLength(1);
  });

  it("is given up when the state is another one", async () => {
    const kept = filled();
    const request = await kept.request();
    kept.keeper.abandon();
    expect(() => request.check()).toThrow(expect.objectContaining({ code: "SnapshotExpired" }));
    const state = { position: 6, version: 6, runs: [] };
    await kept.environment.until(kept.keeper.adopt(state));
    expect(kept.content()).toEqual(CONTENT);
  });
});
