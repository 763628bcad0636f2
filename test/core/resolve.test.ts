import { describe, expect, test } from "vitest";
import { CommitBuilder } from "../../src/core/commit-builder.ts";
import { type CombineKind, type Commit, ItemKind } from "../../src/core/commit.ts";
import { encodeKey } from "../../src/core/key.ts";
import { lastOfEachKey, type Resolution, resolve, type Row } from "../../src/core/resolve.ts";
import { nodeEnvironment } from "../../src/platform/environment-node.ts";

const A = encodeKey(["a"]);
const B = encodeKey(["b"]);

/** A state that commits are resolved against, one after the other. */
class State {
  readonly rows = new Map<string, Row>();
  version = 0;

  get(key: string): Row | undefined {
    return this.rows.get(key);
  }

  /** Resolves and, if it is not void, applies a commit made at `time`. */
  commit(time: number, build: (builder: CommitBuilder) => unknown): Resolution {
    const resolution = resolve(commitOf(build), { version: ++this.version, timestamp: time, place: 0 }, this);
    if (resolution.verdict === "applied") {
      for (const { key, row } of resolution.changes) this.rows.set(key, row);
    }
    return resolution;
  }
}

function commitOf(build: (builder: CommitBuilder) => unknown): Commit {
  const builder = new CommitBuilder(nodeEnvironment, 1e6);
  build(builder);
  return builder.finish().commit;
}

const { sum, min, max } = ItemKind;

/** What a state with `stored` under a key holds there after a sum, min or max; "mismatch" if the commit is void. */
function combined(kind: CombineKind, stored: unknown, operand: number | bigint): unknown {
  const state = new State();
  if (stored !== undefined) state.commit(1, (b) => b.set(A, stored, 0));
  const resolution = state.commit(2, (b) => b.combine(kind, A, operand, 0));
  return resolution.verdict === "applied" ? state.get(A)?.numeric : resolution.verdict;
}

