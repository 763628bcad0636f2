import { isPromise } from "./environment.ts";
import type { LedgerCommit, LedgerSession, Position } from "./ledger.ts";

const READ_BYTES = 512 * 1024;

/**
 * Hands over the commits behind a position in a generation that has been left, and is still open here. True if it ended in order: then what was
 * not among them is void there for ever.
 */
export async function readToSeal(
  session: LedgerSession,
  position: Position,
  meet: (commit: LedgerCommit) => void,
): Promise<boolean> {
  for (let next = position; ;) {
    const read = session.read(next, { bytes: READ_BYTES, verify: true });
    const result = isPromise(read) ? await read : read;
    for (const commit of result.commits) meet(commit);
    next = result.next;
    if (result.status === "more") continue;
    if (result.status !== "moved") return result.status === "sealed";
    const reopened = await session.reopen(next);
    return reopened.status === "continued" || reopened.ownCommits === "not committed";
  }
}
