import type { Journal, Log, Seen, Write } from "./journal.ts";
import type { Model, ModelCommit, ModelRow } from "./model.ts";

/** Compares what everybody was told with what the file holds. Returns what does not fit. */
export function verify(journal: Journal, model: Model): string[] {
  const found: string[] = [...model.bad, ...eachOnce(model)];
  const byToken = commitsByToken(model);
  const writers = new Map<string, string>();
  for (const log of journal.logs) {
    for (const write of log.writes)
      found.push(...checkWrite(write, model, byToken, writers).map((each) => `${told(log, write)}: ${each}`));
    for (const each of [...inOrder(log.writes), ...noneOvertakes(log.writes)]) found.push(`${log.name}: ${each}`);
    if (log.watchedFrom !== undefined)
      found.push(...checkWatch(log, log.watchedFrom, model).map((each) => `${log.name}: ${each}`));
  }
  for (const { who, what, check } of journal.checks) {
    const wrong = check(model);
    if (wrong !== undefined) found.push(`${who}: ${what}: ${wrong}`);
  }
  return found;
}

/**
 * The same where somebody has replaced the file: `models` are all the files that ever lay there. Commits that a file has taken with it are
 * nobody's fault, and a new file is trusted whose predecessor could not be synced; but none may be where nobody was told of it, and what was acknowledged must be in one of them.
 */
export function verifyReplaced(journal: Journal, models: readonly Model[]): string[] {
  const found: string[] = models.flatMap((model) => [...model.bad, ...eachOnce(model)]);
  const byToken = models.map(commitsByToken);
  for (const log of journal.logs) {
    for (const write of log.writes) {
      // By file, what is wrong if it is meant: of an acknowledged commit one file must tell nothing wrong, of others all.
      const wrong = models.map((model, i) =>
        checkWrite({ ...write, reads: new Map(), behindFailedSync: false }, model, byToken[i], new Map()),
      );
      const isFine = write.outcome === "committed" ? wrong.some((each) => each.length === 0) : true;
      const isVoid = write.outcome === "not committed" ? wrong.every((each) => each.length === 0) : true;
      if (!isFine || !isVoid) found.push(`${told(log, write)}: ${wrong.flat().join(", ")}`);
    }
  }
  return found;
}

const told = (log: Log, { what, token, outcome }: Write): string =>
  `${log.name}: ${what} ${token ?? ""} (${outcome ?? "no answer"})`;

function commitsByToken(model: Model): Map<string, ModelCommit[]> {
  const byToken = new Map<string, ModelCommit[]>();
  for (const commit of model.commits) {
    for (const token of commit.tokens) byToken.set(token, [...(byToken.get(token) ?? []), commit]);
  }
  return byToken;
}

/** No commit is in the ledger twice, and each writer's commits are in its order. */
function eachOnce(model: Model): string[] {
  const last = new Map<string, number>();
  const found: string[] = [];
  for (const { writer, counter, version } of model.commits) {
    const before = last.get(writer) ?? 0;
    if (counter <= before)
      found.push(`commit ${counter} of writer ${writer} at ${version} comes behind its commit ${before}`);
    last.set(writer, counter);
  }
  return found;
}

function checkWrite(
  write: Write,
  model: Model,
  byToken: ReadonlyMap<string, readonly ModelCommit[]>,
  writers: Map<string, string>,
): string[] {
  const commits = write.token === undefined ? [] : (byToken.get(write.token) ?? []);
  const applied = commits.filter((commit) => commit.verdict === "applied");
  if (applied.length > 1) return [`applied ${applied.length} times`];
  const { outcome, version } = write;
  if (outcome === "committed" && write.behindFailedSync) return ["was committed though a sync had failed before"];
  if (outcome === "committed") return checkCommitted(write, model, commits, writers);
  if (outcome === "not committed" && applied.length > 0) return [`is in the ledger at ${applied[0].version}`];
  if ((outcome === "conflict" || outcome === "mismatch") && write.queued) {
    if (commits.length !== 1 || commits[0].verdict !== outcome)
      return [`the ledger says ${commits.map((each) => `${each.verdict} at ${each.version}`).join(", ") || "nothing"}`];
  }
  if (version !== undefined && outcome !== undefined) return [`answered with version ${version}`];
  return [];
}

