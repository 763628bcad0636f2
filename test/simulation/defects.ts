import type { Leaning } from "./profile.ts";
import type { Change } from "./sources.ts";

/**
 * Defects that the simulation has to find, each a small change of the source: they prove that its checks have teeth. The product holds
 * nothing of them: they are put in while its files are loaded.
 */
export interface Defect {
  readonly name: string;
  /** What happens more often in the runs that look for it, where few others would lead to it. */
  readonly leaning?: Leaning;
  readonly changes: readonly Change[];
}

const APPLIER = "core/applier.ts";
const OWN_COMMITS = "core/own-commits.ts";
const SESSION = "adapters/fs/session.ts";
const BATCH_WRITER = "adapters/fs/batch-writer.ts";
const DURABILITY = "adapters/fs/durability.ts";
const SCANNER = "adapters/fs/scanner.ts";
const QUEUE = "core/commit-queue.ts";
const CHECKPOINTER = "core/checkpointer.ts";
const VACUUM = "adapters/fs/vacuum.ts";
const HELP = "adapters/fs/help.ts";

/** Nothing that is not asked for disturbs the vacuums. */
const calm: Leaning = {
  losses: [],
  kill: 0,
  tear: 0,
  close: 0,
  stop: 0,
  fill: 0,
  clock: 0,
  ghost: 0,
  replace: 0,
  tidyIndex: 0,
  tidySiblings: 0,
  system: { readError: 0, syncError: 0 },
};

/** Many vacuum at once, give up in the middle, and are away while others go on. */
const vacuums: Leaning = {
  ...calm,
  vacuum: 0.4,
  abort: 0.3,
  keepHistory: 0.7,
  stop: 0.08,
  processes: 5,
  actions: 20,
  system: { ...calm.system, shortWrite: 0.1 },
};

/** Syncs fail under processes that depend on them, and others bring the ledger into files that are durable. */
const failingSyncs: Leaning = {
  ...calm,
  stop: 0.05,
  strict: 1,
  vacuum: 0.3,
  system: { ...calm.system, syncError: 0.2 },
};

/** Syncs fail, those of vacuums too, whoever goes on saves an index, and then the power fails. */
const lostSyncs: Leaning = {
  ...calm,
  losses: [200, 200, 200, 200],
  unordered: false,
  strict: 0,
  vacuum: 0.15,
  processes: 1,
  actions: 40,
  sideIndex: 1,
  system: { ...calm.system, syncError: 0.25 },
};

/** The power fails again and again while some vacuum and all want to have it durable. */
const powerFailures: Leaning = {
  ...calm,
  losses: [60, 60, 60, 60, 60],
  unordered: false,
  strict: 1,
  vacuum: 0.4,
  abort: 0.1,
  processes: 3,
  sideIndex: 1,
};

/** Index after index is saved while nobody else has anything durable, and the power fails. */
const undurable: Leaning = {
  ...calm,
  losses: [200, 200, 200, 200],
  unordered: false,
  strict: 0,
  vacuum: 0,
  processes: 2,
  actions: 30,
  sideIndex: 1,
  system: { ...calm.system, slowSync: 0 },
};

/** Most writes come in pieces, and many writers die within one. */
const torn: Leaning = {
  ...calm,
  vacuum: 0,
  tear: 0.15,
  asynchronous: 0,
  processes: 3,
  processesMax: 40,
  actions: 40,
  cleanUp: false,
  system: { ...calm.system, slowWrite: 1, shortWrite: 0.3 },
};

/** Several do much, save again and again, and hear of each other by nothing but their reads. */
const busy: Leaning = {
  ...calm,
  vacuum: 0,
  stop: 0.01,
  close: 0.01,
  sideIndex: 1,
  pollsMs: [1000],
  asynchronous: 0.2,
  processes: 4,
  processesMax: 10,
  actions: 60,
  cleanUp: false,
  system: { ...calm.system, hintLost: 1 },
};

/** Writes and syncs fail while others wait behind them. */
const failures: Leaning = {
  ...calm,
  vacuum: 0,
  strict: 0.7,
  asynchronous: 0.5,
  processes: 4,
  actions: 30,
  system: { ...calm.system, writeError: 0.2, syncError: 0.1, slowSync: 0.5 },
};

