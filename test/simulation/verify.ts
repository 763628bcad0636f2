import type { Combine, Journal, Log, Seen, Write } from "./journal.ts";
import { combine, type Difference, type Model, type ModelCommit, type ModelRow } from "./model.ts";

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
 * nobody's fault; but none may be where nobody was told of it, and what was acknowledged must be in one of them.
 * `continued`: what somebody has gone on with who had not heard yet that all was gone; what is there was perhaps only left over.
 */
export function verifyReplaced(journal: Journal, models: readonly Model[], continued: readonly Model[] = []): string[] {
  const found: string[] = models.flatMap((model) => [...model.bad, ...eachOnce(model)]);
  const all = [...models, ...continued];
  const byToken = all.map(commitsByToken);
  for (const log of journal.logs) {
    for (const write of log.writes) {
      // By file, what is wrong if it is meant: of an acknowledged commit one file must tell nothing wrong, of others all.
      const wrong = all.map((model, i) =>
        checkWrite({ ...write, reads: new Map(), behindFailedSyncs: [] }, model, byToken[i], new Map()),
      );
      const isFine = write.outcome === "committed" ? wrong.some((each) => each.length === 0) : true;
      const isVoid =
        write.outcome === "not committed" ? wrong.slice(0, models.length).every((each) => each.length === 0) : true;
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
  if (outcome === "committed") return checkCommitted(write, model, commits, writers);
  if (outcome === "not committed" && applied.length > 0) return [`is in the ledger at ${applied[0].version}`];
  if (outcome === "conflict" || outcome === "mismatch") {
    if (applied.length > 0) return [`is in the ledger at ${applied[0].version}`];
    if (model.authorsResolve)
      return isVoid(write, model) ? [] : ["was fine in every state that its author may have seen"];
  }
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
  // The next generation is durable as a whole before anybody writes to it.
  if (write.behindFailedSyncs.some((nonce) => commit.version < model.endOf(nonce)))
    found.push("was committed though a sync had failed before");
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
  for (const each of model.authorsResolve ? write.combines : []) {
    const row = commit.changes.get(each.key);
    const [value, expiresAt] = combined(each, model, commit.version - 1, commit.timestamp);
    if (row === undefined || !Object.is(row.value, value) || row.expiresAt !== expiresAt)
      found.push(`${each.kind} is ${row?.value ?? "nothing"} at ${commit.version} where ${value} was due`);
  }
  return found;
}

/** What a sum, min or max comes to behind a version, and when that expires. The value is undefined where the operand does not fit. */
function combined(
  { kind, key, operand, expireIn }: Combine,
  model: Model,
  version: number,
  timestamp: number,
): [ModelRow["value"], number] {
  const base = model.liveAt(key, version, timestamp);
  if (base?.value === undefined) return [operand, expireIn === 0 ? 0 : timestamp + expireIn];
  return [combine(kind, base.value, operand), base.expiresAt];
}

/** True if there was a state, from the call to the answer, in which a commit that its author found void was that. */
function isVoid(write: Write, model: Model): boolean {
  const { outcome, from, to, reads, combines } = write;
  return model.versionsBetween(from, to).some((version) => {
    if (outcome === "mismatch") {
      if (combines.length === 0) return true;
      return combines.some((each) => {
        const base = model.at(each.key, version);
        // What may have expired is not judged.
        return (
          base?.value !== undefined &&
          (base.expiresAt !== 0 || combine(each.kind, base.value, each.operand) === undefined)
        );
      });
    }
    return [...reads].some(([key, read]) => {
      const row = model.at(key, version);
      return (row?.version ?? 0) !== read || (row?.expiresAt ?? 0) !== 0;
    });
  });
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
    // In a bucket, what it is to delete may be what could not be read.
    const isOfRead = what.startsWith("deleteAll") && code === "InputOutput";
    if (outcome === "not committed" && !isOfRead && (code === "NoSpace" || code === "InputOutput"))
      failedUntil = Math.max(failedUntil, toldAt ?? -1);
  }
  return found;
}

/**
 * A watch of everything has seen each commit once, in order, from its beginning to where its process came; where generations were missed, what
 * differs between the state before and the one behind.
 */
function checkWatch({ seen, final, applied }: Log, from: number, model: Model): string[] {
  const expected = model.commits
    .filter((commit) => commit.version > from)
    .flatMap((commit) => [...commit.changes].map(([key, row]) => ({ key, row })));
  let next = 0;
  const reached = (): number => (next === 0 ? from : expected[next - 1].row.version);
  const behind = (version: number): number => {
    const found = expected.findIndex(({ row }) => row.version > version);
    return found < 0 ? expected.length : found;
  };
  for (let i = 0; i < seen.length;) {
    const each = seen[i];
    if (each.as === "commit") {
      // Perhaps a reload came before that had nothing to tell of.
      if (!isSeen(each, expected[next]) && quietBetween(model, reached(), each.version - 1))
        next = behind(each.version - 1);
      if (!isSeen(each, expected[next]))
        return [`the watch was told ${show(each)} where the ledger has ${show(expected[next])}`];
      next++;
      i++;
    } else if (each.as === "reset") {
      next = behind(each.version);
      i++;
    } else {
      const told: Seen[] = [];
      // In the middle of it somebody may have begun to close it.
      for (; seen[i]?.as === "reloaded" && (seen[i].to ?? each.to) === each.to; i++) told.push(seen[i]);
      // Whoever dies may have been in the middle of it, and what could not be told to its end is a reset then.
      const after = seen[i];
      const mayBreakOff = (version: number): boolean =>
        after === undefined ? final === undefined : after.as === "reset" && after.version === version;
      const fits = (rest: readonly Seen[], due: readonly Difference[], version: number): boolean =>
        rest.every((one, at) => isDifference(one, due[at])) && (rest.length === due.length || mayBreakOff(version));
      // Where it could not be asked what was reloaded to, several may have come one after the other, also behind one of which it could.
      const end = (begin: number, rest: readonly Seen[]): number | undefined => {
        const [{ to: known }] = rest;
        const candidates = known === undefined ? model.versionsBetween(begin, Infinity) : [known];
        for (const version of candidates) {
          const due = model.differences(begin, version);
          if (fits(rest, due, version)) return version;
          const isFirst = due.length > 0 && due.length < rest.length && rest[due.length].to === undefined;
          if (!isFirst || !due.every((one, at) => isDifference(rest[at], one))) continue;
          const found = end(version, rest.slice(due.length));
          if (found !== undefined) return found;
        }
        return undefined;
      };
      const to = end(reached(), told);
      if (to === undefined) {
        const due = each.to === undefined ? "nothing like it" : show(model.differences(reached(), each.to));
        return [`the watch was told ${show(told)} of a reload from ${reached()} where ${due} differs`];
      }
      next = behind(to);
    }
  }
  if (final === undefined) return [];
  if (next < behind(final.version) && !quietBetween(model, reached(), final.version))
    return [`the watch was told of changes up to ${reached()}, not up to version ${final.version}`];
  // A purge of what others had purged takes effect too, without any.
  const effective = model.commits.filter(
    ({ version, verdict }) => version > from && version <= final.version && verdict === "applied",
  );
  if (final.reloads === 0 && next < behind(final.version))
    return [`the watch was told of changes up to ${reached()} only`];
  if (final.reloads === 0 && final.allTold && applied !== effective.length)
    return [`sync events told of ${applied} commits, ${effective.length} took effect`];
  return [];
}

const quietBetween = (model: Model, from: number, to: number): boolean => model.differences(from, to).length === 0;

function isDifference(seen: Seen, due: Difference | undefined): boolean {
  if (due === undefined || seen.key !== due.key) return false;
  if (due.row === undefined) return seen.value === undefined && (seen.to === undefined || seen.version === seen.to);
  return isSeen(seen, { key: due.key, row: due.row });
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

/** Compares a ledger as everybody saw it when the power failed with what is left of it. Returns what should not be gone, or should not be there. */
export function verifyLoss(journal: Journal, before: Model, after: Model, inOrder: boolean): string[] {
  const durable = durableUpTo(journal, before);
  const found: string[] = [...after.bad];
  let isGone = false;
  for (const commit of before.commits) {
    const left = after.byVersion.get(commit.version);
    isGone ||= left === undefined;
    if (left === undefined && commit.version <= durable)
      found.push(`the commit at ${commit.version} is gone, though everything up to ${durable} was durable`);
    if (left !== undefined && isGone && inOrder)
      found.push(`the commit at ${commit.version} is there, and others before it are gone`);
  }
  // Written back out of order, a seal can be damaged while what others wrote behind it is whole: then that is there again, behind the damage.
  const isSealLost = before.isSealed && !after.isSealed && after.damage > before.damage && !inOrder;
  for (const { version, writer, counter } of isSealLost ? [] : after.commits) {
    const was = before.byVersion.get(version);
    // Where an undurable seal is lost and what was written behind it is not, that counts, and nobody was told otherwise yet.
    if (was === undefined && !inOrder) continue;
    if (was?.writer !== writer || was.counter !== counter) found.push(`the commit at ${version} was not there before`);
  }
  if (inOrder && after.damage > before.damage) found.push("what was written in order is damaged");
  return found;
}

/** A strict replica answers only when what it answers, and all before it, is durable. */
function durableUpTo(journal: Journal, model: Model): number {
  let durable = journal.synced;
  const byToken = commitsByToken(model);
  for (const { strict, writes, process } of journal.logs) {
    if (!strict || process.world.hasTrusted.has(process)) continue;
    for (const { outcome, version, token } of writes) {
      if (outcome !== "committed") continue;
      const commits = token === undefined ? [] : (byToken.get(token) ?? []);
      durable = Math.max(durable, version ?? commits.find((each) => each.verdict === "applied")?.version ?? 0);
    }
  }
  return durable;
}