describe("sum, min and max", () => {
  test.each<[string, CombineKind, unknown, number | bigint, unknown]>([
    ["add numbers", sum, 2, 3.5, 5.5],
    ["add as doubles do", sum, 0.1, 0.2, 0.1 + 0.2],
    ["add bigints", sum, 2n ** 70n, -1n, 2n ** 70n - 1n],
    ["keep the smaller number", min, 2, 3, 2],
    ["keep the smaller bigint", min, 3n, -4n, -4n],
    ["keep the larger number", max, 2, 3, 3],
    ["keep the larger bigint", max, 3n, -4n, 3n],
    ["take the operand alone where nothing is", sum, undefined, 7, 7],
    ["take a bigint alone where nothing is", max, undefined, 7n, 7n],
    ["store -0 as 0 where nothing is", sum, undefined, -0, 0],
    ["store a sum of -0 as 0", sum, -0, -0, 0],
    ["store a smaller -0 as 0", min, 5, -0, 0],
    ["store a larger -0 as 0", max, -0, -5, 0],
    ["may reach infinity", sum, Number.MAX_VALUE, Number.MAX_VALUE, Infinity],
    ["do not fit a NaN that is stored", sum, NaN, 1, "mismatch"],
    ["do not fit a NaN that is stored, as min", min, NaN, 1, "mismatch"],
    ["do not fit a NaN that is stored, as max", max, NaN, 1, "mismatch"],
    ["do not give NaN", sum, Infinity, -Infinity, "mismatch"],
    ["do not mix number and bigint", sum, 1, 1n, "mismatch"],
    ["do not mix bigint and number", max, 1n, 1, "mismatch"],
    ["do not fit a string", sum, "1", 1, "mismatch"],
    ["do not fit null", max, null, 1, "mismatch"],
    ["do not fit a boolean", min, true, 1, "mismatch"],
    ["do not fit a Date", sum, new Date(5), 1, "mismatch"],
    ["do not fit an array", sum, [1], 1, "mismatch"],
    ["give bigints of up to 256 bytes", sum, 2n ** 2048n - 2n, 1n, 2n ** 2048n - 1n],
    ["give none of more", sum, 2n ** 2048n - 1n, 1n, "mismatch"],
    ["give none of more below zero", sum, -(2n ** 2048n) + 1n, -1n, "mismatch"],
    ["take no operand of more", max, undefined, 2n ** 2048n, "mismatch"],
  ])("%s", (_, kind, stored, operand, expected) => {
    const found = combined(kind, stored, operand);
    expect(Object.is(found, expected)).toBe(true);
  });

  test("see the operations before them in the same commit", () => {
    const state = new State();
    state.commit(1, (b) => {
      b.set(A, 1, 0);
      b.combine(sum, A, 2, 0);
      b.combine(max, A, 10, 0);
      b.delete(A);
      b.combine(sum, A, 5, 0);
    });
    expect(state.get(A)?.numeric).toBe(5);
  });

  test("that do not fit void the whole commit, and name the key", () => {
    const state = new State();
    state.commit(1, (b) => b.set(B, "text", 0));
    const resolution = state.commit(2, (b) => {
      b.set(A, 1, 0);
      b.combine(sum, B, 1, 0);
      b.combine(sum, A, 1n, 0);
    });
    expect(resolution).toEqual({ verdict: "mismatch", key: B });
    expect(state.get(A)).toBe(undefined);
  });

  test("keep the expiry of a live entry and ignore their own", () => {
    const state = new State();
    state.commit(1000, (b) => b.set(A, 1, 500));
    state.commit(1100, (b) => b.combine(sum, A, 1, 9000));
    expect(state.get(A)).toMatchObject({ numeric: 2, expiresAt: 1500, timestamp: 1100 });
    state.commit(1200, (b) => b.set(B, 1, 0));
    state.commit(1300, (b) => b.combine(max, B, 7, 9000));
    expect(state.get(B)).toMatchObject({ numeric: 7, expiresAt: 0 });
  });

  test("start a new entry with their own expiry where there is none, or an expired one", () => {
    const state = new State();
    state.commit(1000, (b) => b.combine(sum, A, 1, 500));
    expect(state.get(A)).toMatchObject({ numeric: 1, expiresAt: 1500 });
    state.commit(1500, (b) => b.combine(sum, A, 1, 700));
    expect(state.get(A)).toMatchObject({ numeric: 1, expiresAt: 2200 });
    // Whatever was stored: once expired it is absent.
    state.commit(2200, (b) => b.set(A, "text", 100));
    state.commit(2300, (b) => b.combine(min, A, 4, 0));
    expect(state.get(A)).toMatchObject({ numeric: 4, expiresAt: 0 });
  });
});

describe("checks", () => {
  test("look at the state before the commit, all of them before any operation", () => {
    const state = new State();
    state.commit(1, (b) => b.set(A, 1, 0));
    const version = state.version;
    const self = state.commit(2, (b) => {
      b.set(A, 2, 0);
      b.check({ key: A, version });
      b.check({ key: B, version: 0 });
      b.set(B, 1, 0);
    });
    expect(self.verdict).toBe("applied");
    const mismatchBehind = state.commit(3, (b) => {
      b.combine(sum, A, 1n, 0);
      b.check({ key: A, version });
    });
    expect(mismatchBehind).toEqual({ verdict: "conflict", key: A });
  });

  test.each<[string, (state: State) => void, number, string]>([
    ["of the present version", (s) => s.commit(1, (b) => b.set(A, 1, 0)), 1, "applied"],
    [
      "of an older version",
      (s) => {
        s.commit(1, (b) => b.set(A, 1, 0));
        s.commit(2, (b) => b.set(A, 1, 0));
      },
      1,
      "conflict",
    ],
    ["of absence where there is an entry", (s) => s.commit(1, (b) => b.set(A, 1, 0)), 0, "conflict"],
    ["of absence where there is none", () => undefined, 0, "applied"],
    [
      "of absence where one was deleted",
      (s) => {
        s.commit(1, (b) => b.set(A, 1, 0));
        s.commit(2, (b) => b.delete(A));
      },
      0,
      "applied",
    ],
    ["of a version where there is none", () => undefined, 1, "conflict"],
    ["of the version of a delete", (s) => s.commit(1, (b) => b.delete(A)), 1, "conflict"],
    ["of absence where one has expired", (s) => s.commit(1, (b) => b.set(A, 1, 99)), 0, "applied"],
    ["of the version of one that has expired", (s) => s.commit(1, (b) => b.set(A, 1, 99)), 1, "conflict"],
    ["of the version of one that is about to expire", (s) => s.commit(1, (b) => b.set(A, 1, 100)), 1, "applied"],
  ])("%s", (_, prepare, version, verdict) => {
    const state = new State();
    prepare(state);
    expect(
      state.commit(100, (b) => {
        b.check({ key: A, version });
        b.set(B, 1, 0);
      }).verdict,
    ).toBe(verdict);
  });
});

