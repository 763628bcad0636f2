import { fsLedger } from "../../src/adapters/fs/index.ts";
import type { Environment } from "../../src/core/environment.ts";
import { fileWork } from "../../src/core/file-work.ts";
import { CoreKV } from "../../src/core/kv.ts";
import type { LedgerNotice } from "../../src/core/ledger.ts";
import { nodeEnvironment } from "../../src/platform/environment-node.ts";
import { describeValue } from "./describe.ts";

/** What a golden file must contain, as JSON. The library and the independent reader must both come to it. */
export interface Contents {
  readonly ledgerId: string;
  readonly generation: number;
  readonly nonce: string;
  /** Version of the last commit. */
  readonly version: number;
  /** The reader's clock: what expired by then is no entry. */
  readonly readAt: number;
  readonly entries: readonly unknown[];
  readonly history: readonly unknown[];
  /** Versions of the commits that did nothing. */
  readonly voidVersions: readonly number[];
  /** What is no frame, by logical address; `copy` is a damaged copy of the header. */
  readonly pieces: readonly unknown[];
}

/** All golden files are read as of this time. */
export const READ_AT = Date.UTC(2030, 0);

/** What the library finds in a file, opened where it stands and for reading only. */
export async function readWithLibrary(path: string): Promise<Contents> {
  const environment: Environment = { ...nodeEnvironment, now: () => READ_AT };
  const notices = await noticesOf(path, environment);
  const db = new CoreKV({ autoSync: false }, { environment, ledgerAt: fsLedger, fileWork });
  await db.open(path, { readOnly: true });
  try {
    const { ledgerId, generation, version, counts } = db.stats();
    const entries = (await db.listAll([])).map(({ key, value, ...rest }) => ({
      key: key.map(describeValue),
      value: describeValue(value),
      ...rest,
    }));
    const history: unknown[] = [];
    for await (const { key, value, ...rest } of db.scan([])) {
      const told = rest.operation === "set" ? { value: describeValue(value) } : {};
      history.push({ key: key.map(describeValue), ...told, ...rest });
    }
    const shown = new Set(history.map((entry) => (entry as { version: number }).version));
    const voidVersions = notices.versions.filter((each) => !shown.has(each));
    if (voidVersions.length !== counts.voidCommits) throw new Error("a commit that is not void has no history");
    return {
      ledgerId: ledgerId as string,
      generation: generation as number,
      nonce: notices.nonce,
      version,
      readAt: READ_AT,
      entries,
      history,
      voidVersions,
      pieces: notices.pieces,
    };
  } finally {
    await db.close();
  }
}

async function noticesOf(
  path: string,
  environment: Environment,
): Promise<{ readonly nonce: string; readonly pieces: LedgerNotice[]; readonly versions: number[] }> {
  const options = { createIfMissing: false, readOnly: true, allowNetworkFileSystem: false, environment };
  const session = await fsLedger(path).open(options);
  try {
    const pieces: LedgerNotice[] = [];
    const versions: number[] = [];
    for (let position = session.start; ;) {
      const result = await session.read(position, { bytes: 1024, verify: false });
      pieces.push(...(result.notices ?? []));
      versions.push(...result.commits.map(({ version }) => version));
      position = result.next;
      if (result.status !== "more") return { nonce: session.identity?.nonce ?? "", pieces, versions };
    }
  } finally {
    await session.close();
  }
}
