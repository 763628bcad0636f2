import { isPromise } from "./environment.ts";
import type { LedgerCommit, LedgerSession, Position } from "./ledger.ts";

const READ_BYTES = 512 * 1024;

/**
 * Hands over the commits behind a position in a generation that has been left, and is still open here. `over`: it ended in order, so that what was
 * not among them is void there for ever. `end`: there is nothing more at present. What it awaits goes through `own`.
 */
export async function readToSeal(
  {
    session,
    position,
    own,
  }: {
    readonly session: LedgerSession;
    readonly position: Position;
    readonly own: <T>(promise: Promise<T>) => Promise<T>;
  },
  meet: (commit: LedgerCommit) => void,
): Promise<"over" | "end" | "unknown"> {
  for (let next = position; ;) {
    const read = session.read(next, { bytes: READ_BYTES, verify: true });
    const result = isPromise(read) ? await own(read) : read;
    for (const commit of result.commits) meet(commit);
    next = result.next;
    if (result.status === "more") continue;
    if (result.status !== "moved") return result.status === "sealed" ? "over" : "end";
    const reopening = session.reopen(next);
    const reopened = isPromise(reopening) ? await own(reopening) : reopening;
    return reopened.status === "continued" || reopened.ownCommits === "not committed" ? "over" : "unknown";
  }
}