function checkCommitted(
  write: Write,
  model: Model,
  commits: readonly ModelCommit[],
  writers: Map<string, string>,
): string[] {
  const commit =
    write.version === undefined
      ? commits.find((each) => each.verdict === "applied")
      : model.byVersion.get(write.version);
  if (commit === undefined)
    return write.version === undefined && write.token === undefined ? [] : [`is not in the ledger at ${write.version}`];
  if (commit.verdict !== "applied") return [`is void at ${commit.version}: ${commit.verdict}`];
  if (write.token !== undefined && !commit.tokens.includes(write.token))
    return [`another commit lies at ${commit.version}`];
  const found: string[] = [];
  const author = write.process.name;
  const known = writers.get(commit.writer);
  writers.set(commit.writer, author);
  if (known !== undefined && known !== author)
    found.push(`the commit at ${commit.version} is by the writer of ${known}`);
  for (const [key, version] of write.reads) {
    const before = model.liveAt(key, commit.version - 1, commit.timestamp)?.version ?? 0;
    if (before !== version)
      found.push(`had read a key at ${version} that was at ${before} when it was committed at ${commit.version}`);
  }
  return found;
}

/** What one process wrote is in the ledger in the order of its calls. */
function inOrder(writes: readonly Write[]): string[] {
  const found: string[] = [];
  let last = 0;
  for (const { queued, version, what, token } of writes) {
    if (!queued || version === undefined) continue;
    if (version <= last) found.push(`${what} ${token ?? ""} has version ${version}, an earlier call has ${last}`);
    last = Math.max(last, version);
  }
  return found;
}

/** What could not be written takes everything with it that was queued behind it at the time. */
function noneOvertakes(writes: readonly Write[]): string[] {
  const found: string[] = [];
  let failedUntil = -1;
  for (const { queued, outcome, error, calledAt, toldAt, what, token } of writes) {
    if (!queued) continue;
    if (outcome === "committed" && calledAt < failedUntil)
      found.push(`${what} ${token ?? ""} was committed, an earlier call was not and had not been told yet`);
    const { code } = (error ?? {}) as { code?: string };
    if (outcome === "not committed" && (code === "NoSpace" || code === "InputOutput"))
      failedUntil = Math.max(failedUntil, toldAt ?? -1);
  }
  return found;
}

/** A watch of everything has seen each commit once, in order, from its beginning to where its process came. */
function checkWatch({ seen, final, applied }: Log, from: number, model: Model): string[] {
  const commits = model.commits.filter((commit) => commit.version > from && commit.verdict === "applied");
  const expected = commits.flatMap((commit) => [...commit.changes].map(([key, row]) => ({ key, row })));
  const at = seen.findIndex((each, i) => !isSeen(each, expected[i]));
  if (at >= 0) return [`the watch was told ${show(seen[at])} where the ledger has ${show(expected[at])}`];
  if (final === undefined) return [];
  const reached = commits.filter((commit) => commit.version <= final.version);
  const due = reached.reduce((sum, commit) => sum + commit.changes.size, 0);
  if (seen.length !== due)
    return [`the watch was told ${seen.length} of ${due} changes up to version ${final.version}`];
  if (final.allTold && applied !== reached.length)
    return [`sync events told of ${applied} commits, ${reached.length} took effect`];
  return [];
}

function isSeen(seen: Seen, expected: { readonly key: string; readonly row: ModelRow } | undefined): boolean {
  return (
    expected !== undefined &&
    seen.key === expected.key &&
    seen.version === expected.row.version &&
    seen.timestamp === expected.row.timestamp &&
    Object.is(seen.value, expected.row.value)
  );
}

const show = (value: unknown): string =>
  JSON.stringify(value, (_, each: unknown) => (typeof each === "bigint" ? `${each}n` : each))?.slice(0, 200) ??
  "nothing";