describe("sets and deletes", () => {
  test("a set takes its expiry from the commit's own timestamp, and a plain one clears it", () => {
    const state = new State();
    state.commit(1000, (b) => b.set(A, 1, 50));
    expect(state.get(A)?.expiresAt).toBe(1050);
    state.commit(900, (b) => b.set(A, 1, 50));
    expect(state.get(A)?.expiresAt).toBe(950);
    state.commit(901, (b) => b.set(A, 1, 0));
    expect(state.get(A)?.expiresAt).toBe(0);
  });

  test("have one outcome a key, at the place of its last operation", () => {
    const state = new State();
    const resolution = state.commit(1, (b) => {
      b.set(A, 1, 0);
      b.set(B, 1, 0);
      b.delete(A);
      b.set(A, 2, 0);
    });
    const changes = lastOfEachKey(resolution.verdict === "applied" ? resolution.changes : []);
    expect(changes.map(({ key, row }) => [key, row.numeric, row.order])).toEqual([
      [B, 1, 1],
      [A, 2, 3],
    ]);
  });
});

describe("a purge", () => {
  const prepared = (): State => {
    const state = new State();
    state.commit(1000, (b) => b.set(A, 1, 100));
    return state;
  };

  test.each<[string, number, number, boolean]>([
    ["removes what expired longer ago than it says", 1100 + 5001, 1, true],
    ["leaves what expired just so long ago", 1100 + 5000, 1, false],
    ["leaves what has not expired", 1050, 1, false],
    ["leaves what has changed since", 1100 + 9999, 2, false],
  ])("%s", (_, time, version, removed) => {
    const state = prepared();
    const resolution = state.commit(time, (b) => b.purge(5000, [{ key: A, version }]));
    expect(resolution.verdict).toBe("applied");
    expect(state.get(A)?.deleted).toBe(removed);
  });

  test("leaves what never expires and what is not there", () => {
    const state = new State();
    state.commit(1, (b) => b.set(A, 1, 0));
    const resolution = state.commit(1e9, (b) =>
      b.purge(0, [
        { key: A, version: 1 },
        { key: B, version: 1 },
      ]),
    );
    expect(resolution).toEqual({ verdict: "applied", changes: [] });
  });
});

test("nothing but commit, place and state decides: the same again gives the same", () => {
  const run = (): unknown => {
    const state = new State();
    const outcomes = [
      state.commit(5, (b) => b.combine(sum, A, 0.1, 7)),
      state.commit(3, (b) => b.combine(sum, A, 0.2, 0)),
      state.commit(20, (b) => {
        b.check({ key: A, version: 2 });
        b.set(B, "x", 0);
      }),
    ];
    return [outcomes, [...state.rows]];
  };
  expect(run()).toEqual(run());
});