/** Most only read, and hear of vacuums by nothing but their reads. */
const unaware: Leaning = {
  ...calm,
  vacuum: 0.3,
  abort: 0,
  keepHistory: 0,
  readOnly: 0.6,
  pollsMs: [1000],
  asynchronous: 0,
  processes: 6,
  actions: 30,
  cleanUp: false,
  system: { ...calm.system, slowWrite: 0, slowSync: 0, hintLost: 1 },
};

/** Others come in between, wherever something is awaited. */
const interleaved: Leaning = {
  ...calm,
  asynchronous: 0.7,
  vacuum: 0.2,
  abort: 0,
  keepHistory: 1,
  processes: 5,
  actions: 30,
  cleanUp: false,
  system: { ...calm.system, slowWrite: 0.5 },
};

export const defects: readonly Defect[] = [
  defect("a commit is acknowledged before it is followed", {
    file: "core/after-append.ts",
    find: "const round: FollowState = { invalidated: false, error, untilMet };",
    replace: `const round: FollowState = { invalidated: false, error, untilMet }; for (const pending of batch) pending.settle("applied", context.state.position);`,
  }),
  rare("two stumps are judged as one piece", torn, {
    file: SCANNER,
    find: "const marker = indexOfMarker(bytes, at === offset ? 1 : 0);",
    replace: "const marker = indexOfMarker(bytes, at === offset ? HEADER_BYTES : 0);",
  }),
  rare("a stump that ends in the beginning of a marker is not cut before it", torn, {
    file: SCANNER,
    find: "if (cut === 0) return { verdict, end };",
    replace: "return { verdict, end };",
  }),
  rare("nobody searches for the next marker", torn, {
    file: SCANNER,
    find: "const marker = indexOfMarker(bytes, at === offset ? 1 : 0);",
    replace: "const marker = -1;",
  }),
  rare("a value that holds a marker is not masked", torn, {
    file: "adapters/fs/frame.ts",
    find: "for (let at = indexOfMarker(target, 0);",
    replace: "for (let at = -1;",
  }),
  defect("versions are used twice", {
    file: SESSION,
    find: "commits.push({ version, place,",
    replace: "commits.push({ version: version - (version % 256), place,",
  }),
  defect("commits are resolved by the reader's clock", {
    file: APPLIER,
    find: "timestamp: record.timestamp, place }",
    replace: "timestamp: context.environment.now(), place }",
  }),
  defect("a poll takes what it has not read for the end", {
    file: SESSION,
    find: "if (size !== position - current.generation.delta ||",
    replace: "if (",
  }),
  defect("queued commits share one buffer", {
    file: "core/bytes.ts",
    find: "this.#start = this.#length;",
    replace: "",
  }),
  defect("windows of the file are read into one buffer", {
    file: "adapters/fs/file.ts",
    find: "target === undefined ? new Uint8Array(length)",
    replace:
      "target === undefined ? ((globalThis as { shared?: Uint8Array }).shared ??= new Uint8Array(2 ** 21)).subarray(0, length)",
  }),
  defect(
    "a short write passes for a whole one",
    {
      file: BATCH_WRITER,
      find: "const count = file.append(bytes);",
      replace: "const count = bytes.length + 0 * file.append(bytes);",
    },
    {
      file: SESSION,
      find: "if (status.size !== begin + bytes.length)",
      replace: "if (status.size > begin + bytes.length)",
    },
  ),
  defect("a short write is said to be whole, wherever the file ends", {
    file: BATCH_WRITER,
    find: "if (count < bytes.length) {",
    replace: "if (false) {",
  }),
  defect("own frames are taken to lie where the ledger was read to", {
    file: SESSION,
    find: "if (status.size !== begin + bytes.length)",
    replace: "if (false)",
  }),
  defect("watches are told twice", {
    file: APPLIER,
    find: "if (state === inUse) listener.applied(record, at.version, resolution.changes);",
    replace:
      "for (let i = at.version % 7 === 0 ? 2 : 1; i > 0; i--) listener.applied(record, at.version, resolution.changes);",
  }),
  defect("the last commit of a large batch is not written", {
    file: "adapters/fs/frame.ts",
    find: "for (const commit of commits) {",
    replace: "for (const commit of commits.length > 3 ? commits.slice(0, -1) : commits) {",
  }),
  rare("what is queued behind a failed write goes on", failures, {
    file: OWN_COMMITS,
    find: "queue.reject(batch, error);\n    queue.rejectWaiting(error);",
    replace: "queue.reject(batch, error);",
  }),
  rare(
    "a failed sync is forgotten",
    failures,
    { file: SESSION, find: "if (failure !== undefined) {", replace: "if (failure !== undefined && false) {" },
    {
      file: DURABILITY,
      find: "if (this.#failure !== undefined) throw this.#failure;",
      replace: "",
    },
    { file: DURABILITY, find: "if (this.#options.failedSyncs.has(open)) throw earlierFailure();", replace: "" },
  ),
  rare("an index is saved behind a sync that has failed", lostSyncs, {
    file: SESSION,
    find: "this.#durability.syncWhole(current);",
    replace: "this.#durability.sync(current);",
  }),
  rare("a creator that could not make its file durable forgets it", failingSyncs, {
    file: "adapters/fs/ledger.ts",
    find: "FailedSyncs.of(calls).add(",
    replace: "new FailedSyncs().add(",
  }),
  defect("nobody looks where the path leads", {
    file: SESSION,
    find: "if (budget.verify || this.#suspect) {",
    replace: "if (false) {",
  }),
  rare("whoever meets a seal leaves it to polls to look where the path leads", unaware, {
    file: SESSION,
    find: `this.#pathMoved = this.#lookAtPath(current) === "other";`,
    replace: "",
  }),
  rare("what one read has found to be there is no news for others", busy, {
    file: "core/follower.ts",
    find: "if (!hasNews) this.#lastLook = now;",
    replace: "this.#lastLook = now;",
  }),
  rare("transactions check nothing", busy, {
    file: "core/run-transaction.ts",
    find: "for (const check of checks) builder.check(check);",
    replace: "",
  }),
  rare("a transaction checks only the first entry that it read", busy, {
    file: "core/run-transaction.ts",
    find: "for (const check of checks) builder.check(check);",
    replace: "for (const check of checks.slice(0, 1)) builder.check(check);",
  }),
  defect("reads do not wait for own writes", {
    file: "core/freshness.ts",
    find: "if (strong || pending !== undefined)",
    replace: "if (strong)",
  }),
  defect("a read that waits sees what was called later", {
    file: "core/horizon.ts",
    find: "first.#last < number;",
    replace: "first.#last < 0;",
  }),
  defect("the queue is emptied from its end", {
    file: QUEUE,
    find: "return batch;\n  }\n\n  /** Puts back",
    replace: "return batch.toReversed();\n  }\n\n  /** Puts back",
  }),
  defect("a promise is forgotten when its commit has to be read back", {
    file: OWN_COMMITS,
    find: "return undefined;\n    return own;",
    replace:
      "return undefined;\n    if (commit.version % 5 === 0) inFlight.delete(commit.counter);\n    return commit.version % 5 === 0 ? undefined : own;",
  }),
  defect("the next generation takes its place without a seal", {
    file: VACUUM,
    find: "unlink = !host.appendFrame(FrameKind.seal, seal);",
    replace: "unlink = seal.length === 0; host.calls.rename(path, host.realPath);",
  }),
  rare("the old file is left before it was read to its seal", vacuums, {
    file: SESSION,
    find: `this.#pathMoved = path === "other";`,
    replace: `this.#pathMoved = path === "other"; if (this.#pathMoved) return { commits: [], next: from, status: "moved" };`,
  }),
  rare("a seal that came back short is appended again, though its sibling is removed", vacuums, {
    file: VACUUM,
    find: "unlink = !host.appendFrame(FrameKind.seal, seal);",
    replace: "unlink = !host.appendFrame(FrameKind.seal, seal); if (unlink) host.appendFrame(FrameKind.seal, seal);",
  }),
  rare("a sibling is removed while its author is at work", vacuums, {
    file: "adapters/fs/garbage.ts",
    find: "if (of <= generation) {",
    replace: "if (of <= generation + 1) {",
  }),
  rare("what a sibling seems to hold already is not written again", powerFailures, {
    file: HELP,
    find: "let at = Math.max(seal.syncedMark, seal.base);",
    replace: "let at = Math.max(seal.syncedMark, seal.base, seal.base + sibling.status().size - seal.framesAt);",
  }),
  defect("a sibling that is too short takes the file's place", {
    file: HELP,
    find: "const length = copyRest(host, sibling);",
    replace: "const { size: length } = sibling.status();",
  }),
  rare("a seal names a sibling whose name is not durable", powerFailures, {
    file: VACUUM,
    find: "if (round === 0) await host.syncDirectory(host.directory);",
    replace: "",
  }),
  rare(
    "an index reaches further than what is durable of its ledger",
    undurable,
    { file: "adapters/fs/side-index.ts", find: "= this.#syncAhead();", replace: "= Promise.resolve();" },
    { file: "adapters/fs/side-index.ts", find: "await this.#makeDurable(checkpoint.position);", replace: "" },
  ),
  rare("the directory of a generation is not made durable", powerFailures, {
    file: DURABILITY,
    find: "if (this.#directorySynced) return;",
    replace: "if (this.#directorySynced || true) return;",
  }),
  rare("any later generation passes for the next one", vacuums, {
    file: SESSION,
    find: `header.generation === before.generation + 1 &&
          header.nonce === seal.siblingNonce;`,
    replace: "header.generation > before.generation;",
  }),
  rare("a checkpoint is adopted that reaches further than what was applied", busy, {
    file: CHECKPOINTER,
    find: "return position > this.#covered && !isAhead;",
    replace: "return position > this.#covered;",
  }),
  defect("what lies below a snapshot is seen in older layers", {
    file: "core/layers.ts",
    find: "if (row.version >= this.#baseBelow) return row;",
    replace: "return row;",
  }),
  rare("deleted keys are left out of the lowest run", busy, {
    file: "core/row-copy.ts",
    find: "if (row.version >= this.#below)",
    replace: "if (row.version >= this.#below && !(row.deleted && this.#below === 0))",
  }),
  rare("deleteAll looks for no news", busy, {
    file: "core/delete-all.ts",
    find: "if (news !== undefined) return deleteAllLate",
    replace: "if (news !== undefined && false) return deleteAllLate",
  }),
  rare("strong listings and counts do not follow", busy, {
    file: "core/query-reads.ts",
    find: 'parseListOptions("listAll", options)',
    replace: '{ ...parseListOptions("listAll", options), consistency: "eventual" }',
  }),
  rare("what was written behind a seal is taken for committed", vacuums, {
    file: OWN_COMMITS,
    find: "if (error === undefined) queue.putBack(unmet);",
    replace: `if (error === undefined) for (const each of unmet) each.settle("applied", this.#context.state.position);`,
  }),
  rare("a sibling takes the file's place before it is durable", powerFailures, {
    file: HELP,
    find: "await sibling.sync();",
    replace: "",
  }),
  rare("a seal counts whose sibling was dropped before", vacuums, {
    file: "adapters/fs/seals.ts",
    find: "!this.isDropped(seal.siblingNonce, address) && ",
    replace: "",
  }),
  rare(
    "a vacuum goes on with a place that it has found in an earlier generation",
    interleaved,
    {
      file: "core/next-generation.ts",
      find: "if (!isBefore()) return false;",
      replace: "",
    },
    {
      file: "adapters/fs/succession.ts",
      find: "if (request.position < start + delta)",
      replace: "if (false)",
    },
  ),
];

function defect(name: string, ...changes: readonly Change[]): Defect {
  return { name, changes };
}

function rare(name: string, leaning: Leaning, ...changes: readonly Change[]): Defect {
  return { name, leaning, changes };
}
