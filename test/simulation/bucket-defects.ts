import type { BucketLeaning, NetworkFaults } from "./bucket-profile.ts";
import type { Change } from "./sources.ts";

/** Defects that the simulation over a bucket has to find; see `defects.ts`. */
export interface BucketDefect {
  readonly name: string;
  readonly leaning?: BucketLeaning;
  readonly changes: readonly Change[];
}

const SESSION = "adapters/object/session.ts";
const SETTLE = "adapters/object/settle.ts";
const CONFIRMATION = "adapters/object/confirmation.ts";
const GARBAGE = "adapters/object/garbage.ts";
const PUBLISH = "adapters/object/publish.ts";

/** Long sleeps of some and long lives of others, so that garbage is collected while somebody, or what he has sent, is away. */
const sleepy: BucketLeaning = {
  leap: 0.02,
  freeze: 0.02,
  kill: 0,
  clear: 0,
  processes: 4,
  actions: 60,
  compaction: 1,
  tellsTime: true,
  network: { delayMsMax: 20, parked: 0.03 },
};

/** Nothing goes wrong on the ways to the store and back. */
const reliable: Partial<NetworkFaults> = {
  unsent: 0,
  answerLost: 0,
  late: 0,
  conflict: 0,
  twice: 0,
  truncated: 0,
  storm: 0,
  parked: 0,
  crash: 0,
};

/** Some who write much, on slow ways; now and then an hour goes by. */
const crowded: BucketLeaning = {
  leap: 0.004,
  freeze: 0,
  kill: 0,
  clear: 0,
  clock: 0,
  readOnly: 0,
  processes: 3,
  actions: 100,
  compaction: 1,
  tellsTime: true,
  network: { ...reliable, delayMsMax: 1000 },
};

/** The same with fewer on quick ways: an hour goes by between one checkpoint and the next. */
const growing: BucketLeaning = { ...crowded, vacuum: 0, processes: 2, network: { ...reliable, delayMsMax: 20 } };

/** Much waits behind requests of which nobody knows whether they have arrived, or will. */
const doubtful: BucketLeaning = {
  leap: 0,
  freeze: 0,
  kill: 0,
  close: 0,
  clear: 0,
  clock: 0,
  readOnly: 0,
  processes: 2,
  actions: 60,
  network: { ...reliable, answerLost: 0.1, late: 0.3, storm: 0.03, parked: 0.1, delayMsMax: 3000 },
};

export const bucketDefects: readonly BucketDefect[] = [
  rare("a slot that exists is taken for another's", doubtful, {
    file: SETTLE,
    find: "const isMine = equalBytes(found.bytes, batch.bytes);",
    replace: `const isMine = answer.status !== "exists" && equalBytes(found.bytes, batch.bytes);`,
  }),
  rare("answers below the floor count", sleepy, {
    file: CONFIRMATION,
    find: "return root.nonce === this.#nonce && root.floor <= slot;",
    replace: "return root.nonce === this.#nonce && root.floor <= slot + Infinity;",
  }),
  rare("a floor is said to be in force when it is only written", sleepy, {
    file: GARBAGE,
    find: "return raised > floor ? { floor: raised, floorAt: undefined } : { floor, floorAt };",
    replace: "return raised > floor ? { floor: raised, floorAt: seen.at } : { floor, floorAt };",
  }),
  rare(
    "an earlier root confirms where nobody tells the time",
    { ...sleepy, tellsTime: false },
    {
      file: CONFIRMATION,
      find: "const isSaved = time !== undefined && earlier.time !== undefined && Math.abs(time - earlier.time) <= SAVED_MS;",
      replace: "const isSaved = time === undefined || Math.abs(time - (earlier.time ?? 0)) <= SAVED_MS;",
    },
  ),
  rare("an earlier root confirms for good", sleepy, {
    file: CONFIRMATION,
    find: "Math.abs(time - earlier.time) <= SAVED_MS;",
    replace: "Math.abs(time - earlier.time) <= Infinity;",
  }),
  rare(
    "a nonce is used again",
    { clear: 0.01 },
    {
      file: "adapters/object/opening.ts",
      find: "nonce: id(), verdict }",
      replace: `nonce: "0".repeat(32), verdict }`,
    },
  ),
  rare("a merge is published over a newer epoch", crowded, {
    file: PUBLISH,
    find: "if (root.epoch !== epoch || at < 0 || !isSame) return undefined;",
    replace: "if (root.checkpointSlot === 0 && isSame) return undefined;",
  }),
  rare("a delta is published onto another checkpoint", crowded, {
    file: PUBLISH,
    find: "root.checkpointSlot !== checkpointSlot || root.epoch !== epoch",
    replace: "root.checkpointSlot >= position",
  }),
  rare("large values are deleted by their age", sleepy, {
    file: GARBAGE,
    find: "return staged !== undefined && staged.slot + STAGED_SLOTS_MAX < floor;",
    replace: "return staged !== undefined && floor > 0;",
  }),
  rare("a conflict is answered before its slot is settled", doubtful, {
    file: "core/flush-resolved.ts",
    find: "ownCommits.noteUnwritten(outcomes);",
    replace:
      "for (const outcome of outcomes) if (outcome.written === undefined) ownCommits.settleUnwritten(outcome); outcomes = outcomes.filter((each) => each.written !== undefined);",
  }),
  rare("one 404 below what is known to be there is taken for damage", crowded, {
    file: "adapters/object/follow.ts",
    find: 'const again = await this.#ask(slot);\n    if (again.status !== "absent") return again;',
    replace: "",
  }),
  rare(
    "a batch is sent anew while it may still arrive",
    doubtful,
    {
      file: SETTLE,
      find: "if (isContradicted && ++contradictions > CONTRADICTIONS_MAX) throw this.#inconsistent(batch);",
      replace: `if (batch.ambiguous) return { status: "moved" };`,
    },
    {
      file: SESSION,
      find: `if (fate.status === "moved") return await this.#toldByRuns(batch, position);`,
      replace: `if (fate.status === "moved") return { status: "behind" };`,
    },
  ),
  rare("what may still arrive is said not to be committed", doubtful, {
    file: SETTLE,
    find: "if (batch.ambiguous) {",
    replace: "if (false) {",
  }),
  rare("what was created is answered unconfirmed", sleepy, {
    file: SETTLE,
    find: `if ((await this.#confirmation.of(found, slot)) === "moved") return { status: "moved" };`,
    replace: `if ((await this.#confirmation.of(found, slot)) === "moved" && found.status !== "created") return { status: "moved" };`,
  }),
  rare("the floor is raised above young slots", growing, {
    file: GARBAGE,
    find: `return typeof written === "number" && at - written >= this.#state.graceMs;`,
    replace: `return typeof written === "number" && at - written >= 0;`,
  }),
  rare("slots are deleted as soon as the floor is above them", sleepy, {
    file: GARBAGE,
    find: "const isSweeping = isSeen && told > floorAt + this.#state.graceMs;",
    replace: "const isSweeping = isSeen && told >= floorAt;",
  }),
  rare("deleted keys are left out of every merge", crowded, {
    file: PUBLISH,
    find: "const lowest = first + count === runs.length;",
    replace: "const lowest = first + count <= runs.length;",
  }),
  defect("a transaction begins with what was followed before", {
    file: "core/run-transaction.ts",
    find: "await context.follow();",
    replace: "",
  }),
  defect("a read that waits sees what was called later and goes into the same slot", {
    file: "core/flush-resolved.ts",
    find: "ownCommits.horizons.meet(outcome.pending.counter, state);",
    replace: "",
  }),
  defect("watches are told of values that lie elsewhere as zeros", {
    file: "core/applier.ts",
    find: "const whole = commit.isPartial === true && !context.listener.isIdle()",
    replace: "const whole = commit.isPartial === true && context.listener.isIdle()",
  }),
  rare("commits are not resolved against those before them in the batch", doubtful, {
    file: "core/outcomes.ts",
    find: "if (outcome.failure === undefined) state.apply(resolution.changes);",
    replace: "",
  }),
];

function defect(name: string, ...changes: readonly Change[]): BucketDefect {
  return { name, changes };
}

function rare(name: string, leaning: BucketLeaning, ...changes: readonly Change[]): BucketDefect {
  return { name, leaning, changes };
}
